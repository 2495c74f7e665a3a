"""The samples against their manifest, whose values come from the daemons' logs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from typing import Any

import pytest

from tests.conftest import SAMPLES, audit

MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())


@pytest.mark.parametrize("entry", MANIFEST["files"], ids=lambda entry: str(entry["file"]))
def test_sample(entry: dict[str, Any]) -> None:
    path = SAMPLES / entry["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
    findings, run = audit(path)
    assert run.notes == []
    found = {(f["pqaudit"]["ike"]["initiator_spi"], f["pqaudit"]["ike"]["responder_spi"]): f for f in findings}
    expected = {(sa["initiator_spi"], sa["responder_spi"]): sa for sa in entry["sas"] if sa.get("seen", True)}
    assert set(found) == set(expected)
    for key, sa in expected.items():
        own = found[key]["pqaudit"]
        assert {name: own[name] for name in sa["expected"]} == sa["expected"]
        log = sa.get("log")
        if own["selected"]["key_exchange"] is not None:
            assert own["selected"]["key_exchange"]["id"] == log["key_exchange"]["id"]
            additional = [(e["slot"], e["id"]) for e in own["selected"]["additional_key_exchanges"]]
            assert additional == [(e["slot"], e["id"]) for e in log["additional_key_exchanges"]]
        if sa["version"] == "2.0":
            assert own["observed"]["exchanges"]["IKE_INTERMEDIATE"] == sa["ike_intermediate"]


def test_the_folder_as_a_whole_has_each_sa_once() -> None:
    findings, _ = audit(*[SAMPLES / entry["file"] for entry in MANIFEST["files"]])
    keys = [(f["pqaudit"]["ike"]["initiator_spi"], f["pqaudit"]["ike"]["responder_spi"]) for f in findings]
    expected = {
        (sa["initiator_spi"], sa["responder_spi"])
        for entry in MANIFEST["files"]
        for sa in entry["sas"]
        if sa.get("seen", True)
    }
    assert len(keys) == len(set(keys)) == MANIFEST["whole_folder"]["ike_sas"]
    assert Counter(f["pqaudit"]["verdict"] for f in findings) == MANIFEST["whole_folder"]["verdicts"]
    assert set(keys) == expected
