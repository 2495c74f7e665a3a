"""The UDP header, and the test that a payload is IKE."""

from __future__ import annotations

from typing import NamedTuple

from pqaudit.decode.layers import MalformedError, need
from pqaudit.decode.numbers import (
    IKE_HEADER_LENGTH,
    IKE_MAJOR_VERSIONS,
    IKE_PORT,
    MARKER,
    NAT_TRAVERSAL_PORT,
)

UDP_HEADER_LENGTH = 8
_MARKER_LENGTH = len(MARKER)
_MARKED_LENGTH = _MARKER_LENGTH + IKE_HEADER_LENGTH


class UdpHeader(NamedTuple):
    """Ports and payload. ``missing`` octets of the payload were sent and are not at hand."""

    source_port: int
    destination_port: int
    start: int
    end: int
    missing: int


def parse_udp(data: bytes, start: int, end: int, missing: int) -> UdpHeader:
    """Read a UDP header (RFC 768). ``missing`` octets behind ``end`` were not captured. Raises MalformedError."""
    need(start, UDP_HEADER_LENGTH, end, "A UDP header")
    length = data[start + 4] << 8 | data[start + 5]
    if length:  # 0 stands for all that IP carries (RFC 2675, and what a network card would have cut)
        if length < UDP_HEADER_LENGTH:
            raise MalformedError(f"A UDP datagram claims {length} octets, less than its header.")
        missing = start + length - end
        if missing <= 0:
            end = start + length
            missing = 0
    return UdpHeader(
        data[start] << 8 | data[start + 1],
        data[start + 2] << 8 | data[start + 3],
        start + UDP_HEADER_LENGTH,
        end,
        missing,
    )


def find_ike(
    data: bytes, start: int, end: int, source_port: int, destination_port: int, extra: frozenset[int], missing: int
) -> tuple[int, bool] | None:
    """Where the IKE message starts in a UDP payload, and whether a non-ESP marker precedes it; None when it is no IKE.

    ``extra`` are ports that carry IKE in either form beside 500 and 4500.
    """
    length = end - start
    if length < IKE_HEADER_LENGTH:
        return None
    has_marker = length >= _MARKED_LENGTH and data[start : start + _MARKER_LENGTH] == MARKER
    marked_port = NAT_TRAVERSAL_PORT in (source_port, destination_port)
    plain_port = IKE_PORT in (source_port, destination_port)
    if extra and not extra.isdisjoint((source_port, destination_port)):
        if has_marker:
            return start + _MARKER_LENGTH, True
        if plain_port or is_plausible(data, start, end, missing):
            return start, False
        return None
    if marked_port:
        if has_marker:
            return start + _MARKER_LENGTH, True
        # 500 on the other side: the port that was seen may be what a NAT made of the other one.
        return (start, False) if plain_port and is_plausible(data, start, end, missing) else None
    if plain_port:
        if has_marker and is_plausible(data, start + _MARKER_LENGTH, end, missing):
            return start + _MARKER_LENGTH, True
        return start, False
    return None


def is_plausible(data: bytes, start: int, end: int, missing: int) -> bool:
    """True when the octets look like an IKE header: a known major version and a length that is exactly the rest."""
    if end - start < IKE_HEADER_LENGTH or data[start + 17] >> 4 not in IKE_MAJOR_VERSIONS:
        return False
    length = int.from_bytes(data[start + 24 : start + 28], "big")
    return length == end - start + missing
