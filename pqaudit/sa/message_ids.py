"""A set of message IDs as ranges, so that an SA that lives for months takes no room for each of its exchanges."""

from __future__ import annotations

from bisect import bisect_right

from pqaudit.sa.bounds import MOST_MESSAGE_ID_RANGES


class MessageIds:
    """Set of 32-bit message IDs, stored as sorted, disjoint, non-adjacent ranges (first, last)."""

    __slots__ = ("_ranges",)

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageIds) and self._ranges == other._ranges

    __hash__ = None  # type: ignore[assignment]  # mutable

    @property
    def lowest(self) -> int | None:
        """Smallest member, or None."""
        return self._ranges[0][0] if self._ranges else None

    @property
    def highest(self) -> int | None:
        """Largest member, or None."""
        return self._ranges[-1][1] if self._ranges else None

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges, both ends included."""
        return tuple(self._ranges)

    def add(self, message_id: int) -> bool:
        """Add one; True when it was not there before."""
        ranges = self._ranges
        if ranges:
            first, last = ranges[-1]
            if message_id == last + 1:  # the usual case: the next message
                ranges[-1] = (first, message_id)
                return True
        return self._insert(message_id, message_id)

    def update(self, other: MessageIds) -> None:
        """Union with ``other``."""
        for first, last in other._ranges:
            self._insert(first, last)

    def _insert(self, first: int, last: int) -> bool:
        ranges = self._ranges
        index = bisect_right(ranges, (first, 1 << 32))
        if index and ranges[index - 1][1] >= last:
            return False
        start = index
        if index and ranges[index - 1][1] >= first - 1:
            start = index - 1
            first = ranges[start][0]
        end = start
        while end < len(ranges) and ranges[end][0] <= last + 1:
            last = max(last, ranges[end][1])
            end += 1
        ranges[start:end] = [(first, last)]
        # Message IDs of one peer count up by one (RFC 7296 section 2.2), so many ranges mean a forger or heavy loss.
        # The highest ranges go first; the count is then a lower bound.
        del ranges[MOST_MESSAGE_ID_RANGES:]
        return True
