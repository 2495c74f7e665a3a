"""Parts of findings as texts, judged once for all findings that share them.

Each function takes a text and gives what it means, or None where a finding with that part is none. A text that begins
with `KNOWN` was judged before: what follows is its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pqaudit.finding.document import SCHEMA_VERSION, Document
from pqaudit.finding.facets import canonical_address
from pqaudit.finding.json_text import STRICT_JSON
from pqaudit.finding.shape import finding_fault
from pqaudit.report.case_key import case_key, dump
from pqaudit.report.layout import CASE_PARTS, REST_PARTS
from pqaudit.rules.registry import Registry

KNOWN = "="
_MOST_VENDORS = 8
_TIME = "2026-01-01T00:00:00Z"
_BESIDE_OWN = ("observer", "rule")


def case_of(text: str, registry: Registry) -> str | None:
    """The `case_key` of findings with these `CASE_PARTS`."""
    if text.startswith(KNOWN):
        return text.removeprefix(KNOWN)
    finding = _with_parts(text, CASE_PARTS)
    return None if finding is None else case_key(finding, registry)


def rest_of(text: str) -> str | None:
    """Name of the sensor and the versions of pqaudit and of its rules, of findings with these `REST_PARTS`."""
    if text.startswith(KNOWN):
        return text.removeprefix(KNOWN)
    finding = _with_parts(text, REST_PARTS)
    return None if finding is None else rest_key(finding)


def makers_of(text: str) -> str | None:
    """What the vendor IDs of initiator and responder hint at, of findings with this ``pqaudit.fingerprint``."""
    if text.startswith(KNOWN):
        return text.removeprefix(KNOWN)
    finding = _with_parts(text, ("fingerprint",))
    return None if finding is None else makers_key(finding)


def address_of(text: str) -> str | None:
    """An address in its usual notation."""
    try:
        return canonical_address(text)
    except ValueError:
        return None


def rest_key(finding: Document) -> str:
    """As `rest_of`, of a finding that has no fault."""
    observer = finding["observer"]
    version = observer.get("version")
    return dump([observer["name"], version if isinstance(version, str) else None, finding["rule"]["version"]])


def makers_key(finding: Document) -> str:
    """As `makers_of`, of a finding that has no fault."""
    sides = finding["pqaudit"]["fingerprint"]
    found = [dict.fromkeys(v["vendor"] for v in sides[side] if v["vendor"]) for side in ("initiator", "responder")]
    return dump([list(vendors)[:_MOST_VENDORS] for vendors in found])


def _with_parts(text: str, names: Iterable[str]) -> Document | None:
    """A finding with these parts and nothing wrong with it; None where a part is wrong."""
    finding = _blank()
    try:
        for name, part in zip(names, text.split("\n"), strict=True):
            *above, last = name.split(".")
            place: dict[str, Any] = finding if name in _BESIDE_OWN else finding["pqaudit"]
            for step in above:
                place = place[step]
            place[last] = STRICT_JSON.decode(part)
    except (ValueError, RecursionError):
        return None
    return finding if finding_fault(finding) is None else None


def _blank() -> Document:
    return json.loads(_BLANK)  # type: ignore[no-any-return]


_END = {"ip": "192.0.2.1", "port": 500}
_NOTHING: dict[str, Any] = {
    "key_exchange": None,
    "additional_key_exchanges": [],
    "encryption": None,
    "prf": None,
    "integrity": None,
}
_BLANK = json.dumps(
    {
        "@timestamp": _TIME,
        "event": {"id": "1", "start": _TIME, "end": _TIME, "severity": 0},
        "source": _END,
        "destination": _END,
        "observer": {"name": ""},
        "rule": {"id": "", "name": "", "version": ""},
        "pqaudit": {
            "schema_version": SCHEMA_VERSION,
            "verdict": "",
            "protection": "",
            "reason": "",
            "assurance": "",
            "ike": {"version": "", "initiator_spi": "", "responder_spi": None},
            "selected": _NOTHING,
            "offered": {"key_exchanges": [], "additional_key_exchanges": []},
            "observed": {"exchanges": {}},
            "ppk": "",
            "fingerprint": {"initiator": [], "responder": []},
            "deviations": [],
            "observations": [],
            "weaknesses": [],
            "responsibility": None,
            "related": {},
            "anomalies": [],
            "evidence": [],
            "capture": {"packets": 0},
        },
    }
)
