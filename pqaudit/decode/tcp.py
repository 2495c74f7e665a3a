"""TCP headers, and the connections that carry IKE."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from pqaudit.decode.anomaly import AnomalyLog
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.framing import StreamMessage, is_border
from pqaudit.decode.layers import MalformedError, need
from pqaudit.decode.limits import Limits
from pqaudit.decode.numbers import IKE_PORTS, TCP_PREFIX
from pqaudit.decode.stream import NANOSECONDS, Stream

TCP_HEADER_LENGTH = 20

# RFC 9293 section 3.1
_FIN = 0x01
_SYN = 0x02
_RST = 0x04
_ACK = 0x10

_SEQUENCE_MASK = 0xFFFFFFFF

End = tuple[bytes, int]
"""Address and port."""

_Key = tuple[End, End]


class TcpHeader(NamedTuple):
    """What is needed of a TCP header. ``start`` is where its payload begins."""

    source_port: int
    destination_port: int
    sequence: int
    acknowledgement: int
    flags: int
    start: int


class Path(NamedTuple):
    """Where a segment came from: ends, and the frame that held it."""

    source: End
    destination: End
    time: int
    digits: int
    vlan: int | None
    file: str
    frames: tuple[int, ...]


def parse_tcp(data: bytes, start: int, end: int) -> TcpHeader:
    """Read a TCP header (RFC 9293). Raises MalformedError."""
    need(start, TCP_HEADER_LENGTH, end, "A TCP header")
    length = (data[start + 12] >> 4) * 4
    if length < TCP_HEADER_LENGTH:
        raise MalformedError(f"A TCP header claims {length} octets.")
    need(start, length, end, "A TCP header")
    return TcpHeader(
        data[start] << 8 | data[start + 1],
        data[start + 2] << 8 | data[start + 3],
        int.from_bytes(data[start + 4 : start + 8], "big"),
        int.from_bytes(data[start + 8 : start + 12], "big"),
        data[start + 13],
        start + length,
    )


def flow_key(source_port: int, destination_port: int) -> bytes:
    """The ports as they stand in a header, by which frames of a known connection are recognised."""
    return source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")


class _Connection:
    """Both directions, by the end that sends, and the latest frame of it."""

    __slots__ = ("last", "on_ike_port", "streams")

    def __init__(self, last: Path, on_ike_port: bool) -> None:
        self.last = last
        self.on_ike_port = on_ike_port
        self.streams: dict[End, Stream] = {}

    @property
    def octets(self) -> int:
        return sum(stream.octets for stream in self.streams.values())


class TcpConnections:
    """The connections that carry IKE: those of port 500 or 4500, and all others that start with the prefix.

    On a port of the user, which may be 443, a connection is also recognised in the middle, by a whole IKE message.

    Args:
        limits: bounds of what is held.
        log: where to count and report what was given up.
        ports: those of the user.

    Attributes:
        flows: how many connections on other ports have a pair of ports (``flow_key``), in both directions.
    """

    def __init__(self, limits: Limits, log: AnomalyLog, ports: frozenset[int] = frozenset()) -> None:
        self._limits = limits
        self._log = log
        self._ports = IKE_PORTS | ports
        self._table: OrderedDict[_Key, _Connection] = OrderedDict()
        self._octets = 0
        self._previous_time = 0
        self.flows: dict[bytes, int] = {}

    @property
    def octets(self) -> int:
        """Octets held."""
        return self._octets

    def __len__(self) -> int:
        """Connections followed."""
        return len(self._table)

    def add(self, header: TcpHeader, data: bytes, missing: int, path: Path) -> list[Datagram]:
        """Add a segment: the messages that it completes."""
        source, destination = path.source, path.destination
        key = (source, destination) if source <= destination else (destination, source)
        connection = self._table.get(key)
        starts_prefixed = data.startswith(TCP_PREFIX)
        if connection is None:
            on_ike_port = source[1] in IKE_PORTS or destination[1] in IKE_PORTS
            named = source[1] in self._ports or destination[1] in self._ports
            if not (starts_prefixed or (on_ike_port and header.flags & _SYN) or (named and is_border(data))):
                return []
            connection = self._open(key, path, on_ike_port)
        else:
            self._table.move_to_end(key)
        self._expire(path.time)
        before = connection.octets
        messages: list[tuple[End, StreamMessage]] = []
        self._advance(connection, header, data, missing, path, starts_prefixed, messages)
        connection.last = path
        found = [_datagram(sender, message, connection, key) for sender, message in messages]
        self._octets += connection.octets - before
        if header.flags & _RST or not connection.streams:
            found += self._close(key)
        return found + self._evict()

    def flush(self) -> list[Datagram]:
        """End of input: gaps are given up, and what follows them is taken where it can be told apart."""
        found: list[Datagram] = []
        while self._table:
            found += self._close(next(iter(self._table)))
        return found

    def _advance(
        self,
        connection: _Connection,
        header: TcpHeader,
        data: bytes,
        missing: int,
        path: Path,
        starts_prefixed: bool,
        messages: list[tuple[End, StreamMessage]],
    ) -> None:
        streams = connection.streams
        sequence = header.sequence
        stream = streams.get(path.source)
        found: list[StreamMessage] = []
        if header.flags & _SYN:
            sequence = sequence + 1 & _SEQUENCE_MASK
            if stream is None or not stream.starts_at(sequence):
                if stream is not None:
                    self._flush_stream(stream, found)
                # The side that opens sends the prefix.
                stream = Stream(self._limits, sequence, may_be_prefix=not header.flags & _ACK)
                streams[path.source] = stream
        elif stream is None:
            stream = Stream(self._limits, None, may_be_prefix=False)
            streams[path.source] = stream
        if starts_prefixed and header.flags & _ACK and path.destination not in streams:
            # The other side sends nothing before it has the prefix, so its stream starts at what this acknowledges.
            streams[path.destination] = Stream(self._limits, header.acknowledgement, may_be_prefix=False)
        gaps = stream.gaps
        if data or missing:
            stream.add(sequence, data, missing, path.time, path.frames, found)
        if header.flags & _FIN:
            stream.finish_at(sequence + len(data) + missing & _SEQUENCE_MASK)
        if stream.ended:
            del streams[path.source]
        if stream.gaps > gaps:
            self._log.count("tcp-gaps", stream.gaps - gaps)
        messages.extend((path.source, message) for message in found)

    def _flush_stream(self, stream: Stream, found: list[StreamMessage]) -> None:
        gaps = stream.gaps
        stream.flush(found)
        if stream.gaps > gaps:
            self._log.count("tcp-gaps", stream.gaps - gaps)

    def _open(self, key: _Key, path: Path, on_ike_port: bool) -> _Connection:
        connection = _Connection(path, on_ike_port)
        self._table[key] = connection
        if not on_ike_port:
            for flow in _flows(key):
                self.flows[flow] = self.flows.get(flow, 0) + 1
        return connection

    def _close(self, key: _Key) -> list[Datagram]:
        connection = self._table.pop(key)
        self._octets -= connection.octets
        if not connection.on_ike_port:
            for flow in _flows(key):
                self.flows[flow] -= 1
                if not self.flows[flow]:
                    del self.flows[flow]
        found: list[Datagram] = []
        for sender, stream in connection.streams.items():
            messages: list[StreamMessage] = []
            self._flush_stream(stream, messages)
            found += [_datagram(sender, message, connection, key) for message in messages]
        return found

    def _expire(self, time: int) -> None:
        # As with fragments, two segments in a row have to agree on the time.
        now = min(time, self._previous_time)
        self._previous_time = time
        idle = self._limits.tcp_idle_seconds * NANOSECONDS
        while len(self._table) > 1:
            key, oldest = next(iter(self._table.items()))
            if oldest.last.time + idle >= now or oldest.octets:
                break
            self._close(key)

    def _evict(self) -> list[Datagram]:
        found: list[Datagram] = []
        while self._table and (
            len(self._table) > self._limits.tcp_connections or self._octets > self._limits.tcp_octets
        ):
            key, oldest = next(iter(self._table.items()))
            self._log.add(
                "tcp-streams-evicted",
                oldest.last.file,
                oldest.last.frames[-1],
                "A TCP connection that carries IKE was forgotten, for too many were open at once.",
            )
            found += self._close(key)
        return found


def _flows(key: _Key) -> tuple[bytes, bytes]:
    (_, one), (_, other) = key
    return flow_key(one, other), flow_key(other, one)


def _datagram(sender: End, message: StreamMessage, connection: _Connection, key: _Key) -> Datagram:
    receiver = key[1] if key[0] == sender else key[0]
    last = connection.last
    return Datagram(
        message.time,
        last.digits,
        sender[0],
        sender[1],
        receiver[0],
        receiver[1],
        "tcp",
        message.payload,
        message.truncated,
        True,
        last.vlan,
        last.file,
        message.frames,
    )
