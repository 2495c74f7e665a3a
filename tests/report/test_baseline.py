"""A report beside an earlier one."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import pytest

from pqaudit.finding.document import Document
from pqaudit.report import baseline as baseline_module
from pqaudit.report.baseline import BaselineError, read_baseline
from pqaudit.report.model import Change
from pqaudit.report.store import Store
from tests.finding.made import made_findings, sample_findings
from tests.policy.make import registry
from tests.report.make import as_json, chosen, lines, reported, written

POLICY = chosen("ietf-ml-kem")


def sample(verdict: str, pair: int, start: str = "2026-01-01T00:00:00Z") -> Document:
    """The finding of a sample with this verdict, between a pair of its own."""
    found: Document = json.loads(json.dumps(next(f for f in sample_findings() if f["pqaudit"]["verdict"] == verdict)))
    found["@timestamp"] = found["event"]["start"] = start
    found["event"]["id"] = f"{pair}-{start}"
    found["source"]["ip"], found["destination"]["ip"] = f"192.0.2.{pair}", "198.51.100.1"
    found["pqaudit"]["deviations"] = []
    return found


HYBRID, CLASSICAL, UNSEEN = "hybrid-ml-kem", "classical-only", "undetermined"
BEFORE = [sample(verdict, pair) for pair, verdict in enumerate((CLASSICAL, HYBRID, CLASSICAL, HYBRID, UNSEEN))]
LATER = "2026-06-01T00:00:00Z"
AFTER = [sample(v, p, LATER) for p, v in ((0, HYBRID), (1, CLASSICAL), (2, CLASSICAL), (4, HYBRID), (9, HYBRID))]


def earlier(findings: list[Document] = BEFORE, **more: Any) -> bytes:
    with reported(lines(findings), policies=POLICY, **more) as report:
        return written(report)


def test_new_fixed_regressed_and_gone() -> None:
    with reported(lines(AFTER), policies=POLICY, baseline=earlier(as_of=date(2026, 1, 2))) as report:
        changes = {tunnel.peers[0].address: tunnel.states[0].change for tunnel in report.tunnels}
        assert changes == {
            "192.0.2.0": Change.FIXED,
            "192.0.2.1": Change.REGRESSED,
            "192.0.2.2": Change.SAME,
            "192.0.2.4": Change.FIXED,
            "192.0.2.9": Change.NEW,
        }
        assert report.comparison is not None
        assert report.comparison.as_of == date(2026, 1, 2)
        assert [gone.peers for gone in report.comparison.gone] == [("192.0.2.3", "198.51.100.1")]
        counts = {"new": 1, "fixed": 2, "improved": 0, "regressed": 1, "same": 1, "gone": 1}
        assert report.comparison.changes == {"ietf-ml-kem": counts}
        answer = as_json(report)
        assert answer["comparison"]["changes"]["ietf-ml-kem"] == counts
        assert answer["comparison"]["gone"] == [
            {"peers": ["192.0.2.3", "198.51.100.1"], "before": {"ietf-ml-kem": "meets"}}
        ]
        assert [t["states"][0]["before"] for t in answer["tunnels"]][:2] == ["fails-now", "meets"]


def test_less_bad_is_an_improvement() -> None:
    with reported(lines([sample(UNSEEN, 0)]), policies=POLICY, baseline=earlier(BEFORE[:1])) as report:
        (tunnel,) = report.tunnels
        assert (tunnel.states[0].change, tunnel.states[0].before) == ("improved", "fails-now")


def test_the_same_findings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline_module, "_AT_ONCE", 3)
    octets = lines(made_findings(80))
    with reported(octets) as report:
        before = written(report)
    with reported(octets, baseline=before) as report:
        assert {state.change for tunnel in report.tunnels for state in tunnel.states} == {Change.SAME}
        assert report.comparison is not None
        assert len(report.comparison.gone) == 0


def test_a_policy_that_the_earlier_report_does_not_tell_of_is_not_compared() -> None:
    with reported(lines(AFTER), policies=chosen("uk-ncsc", "ietf-ml-kem"), baseline=earlier()) as report:
        first = next(iter(report.tunnels))
        assert [state.change for state in first.states] == [None, Change.FIXED]
        assert report.comparison is not None
        assert report.comparison.policies == ("ietf-ml-kem",)


def test_what_makes_changes_that_are_none_is_noted() -> None:
    """Nobody may read a later day, another group or other SAs as a change of the tunnels."""

    def noted(before: bytes) -> list[str]:
        with reported(lines(BEFORE), policies=POLICY, baseline=before) as report:
            return [note.split(":")[0] for note in report.notes]

    assert noted(earlier()) == []
    later = "The earlier report is of 2099-06-02, a later day than this one"
    assert noted(earlier(as_of=date(2099, 6, 2))) == [later]
    assert noted(earlier(groups=("new",))) == ["The earlier report was made with other options --group"]
    assert noted(changed(["filters"], ["--peer 192.0.2.1"])) == ["The earlier report was limited to other SAs"]
    assert noted(changed(["complete"], False)) == ["The earlier report is not complete"]


def test_the_sas_of_the_earlier_report_are_not_looked_at() -> None:
    before = earlier()
    cut = before[: before.index(b'"sas":[\n')]
    with reported(lines(AFTER), policies=POLICY, baseline=cut + b"nonsense") as report:
        assert report.comparison is not None


def changed(path: list[str | int], value: Any) -> bytes:
    document = json.loads(earlier())
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{}",
        b"[]",
        b"nonsense",
        b"\xff\xff",
        lines(BEFORE),
        earlier()[:4000],
        changed(["kind"], "something"),
        changed(["schema_version"], 2),
        changed(["as_of"], "soon"),
        changed(["as_of"], 7),
        changed(["groups"], "new"),
        changed(["filters"], [7]),
        changed(["policies"], {}),
        changed(["tunnels"], None),
        changed(["tunnels", 0], None),
        changed(["tunnels", 0, "peers"], [{"address": "nonsense"}, {"address": "192.0.2.1"}]),
        changed(["tunnels", 0, "peers"], [{"address": "192.0.2.1"}]),
        changed(["tunnels", 0, "states", 0, "status"], "fine"),
        changed(["tunnels", 0, "states"], 1),
        changed(["tunnels", 0, "peers"], json.loads(earlier())["tunnels"][1]["peers"]),
    ],
    ids=range(21),
)
def test_what_is_no_report(octets: bytes) -> None:
    with Store(registry()) as store, pytest.raises(BaselineError, match="it is no report that pqaudit wrote as JSON"):
        read_baseline(io.BytesIO(octets), store)
