"""Reports for tests, and what the straightforward way through Python says of the same findings."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

from pqaudit.finding.document import Document
from pqaudit.finding.facets import ends
from pqaudit.finding.query import Query
from pqaudit.finding.reading import Unread, findings_in
from pqaudit.policy.assess import assess
from pqaudit.policy.model import Policy
from pqaudit.policy.tunnel import TunnelAssessor
from pqaudit.report.assets import Assets
from pqaudit.report.baseline import read_baseline
from pqaudit.report.build import build_report
from pqaudit.report.case_key import dump
from pqaudit.report.formats import FORMATS
from pqaudit.report.gathering import Gatherer
from pqaudit.report.model import Report
from pqaudit.report.rows import Lens
from pqaudit.report.store import Store
from tests.conftest import rulebook_cached
from tests.policy.make import TODAY, policies, registry

SOME = ("cnsa-2.0", "uk-ncsc", "ietf-classical-baseline", "ietf-ml-kem")


def chosen(*ids: str) -> tuple[Policy, ...]:
    return tuple(policies()[policy] for policy in ids or SOME)


def lines(findings: Iterable[Document], write: Callable[[Any], str] = dump) -> bytes:
    return "".join(write(finding) + "\n" for finding in findings).encode()


@contextmanager
def reported(
    *files: bytes,
    policies: tuple[Policy, ...] | None = None,
    as_of: date = TODAY,
    groups: tuple[str, ...] = (),
    assets: Assets | None = None,
    baseline: bytes | None = None,
    query: Query | None = None,
    unread: list[str] | None = None,
) -> Iterator[Report]:
    """The report on files that hold these octets; what cannot be read goes into ``unread``, and else is an error."""
    told: list[str] = [] if unread is None else unread

    def note(what: Unread) -> None:
        assert unread is not None, what
        told.append(str(what))

    with Store(registry()) as store:
        earlier = None if baseline is None else read_baseline(io.BytesIO(baseline), store)
        gatherer = Gatherer(store, note)
        for number, octets in enumerate(files):
            gatherer.read(io.BytesIO(octets), f"file-{number}", f"file-{number}")
        lens = Lens(policies or chosen(), as_of, frozenset(groups), registry(), assets or Assets({}), earlier)
        yield build_report(store, gatherer.found, lens, rulebook_cached(), query or Query(), unread=len(told))


def written(report: Report, form: str = "json") -> bytes:
    out = io.BytesIO()
    FORMATS[form].load()(report, out)
    return out.getvalue()


def as_json(report: Report) -> Any:
    return json.loads(written(report))


def last_of_each(*files: bytes) -> list[Document]:
    """The findings that count, with addresses in their usual notation."""
    found: dict[str, Document] = {}
    for octets in files:
        for finding in findings_in(io.BytesIO(octets), "", lambda unread: None):
            found[finding["event"]["id"]] = finding
    for finding in found.values():
        for side, address in zip(("source", "destination"), ends(finding), strict=True):
            finding[side]["ip"] = address
    return list(found.values())


def expected_tunnels(
    findings: list[Document], policies: tuple[Policy, ...], as_of: date = TODAY
) -> list[tuple[Any, ...]]:
    """What `TunnelAssessor` says, one tuple for each tunnel and policy."""
    assessor = TunnelAssessor(policies, as_of, registry())
    for finding in findings:
        assessor.add(finding)
    return [
        (
            list(t.peers),
            t.policy,
            t.sas,
            t.assessment.status.value,
            t.assessment,
            t.decided_by,
            t.later_not_seen,
            t.earlier_in_use,
        )
        for t in assessor.assessments()
    ]


def reported_tunnels(report: Report) -> list[tuple[Any, ...]]:
    return [
        (
            [peer.address for peer in tunnel.peers],
            state.policy,
            tunnel.sas,
            state.assessment.status.value,
            state.assessment,
            state.decided_by.id,
            state.later_not_seen,
            state.earlier_in_use,
        )
        for tunnel in report.tunnels
        for state in tunnel.states
    ]


def expected_sas(findings: list[Document], policies: tuple[Policy, ...], as_of: date = TODAY) -> dict[str, Any]:
    """By ``event.id``, what `assess` says with each policy."""
    return {
        finding["event"]["id"]: tuple(assess(finding, policy, as_of, registry()) for policy in policies)
        for finding in findings
    }
