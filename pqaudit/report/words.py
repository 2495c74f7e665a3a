"""What forms for people share: states, dates and shares in words, and text made safe to look at."""

from __future__ import annotations

from collections.abc import Iterator

from pqaudit.outputs.escape import printable
from pqaudit.outputs.wording import plural
from pqaudit.policy.assess import Assessment, DeadlineState, Status
from pqaudit.policy.model import Policy
from pqaudit.report.model import Case, Change, Peer

STATUS_WORDS: dict[Status, str] = {
    Status.FAILS_NOW: "fails now",
    Status.WILL_FAIL: "will fail",
    Status.NOT_ASSESSABLE: "cannot be assessed",
    Status.MEETS: "meets",
}
READING = (
    "A tunnel is a pair of addresses between which IKE was seen, an SA is one negotiation between them. Gateways that "
    "share an address, behind a NAT for one, cannot be told apart.",
    "The SA that was negotiated last decides for its tunnel, and beside it every earlier one that was seen in use for "
    "more than five minutes after it began; the worst of them counts.",
    "fails now: what has to be met today is not met. will fail: what has to be met later is not met. cannot be "
    "assessed: packets do not show whether it is met, which is never a pass. meets: all that packets can show is met, "
    "also what has to be met later; what they cannot show is listed below.",
    "ready: the tunnels that meet the policy, in percent of all, rounded down.",
)
"""What readers have to know who know no more than the report."""
CERTAINTIES = (
    "read: read in the text itself; second-hand: read in what others write of it; known: general knowledge that was "
    "not looked up; unsure: not confirmed. Check a date against the text before you act on it."
)
"""What the words for certainty mean."""
CHANGE_WORDS: dict[Change, str] = {change: "unchanged" if change is Change.SAME else change.value for change in Change}


def exchanges(case: Case) -> str:
    """The selected key exchanges as ``curve25519 + ml-kem-768``, empty where none was seen."""
    main = case.selected["key_exchange"]
    methods = [] if main is None else [main]
    methods += case.selected["additional_key_exchanges"]
    return printable(" + ".join(method["name"] for method in methods))


def algorithm(case: Case, kind: str) -> str:
    """The selected ``encryption``, ``prf`` or ``integrity``, with its key length; empty where there is none."""
    found = case.selected[kind]
    if found is None:
        return ""
    bits = found.get("key_bits")
    return printable(found["name"] if bits is None else f"{found['name']} {bits}")


def peer_words(peer: Peer) -> str:
    """An address, with the name that the user gave it."""
    name = None if peer.asset is None else peer.asset.name
    return peer.address if name is None else f"{printable(name)} ({peer.address})"


def status_words(assessment: Assessment) -> str:
    """The status, with the day where there is one."""
    words = STATUS_WORDS[assessment.status]
    if assessment.status is Status.WILL_FAIL and assessment.fails_on is not None:
        return f"{words} on {assessment.fails_on}"
    if assessment.status is Status.FAILS_NOW and assessment.fails_on is not None:
        return f"{words}, since {assessment.fails_on}"
    return words


def deciding(assessment: Assessment) -> Iterator[str]:
    """Sentences of the reasons that gave the status; that a requirement is met says nothing beside the status."""
    if assessment.status is not Status.MEETS:
        for reason in assessment.reasons:
            if reason.effect is assessment.status:
                yield printable(reason.sentence)


def deadline_words(state: DeadlineState) -> str:
    """When, and how far away it is."""
    by = "by" if state.deadline.begins > state.deadline.day else "from"
    if state.days_left == 0:
        away = "today"
    elif state.days_left > 0:
        away = f"in {plural(state.days_left, 'day')}"
    else:
        away = f"{plural(-state.days_left, 'day')} ago"
    return f"{by} {state.deadline.day}, {away}"


def ready_words(ready: float | None) -> str:
    """A share of tunnels in percent, a dash where there are none."""
    return "-" if ready is None else f"{ready:.1f} %"


def policy_words(policy: Policy) -> Iterator[str]:
    """What to know of a policy before acting on a status: whose it is, for whom, and how certain it is here."""
    dated = f", {policy.date}" if policy.date else ""
    yield f"{policy.issuer}, {policy.title}{dated}; {policy.certainty}."
    yield policy.requirement
    yield f"For: {_ended(policy.scope)}"
    if policy.status is not None:
        yield f"Status of the document: {_ended(policy.status)}"
    if policy.not_read is not None:
        yield f"Not read in the original: {policy.not_read}"
    if policy.unsure is not None:
        yield f"Unsure: {policy.unsure}"
    for asked in policy.requirements:
        if asked.unsure is not None and asked.unsure != policy.unsure:
            yield f"Unsure, so that it fails nobody: {_ended(asked.what)} {asked.unsure}"
    if policy.not_covered:
        yield f"Nothing is asked here on: {', '.join(policy.not_covered).replace('_', ' ')}."
    yield f"Source: {_ended(policy.source)}"


def _ended(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
