"""Which SA another one probably came from.

The SPIs of a rekeyed IKE SA travel encrypted, so its origin can only be inferred: SPIs that appear without IKE_SA_INIT
soon after a CREATE_CHILD_SA exchange between the same peers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pqaudit.ike.numbers import MAJOR_IKEV2, Exchange
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.group import Group
from pqaudit.sa.reference import Reference

_MOST_CANDIDATES = 16  # for one pair of peers
_CROWDED = 1024  # pairs of peers from which on it is worth the time to look for old ones

Pair = frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Origin:
    """The SA that another one probably replaced, and the CREATE_CHILD_SA request that may have made it."""

    initiator_spi: bytes
    responder_spi: bytes
    exchange: Reference


class Lineage:
    """CREATE_CHILD_SA exchanges that may have made SAs seen later, by pair of peers.

    Args:
        within: nanoseconds between the exchange and the first packet of the new SA.
        most_pairs: pairs of peers remembered; past it the one that showed no such exchange for longest is forgotten,
            and counted in ``forgotten``. None for no bound.
    """

    def __init__(self, within: int, most_pairs: int | None = None) -> None:
        self._within = within
        self._most = most_pairs
        self._exchanges: OrderedDict[Pair, list[Origin]] = OrderedDict()
        self._crowded = _CROWDED
        self.forgotten = 0

    def origin_of(self, sa: SecurityAssociation) -> Origin | None:
        """The SA that ``sa`` was probably rekeyed from, as far as noted by now, or None."""
        if not may_be_rekeyed(sa):
            return None
        known = [origin for pair in _pairs(sa) for origin in self._exchanges.get(pair, ())]
        return likely_origin(sa, known, self._within)

    def note(self, sa: SecurityAssociation) -> None:
        """Remember the CREATE_CHILD_SA exchanges of ``sa``; again, when it has shown more of them."""
        made = sa.protected.get(Exchange.CREATE_CHILD_SA, {})
        requests = sorted(m.first for key, m in made.items() if not key.is_response)
        for pair in _pairs(sa) if requests else ():
            known = {*self._exchanges.get(pair, ())}
            known |= {Origin(sa.initiator_spi, sa.responder_spi, reference) for reference in requests}
            latest = sorted(known, key=lambda origin: (origin.exchange, origin.initiator_spi, origin.responder_spi))
            self._exchanges[pair] = latest[-_MOST_CANDIDATES:]
            self._exchanges.move_to_end(pair)
            if self._most is not None and len(self._exchanges) > self._most:
                self._exchanges.popitem(last=False)
                self.forgotten += 1

    def forget_before(self, time: int) -> None:
        """Forget pairs of peers whose exchanges are all older, now and then, so that it costs little."""
        if len(self._exchanges) < self._crowded:
            return
        for pair in [pair for pair, known in self._exchanges.items() if known[-1].exchange.time < time]:
            del self._exchanges[pair]
        self._crowded = max(_CROWDED, 2 * len(self._exchanges))


def _pairs(sa: SecurityAssociation) -> set[Pair]:
    return {frozenset((path.source.address, path.destination.address)) for path in sa.paths}


def with_origins(groups: Iterable[Group], within: int) -> Iterator[tuple[SecurityAssociation, Origin | None]]:
    """Every SA of ``groups``, which are used up, with its probable origin or None.

    Args:
        groups: in the order of their first packets, so that an SA comes after the one it may come from, and what is too
            old for all that come need not be remembered.
        within: nanoseconds between the exchange and the first packet of the new SA.
    """
    lineage = Lineage(within)
    for group in groups:
        if group.first is not None:
            lineage.forget_before(group.first.time - within)
        for sa in group.associations(keep=False):
            yield sa, lineage.origin_of(sa)
            lineage.note(sa)


def may_be_rekeyed(sa: SecurityAssociation) -> bool:
    """True when nothing shows that ``sa`` was negotiated in an IKE_SA_INIT exchange."""
    return sa.version == MAJOR_IKEV2 and not sa.requests and not sa.responses


def likely_origin(sa: SecurityAssociation, candidates: Iterable[Origin], within: int) -> Origin | None:
    """The latest of ``candidates`` that ``sa`` can have come from, or None; see ``with_origins``."""
    first = sa.first
    if first is None or not may_be_rekeyed(sa):
        return None
    own = (sa.initiator_spi, sa.responder_spi)  # of an SA that is looked at again, the exchanges are known already
    possible = [
        c
        for c in candidates
        if c.exchange <= first and first.time - c.exchange.time <= within and (c.initiator_spi, c.responder_spi) != own
    ]
    return max(possible, key=lambda c: (c.exchange, c.initiator_spi, c.responder_spi), default=None)
