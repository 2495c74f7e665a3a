"""Departures from a document that show in the clear; each has an entry in ``rules/deviations.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pqaudit.ike.numbers import ADDITIONAL_KEY_EXCHANGES, KE_METHOD_NONE, Notify, TransformType
from pqaudit.ike.payloads import Proposal
from pqaudit.rules.registry import Registry
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.messages import InitContent
from pqaudit.verdict.execution import Execution
from pqaudit.verdict.lengths import too_short
from pqaudit.verdict.negotiation import Negotiation
from pqaudit.verdict.selection import Selection


@dataclass(frozen=True, slots=True)
class Case:
    """What a check looks at: an SA whose response selected."""

    sa: SecurityAssociation
    negotiation: Negotiation
    request: InitContent | None
    response: InitContent
    selection: Selection
    execution: Execution
    registry: Registry


def _selection_not_offered(case: Case) -> bool:
    request = case.request
    if request is None or request.proposals is None or not request.proposals_complete:
        return False
    for proposal in case.response.proposals or ():
        if not any(_accepts(offered, proposal) for offered in request.proposals):
            return True
    return False


def _accepts(offered: Proposal, selected: Proposal) -> bool:
    if (offered.number, offered.protocol) != (selected.number, selected.protocol):
        return False
    return set(selected.transforms) <= set(offered.transforms)


def _offered_type_not_selected(case: Case) -> bool:
    request = case.request
    if request is None or request.proposals is None or not request.proposals_complete:
        return False
    offers = {proposal.number: proposal for proposal in request.proposals}
    for selected in case.response.proposals or ():
        offered = offers.get(selected.number)
        if offered is None:
            continue  # another deviation
        chosen = {transform.type for transform in selected.transforms}
        for kind in (TransformType.ENCR, TransformType.PRF, TransformType.KE, *ADDITIONAL_KEY_EXCHANGES):
            choices = {transform.id for transform in offered.transforms if transform.type == kind}
            # Where NONE was offered, leaving the type out says the same.
            if choices and kind not in chosen and KE_METHOD_NONE not in choices:
                return True
    return False


def _several_proposals(case: Case) -> bool:
    return len(case.response.proposals or ()) > 1


def _several_transforms(case: Case) -> bool:
    for proposal in case.response.proposals or ():
        kinds = [transform.type for transform in proposal.transforms]
        if len(kinds) != len(set(kinds)):
            return True
    return False


def _duplicate_key_exchange(case: Case) -> bool:
    for proposal in case.response.proposals or ():
        chosen = [
            (t.id, t.key_bits)
            for t in proposal.transforms
            if t.type in ADDITIONAL_KEY_EXCHANGES and t.id != KE_METHOD_NONE
        ]
        if len(chosen) != len(set(chosen)):
            return True
    return False


def _intermediate_not_announced(case: Case) -> bool:
    if not case.selection.additional:
        return False
    kind = Notify.INTERMEDIATE_EXCHANGE_SUPPORTED
    messages = [case.response] if case.request is None else [case.request, case.response]
    return any(m.complete and m.notify(kind) is None for m in messages)


def _ke_payload_method(case: Case) -> bool:
    chosen = {t.id for p in case.response.proposals or () for t in p.transforms if t.type == TransformType.KE}
    return case.response.ke_method is not None and case.response.ke_method not in chosen


def _ke_payload_length(case: Case) -> bool:
    for content, initiator in ((case.request, True), (case.response, False)):
        if content is None or content.ke_method is None:
            continue
        method = case.registry.method(content.ke_method)
        expected = method.public_octets if initiator else method.ciphertext_octets
        if expected is not None and content.ke_octets != expected:
            return True
    return False


def _fragmentation_not_announced(case: Case) -> bool:
    fragmented = any(m.fragments for table in case.sa.protected.values() for m in table.values())
    if not fragmented or case.request is None:
        return False
    kind = Notify.FRAGMENTATION_SUPPORTED
    return any(m.complete and m.notify(kind) is None for m in (case.request, case.response))


def _fewer_intermediate(case: Case) -> bool:
    return case.execution.contradicts(len(case.selection.additional))


def _intermediate_too_short(case: Case) -> bool:
    if case.execution.first_auth is None:
        return False
    return too_short(case.sa, case.selection, case.registry, case.execution.first_auth - 1) is True


def _large_ml_kem_over_udp(case: Case) -> bool:
    method = case.selection.key_exchange
    if method is None or method not in case.registry.large_over_udp:
        return False
    return case.negotiation.response is not None and case.negotiation.response.seen.path.transport == "udp"


CHECKS: dict[str, Callable[[Case], bool]] = {
    "selection-not-offered": _selection_not_offered,
    "offered-type-not-selected": _offered_type_not_selected,
    "several-proposals-selected": _several_proposals,
    "several-transforms-selected": _several_transforms,
    "duplicate-key-exchange": _duplicate_key_exchange,
    "intermediate-not-announced": _intermediate_not_announced,
    "ke-payload-method": _ke_payload_method,
    "ke-payload-length": _ke_payload_length,
    "fragmentation-not-announced": _fragmentation_not_announced,
    "fewer-intermediate-exchanges": _fewer_intermediate,
    "intermediate-too-short": _intermediate_too_short,
    "large-ml-kem-over-udp": _large_ml_kem_over_udp,
}


def find_deviations(case: Case) -> Iterator[str]:
    """Identifiers of the deviations that hold, in the order of ``CHECKS``."""
    for slug, check in CHECKS.items():
        if check(case):
            yield slug
