"""What a finding says of a policy. Pure: the day is an argument, and nothing is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from pqaudit.policy.checks import Outcome, Result, check, has_integrity
from pqaudit.policy.facts import IKEV1, SaFacts, read_facts
from pqaudit.policy.model import CERTAINTIES, Certainty, Deadline, NotVisible, Policy, Requirement
from pqaudit.rules.registry import Registry

NO_GROUPS: frozenset[str] = frozenset()


class Status(StrEnum):
    """How an SA stands to a policy, worst first."""

    FAILS_NOW = "fails-now"
    WILL_FAIL = "will-fail"
    NOT_ASSESSABLE = "not-assessable"
    MEETS = "meets"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return _RANKS[self]


_RANKS = {status: rank for rank, status in enumerate(Status)}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a status was given.

    Attributes:
        effect: the status that this alone would give, None for a mere note.
        slug, sentence: for machines and for people.
        field, value: of the finding, what it rests on.
        requirement: id of the requirement, None where none is concerned.
        begins: first day on which the requirement fails the SA, None without a date.
        source, certainty: of the requirement.
    """

    effect: Status | None
    slug: str
    sentence: str
    field: str
    value: str | None
    requirement: str | None = None
    begins: date | None = None
    source: str | None = None
    certainty: Certainty | None = None


@dataclass(frozen=True, slots=True)
class DeadlineState:
    """A deadline seen from a day.

    Attributes:
        days_left: days to its date; negative after it.
        passed: what was not done by now is late.
        applies: its date is not unsure, and it concerns every SA in scope or a group that this one is said to be in.
    """

    deadline: Deadline
    days_left: int
    passed: bool
    applies: bool


@dataclass(frozen=True, slots=True)
class Assessment:
    """How one SA stands to one policy.

    Attributes:
        fails_on: first day on which it fails; None where it does not, or fails without a date.
        reasons: those that gave the status first.
        responsibility: who has to act, ``initiator``, ``responder``, ``both`` or ``unknown``; None where nobody has to.
        deadlines: of the requirements that are not met or cannot be assessed, in order of their dates.
        not_visible: what the policy asks and packets never show; it is never passed.
        not_covered: ``key_exchange``, ``encryption``, ``prf`` or ``integrity``, on which the policy says nothing here.
        certainty: the least certain of what the status rests on, None where it rests on nothing of the policy.
    """

    policy: str
    as_of: date
    status: Status
    fails_on: date | None
    reasons: tuple[Reason, ...]
    responsibility: str | None
    deadlines: tuple[DeadlineState, ...]
    not_visible: tuple[NotVisible, ...]
    not_covered: tuple[str, ...]
    certainty: Certainty | None


def assess(
    finding: dict[str, Any], policy: Policy, as_of: date, registry: Registry, groups: frozenset[str] = NO_GROUPS
) -> Assessment:
    """Assess one finding.

    Args:
        groups: of ``model.GROUPS``, what the SA is known to belong to; deadlines for others decide nothing.
    """
    return assess_facts(read_facts(finding, registry), policy, as_of, registry, groups)


# Peers negotiate the same over and over: what it means to a policy is worked out once.
@lru_cache(maxsize=4096)
def assess_facts(
    facts: SaFacts, policy: Policy, as_of: date, registry: Registry, groups: frozenset[str] = NO_GROUPS
) -> Assessment:
    """Assess what was read from a finding."""
    in_force = [r for r in policy.requirements if r.until is None or as_of <= r.until]
    reasons: list[Reason] = []
    concerned: dict[str, Deadline] = {}
    for requirement in in_force:
        reason = _reason(requirement, check(requirement, policy, facts, registry), as_of, groups)
        reasons.append(reason)
        if reason.effect is not Status.MEETS:
            concerned.update({deadline.id: deadline for deadline in requirement.deadlines})
        if reason.effect is Status.WILL_FAIL:
            reasons += _late_for_some(requirement, reason, as_of, groups)
    reasons += _of_the_whole(policy, facts, in_force)
    effects = [reason.effect for reason in reasons if reason.effect is not None]
    status = min(effects, key=lambda s: s.rank)
    reasons.sort(key=lambda reason: len(Status) if reason.effect is None else reason.effect.rank)
    deciding = [reason for reason in reasons if reason.effect is status]
    days = [reason.begins for reason in deciding if reason.begins is not None]
    failing = status in (Status.FAILS_NOW, Status.WILL_FAIL)
    undated = any(reason.begins is None for reason in deciding)
    return Assessment(
        policy.id,
        as_of,
        status,
        min(days) if failing and days and not undated else None,
        tuple(reasons),
        None if status is Status.MEETS else facts.responsibility or ("unknown" if failing else None),
        deadline_states(concerned.values(), as_of, groups),
        policy.not_visible,
        policy.not_covered,
        max((r.certainty for r in deciding if r.certainty is not None), key=CERTAINTIES.index, default=None),
    )


def deadline_states(
    deadlines: Iterable[Deadline], as_of: date, groups: frozenset[str] = NO_GROUPS
) -> tuple[DeadlineState, ...]:
    """Deadlines seen from a day, in order of their dates."""
    return tuple(
        DeadlineState(deadline, (deadline.day - as_of).days, as_of >= deadline.begins, _applies(deadline, groups))
        for deadline in sorted(deadlines, key=lambda deadline: (deadline.day, deadline.id))
    )


def _applies(deadline: Deadline, groups: frozenset[str]) -> bool:
    return deadline.certainty != "unsure" and (deadline.only is None or deadline.only in groups)


def _reason(requirement: Requirement, outcome: Outcome, as_of: date, groups: frozenset[str]) -> Reason:
    begins: date | None = None
    certainty = requirement.certainty
    slug, sentence = outcome.slug, outcome.sentence
    effect: Status | None
    if outcome.result is Result.MET:
        effect = Status.MEETS
    elif outcome.result is Result.UNKNOWN:
        effect = Status.NOT_ASSESSABLE
    elif certainty == "unsure":
        effect, slug = Status.NOT_ASSESSABLE, "unsure-requirement"
        sentence += f" The requirement itself is unsure: {requirement.unsure}"
    elif requirement.level == "should":
        effect, slug = Status.NOT_ASSESSABLE, "advised-against"
        sentence += " The policy advises this and leaves room for reasons, which packets do not show."
    else:
        effect, begins, certainty = _failing(requirement, as_of, groups)
    if requirement.level == "prefer":
        effect = begins = None
    return Reason(
        effect,
        slug,
        sentence,
        outcome.field,
        outcome.value,
        requirement.id,
        begins,
        requirement.source,
        certainty,
    )


def _failing(requirement: Requirement, as_of: date, groups: frozenset[str]) -> tuple[Status, date | None, Certainty]:
    """Status, first day and certainty of a requirement that is not met."""
    decisive = [d for d in requirement.deadlines if d.level == "must" and _applies(d, groups)]
    if not decisive:
        return Status.FAILS_NOW, None, requirement.certainty
    first = min(decisive, key=lambda deadline: deadline.begins)
    certainty = max(requirement.certainty, first.certainty, key=CERTAINTIES.index)
    return (Status.FAILS_NOW if as_of >= first.begins else Status.WILL_FAIL), first.begins, certainty


def _late_for_some(requirement: Requirement, reason: Reason, as_of: date, groups: frozenset[str]) -> Iterator[Reason]:
    """Notes on deadlines that have passed and do not decide: for a group, of level should, or unsure."""
    for deadline in requirement.deadlines:
        if as_of >= deadline.begins and (deadline.level != "must" or not _applies(deadline, groups)):
            last = deadline.begins - timedelta(days=1)
            sentence = f"Since {last} has passed, it is late where this holds: {deadline.what}"
            yield Reason(
                None,
                "late-for-some",
                sentence,
                reason.field,
                reason.value,
                requirement.id,
                deadline.begins,
                deadline.source,
                deadline.certainty,
            )


def _of_the_whole(policy: Policy, facts: SaFacts, in_force: list[Requirement]) -> Iterator[Reason]:
    """Reasons that no single requirement gives."""
    if not any(requirement.level != "prefer" for requirement in in_force):
        sentence = "Nothing that packets show is asked on this day."
        yield Reason(Status.NOT_ASSESSABLE, "no-requirement", sentence, "pqaudit", None)
    if policy.unsure is not None:
        sentence = f"The policy is not known well enough to say that it is met: {policy.unsure}"
        yield Reason(
            Status.NOT_ASSESSABLE, "unsure-policy", sentence, "pqaudit", None, None, None, policy.source, "unsure"
        )
    tested = {requirement.field for requirement in in_force if requirement.level != "prefer"}
    for field, what in facts.weak or ():
        if field not in tested:
            sentence = f"{what} is weak, and the policy, as far as it is known here, says nothing of it."
            yield Reason(Status.NOT_ASSESSABLE, "weak-choice-not-covered", sentence, "pqaudit.weaknesses", what)
    cipher = facts.encryption
    if "integrity" not in tested and facts.version != IKEV1 and cipher and not (cipher.aead or has_integrity(facts)):
        sentence = f"No integrity algorithm stands beside {cipher.shown}, which IKEv2 forbids."
        yield Reason(Status.NOT_ASSESSABLE, "no-integrity", sentence, "pqaudit.selected.integrity", None)
    if facts.assurance == "selected" and facts.passable:
        sentence = "The selection was seen, not that the exchanges ran to the end."
        yield Reason(None, "not-seen-to-run", sentence, "pqaudit.assurance", facts.assurance)
