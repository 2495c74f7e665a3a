"""Which SA another one probably came from.

The SPIs of a rekeyed IKE SA travel encrypted, so its origin can only be inferred: SPIs that appear without IKE_SA_INIT
soon after a CREATE_CHILD_SA exchange between the same peers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pqaudit.ike.numbers import MAJOR_IKEV2, Exchange
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.reference import Reference

_MOST_CANDIDATES = 16  # for one pair of peers

Pair = frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Origin:
    """The SA that another one probably replaced, and the CREATE_CHILD_SA request that may have made it."""

    initiator_spi: bytes
    responder_spi: bytes
    exchange: Reference


def with_origins(
    associations: Iterable[SecurityAssociation], within: int
) -> Iterator[tuple[SecurityAssociation, Origin | None]]:
    """Pair each SA with its probable origin, or None.

    Args:
        associations: in the order of their first packets, so that an SA comes after the one it may come from.
        within: nanoseconds between the exchange and the first packet of the new SA.
    """
    exchanges: dict[Pair, list[Origin]] = {}
    for sa in associations:
        pairs = {frozenset((path.source.address, path.destination.address)) for path in sa.paths}
        origin = None
        if may_be_rekeyed(sa):
            origin = likely_origin(sa, [known for pair in pairs for known in exchanges.get(pair, ())], within)
        yield sa, origin
        made = sa.protected.get(Exchange.CREATE_CHILD_SA, {})
        requests = sorted(m.first for key, m in made.items() if not key.is_response)
        for pair in pairs if requests else ():
            known = exchanges.setdefault(pair, [])
            known += [Origin(sa.initiator_spi, sa.responder_spi, reference) for reference in requests]
            known.sort(key=lambda candidate: candidate.exchange)
            del known[:-_MOST_CANDIDATES]


def may_be_rekeyed(sa: SecurityAssociation) -> bool:
    """True when nothing shows that ``sa`` was negotiated in an IKE_SA_INIT exchange."""
    return sa.version == MAJOR_IKEV2 and not sa.requests and not sa.responses


def likely_origin(sa: SecurityAssociation, candidates: Iterable[Origin], within: int) -> Origin | None:
    """The latest of ``candidates`` that ``sa`` can have come from, or None; see ``with_origins``."""
    first = sa.first
    if first is None or not may_be_rekeyed(sa):
        return None
    possible = [c for c in candidates if c.exchange <= first and first.time - c.exchange.time <= within]
    return max(possible, key=lambda c: (c.exchange, c.initiator_spi, c.responder_spi), default=None)
