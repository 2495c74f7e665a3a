"""A set of message IDs as bits, so that an SA that lives for months takes little room for its exchanges."""

from __future__ import annotations

from collections.abc import Iterator

from pqaudit.sa.bounds import MOST_MESSAGE_ID_BLOCKS

_BLOCK = 1024  # message IDs in one block


class MessageIds:
    """Set of 32-bit message IDs: bits of the lowest block, which is all that most SAs need, and of the other blocks.

    Message IDs of one peer count up by one (RFC 7296 section 2.2), so many blocks mean a forger or an SA with very many
    exchanges. The lowest blocks are kept, whatever the order in which members came; the count is then a lower bound,
    and ``limited`` is set.
    """

    __slots__ = ("_blocks", "_low", "limited")

    def __init__(self) -> None:
        self._low = 0
        self._blocks: dict[int, int] | None = None
        self.limited = False

    @classmethod
    def from_bits(cls, low: int, blocks: dict[int, int] | None, limited: bool) -> MessageIds:
        """The set with these ``bits``, which become its own."""
        made = cls()
        made._low, made._blocks, made.limited = low, blocks, limited
        return made

    @property
    def bits(self) -> tuple[int, dict[int, int] | None, bool]:
        """What it is made from by ``from_bits``, not copied."""
        return self._low, self._blocks, self.limited

    def __len__(self) -> int:
        return sum(bits.bit_count() for _, bits in self._all())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MessageIds) and dict(self._all()) == dict(other._all())

    __hash__ = None  # type: ignore[assignment]  # mutable

    @property
    def lowest(self) -> int | None:
        """Smallest member, or None."""
        for block, bits in self._all():
            return block * _BLOCK + (bits & -bits).bit_length() - 1
        return None

    @property
    def highest(self) -> int | None:
        """Largest member, or None."""
        found = None
        for block, bits in self._all():
            found = block * _BLOCK + bits.bit_length() - 1
        return found

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The members as sorted, disjoint, non-adjacent ranges, both ends included."""
        found: list[tuple[int, int]] = []
        for block, bits in self._all():
            offset = block * _BLOCK
            while bits:
                skipped = (bits & -bits).bit_length() - 1
                bits >>= skipped
                length = (~bits & (bits + 1)).bit_length() - 1
                bits >>= length
                first = offset + skipped
                offset = first + length
                if found and found[-1][1] == first - 1:
                    first = found.pop()[0]
                found.append((first, offset - 1))
        return tuple(found)

    def add(self, message_id: int) -> bool:
        """Add one; True when it was not there before."""
        if message_id < _BLOCK:
            bit = 1 << message_id
            if self._low & bit:
                return False
            self._low |= bit
            return True
        block, position = divmod(message_id, _BLOCK)
        known = 0 if self._blocks is None else self._blocks.get(block, 0)
        bit = 1 << position
        if known & bit:
            return False
        self._put(block, known | bit)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Add all from ``first`` to ``last``, both included. The work is bounded, however long the range is."""
        for block in range(first // _BLOCK, last // _BLOCK + 1):
            start = max(first - block * _BLOCK, 0)
            bits = (1 << min(last - block * _BLOCK, _BLOCK - 1) + 1) - (1 << start)
            if block == 0:
                self._low |= bits
                continue
            blocks = self._blocks or {}
            if len(blocks) >= MOST_MESSAGE_ID_BLOCKS and block > max(blocks):
                self.limited = True
                return  # the lowest blocks are kept, and what follows is higher still
            self._put(block, bits | blocks.get(block, 0))

    def update(self, other: MessageIds) -> None:
        """Union with ``other``."""
        self._low |= other._low
        self.limited = self.limited or other.limited
        for block, bits in (other._blocks or {}).items():
            self._put(block, bits | (self._blocks or {}).get(block, 0))

    def _put(self, block: int, bits: int) -> None:
        if self._blocks is None:
            self._blocks = {}
        self._blocks[block] = bits
        if len(self._blocks) > MOST_MESSAGE_ID_BLOCKS:
            del self._blocks[max(self._blocks)]
            self.limited = True

    def _all(self) -> Iterator[tuple[int, int]]:
        if self._low:
            yield 0, self._low
        if self._blocks:
            yield from sorted(self._blocks.items())
