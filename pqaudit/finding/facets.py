"""What questions are asked of: ends, methods, vendors and time of a finding, in one form for files and servers."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from pqaudit.finding.document import Document

_SECONDS = len("2026-01-02T03:04:05")


def moment(finding: Document) -> str:
    """When the SA's first packet came, in milliseconds.

    Servers keep times in milliseconds, so all questions and orders go by them. All texts have one width and sort by
    time.
    """
    return in_milliseconds(finding["@timestamp"])


def in_milliseconds(time: str) -> str:
    """An RFC 3339 time in UTC cut to three decimal digits."""
    return f"{time[:_SECONDS]}.{time[_SECONDS + 1 : -1][:3]:0<3}Z"


def ends(finding: Document) -> tuple[str, str]:
    """Addresses of initiator and responder."""
    return canonical_address(finding["source"]["ip"]), canonical_address(finding["destination"]["ip"])


@lru_cache(maxsize=8192)
def canonical_address(text: str) -> str:
    """An address in its usual notation; one that maps IPv4 into IPv6 is the IPv4 address, as servers take it.

    Raises:
        ValueError: it is none.
    """
    if ":" not in text:
        return str(IPv4Address(text))
    address = IPv6Address(text)
    if address.scope_id is not None:
        raise ValueError(f"{text!r} names an interface")
    return str(address.ipv4_mapped or address)


def tunnel_of(source: str, destination: str) -> tuple[str, str]:
    """Two addresses as a pair, whichever of the two initiated."""
    return (source, destination) if source <= destination else (destination, source)


def methods(finding: Document) -> frozenset[int]:
    """Numbers of the selected key exchange methods, whatever their slot."""
    selected = finding["pqaudit"]["selected"]
    main = selected["key_exchange"]
    numbers = [entry["id"] for entry in selected["additional_key_exchanges"]]
    return frozenset(numbers if main is None else [main["id"], *numbers])


def vendors(finding: Document) -> frozenset[str]:
    """Vendors that the vendor IDs of either side hint at."""
    sides = finding["pqaudit"]["fingerprint"]
    found = (entry["vendor"] for side in ("initiator", "responder") for entry in sides[side])
    return frozenset(vendor for vendor in found if vendor is not None)
