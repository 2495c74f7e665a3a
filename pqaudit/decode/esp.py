"""ESP in frames: who sends how much encrypted traffic to whom. Nothing of what it holds is looked at."""

from __future__ import annotations

from typing import Final, NamedTuple

from pqaudit.capture.frame import Frame
from pqaudit.decode.ip import Packet, parse_ipv4, parse_ipv6
from pqaudit.decode.layers import Layer, MalformedError, Step
from pqaudit.decode.limits import Limits
from pqaudit.decode.numbers import MARKER, NAT_TRAVERSAL_PORT, Protocol
from pqaudit.decode.udp import parse_udp
from pqaudit.decode.unwrap import LAYERS_BY_LINK_TYPE, UNWRAP

_ESP: Final = Protocol.ESP.value
_UDP: Final = Protocol.UDP.value
_KEEPALIVE_OCTETS: Final = 1  # RFC 3948 section 2.3
_MOST_LAYERS = Limits().layers


class EspPacket(NamedTuple):
    """One packet of ESP.

    Attributes:
        source, destination: addresses, 4 or 16 octets.
        octets: of the IP packet's payload as it was sent, whatever of it was captured.
    """

    source: bytes
    destination: bytes
    octets: int


def esp_in(frame: Frame) -> EspPacket | None:
    """The ESP packet that a frame carries, as IP protocol 50 or in UDP on port 4500 (RFC 3948), or None.

    Link layers are looked into and tunnels are not: what counts is what crosses the wire at this place. Of UDP in IP
    fragments only the first fragment counts, of ESP every one. Never raises.
    """
    layer = LAYERS_BY_LINK_TYPE.get(frame.link_type)
    if layer is None:
        return None
    step: Step | None = (layer, 0, len(frame.data))
    try:
        for _ in range(_MOST_LAYERS):
            if step is None:
                return None
            layer, start, end = step
            if layer is Layer.IPV4:
                return _esp(frame.data, parse_ipv4(frame.data, start, end))
            if layer is Layer.IPV6:
                return _esp(frame.data, parse_ipv6(frame.data, start, end))
            step = UNWRAP[layer](frame.data, start, end)
    except MalformedError:
        return None
    return None


def _esp(data: bytes, packet: Packet) -> EspPacket | None:
    octets = packet.end - packet.start + packet.missing
    if packet.protocol == _ESP:
        return EspPacket(packet.source, packet.destination, octets)
    if packet.protocol != _UDP or (packet.fragment is not None and packet.fragment.offset):
        return None
    header = parse_udp(data, packet.start, packet.end, packet.missing)
    if NAT_TRAVERSAL_PORT not in (header.source_port, header.destination_port):
        return None
    marker = data[header.start : header.start + len(MARKER)]
    if len(marker) < len(MARKER) or marker == MARKER or header.end - header.start <= _KEEPALIVE_OCTETS:
        return None
    return EspPacket(packet.source, packet.destination, octets)
