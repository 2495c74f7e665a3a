"""The report as JSON, the reference for every other form; docs/report.md tells of its fields.

It is written as it is read, with a case, a tunnel or an SA a line, and holds ASCII characters alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, BinaryIO

from pqaudit.policy.assess import Assessment, DeadlineState, Reason
from pqaudit.report.case_key import dump
from pqaudit.report.model import (
    KIND,
    SCHEMA_VERSION,
    Case,
    Comparison,
    Header,
    OwnerTotals,
    Peer,
    PolicyPart,
    PolicyTotals,
    Report,
    Sa,
    State,
    Tunnel,
)

_LINES = 500


def write(report: Report, out: BinaryIO) -> None:
    """Write the whole report."""
    header = report.header
    head = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        **_head(header),
        "complete": report.complete,
        "notes": list(report.notes),
        "counts": {
            "sas": report.counts.sas,
            "tunnels": report.counts.tunnels,
            "peers": report.counts.peers,
            "verdicts": dict(report.counts.verdicts),
            "protections": dict(report.counts.protections),
            "first": report.counts.first,
            "last": report.counts.last,
        },
        "policies": [_policy(part, totals) for part, totals in zip(header.policies, report.totals, strict=True)],
        "advice": {
            vendor: [{"product": a.product, "what": a.what, "source": a.source, "certainty": a.certainty} for a in all_]
            for vendor, all_ in report.advice.items()
        },
        "owners": [_owner(owner) for owner in report.owners],
    }
    out.write(dump(head)[:-1].encode())
    _write_comparison(report.comparison, out)
    _write_list("cases", (dump(_case(case)) for case in report.cases), out)
    _write_list("tunnels", (dump(_tunnel(tunnel)) for tunnel in report.tunnels), out)
    _write_list("sas", (_sa(sa) for sa in report.sas), out)
    out.write(b"}\n")


def _write_list(name: str, items: Iterable[str], out: BinaryIO) -> None:
    out.write(f',\n"{name}":['.encode())
    lines: list[str] = []
    between = "\n"
    for item in items:
        lines.append(between + item)
        between = ",\n"
        if len(lines) >= _LINES:
            out.write("".join(lines).encode())
            lines.clear()
    out.write("".join(lines).encode() + b"\n]")


def _write_comparison(comparison: Comparison | None, out: BinaryIO) -> None:
    if comparison is None:
        out.write(b',\n"comparison":null')
        return
    head = {
        "as_of": comparison.as_of.isoformat(),
        "changes": {policy: dict(counts) for policy, counts in comparison.changes.items()},
    }
    out.write(b',\n"comparison":' + dump(head)[:-1].encode())
    _write_list("gone", (dump({"peers": gone.peers, "before": gone.before}) for gone in comparison.gone), out)
    out.write(b"}")


def _head(header: Header) -> dict[str, Any]:
    return {
        "title": header.title,
        "tool": {"name": header.tool, "version": header.version, "rules": header.rules},
        "found_by": [{"version": version, "rules": rules} for version, rules in header.found_by],
        "as_of": header.as_of.isoformat(),
        "groups": list(header.groups),
        "filters": list(header.filters),
        "inputs": [
            {"kind": i.kind, "name": i.name, "octets": i.octets, "sha256": i.sha256, "findings": i.findings}
            for i in header.inputs
        ],
        "captures": [{"name": c.name, "octets": c.octets, "sha256": c.sha256, "sas": c.sas} for c in header.captures],
    }


def _policy(part: PolicyPart, totals: PolicyTotals) -> dict[str, Any]:
    policy = part.policy
    return {
        "id": policy.id,
        "issuer": policy.issuer,
        "title": policy.title,
        "date": policy.date,
        "updated": policy.updated,
        "status": policy.status,
        "scope": policy.scope,
        "requirement": policy.requirement,
        "source": policy.source,
        "certainty": policy.certainty,
        "unsure": policy.unsure,
        "not_read": policy.not_read,
        "not_covered": list(policy.not_covered),
        "not_visible": [{"id": item.id, "what": item.what, "why": item.why} for item in policy.not_visible],
        "requirements": [
            {
                "id": asked.id,
                "what": asked.what,
                "level": asked.level,
                "deadlines": [deadline.id for deadline in asked.deadlines],
                "until": None if asked.until is None else asked.until.isoformat(),
                "source": asked.source,
                "certainty": asked.certainty,
                "unsure": asked.unsure,
            }
            for asked in policy.requirements
        ],
        "deadlines": [_deadline(state) for state in part.deadlines],
        "sas": dict(totals.sas),
        "tunnels": dict(totals.tunnels),
        "acts": dict(totals.acts),
        "ready_percent": totals.ready,
    }


def _deadline(state: DeadlineState) -> dict[str, Any]:
    deadline = state.deadline
    return {
        "id": deadline.id,
        "day": deadline.day.isoformat(),
        "begins": deadline.begins.isoformat(),
        "level": deadline.level,
        "only": deadline.only,
        "what": deadline.what,
        "source": deadline.source,
        "certainty": deadline.certainty,
        "unsure": deadline.unsure,
        "days_left": state.days_left,
        "passed": state.passed,
        "applies": state.applies,
    }


def _owner(owner: OwnerTotals) -> dict[str, Any]:
    tunnels = {policy: dict(counts) for policy, counts in owner.tunnels.items()}
    return {"owner": owner.owner, "peers": owner.peers, "tunnels": tunnels}


def _case(case: Case) -> dict[str, Any]:
    return {
        "number": case.number,
        "sas": case.sas,
        "ike_version": case.ike_version,
        "verdict": case.verdict,
        "reason": case.reason,
        "protection": case.protection,
        "assurance": case.assurance,
        "ppk": case.ppk,
        "selected": case.selected,
        "deviations": list(case.deviations),
        "weaknesses": list(case.weaknesses),
        "in_use": case.in_use,
        "rekeyed": case.rekeyed,
        "responsibility": case.responsibility,
        "assessments": [_assessment(assessment) for assessment in case.assessments],
    }


def _assessment(assessment: Assessment) -> dict[str, Any]:
    return {
        "policy": assessment.policy,
        "status": assessment.status,
        "fails_on": None if assessment.fails_on is None else assessment.fails_on.isoformat(),
        "responsibility": assessment.responsibility,
        "certainty": assessment.certainty,
        "reasons": [_reason(reason) for reason in assessment.reasons],
        "deadlines": [
            {"id": s.deadline.id, "days_left": s.days_left, "passed": s.passed, "applies": s.applies}
            for s in assessment.deadlines
        ],
    }


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "effect": reason.effect,
        "slug": reason.slug,
        "sentence": reason.sentence,
        "field": reason.field,
        "value": reason.value,
        "requirement": reason.requirement,
        "begins": None if reason.begins is None else reason.begins.isoformat(),
        "source": reason.source,
        "certainty": reason.certainty,
    }


def _tunnel(tunnel: Tunnel) -> dict[str, Any]:
    latest = tunnel.latest
    return {
        "peers": [_peer(peer) for peer in tunnel.peers],
        "sas": tunnel.sas,
        "latest": None if latest is None else {"id": latest.id, "begun": latest.begun, "case": latest.case.number},
        "states": [_state(state) for state in tunnel.states],
        "vendors": {address: list(names) for address, names in tunnel.vendors.items()},
    }


def _peer(peer: Peer) -> dict[str, Any]:
    asset = peer.asset
    said = (
        {}
        if asset is None
        else {
            "network": asset.network,
            "name": asset.name,
            "owner": asset.owner,
            "site": asset.site,
            "criticality": asset.criticality,
        }
    )
    return {"address": peer.address, "asset": said or None}


def _state(state: State) -> dict[str, Any]:
    fails_on = state.assessment.fails_on
    return {
        "policy": state.policy,
        "status": state.assessment.status,
        "fails_on": None if fails_on is None else fails_on.isoformat(),
        "responsibility": state.assessment.responsibility,
        "acts": list(state.acts),
        "case": state.decided_by.case.number,
        "decided_by": state.decided_by.id,
        "later_not_seen": state.later_not_seen,
        "earlier_in_use": state.earlier_in_use,
        "change": state.change,
        "before": state.before,
    }


def _sa(sa: Sa) -> str:
    # Written by hand: there may be a million, and their evidence is JSON already.
    (initiator, initiator_port), (responder, responder_port) = sa.initiator, sa.responder
    return (
        f'{{"id":{dump(sa.id)},"begun":"{sa.begun}","ended":"{sa.ended}",'
        f'"initiator":{{"address":"{initiator.address}","port":{initiator_port}}},'
        f'"responder":{{"address":"{responder.address}","port":{responder_port}}},'
        f'"case":{sa.case.number},"evidence":{sa.evidence_json}}}'
    )
