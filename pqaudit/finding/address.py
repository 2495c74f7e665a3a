"""Addresses as text."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address

_IPV4_OCTETS = 4


@lru_cache(maxsize=4096)
def address_text(octets: bytes) -> str:
    """An address of 4 or 16 octets in its usual notation; the same few peers come again and again."""
    if len(octets) == _IPV4_OCTETS:
        return "{}.{}.{}.{}".format(*octets)  # the same in a tenth of the time
    return str(ip_address(octets))
