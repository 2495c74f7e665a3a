"""What a negotiation offered and selected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pqaudit.ike.numbers import ADDITIONAL_KEY_EXCHANGES, KE_METHOD_NONE, PROTOCOL_IKE, TransformType
from pqaudit.ike.payloads import Proposal, Transform
from pqaudit.rules.registry import Registry

Slot = tuple[int, int]
"""Slot number (1 to 7) and key exchange method."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The proposal that a response selected.

    Attributes:
        key_exchange: method of transform type 4, or None when there is none.
        additional: (slot, method) in slot order, NONE left out (RFC 9370: NONE is no exchange).
        encryption, prf, integrity: transforms, or None.
        ambiguous: the response can be read in several ways that differ in the class of a method.
    """

    key_exchange: int | None
    additional: tuple[Slot, ...]
    encryption: Transform | None
    prf: Transform | None
    integrity: Transform | None
    ambiguous: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """What an initiator proposed over all its proposals, without repetition, in order; NONE is kept."""

    key_exchanges: tuple[int, ...]
    additional: tuple[Slot, ...]


def slot_of(transform_type: int) -> int:
    """Slot 1 to 7 of transform types 6 to 12."""
    return transform_type - TransformType.ADDKE1 + 1


# Peers negotiate the same over and over: what a payload says is worked out once. The key is the payload as read, and a
# hostile one takes most of a megabyte, so few are kept.
@lru_cache(maxsize=256)
def read_selection(proposals: tuple[Proposal, ...], registry: Registry) -> Selection:
    """Read the proposals of a selecting response; there should be one with one transform of each type."""
    chosen = proposals[0]
    additional = []
    for kind in ADDITIONAL_KEY_EXCHANGES:
        method = _first(chosen, kind)
        if method is not None and method.id != KE_METHOD_NONE:
            additional.append((slot_of(kind), method.id))
    main = _first(chosen, TransformType.KE)
    return Selection(
        None if main is None or main.id == KE_METHOD_NONE else main.id,
        tuple(additional),
        _first(chosen, TransformType.ENCR),
        _first(chosen, TransformType.PRF),
        _first(chosen, TransformType.INTEG),
        _ambiguous(proposals, registry),
    )


@lru_cache(maxsize=256)
def read_offer(proposals: tuple[Proposal, ...]) -> Offer:
    """Collect what was proposed."""
    main: dict[int, None] = {}
    additional: dict[Slot, None] = {}
    for proposal in proposals:
        if proposal.protocol != PROTOCOL_IKE:
            continue
        for transform in proposal.transforms:
            if transform.type == TransformType.KE:
                main[transform.id] = None
            elif transform.type in ADDITIONAL_KEY_EXCHANGES:
                additional[(slot_of(transform.type), transform.id)] = None
    return Offer(tuple(main), tuple(sorted(additional, key=lambda pair: pair[0])))


def _first(proposal: Proposal, kind: int) -> Transform | None:
    return next((t for t in proposal.transforms if t.type == kind), None)


def _ambiguous(proposals: tuple[Proposal, ...], registry: Registry) -> bool:
    readings = set()
    for proposal in proposals:
        classes: dict[int, set[str]] = {}
        for transform in proposal.transforms:
            if transform.type == TransformType.KE or transform.type in ADDITIONAL_KEY_EXCHANGES:
                classes.setdefault(transform.type, set()).add(registry.method(transform.id).kind)
        if any(len(kinds) > 1 for kinds in classes.values()):
            return True
        readings.add(frozenset((kind, next(iter(kinds))) for kind, kinds in classes.items() if kinds != {"none"}))
    return len(readings) > 1
