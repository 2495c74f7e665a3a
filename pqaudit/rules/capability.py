"""Announced capabilities, observations and weak choices, from their rule files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Capability:
    """What a notify announces; with ``values`` the notify must list one of these 16-bit numbers."""

    id: str
    notifies: frozenset[int]
    values: frozenset[int]
    meaning: str


@dataclass(frozen=True, slots=True)
class Observation:
    """Something seen, with what it can and cannot mean."""

    id: str
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Weakness:
    """Why an algorithm is weak: ``level`` is a requirement level or a property, ``source`` the document."""

    level: str
    source: str


def read_capabilities(data: dict[str, Any]) -> tuple[Capability, ...]:
    """From ``capabilities.yaml``."""
    return tuple(
        Capability(c["id"], frozenset(c["notifies"]), frozenset(c.get("values", ())), c["meaning"])
        for c in data["capabilities"]
    )


def read_observations(data: dict[str, Any]) -> dict[str, Observation]:
    """From ``observations.yaml``."""
    return {o["id"]: Observation(o["id"], o["meaning"], o["source"]) for o in data["observations"]}


def read_weaknesses(data: dict[str, Any], statuses: dict[tuple[str, int], Weakness]) -> dict[tuple[str, int], Weakness]:
    """From ``weaknesses.yaml`` and the statuses in the registries: (kind, number) to why it is weak."""
    levels = set(data["levels"])
    found = {key: weakness for key, weakness in statuses.items() if weakness.level in levels}
    found.update({(e["kind"], e["id"]): Weakness(e["level"], e["source"]) for e in data["also"]})
    found[("ike_version", 1)] = Weakness(data["ikev1"]["level"], data["ikev1"]["source"])
    return found
