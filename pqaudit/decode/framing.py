"""The framing of IKE and ESP in a TCP stream (RFC 9329 section 3)."""

from __future__ import annotations

from typing import NamedTuple

from pqaudit.decode.numbers import IKE_HEADER_LENGTH, MARKER, TCP_PREFIX
from pqaudit.decode.udp import is_plausible

_LENGTH_OCTETS = 2
_MESSAGE_START = _LENGTH_OCTETS + len(MARKER)
_LEAST_LENGTH = _MESSAGE_START + IKE_HEADER_LENGTH
"""A shorter frame holds no IKE message."""


FRAME_COST = 40
"""What remembering the number of a frame takes."""


class StreamMessage(NamedTuple):
    """An IKE message of a stream, the frames that carried it and the time of the latest of them."""

    payload: bytes
    truncated: bool
    time: int
    frames: tuple[int, ...]


def is_border(data: bytes) -> bool:
    """True when a frame of an IKE message surely starts here: length, marker and the header's own length agree."""
    if len(data) < _LEAST_LENGTH or data[_LENGTH_OCTETS:_MESSAGE_START] != MARKER:
        return False
    stop = data[0] << 8 | data[1]
    return is_plausible(data, _MESSAGE_START, min(stop, len(data)), max(0, stop - len(data)))


class Framing:
    """Cuts one direction of a stream into frames. Of ESP frames nothing is kept.

    Attributes:
        broken: a length field was impossible, so that where the next frame begins is not known.
    """

    __slots__ = ("_frames", "_head", "_may_be_prefix", "_skip", "_time", "broken")

    def __init__(self, *, may_be_prefix: bool) -> None:
        self._head = bytearray()
        self._skip = 0
        self._frames: list[int] = []
        self._time = 0
        self._may_be_prefix = may_be_prefix
        self.broken = False

    @property
    def octets(self) -> int:
        """Octets held of an incomplete message, with the numbers of its frames."""
        return len(self._head) + FRAME_COST * len(self._frames) if self._head else 0

    def take(self, data: bytes, time: int, frames: tuple[int, ...], found: list[StreamMessage]) -> None:
        """Take the octets that follow, and append the messages that they complete to ``found``."""
        position, end = 0, len(data)
        head = self._head
        while position < end and not self.broken:
            if self._skip:
                count = min(self._skip, end - position)
                self._skip -= count
                position += count
                continue
            if not head:
                self._frames.clear()
                self._time = time
            wanted = self._wanted()
            piece = data[position : position + wanted - len(head)]
            head += piece
            position += len(piece)
            if not self._frames or self._frames[-1] != frames[-1]:
                self._frames.extend(frames)
                self._time = max(self._time, time)
            if len(head) == wanted:
                self._advance(found)

    def lose(self, count: int, found: list[StreamMessage]) -> None:
        """Pass over ``count`` octets that no frame holds. Breaks unless they end inside the present frame."""
        head = self._head
        if self._skip:
            rest = self._skip
        elif len(head) >= _LENGTH_OCTETS and not self._may_be_prefix:
            rest = (head[0] << 8 | head[1]) - len(head)
            if len(head) >= _LEAST_LENGTH and rest > 0:
                found.append(self._message(truncated=True))
        else:
            rest = -1
        head.clear()
        self._skip = rest - count
        if self._skip < 0:
            self._skip = 0
            self.broken = True

    def _wanted(self) -> int:
        """How many octets the head must have before the next decision."""
        head = self._head
        if self._may_be_prefix:
            return len(TCP_PREFIX)
        if len(head) < _LENGTH_OCTETS:
            return _LENGTH_OCTETS
        return _MESSAGE_START if len(head) < _MESSAGE_START else head[0] << 8 | head[1]

    def _advance(self, found: list[StreamMessage]) -> None:
        """Decide on a head that is as long as wanted."""
        head = self._head
        if self._may_be_prefix:
            self._may_be_prefix = False
            if head == TCP_PREFIX:
                head.clear()
                return
            # No prefix: these octets are the start of a frame, which is at least as long or can be skipped.
        length = head[0] << 8 | head[1]
        if length < _LENGTH_OCTETS or len(head) > length:
            self.broken = True
            head.clear()
        elif length < _LEAST_LENGTH or (len(head) >= _MESSAGE_START and head[_LENGTH_OCTETS:_MESSAGE_START] != MARKER):
            self._skip = length - len(head)
            head.clear()
        elif len(head) == length:
            found.append(self._message(truncated=False))
            head.clear()

    def _message(self, *, truncated: bool) -> StreamMessage:
        payload = bytes(self._head[_MESSAGE_START:])
        return StreamMessage(payload, truncated, self._time, tuple(sorted(set(self._frames))))
