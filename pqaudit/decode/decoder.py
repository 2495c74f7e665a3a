"""Frames in, IKE datagrams out."""

from __future__ import annotations

from collections.abc import Iterable

from pqaudit.capture.frame import Frame
from pqaudit.decode import fallback
from pqaudit.decode.anomaly import Anomaly, AnomalyLog
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.ip import Packet, parse_ipv4, parse_ipv6, skip_headers
from pqaudit.decode.layers import Layer, MalformedError, Step
from pqaudit.decode.limits import Limits
from pqaudit.decode.link import vlan_identifier
from pqaudit.decode.numbers import EXTENSION_HEADERS, IKE_PORTS, TUNNEL_PROTOCOLS, Protocol
from pqaudit.decode.prefilter import FrameTest, frame_test
from pqaudit.decode.reassembly import Piece, Reassembler
from pqaudit.decode.tcp import Path, TcpConnections, parse_tcp
from pqaudit.decode.tunnels import TUNNELS_BY_PORT, TUNNELS_BY_PROTOCOL
from pqaudit.decode.udp import UDP_HEADER_LENGTH, find_ike, parse_udp
from pqaudit.decode.unwrap import LAYERS_BY_LINK_TYPE, UNWRAP

_UDP = Protocol.UDP.value
_TCP = Protocol.TCP.value
_FRAGMENT = Protocol.FRAGMENT.value
_AUTHENTICATION = Protocol.AUTHENTICATION.value
_CHAINED = frozenset((_AUTHENTICATION, *(int(number) for number in EXTENSION_HEADERS)))


class _Walk:
    """One frame on its way through the layers."""

    __slots__ = ("data", "found", "frame", "frames", "tunnels", "vlan")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.data = frame.data
        self.frames: tuple[int, ...] = (frame.number,)
        self.vlan: int | None = None
        self.tunnels = 0
        self.found: list[Datagram] = []


class Decoder:
    """Finds IKE messages in the frames of one capture.

    Args:
        ports: ports that carry IKE beside 500 and 4500: by UDP, there with the non-ESP marker or without, or by TCP.
        tunnels: look inside GRE, VXLAN and the like. VLAN tags, PPPoE and MPLS are link layers and always looked into.
        limits: bounds of what is held.

    Attributes:
        counters: how often each thing out of order happened, by slug.
        anomalies: the first of them with file, frame and a sentence.
    """

    def __init__(
        self,
        *,
        ports: Iterable[int] = (),
        tunnels: bool = True,
        limits: Limits = Limits(),  # noqa: B008 - immutable
    ) -> None:
        self._extra = frozenset(ports) - IKE_PORTS
        self._ike_ports = self._extra | IKE_PORTS
        self._tunnels = tunnels
        self._limits = limits
        self._log = AnomalyLog(limits.anomalies)
        carriers = frozenset((_UDP, _AUTHENTICATION, *(int(number) for number in TUNNEL_PROTOCOLS if tunnels)))
        self._fragmented = {4: carriers, 16: carriers | _CHAINED}
        self._reassembler = Reassembler(limits, self._log, self._is_foreign)
        self._tcp = TcpConnections(limits, self._log, self._extra)
        self._unsupported: set[int] = set()

    @property
    def counters(self) -> dict[str, int]:
        """How often each thing happened, by slug."""
        return self._log.counters

    @property
    def anomalies(self) -> list[Anomaly]:
        """The first things out of order."""
        return self._log.anomalies

    def wanted(self, link_type: int) -> FrameTest | None:
        """The test by which a reader rejects frames of a link type in place, or None when all are to be decoded.

        It never rejects a frame of which ``feed`` makes use.
        """
        return frame_test(link_type, self._extra, self._tunnels, self._tcp.flows)

    def feed(self, frame: Frame) -> list[Datagram]:
        """Decode one frame: the IKE messages that it completes. Never raises, whatever the octets."""
        walk = _Walk(frame)
        layer = LAYERS_BY_LINK_TYPE.get(frame.link_type)
        if layer is None:
            layer = self._fall_back(walk)
            if layer is None:
                return walk.found
        try:
            self._descend(walk, (layer, 0, len(walk.data)))
        except MalformedError as error:
            # What a snapshot length cut off says nothing of what was sent.
            slug = "truncated-frames" if frame.original_length > len(frame.data) else "malformed-frames"
            self._log.add(slug, frame.source, frame.number, str(error))
        return walk.found

    def flush(self) -> list[Datagram]:
        """End of input: what is held and still incomplete is given up and counted.

        Messages of TCP streams are returned that wait behind a gap and can surely be told apart.
        """
        self._reassembler.flush()
        return [*self._beginnings(), *self._tcp.flush()]

    def _beginnings(self) -> list[Datagram]:
        """What the first fragments show of datagrams whose others never came; IKE directly in UDP only."""
        found: list[Datagram] = []
        for key, whole, time, digits, vlan, file in self._reassembler.remains():
            if whole.protocol != _UDP:
                continue
            frame = Frame(time, digits, 0, whole.data, len(whole.data) + whole.missing, file, whole.frames[-1])
            walk = _Walk(frame)
            walk.vlan = vlan
            walk.frames = whole.frames
            try:
                self._udp(walk, key[0], key[1], 0, len(whole.data), whole.missing)
            except MalformedError as error:
                self._log.add("truncated-frames", file, whole.frames[-1], str(error))
            found += walk.found
        return found

    def _fall_back(self, walk: _Walk) -> Layer | None:
        """Have scapy find the IP packet in a frame of a link type that is not read here."""
        frame = walk.frame
        if not fallback.knows(frame.link_type):
            self._unsupported_link_type(frame)
            return None
        found = fallback.find_ip(frame.link_type, frame.data)
        if found is None:
            return None
        self._log.count("fallback-decoded")
        layer, walk.data = found
        return layer

    def _unsupported_link_type(self, frame: Frame) -> None:
        if frame.link_type in self._unsupported:
            self._log.count("unsupported-link-type")
        else:
            self._unsupported.add(frame.link_type)
            text = f"Frames of link type {frame.link_type} cannot be read."
            self._log.add("unsupported-link-type", frame.source, frame.number, text)

    def _descend(self, walk: _Walk, first: Step) -> None:
        """Follow the layers from the outermost in. Every turn of the loop moves towards the end of the octets."""
        step: Step | None = first
        layers = 0
        tunnels = 0
        while step is not None:
            layer, start, end = step
            layers += 1
            if walk.tunnels != tunnels:
                tunnels = walk.tunnels
                layers = 0
            if layers > self._limits.layers or tunnels > self._limits.tunnels:
                frame = walk.frame
                text = "Packets are nested too deep to be followed."
                self._log.add("tunnels-too-deep", frame.source, frame.number, text)
                return
            if layer is Layer.IPV4:
                step = self._packet(walk, parse_ipv4(walk.data, start, end))
            elif layer is Layer.IPV6:
                step = self._packet(walk, parse_ipv6(walk.data, start, end))
            else:
                if layer is Layer.VLAN and walk.vlan is None:
                    walk.vlan = vlan_identifier(walk.data, start, end)
                step = UNWRAP[layer](walk.data, start, end)

    def _packet(self, walk: _Walk, packet: Packet) -> Step | None:
        """What an IP packet carries: the step into a tunnel, or None when its end is reached."""
        source, destination, protocol, start, end, missing, fragment = packet
        if fragment is not None:
            if protocol not in self._fragmented[len(source)]:
                return None
            # IPv6 does not put the protocol in the key: the first fragment names it (RFC 8200 section 4.5).
            key = (source, destination, protocol if len(source) == 4 else _FRAGMENT, fragment.identification)
            piece = Piece(fragment.offset, walk.data[start:end], missing, fragment.more, protocol)
            frame = walk.frame
            whole = self._reassembler.add(key, piece, frame.time, frame.source, walk.frames, frame.digits, walk.vlan)
            walk.found += self._beginnings()
            if whole is None:
                return None
            walk.data = whole.data
            walk.frames = whole.frames
            protocol, start, end, missing = whole.protocol, 0, len(whole.data), whole.missing
            if protocol in _CHAINED:
                protocol, start, nested = skip_headers(whole.data, protocol, 0, end)
                if nested is not None:
                    return None
        if protocol == _UDP:
            return self._udp(walk, source, destination, start, end, missing)
        if protocol == _TCP and fragment is None:
            self._segment(walk, source, destination, start, end, missing)
            return None
        if self._tunnels:
            layer = TUNNELS_BY_PROTOCOL.get(protocol)
            if layer is not None:
                walk.tunnels += 1
                return layer, start, end
        return None

    def _udp(self, walk: _Walk, source: bytes, destination: bytes, start: int, end: int, missing: int) -> Step | None:
        source_port, destination_port, start, end, missing = parse_udp(walk.data, start, end, missing)
        ports = self._ike_ports
        if destination_port in ports or source_port in ports:
            place = find_ike(walk.data, start, end, source_port, destination_port, self._extra, missing)
            if place is not None:
                if missing:
                    self._log.count("truncated-frames")
                frame = walk.frame
                walk.found.append(
                    Datagram(
                        frame.time,
                        frame.digits,
                        source,
                        source_port,
                        destination,
                        destination_port,
                        "udp",
                        walk.data[place[0] : end],
                        missing > 0,
                        place[1],
                        walk.vlan,
                        frame.source,
                        walk.frames,
                    )
                )
                return None
        if self._tunnels:
            layer = TUNNELS_BY_PORT.get(destination_port) or TUNNELS_BY_PORT.get(source_port)
            if layer is not None:
                walk.tunnels += 1
                return layer, start, end
        return None

    def _segment(self, walk: _Walk, source: bytes, destination: bytes, start: int, end: int, missing: int) -> None:
        header = parse_tcp(walk.data, start, end)
        frame = walk.frame
        path = Path(
            (source, header.source_port),
            (destination, header.destination_port),
            frame.time,
            frame.digits,
            walk.vlan,
            frame.source,
            walk.frames,
        )
        walk.found += self._tcp.add(header, walk.data[header.start : end], missing, path)

    def _is_foreign(self, protocol: int, data: bytes) -> bool:
        """True when the start of a datagram shows that it holds no IKE."""
        if protocol != _UDP or len(data) < UDP_HEADER_LENGTH:
            return False
        source_port = data[0] << 8 | data[1]
        destination_port = data[2] << 8 | data[3]
        if source_port in self._ike_ports or destination_port in self._ike_ports:
            # The smallest fragment holds the UDP header alone, so nothing can be said of the marker here.
            return False
        return not (self._tunnels and (destination_port in TUNNELS_BY_PORT or source_port in TUNNELS_BY_PORT))
