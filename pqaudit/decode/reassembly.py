"""IP fragments back to datagrams (RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pqaudit.decode.ip import Packet

MOST_DATAGRAMS = 4096  # held at once
MOST_HELD_OCTETS = 32 * 1024 * 1024
MOST_DATAGRAM_OCTETS = 65_535
MOST_FRAGMENTS = 8192  # 65,535 octets in pieces of 8
TIME_OUT = 60_000_000_000  # nanoseconds between the first fragment and the last (RFC 8200 section 4.5)

Key = tuple[bytes, bytes, int, int, int]


@dataclass(frozen=True, slots=True)
class Whole:
    """A datagram put together again."""

    payload: bytes
    truncated: bool
    frames: tuple[int, ...]


@dataclass(slots=True)
class _Pieces:
    started: int
    parts: dict[int, bytes] = field(default_factory=dict)
    frames: dict[int, None] = field(default_factory=dict)
    total: int | None = None
    octets: int = 0
    truncated: bool = False


class Reassembler:
    """Holds fragments until their datagram is whole. Every bound that is reached is counted in ``counters``."""

    def __init__(self, counters: Counter[str]) -> None:
        self._held: dict[Key, _Pieces] = {}
        self._octets = 0
        self._counters = counters

    def add(self, packet: Packet, time: int, frame: int) -> Whole | None:
        """Add a fragment; gives the datagram when it completes one."""
        assert packet.identification is not None
        key = (packet.source, packet.destination, packet.protocol, packet.identification, len(packet.source))
        pieces = self._held.get(key)
        if pieces is not None and abs(time - pieces.started) > TIME_OUT:
            self._drop(key, "fragments-timed-out")
            pieces = None
        if pieces is None:
            self._make_room(len(packet.payload))
            pieces = self._held[key] = _Pieces(time)
        start, octets = packet.fragment_offset, packet.payload
        end = start + len(octets)
        if end > MOST_DATAGRAM_OCTETS or len(pieces.parts) >= MOST_FRAGMENTS:
            self._drop(key, "fragments-damaged")
            return None
        pieces.frames[frame] = None
        pieces.truncated = pieces.truncated or packet.truncated
        known = pieces.parts.get(start)
        if known is None:
            pieces.parts[start] = octets
            pieces.octets += len(octets)
            self._octets += len(octets)
        elif known != octets:
            # RFC 5722: a datagram with overlapping fragments is dropped whole; nobody can tell which one counted.
            self._drop(key, "fragments-overlapping")
            return None
        if not packet.more_fragments:
            if pieces.total is not None and pieces.total != end:
                self._drop(key, "fragments-overlapping")
                return None
            pieces.total = end
        # Pieces are put in order only when they could be complete, so the work stays linear.
        if pieces.total is None or (pieces.octets < pieces.total and not pieces.truncated):
            return None
        return self._complete(key, pieces)

    def flush(self) -> None:
        """Give up what is still held, at the end of the input."""
        for key in list(self._held):
            self._drop(key, "fragments-incomplete")

    def _complete(self, key: Key, pieces: _Pieces) -> Whole | None:
        position = 0
        for start in sorted(pieces.parts):
            if start > position:
                if pieces.truncated:
                    break  # a snapshot length cut the piece before: what stands in front of the gap is used
                return None
            if start < position:
                self._drop(key, "fragments-overlapping")
                return None
            position += len(pieces.parts[start])
        if pieces.truncated and not self._all_here(pieces):
            return None
        payload = bytearray()
        for start in sorted(pieces.parts):
            if start != len(payload):
                break
            payload += pieces.parts[start]
        self._remove(key)
        self._counters["fragments-reassembled"] += 1
        return Whole(bytes(payload), len(payload) != pieces.total, tuple(sorted(pieces.frames)))

    @staticmethod
    def _all_here(pieces: _Pieces) -> bool:
        """With cut-off pieces their octets prove nothing: the last fragment and the first must have come."""
        return 0 in pieces.parts and pieces.total is not None

    def _make_room(self, octets: int) -> None:
        while self._held and (len(self._held) >= MOST_DATAGRAMS or self._octets + octets > MOST_HELD_OCTETS):
            self._drop(next(iter(self._held)), "fragments-evicted")

    def _drop(self, key: Key, counter: str) -> None:
        self._remove(key)
        self._counters[counter] += 1

    def _remove(self, key: Key) -> None:
        self._octets -= self._held.pop(key).octets
