"""Frames to IKE datagrams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pqaudit.capture.frame import Frame
from pqaudit.capture.wanted import FrameTest
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.ip import Packet, ipv4, ipv6
from pqaudit.decode.link import LINK_LAYERS, Network
from pqaudit.decode.numbers import (
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    LINKTYPE_ETHERNET,
    PORT_IKE,
    PORT_IKE_NAT,
    PROTO_UDP,
)
from pqaudit.decode.prefilter import ethernet_test
from pqaudit.decode.reassembly import Reassembler
from pqaudit.decode.udp import ike_in_udp, udp

MOST_ANOMALIES = 1000


@dataclass(frozen=True, slots=True)
class DecodeAnomaly:
    """Something out of order below IKE."""

    slug: str
    file: str
    frame: int
    text: str


class Decoder:
    """Decodes the frames of one source in order.

    Args:
        ports: UDP ports that carry IKE beside 500 and 4500.
        tunnels: look inside tunnels.
    """

    def __init__(self, *, ports: Iterable[int] = (), tunnels: bool = True) -> None:
        self._extra_ports = frozenset(ports) - {PORT_IKE, PORT_IKE_NAT}
        self._ports = self._extra_ports | {PORT_IKE, PORT_IKE_NAT}
        self._tunnels = tunnels
        self.counters: Counter[str] = Counter()
        self.anomalies: list[DecodeAnomaly] = []
        self._reassembler = Reassembler(self.counters)
        self._unsupported: set[int] = set()

    def wanted(self, link_type: int) -> FrameTest | None:
        """The cheap test for frames of a link type; it passes every frame that ``feed`` could use."""
        return ethernet_test(self._ports) if link_type == LINKTYPE_ETHERNET else None

    def feed(self, frame: Frame) -> list[Datagram]:
        """The IKE messages that a frame completes; empty for nearly all frames. Never raises on any octets."""
        layer = LINK_LAYERS.get(frame.link_type)
        if layer is None:
            self._note_unsupported(frame)
            return []
        network = layer(frame.data)
        if network is None:
            return []
        packet = _packet(frame.data, network)
        if packet is None or packet.protocol != PROTO_UDP:
            return []
        frames: tuple[int, ...] = (frame.number,)
        payload, truncated = packet.payload, packet.truncated
        if packet.identification is not None:
            whole = self._reassembler.add(packet, frame.time, frame.number)
            if whole is None:
                return []
            payload, truncated, frames = whole.payload, whole.truncated, whole.frames
        datagram = udp(payload, truncated)
        if datagram is None:
            return []
        found = ike_in_udp(datagram, self._extra_ports)
        if found is None:
            return []
        message, marked = found
        return [
            Datagram(
                frame.time,
                frame.digits,
                packet.source,
                datagram.source_port,
                packet.destination,
                datagram.destination_port,
                "udp",
                message,
                datagram.truncated,
                marked,
                network.vlan,
                frame.source,
                frames,
            )
        ]

    def flush(self) -> list[Datagram]:
        """End of the source: what is still held is counted as given up."""
        self._reassembler.flush()
        return []

    def _note_unsupported(self, frame: Frame) -> None:
        self.counters["unsupported-link-type"] += 1
        if frame.link_type not in self._unsupported and len(self._unsupported) < MOST_ANOMALIES:
            self._unsupported.add(frame.link_type)
            text = f"link type {frame.link_type} is not read; frames of it are passed over"
            self.anomalies.append(DecodeAnomaly("unsupported-link-type", frame.source, frame.number, text))


_NETWORK_LAYERS: dict[int, Callable[[bytes, int], Packet | None]] = {ETHERTYPE_IPV4: ipv4, ETHERTYPE_IPV6: ipv6}


def _packet(data: bytes, network: Network) -> Packet | None:
    layer = _NETWORK_LAYERS.get(network.ethertype)
    return None if layer is None else layer(data, network.offset)
