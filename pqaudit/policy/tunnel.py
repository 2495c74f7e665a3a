"""How a pair of peers stands to policies, from the findings of their SAs; docs/policies.md has the rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from pqaudit.policy.assess import NO_GROUPS, Assessment, Status, assess_facts
from pqaudit.policy.facts import SaFacts, read_facts
from pqaudit.policy.model import Policy
from pqaudit.rules.registry import Registry

Order = tuple[str, str]
"""When an SA began, without the ``Z``, and its ``event.id``."""

HANDOVER_SECONDS: Final = 300
"""So long an SA may still be seen after the next one began and be taken for replaced: peers let both run for a while,
and retry what ends the old one. No RFC has a number; retries take some minutes with common defaults."""

_Judged = tuple[Order, Assessment]


@dataclass(frozen=True, slots=True)
class TunnelAssessment:
    """How one pair of peers stands to one policy.

    Attributes:
        peers: the two addresses, in order.
        sas: SAs seen between them.
        assessment: of the SA that decided.
        decided_by: ``event.id`` of that SA.
        later_not_seen: an SA began after the latest negotiated one whose negotiation does not show.
        earlier_in_use: an SA that began before the latest negotiated one decided, as it was in use beside it.
    """

    peers: tuple[str, str]
    policy: str
    sas: int
    assessment: Assessment
    decided_by: str
    later_not_seen: bool
    earlier_in_use: bool


@dataclass(frozen=True, slots=True)
class GatheredSas:
    """SAs of one pair of peers with the same facts: the one that began last, or the one that was seen longest.

    Attributes:
        assessments: one for each policy.
        began: when it began.
        ended: when it was last seen, without the ``Z``.
    """

    facts: SaFacts
    assessments: tuple[Assessment, ...]
    began: Order
    ended: str


@dataclass(slots=True)
class _State:
    """What is kept of a tunnel for one policy: a bounded number of assessments, however many SAs there are."""

    negotiated: _Judged | None = None
    in_use: dict[Status, _Judged] = field(default_factory=dict)
    others: dict[Status, _Judged] = field(default_factory=dict)
    # Of those in use the one that was seen longest, with its end, whether it shows what was negotiated or not.
    longest: dict[Status, tuple[str, Order, Assessment]] = field(default_factory=dict)


@dataclass(slots=True)
class _Tunnel:
    sas: int = 0
    last_unseen: Order = ("", "")
    states: list[_State] = field(default_factory=list)

    def take(self, order: Order, ended: str, facts: SaFacts, assessments: Iterable[Assessment]) -> None:
        in_use = facts.in_use and not facts.rekeyed
        if facts.in_use and not facts.negotiated:
            self.last_unseen = max(self.last_unseen, order)
        for assessment, state in zip(assessments, self.states, strict=True):
            judged = (order, assessment)
            if facts.negotiated:
                state.negotiated = judged if state.negotiated is None else _later(state.negotiated, judged)
            else:
                kept = state.in_use if in_use else state.others
                other = kept.get(assessment.status)
                kept[assessment.status] = judged if other is None else max(other, judged, key=lambda j: j[0])
            if counts_while_in_use(facts):
                seen, longest = (ended, order, assessment), state.longest.get(assessment.status)
                if longest is None or seen[:2] > longest[:2]:
                    state.longest[assessment.status] = seen


class TunnelAssessor:
    """Gathers findings in any order; memory grows with tunnels and policies, not with findings.

    Of a tunnel the latest SA decides that shows what was negotiated. An SA that began after it, is in use and does not
    show what was negotiated counts beside it, the worse of the two deciding, unless it is taken for a rekey of an
    earlier one. So does an SA that began before it and was seen in use for more than ``HANDOVER_SECONDS`` after it
    began. Where no SA shows what was negotiated, the worst decides.
    """

    def __init__(
        self, policies: Iterable[Policy], as_of: date, registry: Registry, groups: frozenset[str] = NO_GROUPS
    ) -> None:
        self._policies = tuple(policies)
        self._registry = registry
        # All policies at once: looking facts up for each of them would take longer than the rest.
        self._assess = lru_cache(maxsize=1024)(
            lambda facts: tuple(assess_facts(facts, policy, as_of, registry, groups) for policy in self._policies)
        )
        self._tunnels: dict[tuple[str, str], _Tunnel] = {}

    def add(self, finding: dict[str, Any]) -> None:
        """Take one finding into account."""
        ends = sorted((_address(finding, "source"), _address(finding, "destination")))
        tunnel = self._tunnels.setdefault((ends[0], ends[1]), _Tunnel(states=[_State() for _ in self._policies]))
        facts = read_facts(finding, self._registry)
        tunnel.sas += 1
        tunnel.take(_order(finding), _ended(finding), facts, self._assess(facts))

    def assessments(self) -> Iterator[TunnelAssessment]:
        """Each tunnel with each policy, in order of the addresses and of the policies."""
        for peers, tunnel in sorted(self._tunnels.items()):
            yield from _assessed(peers, tunnel, self._policies)


def assess_gathered(
    peers: tuple[str, str], sas: int, gathered: Sequence[GatheredSas], policies: Sequence[Policy]
) -> list[TunnelAssessment]:
    """Assess one pair of peers with each policy, as ``TunnelAssessor`` does, from SAs that were gathered before.

    What cannot decide may be left out: where an SA shows what was negotiated, all that is not in use, and all that
    began before the latest such SA, but for the longest seen of those that ``counts_while_in_use``.

    Args:
        sas: how many there are in all.
    """
    if len(gathered) == 1:  # as with most pairs of peers
        ((_, identifier), assessments) = gathered[0].began, gathered[0].assessments
        return [TunnelAssessment(peers, a.policy, sas, a, identifier, False, False) for a in assessments]
    tunnel = _Tunnel(sas, states=[_State() for _ in policies])
    for found in gathered:
        tunnel.take(found.began, found.ended, found.facts, found.assessments)
    return list(_assessed(peers, tunnel, policies))


def assess_tunnel(
    findings: Iterable[dict[str, Any]],
    policy: Policy,
    as_of: date,
    registry: Registry,
    groups: frozenset[str] = NO_GROUPS,
) -> TunnelAssessment:
    """Assess one pair of peers; ``TunnelAssessor`` does so for many.

    Raises:
        ValueError: the findings are of no pair of peers, or of several.
    """
    assessor = TunnelAssessor((policy,), as_of, registry, groups)
    for finding in findings:
        assessor.add(finding)
    (found,) = assessor.assessments()
    return found


def _assessed(peers: tuple[str, str], tunnel: _Tunnel, policies: Iterable[Policy]) -> Iterator[TunnelAssessment]:
    for policy, state in zip(policies, tunnel.states, strict=True):
        (began, decided_by), assessment = _deciding(state)
        last = state.negotiated
        later = last is not None and tunnel.last_unseen > last[0]
        earlier = last is not None and began < last[0][0]
        yield TunnelAssessment(peers, policy.id, tunnel.sas, assessment, decided_by, later, earlier)


def _deciding(state: _State) -> _Judged:
    if state.negotiated is None:
        return _worst([*state.in_use.values(), *state.others.values()])
    started = state.negotiated[0][0]
    later = [judged for judged in state.in_use.values() if judged[0][0] >= started]
    beside = [
        (order, assessment)
        for ended, order, assessment in state.longest.values()
        if order[0] < started and _outlasts(ended, started)
    ]
    return _worst([state.negotiated, *later, *beside])


def counts_while_in_use(facts: SaFacts) -> bool:
    """Whether an SA counts as long as it is seen, also when another one began meanwhile."""
    return facts.in_use and (facts.negotiated or not facts.rekeyed)


def _outlasts(ended: str, started: str) -> bool:
    try:
        # Whole seconds are exact enough, and nanoseconds are more than is read.
        end, start = (datetime.fromisoformat(text[: len("2026-11-25T10:00:00")]) for text in (ended, started))
        return end > start + timedelta(seconds=HANDOVER_SECONDS)
    except (ValueError, OverflowError):  # a finding without an end, or of the year 9999
        return False


def _worst(judged: list[_Judged]) -> _Judged:
    """The worst; of several as bad the latest."""
    least = min(j[1].status.rank for j in judged)
    return max((j for j in judged if j[1].status.rank == least), key=lambda j: j[0])


def _later(one: _Judged, other: _Judged) -> _Judged:
    """The one that began later; of two that began at once the worse."""
    if one[0][0] == other[0][0]:
        return _worst([one, other])
    return max(one, other, key=lambda j: j[0])


def _order(finding: dict[str, Any]) -> Order:
    """When an SA began. Without the ``Z`` times of different resolution compare as text."""
    event = finding.get("event")
    identifier = event.get("id") if isinstance(event, dict) else None
    return (str(finding.get("@timestamp", "")).removesuffix("Z"), str(identifier or ""))


def _ended(finding: dict[str, Any]) -> str:
    """When an SA was last seen, without the ``Z``."""
    event = finding.get("event")
    return str(event.get("end") or "").removesuffix("Z") if isinstance(event, dict) else ""


def _address(finding: dict[str, Any], side: str) -> str:
    end = finding.get(side)
    return str(end.get("ip", "")) if isinstance(end, dict) else ""
