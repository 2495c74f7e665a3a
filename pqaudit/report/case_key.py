"""What findings have in common that policies cannot tell apart, as text that is the same for the same.

`case_key` and `facts_of_case` together read a finding as ``pqaudit.policy.facts.read_facts`` does.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pqaudit.finding.document import SCHEMA_VERSION, Document
from pqaudit.policy.facts import SaFacts, read_facts
from pqaudit.rules.registry import Registry

# ASCII only: what a database or a form of the report takes for text must not matter.
dump = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode

_AS_THEY_ARE = ("verdict", "reason", "protection", "assurance", "ppk", "responsibility")
# Of fields that no finding must have, so that nobody tested them.
_KINDS = {"key_bits": (int,), "probable_name": (str,), "what": (str,), "level": (str,)}
_METHOD = ("id", "name", "probable_name")


def case_key(finding: Document, registry: Registry) -> str:
    """The case of a finding that has no fault."""
    own = finding["pqaudit"]
    facts = read_facts(finding, registry)
    selected = own["selected"]
    case = {name: own[name] for name in _AS_THEY_ARE}
    case["ike_version"] = own["ike"]["version"]
    case["selected"] = {
        "key_exchange": _part(selected["key_exchange"], _METHOD),
        "additional_key_exchanges": [
            _part(entry, ("slot", *_METHOD)) for entry in selected["additional_key_exchanges"]
        ],
        "encryption": _part(selected["encryption"], ("id", "name", "key_bits")),
        "prf": _part(selected["prf"], ("id", "name")),
        "integrity": _part(selected["integrity"], ("id", "name")),
    }
    case["deviations"] = [entry["id"] for entry in own["deviations"]]
    case["weaknesses"] = [_part(entry, ("id", "what", "level")) for entry in own["weaknesses"]]
    case["in_use"] = facts.in_use
    case["rekeyed"] = facts.rekeyed
    return dump(case)


def facts_of_case(case: dict[str, Any], registry: Registry) -> SaFacts:
    """The facts of every finding that has this case."""
    own = {
        **case,
        "schema_version": SCHEMA_VERSION,
        "ike": {"version": case["ike_version"]},
        "deviations": [{"id": slug} for slug in case["deviations"]],
    }
    return replace(read_facts({"pqaudit": own}, registry), in_use=case["in_use"], rekeyed=case["rekeyed"])


def _part(value: dict[str, Any] | None, names: tuple[str, ...]) -> dict[str, Any] | None:
    """These fields of a value where they are of their kind, as those that a finding must have are."""
    if value is None:
        return None
    return {name: value[name] for name in names if type(value.get(name)) in _KINDS.get(name, (str, int))}
