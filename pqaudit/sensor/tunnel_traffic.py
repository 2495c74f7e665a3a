"""The tunnels that a sensor knows: how much ESP each carries, and what it negotiated last."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from pqaudit.exposure.table import MOST_PAIRS, Exposure, ExposureTable, Pair, ends_text
from pqaudit.finding.document import Document
from pqaudit.finding.grouping import UNDETERMINED, Grouping
from pqaudit.rules.rulebook import Rulebook

NO_IKE_SEEN: Final = "no-ike-seen"

_MICROSECONDS = 1_000_000
_NANOSECONDS_OF_ONE = 1000


class TunnelTraffic:
    """Joins ESP that was counted with findings, for months and in bounded space.

    Args:
        rulebook: gives the order of verdicts.
        sampled: each packet that is counted stands for so many.

    Attributes:
        sampled: the same; more when traffic was restored of which each packet stood for more.
        packets, octets: by the verdict on the tunnel when they came, or ``NO_IKE_SEEN``.
    """

    def __init__(self, rulebook: Rulebook, sampled: int) -> None:
        self.sampled = sampled
        self.packets: Counter[str] = Counter()
        self.octets: Counter[str] = Counter()
        self._times = sampled
        self._ranks = {verdict.id: rank for rank, verdict in enumerate(rulebook.verdicts)}
        self._table = ExposureTable()
        self._grouping = Grouping("tunnel", rulebook, MOST_PAIRS)

    @property
    def pairs(self) -> int:
        """Pairs of peers that send ESP."""
        return len(self._table.pairs)

    @property
    def counters(self) -> Counter[str]:
        """What was not counted or is forgotten, by slug."""
        return self._table.counters + self._grouping.counters

    def told(self, finding: Document) -> None:
        """An SA was decided, or what is known of it changed."""
        self._grouping.add(finding)

    def add(self, counted: ExposureTable) -> None:
        """Packets were counted."""
        for pair, seen in counted.pairs.items():
            self._attribute(pair, seen.packets * self._times, seen.octets * self._times)
        self._table.make_room(sum(pair not in self._table.pairs for pair in counted.pairs))
        self._table.merge(counted, self._times)

    def _attribute(self, pair: Pair, packets: int, octets: int) -> None:
        verdict = self._grouping.verdict(ends_text(pair)) or NO_IKE_SEEN
        self.packets[verdict] += packets
        self.octets[verdict] += octets

    def documents(self) -> Iterator[Document]:
        """All tunnels, as ``audit --group-by tunnel --exposure`` gives them."""
        return self._grouping.documents(self._table.documents(self.sampled))

    def restore(self, document: Document) -> None:
        """Take in a tunnel as ``documents`` gave it; its traffic counts for the verdict that it has there.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is no such document.
        """
        self._grouping.restore(document)
        seen = document["exposure"]
        if seen is None:
            return
        one, other = sorted(ip_address(address).packed for address in document["tunnel"])
        self.sampled = max(self.sampled, int(seen["sampled"]))
        exposure = Exposure(
            int(seen["esp_packets"]), int(seen["esp_octets"]), _nanoseconds(seen["first"]), _nanoseconds(seen["last"])
        )
        self._table.merge(ExposureTable({(one, other): exposure}))
        self._attribute((one, other), exposure.packets, exposure.octets)

    def top(self, most: int) -> tuple[tuple[tuple[str, ...], str, int, int], ...]:
        """Those with the most octets, worst verdict first: both addresses, verdict, octets, packets."""
        rows = (
            (ends, self._grouping.verdict(ends) or NO_IKE_SEEN, seen.octets, seen.packets)
            for ends, seen in ((ends_text(pair), seen) for pair, seen in self._table.pairs.items())
        )
        unknown = self._ranks[UNDETERMINED]
        return tuple(heapq.nsmallest(most, rows, key=lambda row: (self._ranks.get(row[1], unknown), -row[2], row[0])))


def _nanoseconds(text: str) -> int:
    """Nanoseconds since the epoch of a time as ``rfc3339`` gives it with six digits. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (int(moment.replace(microsecond=0).timestamp()) * _MICROSECONDS + moment.microsecond) * _NANOSECONDS_OF_ONE
