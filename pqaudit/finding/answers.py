"""Answers to questions about findings: the same form, order and numbers whether files or a server gave the counts."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, get_args

from pqaudit.finding.document import SCHEMA_VERSION, Document
from pqaudit.finding.facets import ends, methods, moment, tunnel_of, vendors
from pqaudit.rules.registry import Registry

By = Literal["verdict", "peer", "tunnel", "method", "vendor", "month", "sensor", "reason"]
BY: tuple[By, ...] = get_args(By)
Key = str | int | tuple[str, str] | None


_MONTH = len("2026-01")


class Summary:
    """Counts of the findings that match, and the latest of them.

    Memory grows with peers and tunnels, as those must be told apart to be counted.

    Args:
        most_rows: how many of the latest findings are kept.
    """

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._verdicts: Counter[str] = Counter()
        self._protections: Counter[str] = Counter()
        self._tunnels: set[tuple[str, str]] = set()
        self._latest: list[tuple[str, str, int, Document]] = []
        self._taken = 0
        self.first: str | None = None
        self.last: str | None = None

    def add(self, finding: Document) -> None:
        """Take a finding into account."""
        own = finding["pqaudit"]
        time = moment(finding)
        self.count(own["verdict"], own["protection"], ends(finding))
        self.first = time if self.first is None else min(self.first, time)
        self.last = time if self.last is None else max(self.last, time)
        self.keep(finding)

    def count(self, verdict: str, protection: str, addresses: tuple[str, str], number: int = 1) -> None:
        """Take into account so many findings that have these values."""
        self._verdicts[verdict] += number
        self._protections[protection] += number
        self._tunnels.add(tunnel_of(*addresses))

    def keep(self, finding: Document) -> None:
        """Show a finding if it is one of the latest, without counting it."""
        if not self._most_rows:
            return
        self._taken += 1  # the findings themselves cannot be compared
        entry = (moment(finding), finding["event"]["id"], self._taken, finding)
        if len(self._latest) < self._most_rows:
            heapq.heappush(self._latest, entry)
        else:
            heapq.heappushpop(self._latest, entry)

    @property
    def latest(self) -> list[Document]:
        """The latest findings, the last one first; those of one millisecond in the order of their ``event.id``."""
        return [finding for _, _, _, finding in sorted(self._latest, key=lambda entry: entry[:3], reverse=True)]

    def document(self) -> Document:
        """The whole answer."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sas": self._verdicts.total(),
            "verdicts": _counts(self._verdicts),
            "protections": _counts(self._protections),
            "peers": len({address for tunnel in self._tunnels for address in tunnel}),
            "tunnels": len(self._tunnels),
            "first": self.first,
            "last": self.last,
            "findings": [without_record(finding) for finding in self.latest],
        }


class Groups:
    """How many findings have each value of something.

    A finding counts once for each of its values: for both its ends as peers, for each of its methods. One without any
    counts for None. Memory grows with the number of values.
    """

    def __init__(self, by: By) -> None:
        self.by: By = by
        self._verdicts: Counter[str] = Counter()
        self._groups: dict[Key, Counter[str]] = {}

    def add(self, finding: Document) -> None:
        """Take a finding into account."""
        verdict = finding["pqaudit"]["verdict"]
        self.count_findings(verdict)
        for key in keys(self.by, finding):
            self.count(key, verdict)

    def count_findings(self, verdict: str, number: int = 1) -> None:
        """Count findings as a whole, which may be fewer than those of all values together."""
        self._verdicts[verdict] += number

    def count(self, key: Key, verdict: str, number: int = 1) -> None:
        """Count findings that have a value."""
        self._groups.setdefault(key, Counter())[verdict] += number

    def document(self, registry: Registry) -> Document:
        """The whole answer."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sas": self._verdicts.total(),
            "verdicts": _counts(self._verdicts),
            "by": self.by,
            "groups": list(self.rows(registry)),
        }

    def rows(self, registry: Registry) -> Iterator[Document]:
        """One document for each value, the most frequent first; months in their order."""
        for key, verdicts in sorted(self._groups.items(), key=self._order):
            yield {self.by: _shown(self.by, key, registry), "sas": verdicts.total(), "verdicts": _counts(verdicts)}

    def _order(self, item: tuple[Key, Counter[str]]) -> tuple[object, ...]:
        key, verdicts = item
        return (0 if self.by == "month" else -verdicts.total(), key is None, key)


def _counts(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items()))


def _shown(by: By, key: Key, registry: Registry) -> object:
    if by == "method" and isinstance(key, int):
        return {"id": key, "name": registry.method(key).name}
    return list(key) if isinstance(key, tuple) else key


def keys(by: By, finding: Document) -> Iterable[Key]:
    """The values of a finding, each once."""
    own = finding["pqaudit"]
    if by == "verdict" or by == "reason":
        return (own[by],)
    if by == "peer":
        return frozenset(ends(finding))
    if by == "tunnel":
        return (tunnel_of(*ends(finding)),)
    if by == "method":
        return methods(finding) or (None,)
    if by == "vendor":
        return vendors(finding) or (None,)
    if by == "sensor":
        return (finding["observer"]["name"],)
    return (moment(finding)[:_MONTH],)


def without_record(finding: Document) -> Document:
    """A finding without ``pqaudit.record``, which says nothing to people and is long."""
    if "record" not in finding["pqaudit"]:
        return finding
    return {**finding, "pqaudit": {name: value for name, value in finding["pqaudit"].items() if name != "record"}}
