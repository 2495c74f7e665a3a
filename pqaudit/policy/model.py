"""A policy: what it asks of an IKE SA, and by when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

Certainty = Literal["read", "second-hand", "known", "unsure"]
"""``read`` in the original, ``second-hand`` in what others write of it, ``known`` but not looked up, ``unsure``."""

CERTAINTIES: tuple[Certainty, ...] = ("read", "second-hand", "known", "unsure")
"""Most certain first."""

LEVELS = ("must", "should", "prefer")
DEADLINE_LEVELS = ("must", "should", "plan")
GROUPS = ("high-priority", "new")
HYBRID = ("required", "beside-ml-kem", "allowed", "forbidden")


@dataclass(frozen=True, slots=True)
class Deadline:
    """A date of a policy.

    Attributes:
        day: as the policy is written here: the last day with ``by``, the first with ``from``.
        begins: first day on which what was not done is late.
        level: ``must``, ``should``, or ``plan`` for what concerns the organisation and no SA.
        only: the part of the scope that it concerns, ``high-priority`` or ``new``; None for all of it.
        unsure: why the date is unsure, None where it is not.
    """

    id: str
    day: date
    begins: date
    level: str
    what: str
    only: str | None
    source: str
    certainty: Certainty
    unsure: str | None


@dataclass(frozen=True, slots=True)
class KeyExchangeTest:
    """What the selected key exchanges, the main one and the additional ones, must be.

    Attributes:
        any_of: at least one is one of these.
        allowed: each is one of these.
        classical_allowed: each classical one is one of these.
        forbidden: none is one of these.
        hybrid: ``required`` ML-KEM and a classical one; ``beside-ml-kem`` a classical one where there is ML-KEM;
            ``forbidden`` not both; ``allowed`` tests nothing.
        min_bits: the strongest has at least this classical strength.
    """

    any_of: tuple[str, ...]
    allowed: tuple[str, ...]
    classical_allowed: tuple[str, ...]
    forbidden: tuple[str, ...]
    hybrid: str
    min_bits: int | None


@dataclass(frozen=True, slots=True)
class AlgorithmTest:
    """What the selected ``encryption``, ``prf`` or ``integrity`` must be; an empty tuple tests nothing."""

    kind: str
    allowed: tuple[str, ...]
    forbidden: tuple[str, ...]
    min_key_bits: int | None


@dataclass(frozen=True, slots=True)
class VersionTest:
    """The versions of IKE that there may be."""

    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeviationTest:
    """No departure from a document but these was seen."""

    allowed: tuple[str, ...]


Test = KeyExchangeTest | AlgorithmTest | VersionTest | DeviationTest


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that a policy asks of an SA, and that packets can show.

    Attributes:
        field: ``key_exchange``, ``encryption``, ``prf``, ``integrity``, ``ike_version`` or ``deviations``.
        level: ``must``; ``should``, which leaves room for reasons that packets do not show; ``prefer``, a mere wish.
        deadlines: when it has to be met; without any, from the start.
        until: last day on which it is asked, None for ever.
    """

    id: str
    what: str
    field: str
    test: Test
    level: str
    deadlines: tuple[Deadline, ...]
    until: date | None
    source: str
    certainty: Certainty
    unsure: str | None


@dataclass(frozen=True, slots=True)
class NotVisible:
    """What no passive observer sees: ``what`` the policy asks of it, and ``why`` it does not show."""

    id: str
    what: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy. Two are equal only when they are the same object, which makes them cheap keys.

    Attributes:
        date: of the document: a year, a month or a day; None where it is not known.
        requirement: what it asks, in terms of IKE, in one or two sentences.
        not_read: what of it was not read in the original, None where all was.
        unsure: why the policy as a whole is unsure, None where it is not; then no SA is said to meet it.
        not_covered: fields on which it has no requirement.
        doubtful: deviations after which what was selected is not certain.
        sha256: of the file.
        successor: id of the policy that takes its place, None where there is none.
    """

    id: str
    issuer: str
    title: str
    date: str | None
    updated: str | None
    status: str | None
    scope: str
    requirement: str
    requirements: tuple[Requirement, ...]
    deadlines: tuple[Deadline, ...]
    not_visible: tuple[NotVisible, ...]
    source: str
    certainty: Certainty
    not_read: str | None
    unsure: str | None
    not_covered: tuple[str, ...]
    doubtful: frozenset[str]
    file: str
    sha256: str = ""
    successor: str | None = None

    @property
    def read_in_original(self) -> bool:
        """Whether all of it was read in the policy itself."""
        return self.not_read is None
