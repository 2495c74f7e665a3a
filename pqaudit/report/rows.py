"""The rows of a report, read from its database page by page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from pqaudit.policy.assess import Assessment, Status, assess_facts
from pqaudit.policy.facts import SaFacts
from pqaudit.policy.model import Policy
from pqaudit.policy.tunnel import GatheredSas, Order, TunnelAssessment, assess_gathered
from pqaudit.report.assets import Assets
from pqaudit.report.baseline import Baseline, statuses
from pqaudit.report.case_key import dump, facts_of_case
from pqaudit.report.model import Advice, Case, Change, GoneTunnel, Rows, Sa, State, Tunnel
from pqaudit.report.store import Row, Store
from pqaudit.rules.registry import Registry

_PAGE = 2000
_MOST_CASES = 4096
_SA_COLUMNS = "sas.position, id, begun, ended, source, source_port, destination, destination_port, kind, evidence"


@dataclass(frozen=True, slots=True)
class Lens:
    """What findings are seen through."""

    policies: tuple[Policy, ...]
    as_of: date
    groups: frozenset[str]
    registry: Registry
    assets: Assets
    baseline: Baseline | None


@dataclass(frozen=True, slots=True)
class _Known:
    """A case with the facts that it stands for."""

    case: Case
    facts: SaFacts


class CaseRows(Rows[Case]):
    """The cases; those that were used last are kept."""

    def __init__(self, store: Store, lens: Lens, count: int) -> None:
        self._store = store
        self._lens = lens
        self._count = count
        self._kept: dict[int, _Known] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Case]:
        for first in range(0, self._count, _PAGE):
            for number, meaning, sas in self._read(list(range(first, first + _PAGE))):
                yield self._made(number, meaning, sas).case

    def known(self, numbers: Iterable[int]) -> dict[int, _Known]:
        """Cases by their numbers."""
        wanted = set(numbers)
        missing = sorted(wanted - self._kept.keys())
        if len(self._kept) + len(missing) > _MOST_CASES:
            self._kept.clear()
            missing = sorted(wanted)
        for number, meaning, sas in self._read(missing) if missing else ():
            self._kept[number] = self._made(number, meaning, sas)
        return {number: self._kept[number] for number in wanted}

    def _read(self, numbers: list[int]) -> list[Row]:
        query = "SELECT number, meaning, sas FROM kinds WHERE number IN (SELECT unnest(?::BIGINT[])) ORDER BY number"
        with self._store.cursor() as cursor:
            return cursor.execute(query, [numbers]).fetchall()

    def _made(self, number: int, meaning: str, sas: int) -> _Known:
        lens = self._lens
        case: dict[str, Any] = json.loads(meaning)
        facts = facts_of_case(case, lens.registry)
        assessments = tuple(
            assess_facts(facts, policy, lens.as_of, lens.registry, lens.groups) for policy in lens.policies
        )
        return _Known(
            Case(
                number,
                sas,
                case["ike_version"],
                case["verdict"],
                case["reason"],
                case["protection"],
                case["assurance"],
                case["ppk"],
                case["selected"],
                tuple(case["deviations"]),
                tuple(str(entry.get("what", "")) for entry in case["weaknesses"]),
                case["in_use"],
                case["rekeyed"],
                case["responsibility"],
                assessments,
            ),
            facts,
        )
