"""What else was seen of an SA; each observation has an entry in ``rules/observations.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import pairwise

from pqaudit.ike.numbers import ADDITIONAL_KEY_EXCHANGES, KE_METHOD_NONE, Exchange, Payload, TransformType
from pqaudit.ike.payloads import Proposal
from pqaudit.rules.registry import Registry
from pqaudit.verdict.deviations import Case


def _is_hybrid(case: Case) -> bool:
    return any(case.registry.method(number).kind == "ml-kem" for _, number in case.selection.additional)


def _rekeys(case: Case) -> Iterator[bool]:
    """For each CREATE_CHILD_SA request, whether IKE_FOLLOWUP_KE followed it (RFC 9370 section 2.2.4).

    It follows with a later message ID of the same side and before the side's next CREATE_CHILD_SA; other exchanges may
    stand between. A request after which nothing of its side was seen is left out: the capture may have ended there.
    """
    if Exchange.CREATE_CHILD_SA not in case.sa.protected:
        return
    for side in (True, False):
        created = _request_ids(case, Exchange.CREATE_CHILD_SA, side)
        followups = _request_ids(case, Exchange.IKE_FOLLOWUP_KE, side)
        last = max((ids.highest or 0 for (_, by), ids in case.sa.exchanges.items() if by == side), default=0)
        for message_id, following in pairwise([*created, last + 1]):
            if message_id < last:
                yield any(message_id < number < following for number in followups)


def _request_ids(case: Case, exchange: Exchange, side: bool) -> list[int]:
    """Message IDs of exchanges that one side requested, ascending; either message of an exchange shows it."""
    table = case.sa.protected.get(exchange, {})
    return sorted({key.message_id for key in table if (key.from_initiator != key.is_response) == side})


def _rekey_without(case: Case) -> bool:
    return _is_hybrid(case) and not all(_rekeys(case))


def _rekey_with(case: Case) -> bool:
    return not case.selection.additional and any(kind == Exchange.IKE_FOLLOWUP_KE for kind, _ in case.sa.exchanges)


def _fallback_offered(case: Case) -> bool:
    if case.request is None or case.request.proposals is None:
        return False
    return _offers_fallback(case.request.proposals, case.registry)


@lru_cache(maxsize=256)
def _offers_fallback(proposals: tuple[Proposal, ...], registry: Registry) -> bool:
    """True when ML-KEM was offered beside a way to a classical SA."""
    hybrid = classical = False
    for proposal in proposals:
        slots: dict[int, set[int]] = {}
        for transform in proposal.transforms:
            if transform.type in ADDITIONAL_KEY_EXCHANGES:
                slots.setdefault(transform.type, set()).add(transform.id)
        ml_kem = [ids for ids in slots.values() if any(registry.method(number).kind == "ml-kem" for number in ids)]
        hybrid = hybrid or bool(ml_kem)
        main = [t.id for t in proposal.transforms if t.type == TransformType.KE]
        if not any(registry.method(number).kind == "ml-kem" for number in main):
            classical = classical or all(KE_METHOD_NONE in ids for ids in ml_kem)
    return hybrid and classical


def _offered_and_declined(case: Case) -> bool:
    if case.request is None or case.request.proposals is None or _is_hybrid(case):
        return False
    return any(
        transform.type in ADDITIONAL_KEY_EXCHANGES and case.registry.method(transform.id).kind == "ml-kem"
        for proposal in case.request.proposals
        for transform in proposal.transforms
    )


def _inner_type_not_ke(case: Case) -> bool:
    count = len(case.selection.additional)
    if not count:
        return False
    table = case.sa.protected.get(Exchange.IKE_INTERMEDIATE, {})
    types = [m.inner_type for key, m in sorted(table.items()) if key.message_id <= count]
    return any(kind is not None and kind != Payload.KE for kind in types)


def _not_established(case: Case) -> bool:
    return not case.execution.answered


CHECKS: dict[str, Callable[[Case], bool]] = {
    "rekey-without-additional-exchange": _rekey_without,
    "rekey-with-additional-exchange": _rekey_with,
    "fallback-offered": _fallback_offered,
    "ml-kem-offered-and-declined": _offered_and_declined,
    "inner-type-not-ke": _inner_type_not_ke,
    "not-established": _not_established,
}


def find_observations(case: Case) -> Iterator[str]:
    """Identifiers of the observations that hold, in the order of ``CHECKS``."""
    for slug, check in CHECKS.items():
        if check(case):
            yield slug
