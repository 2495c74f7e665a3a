"""The CBOM keeps to CycloneDX's own schema and lists what was negotiated, nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pqaudit.finding.document import Document
from pqaudit.report import cyclonedx
from pqaudit.report.algorithms import Algorithm
from tests.cli.test_audit import run
from tests.conftest import REPOSITORY
from tests.finding.made import made_findings, sample_findings
from tests.report.make import lines, reported, written
from tests.report.test_forms import hostile


def bom(findings: list[Document] | tuple[Document, ...]) -> Any:
    with reported(lines(findings)) as report:
        return checked(written(report, "cyclonedx"))


def checked(octets: bytes) -> Any:
    """The BOM, once the official schema has nothing against it and every reference leads somewhere, once."""
    assert octets.isascii()
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(octets.decode())
    assert error is None, error
    found = json.loads(octets)
    refs = [component["bom-ref"] for component in found["components"]]
    assert len(refs) == len(set(refs))
    for suite in of_type(found, "protocol"):
        assert set(used(suite)) <= set(refs)
    return found


def of_type(found: Any, kind: str) -> list[Any]:
    return [c for c in found["components"] if c["cryptoProperties"]["assetType"] == kind]


def used(suite: Any) -> list[str]:
    protocol = suite["cryptoProperties"]["protocolProperties"]
    kinds = protocol.get("ikev2TransformTypes", {}).values()
    return [*protocol.get("cryptoRefArray", []), *(ref for refs in kinds for ref in refs)]


def properties(part: Any) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in part["properties"]}


def test_every_negotiated_suite_is_there_with_its_sas() -> None:
    findings = made_findings(200)
    found = bom(findings)
    wanted: Counter[Any] = Counter()
    for finding in findings:
        own = finding["pqaudit"]
        chosen = own["selected"]
        if chosen["key_exchange"] is None:
            continue
        exchanges = [chosen["key_exchange"], *chosen["additional_key_exchanges"]]
        others = [chosen[kind] for kind in ("encryption", "prf", "integrity")]
        cipher = chosen["encryption"] or {}
        wanted[
            own["ike"]["version"],
            tuple(e["name"] for e in [*others, *exchanges] if e and e["id"]),
            cipher.get("key_bits"),
        ] += 1
    suites = of_type(found, "protocol")
    assert sorted(int(properties(suite)["pqaudit:sas"]) for suite in suites) == sorted(wanted.values())
    unseen = int(properties(found["metadata"])["pqaudit:sas-without-known-suite"])
    assert unseen + sum(wanted.values()) == len(findings)
    assert {ref for suite in suites for ref in used(suite)} == {a["bom-ref"] for a in of_type(found, "algorithm")}


def test_transforms_and_security_levels() -> None:
    found = bom(sample_findings())
    algorithms = {a["name"]: a["cryptoProperties"]["algorithmProperties"] for a in of_type(found, "algorithm")}
    assert algorithms["ml-kem-768"] == {
        "primitive": "kem",
        "parameterSetIdentifier": "768",
        "nistQuantumSecurityLevel": 3,
    }
    assert algorithms["curve25519"] == {"primitive": "key-agree"}
    assert {name for name, a in algorithms.items() if "nistQuantumSecurityLevel" in a} <= {
        "ml-kem-512",
        "ml-kem-768",
        "ml-kem-1024",
    }
    for suite in of_type(found, "protocol"):
        protocol = suite["cryptoProperties"]["protocolProperties"]
        assert protocol["type"] == "ike"
        assert ("ikev2TransformTypes" in protocol) == (protocol["version"] == "2.0")
    hybrid = [s for s in of_type(found, "protocol") if "ml-kem-768" in s["name"] and "curve25519" in s["name"]]
    assert any(
        s["cryptoProperties"]["protocolProperties"]["ikev2TransformTypes"]["ke"]
        == ["algorithm/ikev2/key_exchange/31/curve25519", "algorithm/ikev2/key_exchange/36/ml-kem-768"]
        for s in hybrid
    )


def test_security_levels_are_those_of_the_rules_in_use(tmp_path: Path) -> None:
    name = "registries/key_exchange_methods.yaml"
    text = (REPOSITORY / "rules" / name).read_text()
    assert text.count("nist_category: 3") == 1
    own = tmp_path / "rules" / name
    own.parent.mkdir(parents=True)
    own.write_text(text.replace("nist_category: 3", "nist_category: 2"))
    findings = tmp_path / "findings.jsonl"
    findings.write_bytes(lines(sample_findings()))
    done = run("report", findings, "--format", "cyclonedx", "--rules", tmp_path / "rules")
    assert (done.returncode, done.stderr) == (0, "")
    algorithms = {
        a["name"]: a["cryptoProperties"]["algorithmProperties"]
        for a in of_type(checked(done.stdout.encode()), "algorithm")
    }
    assert algorithms["ml-kem-768"]["nistQuantumSecurityLevel"] == 2


@pytest.mark.parametrize(
    ("algorithm", "primitive", "mode", "parameters"),
    [
        (Algorithm("encryption", False, 20, 256, "ENCR_AES_GCM_16"), "ae", "gcm", "256"),
        (Algorithm("encryption", False, 12, 128, "ENCR_AES_CBC"), "block-cipher", "cbc", "128"),
        (Algorithm("encryption", False, 28, 0, "ENCR_CHACHA20_POLY1305"), "ae", None, None),
        (Algorithm("encryption", False, 11, 0, "ENCR_NULL"), "other", None, None),
        (Algorithm("prf", False, 5, 0, "PRF_HMAC_SHA2_256"), "mac", None, None),
        (Algorithm("key_exchange", False, 1081, 0, "private-use-1081"), "unknown", None, None),
        (Algorithm("key_exchange", False, 37, 0, "ml-kem-1024"), "kem", None, "1024"),
    ],
)
def test_what_names_tell(algorithm: Algorithm, primitive: str, mode: str | None, parameters: str | None) -> None:
    assert (algorithm.primitive, algorithm.mode, algorithm.parameter_set) == (primitive, mode, parameters)


def test_same_findings_same_octets_and_other_findings_another_serial() -> None:
    findings = list(made_findings(50))
    first = bom(findings)
    assert bom(findings[::-1]) == first
    assert first["metadata"]["timestamp"] == "2026-11-25T00:00:00Z"
    assert bom(findings[:10])["serialNumber"] != first["serialNumber"]


def test_nothing_negotiated() -> None:
    found = bom([])
    assert found["components"] == []


def test_hostile_text_is_data() -> None:
    found = checked(hostile("cyclonedx"))
    assert any("<script>" in component["name"] for component in found["components"])


def test_suites_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cyclonedx, "MOST_SUITES", 1)
    found = bom(sample_findings())
    assert len(of_type(found, "protocol")) == 1
    assert int(properties(found["metadata"])["pqaudit:suites-left-out"]) >= 1


def test_key_lengths_that_are_none() -> None:
    """A finding may hold anything there; what is no number says nothing."""
    cipher = {"id": 12, "name": "ENCR_AES_CBC"}
    findings = []
    for number, length in enumerate((256, "256", "x", [256], {}, None, True, 1.5)):
        finding = json.loads(json.dumps(sample_findings()[0]))
        finding["event"]["id"] = str(number)
        finding["pqaudit"]["selected"]["encryption"] = {**cipher, "key_bits": length}
        findings.append(finding)
    named = [part["name"] for part in bom(findings)["components"] if part["name"].startswith("ENCR")]
    assert sorted(named) == ["ENCR_AES_CBC", "ENCR_AES_CBC-256"]
