"""A reusable buffer that shows the readers a piece of their input at a time."""

from __future__ import annotations

from pqaudit.capture.octets import OctetSource

INITIAL_CAPACITY = 1 << 19
"""Measured: 512 KiB is read and walked 5 to 10 % faster than 64 KiB or 2 MiB, as it stays in the cache."""
SLACK = 64
"""Octets that may be unpacked behind the end of what was read, so that the readers need not check for each field."""

# A read into less room than this is not worth a system call; the remainder is moved to the front first.
_LEAST_ROOM = 1 << 16


class Window:
    """The octets ``buffer[start:end]`` of an input.

    Readers copy ``buffer`` and ``end`` to local variables, walk over whole records and call ``more`` when the next one
    is not complete. The remainder is moved to the front of the same buffer instead of being concatenated with the next
    piece, and at most twice for each record, however short the reads are: the work is linear in the input.
    """

    __slots__ = ("_capacity", "_source", "buffer", "end", "start")

    def __init__(self, source: OctetSource, capacity: int = INITIAL_CAPACITY) -> None:
        self._source = source
        self._capacity = capacity
        self.buffer = bytearray(capacity + SLACK)
        self.start = 0
        self.end = 0

    def more(self, start: int, needed: int) -> bool:
        """Give up what lies before ``start`` and read once more; False at the end of the input.

        ``needed`` is the number of octets from ``start`` on that the caller waits for. The buffer doubles as the octets
        arrive and not by what a header claims, so memory stays within twice what the input really holds.
        ``buffer``, ``start`` and ``end`` are changed. Raises InputFault.
        """
        remainder = self.end - start
        room = self._capacity - self.end
        if start and (not remainder or room < _LEAST_ROOM or start + needed > self._capacity):
            self.buffer[:remainder] = self.buffer[start : self.end]
            start, self.end = 0, remainder
        if self.end == self._capacity:
            self.buffer.extend(bytes(self._capacity))
            self._capacity *= 2
        self.start = start
        with memoryview(self.buffer) as view, view[self.end : self._capacity] as target:
            count = self._source.readinto(target)
        self.end += count
        return count > 0

    def fill(self, needed: int) -> bool:
        """Read until ``needed`` octets are there from ``start`` on; False when the input ends before."""
        while self.end - self.start < needed:
            if not self.more(self.start, needed):
                return False
        return True

    def skip(self, count: int) -> bool:
        """Pass over ``count`` octets without holding them; False when the input ends before."""
        while (ahead := self.end - self.start) < count:
            count -= ahead
            if not self.more(self.end, 1):
                return False
        self.start += count
        return True
