"""ESP traffic by pair of peers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from pqaudit.decode.esp import EspPacket
from pqaudit.finding.address import address_text
from pqaudit.finding.clock import rfc3339
from pqaudit.finding.document import Document

MOST_PAIRS: Final = 100_000
PAIRS_NOT_COUNTED: Final = "exposure-pairs-not-counted"

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

    def merge(self, other: ExposureTable) -> None:
        """Add the traffic that another reader counted in other captures."""
        for pair, exposure in other.pairs.items():
            self._add(pair, exposure)
        self.counters.update(other.counters)

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

    def documents(self) -> dict[tuple[str, ...], Document]:
        """The traffic of each pair as JSON, by both addresses as text in the order of that text."""
        found: dict[tuple[str, ...], Document] = {}
        for pair, exposure in self.pairs.items():
            found[tuple(sorted(address_text(address) for address in pair))] = {
                "esp_packets": exposure.packets,
                "esp_octets": exposure.octets,
                "first": rfc3339(exposure.first, 6),
                "last": rfc3339(exposure.last, 6),
            }
        return found
