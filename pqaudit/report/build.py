"""A report from what was gathered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pqaudit import __version__
from pqaudit.finding.query import Query
from pqaudit.outputs.wording import plural
from pqaudit.policy.assess import Status, deadline_states
from pqaudit.report.arranging import Arranged, arrange
from pqaudit.report.gathering import Gathered
from pqaudit.report.model import (
    Advice,
    Capture,
    Case,
    Change,
    Comparison,
    Counts,
    Header,
    Input,
    OwnerTotals,
    PolicyPart,
    PolicyTotals,
    Report,
)
from pqaudit.report.rows import CaseRows, GoneRows, Lens, SaRows, Standing, TunnelRows
from pqaudit.report.store import Store
from pqaudit.rules.rulebook import Rulebook

TITLE = "Key exchange of IPsec tunnels before the post-quantum deadlines"
RESPONSIBILITIES = ("initiator", "responder", "both", "unknown")


def build_report(
    store: Store,
    gathered: Gathered,
    lens: Lens,
    rulebook: Rulebook,
    query: Query,
    *,
    filters: tuple[str, ...] = (),
    others: tuple[Input, ...] = (),
    notes: tuple[str, ...] = (),
    unread: int = 0,
) -> Report:
    """The report on all that is in the store, which has to stay open while the report is used.

    Args:
        gathered: what was read into the store.
        query: which findings count, of those that are the last of their SA.
        filters: the query as options, for people.
        others: inputs beside the findings.
        notes: what else to tell.
        unread: how much of the input could not be read.
    """
    arranged = arrange(store, query)
    cases = CaseRows(store, lens, arranged.kinds)
    tunnels = TunnelRows(store, cases, lens, arranged.tunnels)
    gone = None if lens.baseline is None else GoneRows(store)
    sums = _Sums(lens)
    for case in cases:
        sums.count_case(case)
    for standing in tunnels.standings():
        sums.count_tunnel(standing)
    if lens.baseline is not None and gone is not None:
        for tunnel in gone:
            for policy in tunnel.before:
                if policy in sums.changes:
                    sums.changes[policy][Change.GONE] += 1
    complete = gathered.complete and not unread
    return Report(
        _header(gathered, arranged, lens, rulebook, filters, others),
        Counts(
            arranged.sas,
            arranged.tunnels,
            arranged.peers,
            _in_order(sums.verdicts, [verdict.id for verdict in rulebook.verdicts]),
            _in_order(sums.protections, list(rulebook.protections)),
            arranged.first,
            arranged.last,
        ),
        tuple(sums.of_policy(policy.id, arranged.tunnels) for policy in lens.policies),
        _advice(arranged, lens),
        _owners(store, sums, lens),
        cases,
        tunnels,
        SaRows(store, cases, lens, arranged.sas),
        None
        if lens.baseline is None or gone is None
        else Comparison(
            lens.baseline.as_of,
            tuple(sums.changes),
            {policy: {change: counts[change] for change in Change} for policy, counts in sums.changes.items()},
            gone,
        ),
        sums.nist_categories,
        (*_notes(arranged, gathered, unread), *_of_baseline(lens, filters), *notes),
        complete,
    )


class _Sums:
    """What is added up over cases and tunnels."""

    def __init__(self, lens: Lens) -> None:
        self._lens = lens
        ids = [policy.id for policy in lens.policies]
        self.verdicts: Counter[str] = Counter()
        self.protections: Counter[str] = Counter()
        self.sas: dict[str, Counter[Status]] = {policy: Counter() for policy in ids}
        self.tunnels: dict[str, Counter[Status]] = {policy: Counter() for policy in ids}
        self.acts: dict[str, Counter[str]] = {policy: Counter() for policy in ids}
        earlier = () if lens.baseline is None else lens.baseline.policies
        self.changes: dict[str, Counter[Change]] = {policy: Counter() for policy in ids if policy in earlier}
        self.owners: dict[str | None, dict[str, Counter[Status]]] = {}
        self.nist_categories: dict[int, int] = {}

    def count_case(self, case: Case) -> None:
        self.verdicts[case.verdict] += case.sas
        self.protections[case.protection] += case.sas
        for counts, assessment in zip(self.sas.values(), case.assessments, strict=True):
            counts[assessment.status] += case.sas
        main = case.selected["key_exchange"]
        if case.ike_version == "1.0" or main is None:  # IKEv1 has other numbers
            return
        for method in (main, *case.selected["additional_key_exchanges"]):
            category = self._lens.registry.method(method["id"]).nist_category
            if category is not None:
                self.nist_categories[method["id"]] = category

    def count_tunnel(self, standing: Standing) -> None:
        assets = self._lens.assets
        owners: set[str | None] = set()
        if len(assets):
            peers = map(assets.peer, standing.peers)
            owners = {None if peer.asset is None else peer.asset.owner for peer in peers}
        for place, found in enumerate(standing.assessments):
            status = found.assessment.status
            self.tunnels[found.policy][status] += 1
            if status is not Status.MEETS:
                who = found.assessment.responsibility
                self.acts[found.policy][who if who in RESPONSIBILITIES else "unknown"] += 1
            change, _ = standing.change(place, self._lens.baseline)
            if change is not None:
                self.changes[found.policy][change] += 1
            for owner in owners:
                self.owners.setdefault(owner, {}).setdefault(found.policy, Counter())[status] += 1

    def of_policy(self, policy: str, tunnels: int) -> PolicyTotals:
        ready = self.tunnels[policy][Status.MEETS] * 1000 // tunnels / 10 if tunnels else None
        acts = {who: self.acts[policy][who] for who in RESPONSIBILITIES}
        return PolicyTotals(policy, _all(self.sas[policy]), _all(self.tunnels[policy]), acts, ready)


def _owners(store: Store, sums: _Sums, lens: Lens) -> tuple[OwnerTotals, ...]:
    if not len(lens.assets):
        return ()
    peers: Counter[str | None] = Counter()
    with store.cursor() as cursor:
        cursor.execute("SELECT a FROM tunnels UNION SELECT b FROM tunnels")
        while rows := cursor.fetchmany(10_000):
            for (address,) in rows:
                asset = lens.assets.peer(address).asset
                peers[None if asset is None else asset.owner] += 1
    return tuple(
        OwnerTotals(owner, peers[owner], {p.id: _all(sums.owners[owner][p.id]) for p in lens.policies})
        for owner in sorted(peers, key=lambda owner: (owner is None, owner or ""))
    )


def _advice(arranged: Arranged, lens: Lens) -> dict[str, tuple[Advice, ...]]:
    found = {
        vendor: tuple(Advice(p.name, p.post_quantum, p.source, p.certainty) for p in lens.registry.products(vendor))
        for vendor in arranged.vendors
    }
    return {vendor: advice for vendor, advice in found.items() if advice}


def _all(counts: Counter[Status]) -> dict[Status, int]:
    return {status: counts[status] for status in Status}


def _in_order(counts: Mapping[str, int], known: list[str]) -> dict[str, int]:
    """What the rules know in their order, with those of which there is none, then what else was found."""
    return {name: counts.get(name, 0) for name in [*known, *sorted(counts.keys() - set(known))]}


def _header(
    gathered: Gathered,
    arranged: Arranged,
    lens: Lens,
    rulebook: Rulebook,
    filters: tuple[str, ...],
    others: tuple[Input, ...],
) -> Header:
    named = {**dict.fromkeys(arranged.captures, (None, None)), **gathered.captures}
    return Header(
        TITLE,
        "pqaudit",
        __version__,
        rulebook.version,
        arranged.found_by,
        lens.as_of,
        tuple(sorted(lens.groups)),
        filters,
        tuple(
            PolicyPart(policy, deadline_states(policy.deadlines, lens.as_of, lens.groups)) for policy in lens.policies
        ),
        (*gathered.inputs, *others),
        tuple(
            Capture(name, octets, digest, arranged.captures.get(name, 0))
            for name, (octets, digest) in sorted(named.items())
        ),
    )


def _of_baseline(lens: Lens, filters: tuple[str, ...]) -> tuple[str, ...]:
    groups = tuple(sorted(lens.groups))
    return () if lens.baseline is None else tuple(lens.baseline.notes(lens.as_of, groups, filters))


def _notes(arranged: Arranged, gathered: Gathered, unread: int) -> list[str]:
    notes = []
    if unread:
        what = plural(unread, "line or file", "lines or files")
        notes.append(f"Of the input, {what} could not be read; the report rests on what could be read.")
    if not gathered.complete:
        notes.append("A run that made findings did not read all of its captures, or was interrupted.")
    if arranged.superseded:
        notes.append(
            f"Of SAs that stand several times the last finding counts; {arranged.superseded:,} earlier ones do not."
        )
    return notes
