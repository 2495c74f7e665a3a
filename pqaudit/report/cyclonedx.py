"""The negotiated algorithms as a CycloneDX 1.6 CBOM: an asset for each suite, and one for each algorithm of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from uuid import NAMESPACE_URL, uuid5

from pqaudit.outputs.escape import printable
from pqaudit.report.algorithms import KINDS, Algorithm, algorithms
from pqaudit.report.case_key import dump
from pqaudit.report.model import Case, Report

MOST_SUITES = 10_000
"""More are counted and not shown."""

_TRANSFORMS = {"encryption": "encr", "prf": "prf", "integrity": "integ", "key_exchange": "ke"}


@dataclass(slots=True)
class _Suite:
    version: str
    algorithms: tuple[Algorithm, ...]
    sas: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)


def write(report: Report, out: BinaryIO) -> None:
    """Write it; suites and algorithms are in an order that depends on them alone."""
    suites, left_out, unseen = _suites(report)
    distinct = sorted({algorithm for suite in suites for algorithm in suite.algorithms})
    header = report.header
    body: dict[str, Any] = {
        "version": 1,
        "metadata": {
            "timestamp": f"{header.as_of.isoformat()}T00:00:00Z",
            "tools": {"components": [{"type": "application", "name": header.tool, "version": header.version}]},
            "component": {"type": "data", "bom-ref": "report", "name": printable(header.title)},
            "properties": [
                _property("rules", header.rules),
                _property("complete", str(report.complete).lower()),
                _property("sas", str(report.counts.sas)),
                _property("sas-without-known-suite", str(unseen)),
                _property("suites-left-out", str(left_out)),
                *(_property("note", printable(note)) for note in report.notes),
                *(
                    _property("capture", f"{printable(capture.name)} sha256:{capture.sha256 or 'unknown'}")
                    for capture in header.captures
                ),
            ],
        },
        "components": [*(_asset(found, report.nist_categories) for found in distinct), *map(_protocol, suites)],
        "dependencies": [
            {"ref": _suite_ref(suite), "dependsOn": sorted({algorithm.ref for algorithm in suite.algorithms})}
            for suite in suites
        ],
    }
    serial = uuid5(NAMESPACE_URL, "urn:pqaudit:cbom:" + dump(body))
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", **body}
    out.write(dump(bom).encode() + b"\n")


def _suites(report: Report) -> tuple[list[_Suite], int, int]:
    """Those that were negotiated; how many were left out; SAs whose suite does not show."""
    found: dict[tuple[str, tuple[Algorithm, ...]], _Suite] = {}
    left_out: set[int] = set()
    unseen = 0
    for case in report.cases:
        parts = _negotiated(case)
        if not parts:
            unseen += case.sas
            continue
        key = (printable(case.ike_version), parts)
        if key not in found and len(found) >= MOST_SUITES:
            left_out.add(hash(key))
            continue
        suite = found.setdefault(key, _Suite(*key))
        suite.sas += case.sas
        verdict = printable(case.verdict)
        suite.verdicts[verdict] = suite.verdicts.get(verdict, 0) + case.sas
    return [found[key] for key in sorted(found)], len(left_out), unseen


def _negotiated(case: Case) -> tuple[Algorithm, ...]:
    return () if case.selected["key_exchange"] is None else tuple(algorithms(case))


def _suite_ref(suite: _Suite) -> str:
    return f"suite/ike-{suite.version}/" + "+".join(algorithm.ref for algorithm in suite.algorithms)


def _protocol(suite: _Suite) -> dict[str, Any]:
    properties: dict[str, Any] = {"type": "ike", "version": suite.version}
    if suite.version == "2.0":
        by_kind = ((kind, [a.ref for a in suite.algorithms if a.kind == kind]) for kind in KINDS)
        properties["ikev2TransformTypes"] = {_TRANSFORMS[kind]: refs for kind, refs in by_kind if refs}
    else:
        properties["cryptoRefArray"] = [algorithm.ref for algorithm in suite.algorithms]
    return {
        "type": "cryptographic-asset",
        "bom-ref": _suite_ref(suite),
        "name": f"IKE {suite.version}: " + ", ".join(algorithm.shown for algorithm in suite.algorithms),
        "cryptoProperties": {"assetType": "protocol", "protocolProperties": properties},
        "properties": [
            _property("sas", str(suite.sas)),
            *(_property(f"sas-{verdict}", str(count)) for verdict, count in sorted(suite.verdicts.items())),
        ],
    }


def _asset(algorithm: Algorithm, categories: Mapping[int, int]) -> dict[str, Any]:
    properties: dict[str, Any] = {"primitive": algorithm.primitive}
    if algorithm.parameter_set is not None:
        properties["parameterSetIdentifier"] = algorithm.parameter_set
    if algorithm.mode is not None:
        properties["mode"] = algorithm.mode
    category = categories.get(algorithm.number) if algorithm.kind == "key_exchange" and not algorithm.v1 else None
    if category is not None:
        properties["nistQuantumSecurityLevel"] = category
    return {
        "type": "cryptographic-asset",
        "bom-ref": algorithm.ref,
        "name": algorithm.shown,
        "cryptoProperties": {"assetType": "algorithm", "algorithmProperties": properties},
        "properties": list(_numbers(algorithm)),
    }


def _numbers(algorithm: Algorithm) -> Iterator[dict[str, str]]:
    yield _property("kind", algorithm.kind)
    yield _property("ikev1-number" if algorithm.v1 else "ikev2-number", str(algorithm.number))


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"pqaudit:{name}", "value": value}
