"""The report as SARIF 2.1.0 for pipelines: a result for each tunnel and policy that it does not meet."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any, BinaryIO
from urllib.parse import quote

from pqaudit.outputs.escape import printable
from pqaudit.policy.assess import Assessment, Reason, Status
from pqaudit.policy.model import Policy
from pqaudit.report.case_key import dump
from pqaudit.report.model import Evidence, Report, State, Tunnel
from pqaudit.report.words import deciding, peer_words, status_words

MOST_RESULTS = 5_000
"""More are counted in a notification; the worst come first."""

MOST_LOCATIONS = 5
"""Of one result."""

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
"""What the log says that it keeps to."""

LEVELS = {Status.FAILS_NOW: "error", Status.WILL_FAIL: "warning", Status.NOT_ASSESSABLE: "note"}
"""Of results, worst first."""

_ESCAPES = str.maketrans({"\\": "\\\\", "[": "\\[", "]": "\\]", "{": "{{", "}": "}}"})


def write(report: Report, out: BinaryIO) -> None:
    """Write it, one run."""
    header = report.header
    rules = _rules(report)
    order = {rule: number for number, rule in enumerate(rules)}
    results = [_result(tunnel, state, order) for tunnel, state in _bounded(report)]
    notes = [*report.notes]
    left_out = sum(totals.tunnels[status] for totals in report.totals for status in LEVELS) - len(results)
    if left_out:
        notes.append(f"{left_out} further results are left out; the report as JSON has all of them.")
    run = {
        "tool": {"driver": {"name": header.tool, "version": header.version, "rules": list(rules.values())}},
        "invocations": [
            {
                "executionSuccessful": report.complete,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": message_text(note)}} for note in notes
                ],
            }
        ],
        "results": results,
        "columnKind": "unicodeCodePoints",
        "properties": {"asOf": header.as_of.isoformat(), "rulesVersion": header.rules, "resultsLeftOut": left_out},
    }
    out.write(dump({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}).encode() + b"\n")


def message_text(text: str) -> str:
    """Text as a plain message in which nothing is a link or a placeholder."""
    return printable(text).translate(_ESCAPES)


def capture_uri(file: str) -> str:
    """The name of a file as a relative reference that leads nowhere outside; one segment where it is not plain."""
    if file in ("", ".", ".."):
        return "_"
    plain = all(part not in ("", ".", "..") for part in file.split("/"))
    return quote(file, safe="/" if plain else "", errors="surrogatepass")


def _bounded(report: Report) -> Iterator[tuple[Tunnel, State]]:
    room = MOST_RESULTS
    for status in LEVELS:
        left = min(room, sum(totals.tunnels[status] for totals in report.totals))
        room -= left
        for tunnel in report.tunnels if left else ():
            for state in tunnel.states:
                if left and state.assessment.status is status:
                    left -= 1
                    yield tunnel, state
            if not left:
                break


def _rules(report: Report) -> dict[str, dict[str, Any]]:
    """By identifier, those of which something can be said: all requirements that decide a case, and other reasons."""
    found: dict[str, dict[str, Any]] = {}
    policies = {part.policy.id: part.policy for part in report.header.policies}
    for case in report.cases:
        for assessment in case.assessments:
            if assessment.status in LEVELS:
                found.setdefault(_rule_id(assessment), _rule(assessment, policies[assessment.policy]))
    return dict(sorted(found.items()))


def _first(assessment: Assessment) -> Reason | None:
    return next((reason for reason in assessment.reasons if reason.effect is assessment.status), None)


def _rule_id(assessment: Assessment) -> str:
    reason = _first(assessment)
    parts = (assessment.policy,) if reason is None else (assessment.policy, reason.requirement, reason.slug)
    return "/".join(printable(part) for part in parts if part)


def _rule(assessment: Assessment, policy: Policy) -> dict[str, Any]:
    reason = _first(assessment)
    asked = next((r for r in policy.requirements if reason is not None and r.id == reason.requirement), None)
    what = policy.requirement if asked is None else asked.what
    source = policy.source if asked is None else asked.source
    return {
        "id": _rule_id(assessment),
        "shortDescription": {"text": message_text(f"{policy.title}: {what}")},
        "fullDescription": {"text": message_text(f"{policy.issuer}, {policy.title}. {what} Source: {source}")},
        "properties": {"policy": policy.id, "certainty": policy.certainty if asked is None else asked.certainty},
    }


def _result(tunnel: Tunnel, state: State, order: dict[str, int]) -> dict[str, Any]:
    assessment = state.assessment
    rule = _rule_id(assessment)
    one, other = tunnel.peers
    ends = f"{peer_words(one)} and {peer_words(other)}"
    said = " ".join((f"Tunnel between {ends}: {status_words(assessment)}.", *deciding(assessment)))
    key = dump([state.policy, one.address, other.address])
    return {
        "ruleId": rule,
        "ruleIndex": order[rule],
        "level": LEVELS[assessment.status],
        "message": {"text": message_text(said)},
        "locations": [_location(evidence) for evidence in state.decided_by.evidence[:MOST_LOCATIONS]],
        "partialFingerprints": {"tunnelAndPolicy/v1": sha256(key.encode()).hexdigest()},
        "properties": {
            "policy": state.policy,
            "status": assessment.status,
            "failsOn": None if assessment.fails_on is None else assessment.fails_on.isoformat(),
            "peers": [one.address, other.address],
            "acts": list(state.acts),
            "sa": printable(state.decided_by.id),
        },
    }


def _location(evidence: Evidence) -> dict[str, Any]:
    uri = capture_uri(evidence.file)
    return {
        "physicalLocation": {"artifactLocation": {"uri": uri}},
        "logicalLocations": [
            {"name": f"frame {evidence.frame}", "fullyQualifiedName": f"{uri}#frame={evidence.frame}", "kind": "frame"}
        ],
        "message": {"text": message_text(evidence.what)},
        "properties": {"frame": evidence.frame, "time": None if evidence.time is None else printable(evidence.time)},
    }
