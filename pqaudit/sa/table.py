"""The table that assembles SAs from messages, in any order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

from pqaudit.decode.datagram import Datagram
from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import Message
from pqaudit.ike.numbers import (
    MAJOR_IKEV1,
    MAJOR_IKEV2,
    ZERO_SPI,
)
from pqaudit.sa.adding import add_message
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.bundles import Bundle, Key, bundled, unbundled
from pqaudit.sa.group import Group

DEFAULT_MOST_GROUPS = 1_000_000


class SaTable:
    """SAs under assembly, keyed by version and initiator SPI, never by address or port.

    Args:
        most_groups: bound on initiator SPIs held at once. Past it the oldest group without any response goes, or the
            oldest of all; each is counted in ``counters["sas-evicted"]``.
    """

    def __init__(self, *, most_groups: int = DEFAULT_MOST_GROUPS) -> None:
        self._groups: dict[Key, Group] = {}
        self._most = max(1, most_groups)
        # Filled when the table is full for the first time: groups that may not be answered yet, and those that are.
        self._waiting: deque[Key] = deque()
        self._answered: deque[Key] = deque()
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, datagram: Datagram, message: Message | V1Message) -> None:
        """Add one message."""
        version = MAJOR_IKEV1 if isinstance(message, V1Message) else MAJOR_IKEV2
        add_message(self._group(version, message.header.initiator_spi), datagram, message)

    def merge(self, other: SaTable) -> None:
        """Take over all evidence of ``other``; any order of merging gives the same SAs."""
        for key, group in other._groups.items():
            self._group(*key).merge(group)
        self.counters.update(other.counters)

    def __getstate__(self) -> dict[str, Any]:
        # To another process. Which groups are answered is found anew there when the table is full.
        return {"most": self._most, "counters": self.counters, "bundles": list(self.bundles())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._groups = {}
        self._most = state["most"]
        self._waiting = deque()
        self._answered = deque()
        self.counters = state["counters"]
        self.take_bundles(state["bundles"])

    def bundles(self) -> Iterator[Bundle]:
        """All evidence, packed to travel; the table is left as it is."""
        return bundled(self._groups.items())

    def take_bundles(self, bundles: Iterable[Bundle]) -> None:
        """Take over the evidence in bundles."""
        self._take(unbundled(bundles))

    def take_over(self, other: SaTable) -> None:
        """As ``merge``, but ``other`` is used up: what only it holds is moved and not copied."""
        self._take(other._groups.items())
        other._groups = {}
        self.counters.update(other.counters)

    def associations(self) -> Iterator[SecurityAssociation]:
        """Every SA once, in the order of their initiator SPIs' first packets. The table is left as it is."""
        for key in self._order():
            yield from self._groups[key].associations()

    def drain(self) -> Iterator[Group]:
        """All evidence in the order of first packets, then of keys; it is taken out of the table on the way."""
        self._waiting.clear()
        self._answered.clear()
        for key in self._order():
            yield self._groups.pop(key)

    def _order(self) -> list[Key]:
        return sorted(self._groups, key=lambda key: (self._groups[key].first, key))

    def _take(self, groups: Iterable[tuple[Key, Group]]) -> None:
        for key, group in groups:
            known = self._groups.get(key)
            if known is not None:
                known.merge(group)
            else:
                self._make_room(key)
                self._groups[key] = group

    def _group(self, version: int, initiator_spi: bytes) -> Group:
        key = (version, initiator_spi)
        group = self._groups.get(key)
        if group is None:
            self._make_room(key)
            group = self._groups[key] = Group(version, initiator_spi)
        return group

    def _make_room(self, key: Key) -> None:
        if len(self._groups) >= self._most:
            self._evict()
        if self._waiting or self._answered:
            self._waiting.append(key)

    def _evict(self) -> None:
        # Both queues are in the order in which groups were made. A group moves at most once from one to the other, so a
        # flood costs no more for each packet than other traffic.
        if not self._waiting and not self._answered:
            self._waiting.extend(self._groups)
        while self._waiting:
            key = self._waiting.popleft()
            group = self._groups.get(key)
            if group is None:
                continue
            if group.parts.keys() <= {ZERO_SPI}:
                break
            self._answered.append(key)
        else:
            key = self._answered.popleft()
        if self._groups.pop(key, None) is not None:
            self.counters["sas-evicted"] += 1
