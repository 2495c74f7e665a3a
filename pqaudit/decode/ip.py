"""IPv4 and IPv6 headers, down to the payload of the transport."""

from __future__ import annotations

from typing import NamedTuple

from pqaudit.decode.layers import MalformedError, need
from pqaudit.decode.numbers import EXTENSION_HEADERS, Protocol

IPV4_HEADER_LENGTH = 20
IPV6_HEADER_LENGTH = 40

MOST_EXTENSION_HEADERS = 16
"""More would be no packet that a host accepts; RFC 8200 has at most one of each kind, two of destination options."""

_MORE_FRAGMENTS = 0x2000
_OFFSET = 0x1FFF

# Plain numbers, for comparing with a member of an enumeration costs more than a whole step otherwise.
_FRAGMENT = Protocol.FRAGMENT.value
_AUTHENTICATION = Protocol.AUTHENTICATION.value
_EXTENSIONS = frozenset(int(number) for number in EXTENSION_HEADERS)
_CHAINED = frozenset((_FRAGMENT, _AUTHENTICATION, *_EXTENSIONS))


class Fragment(NamedTuple):
    """Which part of a datagram an IP packet carries. ``offset`` is in octets."""

    identification: int
    offset: int
    more: bool


class Packet(NamedTuple):
    """What an IP packet carries.

    Attributes:
        source, destination: addresses, 4 or 16 octets.
        protocol: number of the protocol of the payload.
        start, end: the payload in the octets at hand.
        missing: octets of the payload that the header announces and the capture does not hold.
        fragment: set when the payload is only a part of a datagram.
    """

    source: bytes
    destination: bytes
    protocol: int
    start: int
    end: int
    missing: int
    fragment: Fragment | None


def parse_ipv4(data: bytes, start: int, end: int) -> Packet:
    """Read an IPv4 header (RFC 791). Raises MalformedError."""
    need(start, IPV4_HEADER_LENGTH, end, "An IPv4 header")
    first = data[start]
    header_length = (first & 0x0F) * 4
    if first >> 4 != 4 or header_length < IPV4_HEADER_LENGTH:
        raise MalformedError(f"An IPv4 header starts with the octet {first:#04x}.")
    total = data[start + 2] << 8 | data[start + 3]
    missing = 0
    if total:  # 0 stands for more than the field can say: the network card would have cut it (TSO)
        if total < header_length:
            raise MalformedError(f"An IPv4 packet of {total} octets has a header of {header_length}.")
        missing = start + total - end
        if missing <= 0:
            end = start + total
            missing = 0
    payload = start + header_length
    need(start, header_length, end, "An IPv4 header")
    flags = data[start + 6] << 8 | data[start + 7]
    fragment = None
    if flags & (_MORE_FRAGMENTS | _OFFSET):
        identification = data[start + 4] << 8 | data[start + 5]
        fragment = Fragment(identification, (flags & _OFFSET) * 8, bool(flags & _MORE_FRAGMENTS))
    protocol = data[start + 9]
    source = data[start + 12 : start + 16]
    destination = data[start + 16 : start + 20]
    if protocol == _AUTHENTICATION and fragment is None:
        protocol, payload, _ = skip_headers(data, protocol, payload, end)
    return Packet(source, destination, protocol, payload, end, missing, fragment)


def parse_ipv6(data: bytes, start: int, end: int) -> Packet:
    """Read an IPv6 header and the extension headers behind it (RFC 8200). Raises MalformedError."""
    need(start, IPV6_HEADER_LENGTH, end, "An IPv6 header")
    if data[start] >> 4 != 6:
        raise MalformedError(f"An IPv6 header starts with the octet {data[start]:#04x}.")
    length = data[start + 4] << 8 | data[start + 5]
    payload = start + IPV6_HEADER_LENGTH
    missing = 0
    if length:  # 0 stands for a jumbogram (RFC 2675), or a packet that the network card would have cut
        missing = payload + length - end
        if missing <= 0:
            end = payload + length
            missing = 0
    protocol = data[start + 6]
    fragment = None
    if protocol in _CHAINED:
        protocol, payload, fragment = skip_headers(data, protocol, payload, end)
    return Packet(
        data[start + 8 : start + 24], data[start + 24 : start + 40], protocol, payload, end, missing, fragment
    )


def skip_headers(data: bytes, protocol: int, start: int, end: int) -> tuple[int, int, Fragment | None]:
    """Skip extension headers: the protocol behind them, where it starts, and the fragment that it is part of.

    An authentication header (RFC 4302) is skipped as well, for it hides nothing. Raises MalformedError.
    """
    for _ in range(MOST_EXTENSION_HEADERS):
        if protocol in _EXTENSIONS:
            need(start, 8, end, "An IPv6 extension header")
            length = (data[start + 1] + 1) * 8
        elif protocol == _AUTHENTICATION:
            need(start, 8, end, "An authentication header")
            length = (data[start + 1] + 2) * 4
        elif protocol == _FRAGMENT:
            need(start, 8, end, "An IPv6 fragment header")
            length = 8
            offset = data[start + 2] << 8 | data[start + 3]
            if offset & 0xFFF9:  # an atomic fragment (RFC 6946) is a whole datagram
                identification = int.from_bytes(data[start + 4 : start + 8], "big")
                return data[start], start + 8, Fragment(identification, offset & 0xFFF8, bool(offset & 1))
        else:
            return protocol, start, None
        need(start, length, end, "An extension header")
        protocol = data[start]
        start += length
    if protocol in _CHAINED:
        raise MalformedError(f"There are more than {MOST_EXTENSION_HEADERS} extension headers.")
    return protocol, start, None
