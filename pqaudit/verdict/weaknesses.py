"""Weak classical choices, apart from the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.numbers import MAJOR_IKEV1
from pqaudit.rules.rulebook import Rulebook
from pqaudit.verdict.selection import Selection


@dataclass(frozen=True, slots=True)
class WeakChoice:
    """A selected algorithm, or the protocol version, that is weak: ``id`` is ``weak-`` and its kind."""

    id: str
    what: str
    level: str
    source: str


def find_weaknesses(
    version: int, selection: Selection | None, phase1: Phase1Transform | None, rulebook: Rulebook
) -> tuple[WeakChoice, ...]:
    """Every weak choice of an SA."""
    registry = rulebook.registry
    choices: list[tuple[str, int, str]] = []
    if version == MAJOR_IKEV1:
        choices.append(("ike_version", version, "IKEv1"))
        if phase1 is not None:
            if phase1.encryption is not None:
                choices.append(("ikev1_encryption", phase1.encryption, registry.v1_encryption(phase1.encryption)))
            if phase1.hash is not None:
                choices.append(("ikev1_hash", phase1.hash, registry.v1_hash(phase1.hash)))
            if phase1.group is not None:
                choices.append(("key_exchange", phase1.group, registry.method(phase1.group).name))
    elif selection is not None:
        methods = [number for _, number in selection.additional]
        if selection.key_exchange is not None:
            methods.insert(0, selection.key_exchange)
        choices += [("key_exchange", number, registry.method(number).name) for number in methods]
        if selection.encryption is not None:
            number = selection.encryption.id
            choices.append(("encryption", number, registry.encryption(number).name))
        if selection.prf is not None:
            choices.append(("prf", selection.prf.id, registry.prf(selection.prf.id)))
        if selection.integrity is not None:
            choices.append(("integrity", selection.integrity.id, registry.integrity(selection.integrity.id).name))
    found: list[WeakChoice] = []
    for kind, number, name in choices:
        weakness = rulebook.weaknesses.get((kind, number))
        if weakness is not None:
            slug = "weak-" + kind.removeprefix("ikev1_").replace("_", "-")
            found.append(WeakChoice(slug, name, weakness.level, weakness.source))
    return tuple(found)
