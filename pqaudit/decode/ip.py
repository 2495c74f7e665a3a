"""IPv4 and IPv6 headers."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from pqaudit.decode.numbers import IPV6_EXTENSIONS, PROTO_FRAGMENT

MOST_EXTENSION_HEADERS = 16
_IPV4 = Struct("!BxHHHxB")
_IPV6_LENGTH = Struct("!H")
_FRAGMENT = Struct("!BxHI")
_MORE_FRAGMENTS = 0x2000
_OFFSET = 0x1FFF
_IPV4_HEADER = 20
_IPV6_HEADER = 40


class Packet(NamedTuple):
    """An IP packet.

    Attributes:
        source, destination: 4 or 16 octets.
        protocol: what the payload is.
        payload: the octets captured; link-layer padding is gone.
        truncated: fewer octets were captured than the header states.
        identification: of the datagram that it is a fragment of; None for a whole datagram.
        fragment_offset: octets before this fragment's payload in its datagram.
        more_fragments: False for the last fragment.
    """

    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    truncated: bool
    identification: int | None
    fragment_offset: int
    more_fragments: bool


def ipv4(data: bytes, offset: int) -> Packet | None:
    """Read an IPv4 packet (RFC 791); None when it is none or its header is damaged."""
    available = len(data) - offset
    if available < _IPV4_HEADER:
        return None
    first, total, identification, fragment, protocol = _IPV4.unpack_from(data, offset)
    header = (first & 0x0F) * 4
    if first >> 4 != 4 or header < _IPV4_HEADER or header > available:
        return None
    if total == 0:  # segmentation offload: the card fills it in after the capture point
        total = available
    if total < header:
        return None
    payload = data[offset + header : offset + min(total, available)]
    fragment_offset = (fragment & _OFFSET) * 8
    more = bool(fragment & _MORE_FRAGMENTS)
    return Packet(
        data[offset + 12 : offset + 16],
        data[offset + 16 : offset + 20],
        protocol,
        payload,
        total > available,
        identification if more or fragment_offset else None,
        fragment_offset,
        more,
    )


def ipv6(data: bytes, offset: int) -> Packet | None:
    """Read an IPv6 packet (RFC 8200) through its extension headers; None when it is none or is damaged."""
    available = len(data) - offset
    if available < _IPV6_HEADER or data[offset] >> 4 != 6:
        return None
    (length,) = _IPV6_LENGTH.unpack_from(data, offset + 4)
    stated = _IPV6_HEADER + length if length else available
    end = offset + min(stated, available)
    protocol = data[offset + 6]
    position = offset + _IPV6_HEADER
    identification: int | None = None
    fragment_offset, more = 0, False
    for _ in range(MOST_EXTENSION_HEADERS):
        if protocol == PROTO_FRAGMENT:
            if end - position < 8 or identification is not None:
                return None
            protocol, fragment, identification = _FRAGMENT.unpack_from(data, position)
            fragment_offset, more = fragment & 0xFFF8, bool(fragment & 1)
            position += 8
            if fragment_offset:
                break  # what follows is the middle of a datagram
            if not more:
                identification = None  # an atomic fragment is a whole datagram (RFC 6946)
        elif protocol in IPV6_EXTENSIONS:
            if end - position < 8:
                return None
            protocol, size = data[position], 8 + data[position + 1] * 8
            if size > end - position:
                return None
            position += size
        else:
            break
    else:
        return None
    return Packet(
        data[offset + 8 : offset + 24],
        data[offset + 24 : offset + 40],
        protocol,
        data[position:end],
        stated > available,
        identification,
        fragment_offset,
        more,
    )
