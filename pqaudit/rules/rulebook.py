"""Everything a verdict rests on, loaded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pqaudit.rules.capability import (
    Capability,
    Observation,
    Weakness,
    read_capabilities,
    read_observations,
    read_weaknesses,
)
from pqaudit.rules.condition import Test, compile_condition
from pqaudit.rules.errors import RulesError
from pqaudit.rules.registry import Registry
from pqaudit.rules.source import built_in, read_yaml

FACT_NAMES = frozenset(("ike", "outcome", "main", "additional", "contradicted", "offer", "deviates"))
DEVIATION_REASON = "$deviation"


@dataclass(frozen=True, slots=True)
class VerdictRule:
    """One rule of ``verdicts.yaml``. ``severity`` is 0 to 100; ``acts`` says whose change is needed, or None."""

    id: str
    name: str
    test: Test
    verdict: str
    reason: str
    protection: str
    severity: int
    source: str
    acts: str | None


@dataclass(frozen=True, slots=True)
class VerdictName:
    """A verdict as people read it."""

    id: str
    title: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """A departure from a document."""

    id: str
    requirement: str
    source: str
    names_reason: bool


@dataclass(frozen=True, slots=True)
class Rulebook:
    """Rules and registries.

    Attributes:
        verdicts: worst first; the order of summaries and of ``--fail-on``.
        protections: what each value of ``protection`` means.
        ppk_notifies: notify number to name.
        weaknesses: kind of algorithm and its number to why it is weak.
        rekey_within: nanoseconds within which SPIs after a CREATE_CHILD_SA are taken for a rekey.
    """

    version: str
    registry: Registry
    verdicts: tuple[VerdictName, ...]
    rules: tuple[VerdictRule, ...]
    deviations: dict[str, Deviation]
    ppk_notifies: dict[int, str]
    protections: dict[str, str]
    capabilities: tuple[Capability, ...]
    observations: dict[str, Observation]
    weaknesses: dict[tuple[str, int], Weakness]
    rekey_within: int
    decided: dict[tuple[object, ...], VerdictRule] = field(default_factory=dict, compare=False)

    def rank(self, verdict: str) -> int:
        """Position of a verdict, 0 for the worst."""
        return next(i for i, known in enumerate(self.verdicts) if known.id == verdict)

    def decide(self, facts: dict[str, object]) -> VerdictRule:
        """The first rule that holds. Facts have few combinations, so each is worked out once."""
        key = tuple(facts.values())
        rule = self.decided.get(key)
        if rule is None:
            rule = self.decided[key] = next(rule for rule in self.rules if rule.test(facts))
        return rule


def load_rulebook(override: Path | None = None) -> Rulebook:
    """Load the built-in rules; files of the same name under ``override`` replace them.

    Raises:
        RulesError: a file is missing, unreadable or wrong.
    """
    if override is not None and not override.is_dir():
        raise RulesError(f"{override} is not a folder of rules")
    root = built_in()
    verdicts = read_yaml(root, "verdicts.yaml", override)
    deviations = read_yaml(root, "deviations.yaml", override)
    ppk = read_yaml(root, "ppk.yaml", override)
    try:
        names = tuple(VerdictName(v["id"], v["title"], v["meaning"]) for v in verdicts["verdicts"])
        protections = {p["id"]: p["meaning"] for p in verdicts["protections"]}
        rules = tuple(_rule(entry, {n.id for n in names}, protections) for entry in verdicts["rules"])
        registry = Registry(root, override)
        return Rulebook(
            str(verdicts["version"]),
            registry,
            names,
            rules,
            {
                d["id"]: Deviation(d["id"], d["requirement"], d["source"], d["names_reason"])
                for d in deviations["deviations"]
            },
            {n["id"]: n["name"] for n in ppk["notifies"]},
            protections,
            read_capabilities(read_yaml(root, "capabilities.yaml", override)),
            read_observations(read_yaml(root, "observations.yaml", override)),
            read_weaknesses(read_yaml(root, "weaknesses.yaml", override), registry.statuses),
            int(read_yaml(root, "lineage.yaml", override)["within_seconds"]) * 1_000_000_000,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RulesError(f"a rule file lacks {error}") from error


def _rule(entry: dict[str, Any], verdicts: set[str], protections: dict[str, str]) -> VerdictRule:
    where = str(entry.get("id", "without an id"))
    if entry["verdict"] not in verdicts:
        raise RulesError(f"rule {where}: there is no verdict {entry['verdict']!r}")
    if entry["protection"] not in protections:
        raise RulesError(f"rule {where}: there is no protection {entry['protection']!r}")
    return VerdictRule(
        where,
        entry["name"],
        compile_condition(entry["when"], FACT_NAMES, where),
        entry["verdict"],
        entry["reason"],
        entry["protection"],
        int(entry["severity"]),
        entry["source"],
        entry.get("acts"),
    )
