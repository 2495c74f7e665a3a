"""UDP, and which payloads of it may be IKE (RFC 7296 section 2.23, RFC 3948)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from pqaudit.decode.numbers import IKE_HEADER_OCTETS, NON_ESP_MARKER, PORT_IKE, PORT_IKE_NAT

_HEADER = Struct("!HHH")
_HEADER_OCTETS = 8
_LENGTH = Struct("!I")
_LENGTH_OFFSET = 24
_VERSION_OFFSET = 17
_MAJOR_VERSIONS = (1, 2)


class UdpDatagram(NamedTuple):
    """Ports and payload; ``truncated`` when fewer octets were captured than the header states."""

    source_port: int
    destination_port: int
    payload: bytes
    truncated: bool


def udp(payload: bytes, truncated: bool) -> UdpDatagram | None:
    """Read a UDP header; None when it is too short."""
    if len(payload) < _HEADER_OCTETS:
        return None
    source_port, destination_port, length = _HEADER.unpack_from(payload)
    if length == 0:  # a jumbogram, or offload: what is there counts
        length = len(payload)
    if length < _HEADER_OCTETS:
        return None
    return UdpDatagram(
        source_port, destination_port, payload[_HEADER_OCTETS:length], length > len(payload) or truncated
    )


def ike_in_udp(datagram: UdpDatagram, extra_ports: frozenset[int]) -> tuple[bytes, bool] | None:
    """The IKE message in a datagram and whether a non-ESP marker stood before it; None for anything else.

    On port 4500 only the marker tells IKE from ESP. On port 500 there is none, yet some peers float to and from 4500
    with it. On a port of the user's choice both forms occur.
    """
    payload = datagram.payload
    if len(payload) < IKE_HEADER_OCTETS:
        return None
    ports = (datagram.source_port, datagram.destination_port)
    marked = payload.startswith(NON_ESP_MARKER)
    if PORT_IKE not in ports and not extra_ports.isdisjoint(ports):
        if marked and _plausible(payload, len(NON_ESP_MARKER), datagram.truncated):
            return payload[len(NON_ESP_MARKER) :], True
        return (payload, False) if _plausible(payload, 0, datagram.truncated) else None
    if PORT_IKE_NAT in ports and marked and len(payload) >= IKE_HEADER_OCTETS + len(NON_ESP_MARKER):
        return payload[len(NON_ESP_MARKER) :], True
    if PORT_IKE in ports:
        if marked and _plausible(payload, len(NON_ESP_MARKER), datagram.truncated):
            return payload[len(NON_ESP_MARKER) :], True
        return payload, False
    return None


def _plausible(payload: bytes, offset: int, truncated: bool) -> bool:
    """True when an IKE header at ``offset`` names a known version and the length that is there."""
    if len(payload) < offset + IKE_HEADER_OCTETS or payload[offset + _VERSION_OFFSET] >> 4 not in _MAJOR_VERSIONS:
        return False
    (length,) = _LENGTH.unpack_from(payload, offset + _LENGTH_OFFSET)
    room = len(payload) - offset
    return length == room or (truncated and length > room)
