"""Findings gathered by tunnel."""

from __future__ import annotations

import json

from pqaudit.finding.document import Document
from pqaudit.finding.grouping import Grouping
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
