"""One direction of a TCP connection put in order."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from pqaudit.decode.framing import Framing, StreamMessage, is_border
from pqaudit.decode.limits import Limits
from pqaudit.decode.numbers import TCP_PREFIX

NANOSECONDS = 1_000_000_000

_SEQUENCE_SPACE = 1 << 32
_FAR = 1 << 26
"""A segment further away than this belongs to another connection of the same ports, whose start was not captured."""


SEGMENT_COST = 256
"""What holding a segment takes beside its octets."""


class Segment(NamedTuple):
    """Octets of a stream from position ``start`` on. ``missing`` octets behind them were sent and not captured."""

    start: int
    data: bytes
    missing: int
    time: int
    frames: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The position behind the segment."""
        return self.start + len(self.data) + self.missing


class Stream:
    """Orders segments and hands the octets to the framing.

    Positions are sequence numbers that do not wrap: 32-bit numbers are taken as near to the expected one as can be.

    Args:
        limits: how much may wait behind a gap, and for how long.
        position: sequence number of the next octet, or None when the capture starts within the stream.
        may_be_prefix: whether the stream may start with the prefix of RFC 9329.

    Attributes:
        gaps: gaps given up.
        end: the position at which the sender said that it ends, or None.
    """

    __slots__ = (
        "_framing",
        "_gap_since",
        "_limits",
        "_pending",
        "_pending_octets",
        "_position",
        "_synchronised",
        "end",
        "gaps",
    )

    def __init__(self, limits: Limits, position: int | None, *, may_be_prefix: bool) -> None:
        self._limits = limits
        self._position = position or 0
        self._synchronised = position is not None
        self._framing = Framing(may_be_prefix=may_be_prefix)
        self._pending: list[Segment] = []
        self._pending_octets = 0
        self._gap_since = 0
        self.gaps = 0
        self.end: int | None = None

    @property
    def octets(self) -> int:
        """Octets held, with what holding them takes."""
        return self._pending_octets + self._framing.octets

    @property
    def ended(self) -> bool:
        """Whether all octets up to the end were taken."""
        return self.end is not None and (not self._synchronised or self._position >= self.end)

    def starts_at(self, sequence: int) -> bool:
        """True when nothing was taken yet and the stream starts at this sequence number."""
        return self._synchronised and (self._position - sequence) % _SEQUENCE_SPACE == 0 and not self.octets

    def finish_at(self, sequence: int) -> None:
        """The sender said that its last octet was the one before this sequence number."""
        self.end = self._unwrap(sequence)

    def add(
        self, sequence: int, data: bytes, missing: int, time: int, frames: tuple[int, ...], found: list[StreamMessage]
    ) -> None:
        """Add the octets of a segment, and append the messages that they complete to ``found``."""
        start = self._unwrap(sequence)
        distance = start - self._position
        if self._synchronised and not -_FAR < distance < _FAR:
            if not _begins(data):
                return
            self.flush(found)
            self._synchronised = False
            self._position = start
        segment = Segment(start, data, missing, time, frames)
        if not self._synchronised:
            self._try(segment, found)
            return
        if self._pending and time - self._gap_since > self._limits.tcp_gap_seconds * NANOSECONDS:
            self._give_up_gap(found)
        if not self._synchronised:
            self._try(segment, found)
        elif start <= self._position:
            self._take(segment, found)
            self._drain(found)
        else:
            self._wait(segment)
            while (
                self._pending_octets > self._limits.tcp_stream_octets
                or len(self._pending) > self._limits.tcp_stream_segments
            ):
                self._give_up_gap(found)

    def flush(self, found: list[StreamMessage]) -> None:
        """Nothing more will come: give up every gap."""
        while self._pending:
            self._give_up_gap(found)

    def _unwrap(self, sequence: int) -> int:
        half = _SEQUENCE_SPACE // 2
        return self._position + (sequence - self._position + half) % _SEQUENCE_SPACE - half

    def _try(self, segment: Segment, found: list[StreamMessage]) -> None:
        """Begin anew at a segment that surely starts with a frame; let any other go."""
        if segment.start < self._position and self._position - segment.start < _FAR and self.gaps:
            return  # a repetition of what was taken before the stream was lost
        if _begins(segment.data):
            self._framing = Framing(may_be_prefix=segment.data.startswith(TCP_PREFIX))
            self._synchronised = True
            self._position = segment.start
            self._take(segment, found)

    def _wait(self, segment: Segment) -> None:
        index = bisect_right(self._pending, segment.start, key=_start)
        if index and self._pending[index - 1].stop >= segment.stop:
            return  # its neighbour holds all of it
        if not self._pending:
            self._gap_since = segment.time
        self._pending.insert(index, segment)
        self._pending_octets += len(segment.data) + SEGMENT_COST

    def _take(self, segment: Segment, found: list[StreamMessage]) -> None:
        """Take what is new of a segment that begins at the position or before; what came first stays."""
        known = self._position - segment.start
        if segment.stop <= self._position:
            return
        fresh = segment.data[known:]
        missing = segment.stop - self._position - len(fresh)
        if fresh:
            self._framing.take(fresh, segment.time, segment.frames, found)
        if missing and not self._framing.broken:
            self._framing.lose(missing, found)
        self._position = segment.stop
        self._check(broken=self._framing.broken)

    def _check(self, *, broken: bool) -> None:
        if broken:
            self.gaps += 1
            self._synchronised = False

    def _drain(self, found: list[StreamMessage]) -> None:
        """Take what waited and now follows."""
        done = 0
        pending = self._pending
        while done < len(pending):
            segment = pending[done]
            if self._synchronised:
                if segment.start > self._position:
                    break
                self._take(segment, found)
            else:
                self._try(segment, found)
            done += 1
            self._pending_octets -= len(segment.data) + SEGMENT_COST
        del pending[:done]
        if done and pending:
            self._gap_since = pending[0].time

    def _give_up_gap(self, found: list[StreamMessage]) -> None:
        """What lies before the first waiting segment will not come."""
        first = self._pending[0].start
        self._framing.lose(first - self._position, found)
        self._position = first
        self.gaps += 1
        self._synchronised = not self._framing.broken
        self._drain(found)


def _start(segment: Segment) -> int:
    return segment.start


def _begins(data: bytes) -> bool:
    return data.startswith(TCP_PREFIX) or is_border(data)
