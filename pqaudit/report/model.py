"""A report: everything that its forms show, so that all of them say the same.

The parts that grow with the findings are `Rows`: they can be gone through again and again, and need not be in memory.
Text in it comes from the wire and from files; each form escapes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from pqaudit.policy.assess import Assessment, DeadlineState, Status
from pqaudit.policy.model import Policy

_Row = TypeVar("_Row", covariant=True)

SCHEMA_VERSION = 1
"""Of the report as JSON."""

KIND = "pqaudit-report"
"""What the report as JSON says that it is."""


class Rows(Protocol[_Row]):
    """Rows in an order that depends on the findings alone. Each loop reads them anew; lists and tuples are rows too."""

    def __iter__(self) -> Iterator[_Row]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class PolicyPart:
    """A policy that is reported on.

    What of it was not read, how certain it is, and what packets never show, stands in ``policy`` and must be shown.

    Attributes:
        deadlines: all of them, seen from the day of the report, in order of their dates.
    """

    policy: Policy
    deadlines: tuple[DeadlineState, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """What was read to make the report, named without its folder.

    Attributes:
        kind: ``findings``, ``assets``, ``baseline``, or ``server``, of which no content can be hashed.
        octets, sha256: of all that was read, None for a server.
        findings: how many were in it, None for assets and baselines.
    """

    kind: str
    name: str
    octets: int | None
    sha256: str | None
    findings: int | None


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture that findings rest on.

    Attributes:
        name: as the findings have it.
        octets, sha256: None where no run document tells them.
        sas: SAs with packets in it.
    """

    name: str
    octets: int | None
    sha256: str | None
    sas: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the report is about and rests on.

    Attributes:
        version, rules: of pqaudit and of the rules that it brings.
        found_by: versions of pqaudit and of its rules that made the findings, sorted.
        as_of: the day that everything is seen from.
        groups: what all SAs are taken to belong to, of ``high-priority`` and ``new``.
        filters: what findings were asked for, as options, empty for all.
        captures: sorted by name.
    """

    title: str
    tool: str
    version: str
    rules: str
    found_by: tuple[tuple[str, str], ...]
    as_of: date
    groups: tuple[str, ...]
    filters: tuple[str, ...]
    policies: tuple[PolicyPart, ...]
    inputs: tuple[Input, ...]
    captures: tuple[Capture, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Whatever the policy. ``first`` and ``last``: when the first and the last SA began, None without any."""

    sas: int
    tunnels: int
    peers: int
    verdicts: Mapping[str, int]
    protections: Mapping[str, int]
    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class PolicyTotals:
    """How everything stands to one policy.

    Attributes:
        sas, tunnels: how many have each status; all four are there, worst first.
        acts: tunnels that do not meet the policy, by who has to act: ``initiator``, ``responder``, ``both``,
            ``unknown``.
        ready: percent of tunnels that meet it, rounded down to a tenth; None without tunnels.
    """

    policy: str
    sas: Mapping[Status, int]
    tunnels: Mapping[Status, int]
    acts: Mapping[str, int]
    ready: float | None


@dataclass(frozen=True, slots=True)
class Asset:
    """What the user says of addresses. ``network`` is the one that it was said of; None is not said."""

    network: str
    name: str | None
    owner: str | None
    site: str | None
    criticality: str | None


@dataclass(frozen=True, slots=True)
class Peer:
    """An address, with what is known of it; None where no asset has it."""

    address: str
    asset: Asset | None


@dataclass(frozen=True, slots=True)
class OwnerTotals:
    """Of one owner, None for peers without one.

    Attributes:
        peers: addresses.
        tunnels: by policy, how many of those with an end of this owner have each status, worst first.
    """

    owner: str | None
    peers: int
    tunnels: Mapping[str, Mapping[Status, int]]


@dataclass(frozen=True, slots=True)
class Case:
    """What all SAs have in common that policies cannot tell apart.

    Attributes:
        number: from 0 on, in the order of `Report.cases`.
        sas: how many SAs there are.
        ike_version: ``1.0`` or ``2.0``.
        verdict, reason, protection, assurance, ppk, selected: as in findings.
        deviations: slugs.
        weaknesses: what is weak, as names of algorithms.
        in_use: exchanges were seen that run only under an established SA.
        rekeyed: taken for the rekey of an earlier SA.
        responsibility: who has to act, as in findings.
        assessments: one for each policy, in the order of ``Header.policies``.
    """

    number: int
    sas: int
    ike_version: str
    verdict: str
    reason: str
    protection: str
    assurance: str
    ppk: str
    selected: Mapping[str, Any]
    deviations: tuple[str, ...]
    weaknesses: tuple[str, ...]
    in_use: bool
    rekeyed: bool
    responsibility: str | None
    assessments: tuple[Assessment, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where to look."""

    file: str
    frame: int
    time: str | None
    what: str


@dataclass(frozen=True, slots=True)
class Sa:
    """One SA.

    Attributes:
        id: ``event.id`` of the finding.
        begun, ended: time of the first and the last packet.
        initiator, responder: address and port.
        case: what it has in common with others, its status among it.
        evidence_json: ``evidence`` as JSON of ASCII characters, which need not be taken apart to be copied.
    """

    id: str
    begun: str
    ended: str
    initiator: tuple[Peer, int]
    responder: tuple[Peer, int]
    case: Case
    evidence_json: str

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """Where to look."""
        return tuple(Evidence(e["file"], e["frame"], e["time"], e["what"]) for e in json.loads(self.evidence_json))


class Change(StrEnum):
    """How a tunnel stands to a policy beside an earlier report.

    ``fixed`` meets it now and did not; ``improved`` is less bad and does not meet it; ``regressed`` is worse.
    """

    NEW = "new"
    FIXED = "fixed"
    IMPROVED = "improved"
    REGRESSED = "regressed"
    SAME = "same"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class State:
    """How a tunnel stands to one policy.

    Attributes:
        assessment: of the SA that decided: status, first day on which it fails, reasons, deadlines.
        decided_by: that SA.
        later_not_seen: an SA began after the latest negotiated one whose negotiation does not show.
        earlier_in_use: the SA that decided began before the latest negotiated one, and was in use beside it.
        acts: who has to act, as addresses, the initiator's first; empty where nobody has to or it is not known.
        change: beside the earlier report; None where it says nothing of this policy, or there is none.
        before: the status in it, None where it has none.
    """

    policy: str
    assessment: Assessment
    decided_by: Sa
    later_not_seen: bool
    earlier_in_use: bool
    acts: tuple[str, ...]
    change: Change | None
    before: Status | None


@dataclass(frozen=True, slots=True)
class Advice:
    """What is known of a product of a vendor. A vendor ID is a hint and seldom tells the version."""

    product: str
    what: str
    source: str
    certainty: str


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A pair of peers.

    Attributes:
        peers: in order of their addresses as text.
        sas: how many were seen between them.
        latest: the SA that was negotiated last of those that show what was negotiated, None without any.
        states: one for each policy, in the order of ``Header.policies``.
        vendors: by address, what vendor IDs hint at, sorted; `Report.advice` has what is known of them.
    """

    peers: tuple[Peer, Peer]
    sas: int
    latest: Sa | None
    states: tuple[State, ...]
    vendors: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class GoneTunnel:
    """A pair of peers of the earlier report that is not seen any more, with its status by policy then."""

    peers: tuple[str, str]
    before: Mapping[str, Status]


@dataclass(frozen=True, slots=True)
class Comparison:
    """This report beside an earlier one.

    Attributes:
        as_of: day of the earlier one.
        policies: those of this report of which the earlier one tells.
        changes: by policy, how many tunnels changed how; all changes are there.
        gone: sorted by address.
    """

    as_of: date
    policies: tuple[str, ...]
    changes: Mapping[str, Mapping[Change, int]]
    gone: Rows[GoneTunnel]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report.

    Attributes:
        totals: one for each policy, in the order of ``Header.policies``.
        advice: by vendor, of those that were seen and of which something is known, sorted.
        owners: sorted by name, None last; empty without assets.
        cases: sorted by what they are.
        tunnels: sorted by address.
        sas: sorted by tunnel, then by time.
        comparison: None without an earlier report.
        nist_categories: NIST's category of security against quantum computers, by number of the key exchange method,
            of those that were selected and have one.
        notes: what to know beside the numbers, as sentences.
        complete: all input could be read, and the runs that made it were complete as far as they tell.
    """

    header: Header
    counts: Counts
    totals: tuple[PolicyTotals, ...]
    advice: Mapping[str, tuple[Advice, ...]]
    owners: tuple[OwnerTotals, ...]
    cases: Rows[Case]
    tunnels: Rows[Tunnel]
    sas: Rows[Sa]
    comparison: Comparison | None
    nist_categories: Mapping[int, int]
    notes: tuple[str, ...]
    complete: bool
