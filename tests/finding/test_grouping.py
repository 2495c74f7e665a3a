"""Findings gathered by tunnel."""

from __future__ import annotations

import json

import pytest

from pqaudit.finding.document import Document
from pqaudit.finding.grouping import GROUPS_FORGOTTEN, Grouping
from tests.conftest import rulebook_cached
from tests.finding.made import sample_findings


def sample(verdict: str, start: str) -> Document:
    found: Document = json.loads(json.dumps(next(f for f in sample_findings() if f["pqaudit"]["verdict"] == verdict)))
    found["@timestamp"] = start
    return found


def test_times_of_different_resolution_are_compared_as_times() -> None:
    grouping = Grouping("tunnel", rulebook_cached())
    grouping.add(sample("hybrid-ml-kem", "2026-11-20T10:00:00.5Z"))
    grouping.add(sample("classical-only", "2026-11-20T10:00:00Z"))
    (tunnel,) = grouping.documents()
    assert (tunnel["verdict"], tunnel["first_verdict"]) == ("hybrid-ml-kem", "classical-only")


def of(number: int, verdict: str, start: str, assurance: str = "executed", peer: int = 1) -> Document:
    """A finding of the SA with a number, between 192.0.2.0 and a peer."""
    found = sample("classical-only", start)
    found["event"]["id"] = f"{number:040}"
    found["source"]["ip"], found["destination"]["ip"] = "192.0.2.0", f"198.51.100.{peer}"
    found["pqaudit"].update(verdict=verdict, assurance=assurance)
    return found


def live(most: int = 100) -> Grouping:
    return Grouping("tunnel", rulebook_cached(), most)


def test_a_finding_that_is_told_again_replaces_what_it_said() -> None:
    grouping = live()
    grouping.add(of(1, "hybrid-ml-kem", "2026-11-20T10:00:00Z", "selected"))
    grouping.add(of(1, "hybrid-ml-kem", "2026-11-20T10:00:00Z"))
    grouping.add(of(2, "undetermined", "2026-11-20T11:00:00Z"))
    grouping.add(of(2, "classical-only", "2026-11-20T11:00:00Z"))
    (tunnel,) = grouping.documents()
    assert (tunnel["verdict"], tunnel["first_verdict"], tunnel["sas"]) == ("classical-only", "hybrid-ml-kem", 2)
    assert tunnel["verdicts"] == {"classical-only": 1, "hybrid-ml-kem": 1}
    assert tunnel["changed"]
    # What turns out to be contradicted proves nothing any more.
    grouping.add(of(2, "undetermined", "2026-11-20T11:00:00Z"))
    (tunnel,) = grouping.documents()
    assert (tunnel["verdict"], tunnel["sas"], tunnel["changed"]) == ("undetermined", 2, False)


def test_what_was_told_once_each_is_the_same_either_way() -> None:
    plain, kept = Grouping("tunnel", rulebook_cached()), live()
    for finding in sample_findings():
        plain.add(finding)
        kept.add(finding)
    assert list(kept.documents()) == list(plain.documents())


def test_a_group_is_restored_from_its_document() -> None:
    before = live()
    for finding in sample_findings():
        before.add(finding)
    documents = list(before.documents())
    assert len(documents) > 3
    after = live()
    for document in json.loads(json.dumps(documents)):
        after.restore(document)
    assert list(after.documents()) == documents
    # What comes then is later than all that is known.
    number = iter(range(100))
    for document in documents:
        finding = of(next(number), "classical-only", "2036-01-01T00:00:00Z")
        finding["source"]["ip"], finding["destination"]["ip"] = document["tunnel"]
        after.add(finding)
        assert after.verdict(tuple(document["tunnel"])) == "classical-only"


def test_the_last_finding_told_again_after_a_restart_counts_once() -> None:
    before, after = live(), live()
    before.add(of(1, "classical-only", "2026-11-20T10:00:00Z"))
    before.add(of(2, "hybrid-ml-kem", "2026-11-20T11:00:00Z"))
    for document in before.documents():
        after.restore(document)
    for _ in range(2):
        after.add(of(2, "hybrid-ml-kem", "2026-11-20T11:00:00Z"))
        assert list(after.documents()) == list(before.documents())


def test_groups_that_show_nothing_are_forgotten_first() -> None:
    grouping = live(most=3)
    for peer, verdict in enumerate(("classical-only", "hybrid-ml-kem", "undetermined")):
        grouping.add(of(peer, verdict, "2026-11-20T10:00:00Z", peer=peer))
    for peer in range(10, 20):
        grouping.add(of(peer, "undetermined", "2026-11-20T10:00:00Z", peer=peer))
    assert [each["verdict"] for each in grouping.documents()] == ["classical-only", "undetermined", "hybrid-ml-kem"]
    assert grouping.counters == {GROUPS_FORGOTTEN: 10}
    grouping.add(of(30, "hybrid-ml-kem", "2026-11-20T10:00:00Z", peer=30))
    grouping.add(of(31, "hybrid-ml-kem", "2026-11-20T10:00:00Z", peer=31))
    # Then the one that was told of the longest ago.
    assert grouping.verdict(("192.0.2.0", "198.51.100.0")) is None
    assert [each["verdict"] for each in grouping.documents()] == ["hybrid-ml-kem"] * 3


def test_what_is_no_document_of_a_group() -> None:
    for document in ({}, {"verdicts": 1}, {"verdicts": {"classical-only": 1}, "vendors": []}):
        with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
            live().restore(document)
