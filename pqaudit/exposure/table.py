"""ESP traffic by pair of peers."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from pqaudit.decode.esp import EspPacket
from pqaudit.finding.address import address_text
from pqaudit.finding.clock import rfc3339
from pqaudit.finding.document import Document

MOST_PAIRS: Final = 100_000
PAIRS_NOT_COUNTED: Final = "exposure-pairs-not-counted"
PAIRS_FORGOTTEN: Final = "exposure-pairs-forgotten"

Pair = tuple[bytes, bytes]


@dataclass(slots=True)
class Exposure:
    """Traffic of one pair, both ways; times in nanoseconds since the epoch."""

    packets: int
    octets: int
    first: int
    last: int


@dataclass(slots=True)
class ExposureTable:
    """Counts ESP by unordered pair of addresses; packets of pairs beyond ``MOST_PAIRS`` are counted as one sum."""

    pairs: dict[Pair, Exposure] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)

    def add(self, packet: EspPacket, time: int) -> None:
        """Count one packet."""
        one, other = packet.source, packet.destination
        self._add((one, other) if one <= other else (other, one), Exposure(1, packet.octets, time, time))

    def merge(self, other: ExposureTable, times: int = 1) -> None:
        """Add the traffic that another reader counted, of which each packet stands for so many."""
        for pair, exposure in other.pairs.items():
            self._add(pair, Exposure(exposure.packets * times, exposure.octets * times, exposure.first, exposure.last))
        for name, count in other.counters.items():
            self.counters[name] += count * times

    def make_room(self, pairs: int) -> None:
        """Forget pairs with the fewest octets, and count them, when there is no room for so many more.

        A tenth more than needed goes, so that this is not done for every pair: of a table that is kept for months, in
        which made-up pairs must not push out the ones that matter.
        """
        excess = len(self.pairs) + pairs - MOST_PAIRS
        if excess <= 0:
            return
        excess = min(len(self.pairs), max(excess, MOST_PAIRS // 10))
        for pair in heapq.nsmallest(excess, self.pairs, key=self._octets_of):
            del self.pairs[pair]
        self.counters[PAIRS_FORGOTTEN] += excess

    def _octets_of(self, pair: Pair) -> int:
        return self.pairs[pair].octets

    def _add(self, pair: Pair, more: Exposure) -> None:
        known = self.pairs.get(pair)
        if known is not None:
            known.packets += more.packets
            known.octets += more.octets
            known.first = min(known.first, more.first)
            known.last = max(known.last, more.last)
        elif len(self.pairs) < MOST_PAIRS:
            self.pairs[pair] = Exposure(more.packets, more.octets, more.first, more.last)
        else:
            self.counters[PAIRS_NOT_COUNTED] += more.packets

    def documents(self, sampled: int | None = None) -> dict[tuple[str, ...], Document]:
        """The traffic of each pair as JSON, by ``ends_text`` of the pair.

        Args:
            sampled: for estimates of a sensor: each packet that was counted stands for so many.
        """
        found: dict[tuple[str, ...], Document] = {}
        for pair, exposure in self.pairs.items():
            found[ends_text(pair)] = {
                "esp_packets": exposure.packets,
                "esp_octets": exposure.octets,
                "first": rfc3339(exposure.first, 6),
                "last": rfc3339(exposure.last, 6),
            }
            if sampled is not None:
                found[ends_text(pair)]["sampled"] = sampled
        return found


def ends_text(pair: Pair) -> tuple[str, ...]:
    """Both addresses as text, in the order of that text."""
    return tuple(sorted(address_text(address) for address in pair))
