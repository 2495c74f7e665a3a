"""The verdict: a pure function of the evidence of an SA and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.numbers import MAJOR_IKEV1, ZERO_SPI, Exchange, Notify
from pqaudit.ike.payloads import Proposal
from pqaudit.rules.registry import Registry
from pqaudit.rules.rulebook import DEVIATION_REASON, Rulebook, VerdictRule
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.bounds import MOST_REFERENCES
from pqaudit.sa.messages import InitContent
from pqaudit.sa.reference import Reference
from pqaudit.verdict.capabilities import announced
from pqaudit.verdict.deviations import Case, find_deviations
from pqaudit.verdict.evidence import Evidence
from pqaudit.verdict.execution import Execution, read_execution
from pqaudit.verdict.negotiation import Negotiation, find_negotiation
from pqaudit.verdict.observations import find_observations
from pqaudit.verdict.selection import Offer, Selection, read_offer, read_selection
from pqaudit.verdict.weaknesses import WeakChoice, find_weaknesses

_BEYOND_CLASSICAL = frozenset(("ml-kem", "private-use", "unassigned"))
_NO_OFFER = Offer((), ())


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one SA, and why.

    Attributes:
        rule: the rule that decided.
        reason, protection, assurance: slugs of the finding.
        offer, selection: what was offered and selected; selection is None where nothing was.
        phase1: the IKEv1 phase 1 choice, or None.
        ppk: ``not-offered``, ``offered`` or ``negotiated``.
        deviations: identifiers, in the order of their checks.
        anomalies: slug to references, those of the SA and those found here.
        capabilities: what the sides announced, see ``verdict.capabilities``.
        observations: identifiers, in the order of their checks.
    """

    rule: VerdictRule
    reason: str
    protection: str
    assurance: str
    negotiation: Negotiation
    execution: Execution
    offer: Offer
    selection: Selection | None
    phase1: Phase1Transform | None
    ppk: str
    deviations: tuple[str, ...]
    anomalies: dict[str, tuple[Reference, ...]]
    evidence: tuple[Evidence, ...]
    capabilities: dict[str, str]
    observations: tuple[str, ...]
    weaknesses: tuple[WeakChoice, ...]


def judge(sa: SecurityAssociation, rulebook: Rulebook) -> Verdict:
    """Judge one SA."""
    registry = rulebook.registry
    negotiation = find_negotiation(sa)
    request = None if negotiation.request is None else negotiation.request.content
    response = None if negotiation.response is None else negotiation.response.content
    execution = read_execution(sa)
    offer = _NO_OFFER
    if request is not None and request.proposals is not None:
        offer = read_offer(request.proposals)
    selection: Selection | None = None
    deviations: tuple[str, ...] = ()
    observations: tuple[str, ...] = ()
    outcome = negotiation.outcome
    if outcome == "selected" and response is not None and response.proposals:
        selection = read_selection(response.proposals, registry)
        case = Case(sa, negotiation, request, response, selection, execution, registry)
        deviations = tuple(find_deviations(case))
        observations = tuple(find_observations(case))
        if selection.ambiguous:
            outcome, selection = "ambiguous", None
        elif selection.key_exchange is None:
            outcome = "without-key-exchange"
    expected = len(selection.additional) if selection else 0
    contradicted = expected > 0 and (execution.contradicts(expected) or "intermediate-too-short" in deviations)
    named = [d for d in deviations if rulebook.deviations[d].names_reason]
    rule = rulebook.decide(
        {
            "ike": f"{sa.version}.0",
            "outcome": outcome,
            "main": _class(selection.key_exchange, registry) if selection else None,
            "additional": frozenset(registry.method(m).kind for _, m in selection.additional)
            if selection
            else frozenset(),
            "contradicted": contradicted,
            "offer": _offer_class(offer, request, registry),
            "deviates": bool(named),
        },
    )
    ppk = _ppk(request, response, rulebook)
    phase1 = _phase1(sa)
    return Verdict(
        rule,
        named[0] if rule.reason == DEVIATION_REASON else rule.reason,
        "ppk" if rule.protection == "none" and ppk == "negotiated" else rule.protection,
        _assurance(sa.version, phase1, outcome, expected, contradicted, execution),
        negotiation,
        execution,
        offer,
        selection,
        phase1,
        ppk,
        deviations,
        _anomalies(sa, negotiation, execution),
        _evidence(sa, negotiation, execution, selection, rulebook),
        announced(request, response, rulebook),
        observations,
        find_weaknesses(sa.version, selection, phase1, rulebook),
    )


def _class(method: int | None, registry: Registry) -> str | None:
    return None if method is None else registry.method(method).kind


def _offer_class(offer: Offer, request: InitContent | None, registry: Registry) -> str:
    if request is None or request.proposals is None:
        return "not-seen"
    methods = [*offer.key_exchanges, *(method for _, method in offer.additional)]
    if any(registry.method(method).kind in _BEYOND_CLASSICAL for method in methods):
        return "beyond-classical"
    # A request that was cut off may have offered more than can be read.
    return "classical" if request.proposals_complete else "not-seen"


def _ppk(request: InitContent | None, response: InitContent | None, rulebook: Rulebook) -> str:
    def announces(content: InitContent | None) -> bool:
        return content is not None and any(n.type in rulebook.ppk_notifies for n in content.notifies)

    if announces(response) and (announces(request) or request is None):
        return "negotiated"
    return "offered" if announces(request) else "not-offered"


def _phase1(sa: SecurityAssociation) -> Phase1Transform | None:
    """The transform that the responder of IKEv1 phase 1 returned: it sets its cookie (RFC 2408 section 4.5)."""
    first = next((m for m in sa.phase1_messages if m.content.responder_spi != ZERO_SPI), None)
    return None if first is None else first.content.transforms[0]


def _assurance(
    version: int, phase1: Phase1Transform | None, outcome: str, expected: int, contradicted: bool, execution: Execution
) -> str:
    if version == MAJOR_IKEV1:
        return "selected" if phase1 is not None else "offered"
    if outcome != "selected":
        return "offered"
    if contradicted:
        return "contradicted"
    return "executed" if execution.executed(expected) else "selected"


def _anomalies(
    sa: SecurityAssociation, negotiation: Negotiation, execution: Execution
) -> dict[str, tuple[Reference, ...]]:
    found = {slug: tuple(sorted(references)) for slug, references in sorted(sa.anomalies.items())}
    if negotiation.request is None and negotiation.response is not None:
        found["request-not-seen"] = (negotiation.response.seen.first,)
    if negotiation.outcome == "unanswered" and sa.has_traffic and sa.first is not None:
        found["response-not-seen"] = (sa.first,)
    if execution.out_of_place:
        found["ike-auth-out-of-place"] = execution.out_of_place[:MOST_REFERENCES]
    for bound in sorted(sa.overflow):
        found[f"limit-{bound}"] = () if sa.first is None else (sa.first,)
    return found


def _evidence(
    sa: SecurityAssociation,
    negotiation: Negotiation,
    execution: Execution,
    selection: Selection | None,
    rulebook: Rulebook,
) -> tuple[Evidence, ...]:
    registry = rulebook.registry
    found: list[Evidence] = []
    if sa.version == MAJOR_IKEV1:
        for message in sa.phase1_messages:
            groups = dict.fromkeys(t.group for t in message.content.transforms if t.group is not None)
            names = ", ".join(registry.method(group).name for group in groups) or "no group"
            side = "responder" if message.content.responder_spi != ZERO_SPI else "initiator"
            found.append(Evidence(message.seen.first, f"IKEv1 phase 1 SA payload of the {side}: {names}"))
        if not found and sa.first is not None:
            found.append(Evidence(sa.first, "IKEv1 header"))
        return tuple(found)
    for init, where in ((negotiation.request, "request"), (negotiation.response, "response")):
        if init is not None:
            found.append(
                Evidence(
                    init.seen.first, _init_text(init.content.exchange_type, init.content.proposals, where, registry)
                )
            )
    if negotiation.refusal is not None and negotiation.response is not None:
        name = registry.notify(negotiation.refusal.type)
        text = f"notify {name} ({negotiation.refusal.type})"
        if negotiation.refusal.type == Notify.INVALID_KE_PAYLOAD and len(negotiation.refusal.data) >= 2:
            wanted = registry.method(int.from_bytes(negotiation.refusal.data[:2], "big"))
            text += f": the responder wants {wanted.name} ({wanted.id})"
        found.append(Evidence(negotiation.response.seen.first, text))
    for key, protected in sorted(sa.protected.get(Exchange.IKE_INTERMEDIATE, {}).items()):
        side = "response" if key.is_response else "request"
        if protected.fragments:
            size = f"{len(protected.fragment_octets)} of {protected.fragments} fragments, "
            size += f"{sum(protected.fragment_octets.values())} octets of SKF"
        else:
            size = f"{protected.octets} octets of SK"
        inner = ""
        if protected.inner_type is not None:
            inner = f", first inner payload {registry.payload(protected.inner_type)} ({protected.inner_type})"
        found.append(Evidence(protected.first, f"IKE_INTERMEDIATE {side}, message ID {key.message_id}: {size}{inner}"))
    if execution.auth_message is not None:
        expected = len(selection.additional) if selection else 0
        text = f"first IKE_AUTH seen has message ID {execution.first_auth}"
        if expected:
            text += f"; {expected} additional key exchange{'s' if expected > 1 else ''} selected"
        found.append(Evidence(execution.auth_message.first, text))
    if not found and sa.first is not None:
        found.append(Evidence(sa.first, "first packet with these SPIs; no IKE_SA_INIT before it"))
    return tuple(found)


@lru_cache(maxsize=256)
def _init_text(exchange_type: int, proposals: tuple[Proposal, ...] | None, side: str, registry: Registry) -> str:
    name = registry.exchange(exchange_type)
    if proposals is None:
        return f"{name} {side} without an SA payload"
    offer = read_offer(proposals)
    main = ", ".join(f"{registry.method(m).name} ({m})" for m in offer.key_exchanges) or "none"
    text = f"{name} {side}: SA payload, KE {main}"
    for slot, method in offer.additional:
        text += f", ADDKE{slot} {registry.method(method).name} ({method})"
    return text
