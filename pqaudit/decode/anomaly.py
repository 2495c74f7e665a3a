"""What was out of order in a capture below IKE, counted and in part listed."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple


class Anomaly(NamedTuple):
    """One thing out of order: a stable slug, where it was, and a sentence for a person."""

    slug: str
    file: str
    frame: int
    text: str


class AnomalyLog:
    """Counters by slug, and the first anomalies up to a bound.

    Attributes:
        counters: how often each thing happened; only what did happen has an entry.
        anomalies: the first ones, at most ``most``. Those beyond are counted as ``anomalies-not-listed``.
    """

    __slots__ = ("_most", "anomalies", "counters")

    def __init__(self, most: int) -> None:
        self._most = most
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.anomalies: list[Anomaly] = []

    def count(self, slug: str, times: int = 1) -> None:
        """Count something that needs no listing."""
        self.counters[slug] += times

    def add(self, slug: str, file: str, frame: int, text: str) -> None:
        """Count something and list it while there is room."""
        self.counters[slug] += 1
        if len(self.anomalies) < self._most:
            self.anomalies.append(Anomaly(slug, file, frame, text))
        else:
            self.counters["anomalies-not-listed"] += 1
