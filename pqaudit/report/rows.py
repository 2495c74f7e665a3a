"""The rows of a report, read from its database page by page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
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
from pqaudit.report.model import Case, Change, GoneTunnel, Rows, Sa, State, Tunnel
from pqaudit.report.store import Row, Store
from pqaudit.rules.registry import Registry

_PAGE = 2000
_MOST_CASES = 4096
_SA_COLUMNS = "sas.position, id, begun, ended, source, source_port, destination, destination_port, sas.kind, evidence"


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


class _SaPages:
    """Makes SAs of rows of table ``sas``."""

    def __init__(self, cases: CaseRows, lens: Lens) -> None:
        self._cases = cases
        self._peer = lens.assets.peer

    def made(self, rows: Sequence[Row]) -> Iterator[Sa]:
        """The SAs of rows that begin with `_SA_COLUMNS`."""
        known = self._cases.known({row[8] for row in rows})
        for _, identifier, begun, ended, source, source_port, destination, destination_port, kind, evidence, *_ in rows:
            yield Sa(
                identifier.decode("utf-8", "surrogatepass"),
                begun,
                ended,
                (self._peer(source), source_port),
                (self._peer(destination), destination_port),
                known[kind].case,
                evidence if evidence.isascii() and "\\" not in evidence else dump(json.loads(evidence)),
            )


class SaRows(Rows[Sa]):
    """All SAs, in the order of tunnels and times."""

    def __init__(self, store: Store, cases: CaseRows, lens: Lens, count: int) -> None:
        self._store = store
        self._pages = _SaPages(cases, lens)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Sa]:
        query = f"SELECT {_SA_COLUMNS} FROM sas WHERE position >= ? AND position < ? ORDER BY position"
        with self._store.cursor() as cursor:
            for first in range(0, self._count, _PAGE):
                yield from self._pages.made(cursor.execute(query, [first, first + _PAGE]).fetchall())


@dataclass(frozen=True, slots=True)
class Standing:
    """A pair of peers with how it stands to each policy, and its statuses in an earlier report, None if not in it."""

    peers: tuple[str, str]
    assessments: list[TunnelAssessment]
    before: dict[str, Status] | None

    def change(self, place: int, baseline: Baseline | None) -> tuple[Change | None, Status | None]:
        """How it changed with the policy in this place, and its status before."""
        found = self.assessments[place]
        if baseline is None or found.policy not in baseline.policies:
            return None, None
        if self.before is None:
            return Change.NEW, None
        before = self.before.get(found.policy)
        return (None if before is None else _change(before, found.assessment.status)), before


def _change(before: Status, now: Status) -> Change:
    if now is before:
        return Change.SAME
    if now is Status.MEETS:
        return Change.FIXED
    return Change.IMPROVED if now.rank > before.rank else Change.REGRESSED


class TunnelRows(Rows[Tunnel]):
    """All pairs of peers, in the order of their addresses."""

    def __init__(self, store: Store, cases: CaseRows, lens: Lens, count: int) -> None:
        self._store = store
        self._cases = cases
        self._lens = lens
        self._sas = _SaPages(cases, lens)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tunnel]:
        for heads, rows in self._pages("evidence"):
            sas = {row[0]: sa for row, sa in zip(rows, self._sas.made(rows), strict=True)}
            for head, gathered in _by_tunnel(heads, rows):
                yield self._made(head, gathered, [sas[row[0]] for row in gathered])

    def standings(self) -> Iterator[Standing]:
        """How each stands, without what a report shows beside it."""
        for heads, rows in self._pages("'[]' AS evidence"):
            for head, gathered in _by_tunnel(heads, rows):
                yield self._standing(head, gathered, self._cases.known(row[8] for row in gathered))

    def _pages(self, evidence: str) -> Iterator[tuple[list[Row], list[Row]]]:
        columns = _SA_COLUMNS.replace("evidence", evidence)
        earlier = "NULL" if self._lens.baseline is None else "states"
        join = "" if self._lens.baseline is None else "LEFT JOIN earlier USING (a, b)"
        heads = (
            f"SELECT tunnel, a, b, sas, makers, {earlier} FROM tunnels {join} "
            "WHERE tunnel >= $1 AND tunnel < $2 ORDER BY tunnel"
        )
        # That the SA is of the page too lets the database pass over what is not.
        rows = (
            f"SELECT {columns}, gathered.tunnel FROM gathered JOIN sas USING (position) "
            "WHERE gathered.tunnel >= $1 AND gathered.tunnel < $2 AND sas.tunnel >= $1 AND sas.tunnel < $2 "
            "ORDER BY gathered.tunnel, gathered.kind"
        )
        with self._store.cursor() as cursor:
            for first in range(0, self._count, _PAGE):
                page = [first, first + _PAGE]
                yield cursor.execute(heads, page).fetchall(), cursor.execute(rows, page).fetchall()

    def _standing(self, head: Row, rows: list[Row], known: dict[int, _Known]) -> Standing:
        _, a, b, sas, _, earlier = head
        gathered = [
            GatheredSas(
                known[row[8]].facts, known[row[8]].case.assessments, _order(row), (row[3] or "").removesuffix("Z")
            )
            for row in rows
        ]
        assessments = assess_gathered((a, b), sas, gathered, self._lens.policies)
        return Standing((a, b), assessments, None if earlier is None else statuses(earlier))

    def _made(self, head: Row, rows: list[Row], sas: list[Sa]) -> Tunnel:
        known = self._cases.known(row[8] for row in rows)
        standing = self._standing(head, rows, known)
        by_id = {sa.id: sa for sa in sas}
        negotiated = [(row[0], sa) for row, sa in zip(rows, sas, strict=True) if known[row[8]].facts.negotiated]
        states = []
        for place, found in enumerate(standing.assessments):
            decided_by = by_id[found.decided_by]
            change, before = standing.change(place, self._lens.baseline)
            acts = _acts(found.assessment, decided_by)
            states.append(
                State(
                    found.policy,
                    found.assessment,
                    decided_by,
                    found.later_not_seen,
                    found.earlier_in_use,
                    acts,
                    change,
                    before,
                )
            )
        peer = self._lens.assets.peer
        return Tunnel(
            (peer(standing.peers[0]), peer(standing.peers[1])),
            head[3],
            max(negotiated, key=lambda found: found[0])[1] if negotiated else None,
            tuple(states),
            _vendors(standing.peers, head[4]),
        )


def _by_tunnel(heads: list[Row], rows: list[Row]) -> Iterator[tuple[Row, list[Row]]]:
    for head, (_, gathered) in zip(heads, groupby(rows, key=lambda row: row[10]), strict=True):
        yield head, list(gathered)


def _order(row: Row) -> Order:
    """When an SA began, as tunnels are assessed by."""
    return row[2].removesuffix("Z"), row[1].decode("utf-8", "surrogatepass")


def _acts(assessment: Assessment, sa: Sa) -> tuple[str, ...]:
    initiator, responder = sa.initiator[0].address, sa.responder[0].address
    who = {"initiator": (initiator,), "responder": (responder,), "both": (initiator, responder)}
    return who.get(assessment.responsibility or "", ())


def _vendors(peers: tuple[str, str], makers: list[str]) -> dict[str, tuple[str, ...]]:
    """By address, from texts with who initiated, ``0`` for the first of the two, and what vendor IDs hint at."""
    found: dict[str, set[str]] = {address: set() for address in peers}
    for text in makers:
        ends = peers if text[0] == "0" else peers[::-1]
        for address, vendors in zip(ends, json.loads(text[1:]), strict=True):
            found[address].update(vendors)
    return {address: tuple(sorted(vendors)) for address, vendors in found.items()}


class GoneRows(Rows[GoneTunnel]):
    """Pairs of peers of the earlier report that are not in this one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE gone AS SELECT row_number() OVER (ORDER BY a, b) - 1 AS position, a, b, states "
                "FROM earlier ANTI JOIN tunnels USING (a, b)"
            )
            self._count: int = cursor.execute("SELECT count(*) FROM gone").fetchall()[0][0]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[GoneTunnel]:
        query = "SELECT a, b, states FROM gone WHERE position >= ? AND position < ? ORDER BY position"
        with self._store.cursor() as cursor:
            for first in range(0, self._count, _PAGE):
                for a, b, states in cursor.execute(query, [first, first + _PAGE]).fetchall():
                    yield GoneTunnel((a, b), statuses(states))
