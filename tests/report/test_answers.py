"""A report says what the straightforward way through Python says, whichever way its findings were read."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.finding.document import Document
from pqaudit.finding.query import Query, peer_network
from pqaudit.outputs.jsonl import write_lines
from pqaudit.report import parts
from pqaudit.report.store import Store
from tests.finding.made import NETWORKS, SENSORS, SPAN_ENDS, made_findings, sample_findings
from tests.report.make import (
    as_json,
    chosen,
    expected_sas,
    expected_tunnels,
    last_of_each,
    lines,
    reported,
    reported_tunnels,
)

PAIRS = [("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.1"), ("2001:db8::1", "192.0.2.1")]
UNSEEN = {
    "verdict": "undetermined",
    "reason": "negotiation-not-captured",
    "assurance": "offered",
    "selected": {
        "key_exchange": None,
        "additional_key_exchanges": [],
        "encryption": None,
        "prf": None,
        "integrity": None,
    },
}
OWN: list[dict[str, Any]] = [
    {},
    UNSEEN,
    {**UNSEEN, "observed": {"exchanges": {"IKE_AUTH": 0, "INFORMATIONAL": 2}}},
    {**UNSEEN, "observed": {"exchanges": {"INFORMATIONAL": 65536}}},
    {**UNSEEN, "related": {"probably_rekeyed_from": {"initiator_spi": "1" * 16}}},
    {"verdict": "undetermined", "assurance": "contradicted"},
    {"assurance": "offered"},
]


def as_pqaudit_writes(finding: Document) -> str:
    return json.dumps(finding, separators=(",", ":"))


def spread_out(finding: Document) -> str:
    return json.dumps(finding, ensure_ascii=False, sort_keys=True)


@st.composite
def findings(draw: st.DrawFn) -> list[Document]:
    found = made_findings(draw(st.integers(1, 30)), draw(st.integers(0, 1000)))
    random = Random(draw(st.integers(0, 1000)))
    for finding in found:
        finding["source"]["ip"], finding["destination"]["ip"] = random.choice(PAIRS)
        finding["event"]["id"] = f"{random.randrange(25):040x}"
        finding["pqaudit"].update(random.choice(OWN))
    return found


def check(octets: bytes) -> None:
    policies = chosen()
    wanted = last_of_each(octets)
    with reported(octets, policies=policies) as report:
        assert reported_tunnels(report) == expected_tunnels(wanted, policies)
        assert {sa.id: sa.case.assessments for sa in report.sas} == expected_sas(wanted, policies)
        of_verdict = Counter(finding["pqaudit"]["verdict"] for finding in wanted)
        assert {verdict: count for verdict, count in report.counts.verdicts.items() if count} == of_verdict
        evidence = {finding["event"]["id"]: finding["pqaudit"]["evidence"] for finding in wanted}
        assert {sa.id: json.loads(sa.evidence_json) for sa in report.sas} == evidence
        assert sum(case.sas for case in report.cases) == len(report.sas) == report.counts.sas == len(wanted)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(findings(), st.sampled_from((as_pqaudit_writes, json.dumps, spread_out)))
def test_what_python_says(found: list[Document], write: Any) -> None:
    check(lines(found, write))


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(findings())
def test_the_two_ways_of_reading_give_the_same_octets(found: list[Document]) -> None:
    octets = []
    for write in (as_pqaudit_writes, spread_out):
        with reported(lines(found, write)) as report:
            answer = as_json(report)
            answer.pop("inputs")
            octets.append(json.dumps(answer))
    assert octets[0] == octets[1]


@pytest.mark.parametrize("pages", [1, 3])
def test_many_pages_and_parts(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (("rows", "_PAGE"), ("arranging", "_AT_ONCE"), ("rows", "_MOST_CASES")):
        monkeypatch.setattr(f"pqaudit.report.{module}.{name}", pages)
    monkeypatch.setattr(parts, "PART", 5000)
    check(lines(made_findings(60)))


def test_what_pqaudit_writes_is_left_to_the_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with (tmp_path / "f").open("w") as file:
        write_lines(sample_findings(), file)
    octets = (tmp_path / "f").read_bytes()
    check(octets)

    def refuse(*arguments: object) -> Any:
        raise AssertionError("a line went through Python")

    monkeypatch.setattr(Store, "_add_doubtful", refuse)
    check(octets)
    with reported(lines(made_findings(50), as_pqaudit_writes)) as report:
        assert len(report.sas) == 50


def test_of_one_sa_the_last_finding_counts_also_over_files() -> None:
    first, second = made_findings(2)
    second["event"]["id"] = first["event"]["id"]
    one, other = lines([first]), lines([second])
    for files, wanted in (((one, other), second), ((other, one), first)):
        with reported(*files) as report:
            (sa,) = report.sas
            assert sa.begun == wanted["@timestamp"]
            assert [i.findings for i in report.header.inputs] == [1, 1]
            assert report.notes == ("Of SAs that stand several times the last finding counts; 1 earlier ones do not.",)


@settings(deadline=None, max_examples=40)
@given(
    st.builds(
        Query,
        since=st.none() | st.sampled_from(SPAN_ENDS),
        until=st.none() | st.sampled_from(SPAN_ENDS),
        peers=st.frozensets(st.sampled_from(["192.0.2.1", "2001:db8::1", "203.0.113.9"]), max_size=2),
        networks=st.frozensets(st.sampled_from([*map(peer_network, NETWORKS)]), max_size=2),
        sensors=st.frozensets(st.sampled_from(SENSORS), max_size=2),
    )
)
def test_filters(query: Query) -> None:
    octets = lines(made_findings(40))
    wanted = [finding["event"]["id"] for finding in last_of_each(octets) if query.matches(finding)]
    with reported(octets, query=query) as report:
        assert sorted(sa.id for sa in report.sas) == sorted(wanted)


def test_nothing_at_all() -> None:
    with reported(b"") as report:
        answer = as_json(report)
        assert (answer["counts"]["sas"], answer["tunnels"], answer["counts"]["first"]) == (0, [], None)
        assert [policy["ready_percent"] for policy in answer["policies"]] == [None] * 4


def test_a_later_day_and_a_group() -> None:
    octets = lines(sample_findings())
    policies = chosen("uk-ncsc")
    for day in (date(2026, 11, 25), date(2032, 1, 1), date(2036, 1, 1)):
        with reported(octets, policies=policies, as_of=day) as report:
            assert reported_tunnels(report) == expected_tunnels(last_of_each(octets), policies, day)
    with reported(octets, policies=policies, as_of=date(2032, 1, 1), groups=("high-priority",)) as report:
        statuses = {sa.id: sa.case.assessments[0].status for sa in report.sas if sa.case.verdict == "classical-only"}
        assert set(statuses.values()) == {"fails-now"}
