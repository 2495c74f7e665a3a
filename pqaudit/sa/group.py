"""All that was seen under one initiator SPI, and how it falls into SAs.

An IKE_SA_INIT request names no responder SPI, and answers that create no SA (COOKIE, INVALID_KE_PAYLOAD,
NO_PROPOSAL_CHOSEN) may or may not name one (RFC 7296 section 2.6). So evidence is first kept by responder SPI, zero
included, and what belongs together is decided when everything is known: the answer cannot depend on the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations

from pqaudit.ike.numbers import MAJOR_IKEV1, ZERO_SPI
from pqaudit.sa.association import InitMessage, SecurityAssociation, V1Phase1Message
from pqaudit.sa.bounds import MOST_REFERENCES, MOST_RESPONDER_SPIS
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.messages import InitContent, add_file_counts
from pqaudit.sa.reference import Path, Reference

CONFLICTING_RESPONSES = "conflicting-responses"


@dataclass(slots=True)
class Group:
    """Parts by responder SPI.

    A forger can name any number of responder SPIs, so at most ``MOST_RESPONDER_SPIS`` parts are kept: those that stand
    for an SA first, then by their first packet.
    """

    version: int
    initiator_spi: bytes
    parts: dict[bytes, SecurityAssociation] = field(default_factory=dict)
    limited: bool = False

    def part(self, responder_spi: bytes) -> SecurityAssociation:
        """The part with that responder SPI, made when missing."""
        found = self.parts.get(responder_spi)
        if found is None:
            if len(self.parts) >= 2 * MOST_RESPONDER_SPIS:  # seldom, so that a flood costs little for each packet
                self._bound()
            found = SecurityAssociation(self.version, self.initiator_spi, responder_spi)
            self.parts[responder_spi] = found
        return found

    def merge(self, other: Group) -> None:
        """Take over the evidence of ``other``."""
        for spi, part in other.parts.items():
            self.part(spi).merge(part)
        self.limited = self.limited or other.limited

    @property
    def first(self) -> Reference | None:
        """First packet."""
        return min((part.first for part in self.parts.values() if part.first is not None), default=None)

    def associations(self, *, keep: bool = True) -> list[SecurityAssociation]:
        """The SAs of this group, each with all evidence that is its own; at least one when anything was seen.

        With ``keep`` False the parts of the group are used up, which saves copying them.

        A responder SPI stands for an SA when a response selects with it or traffic uses it. Requests and refusals
        belong to the SA they led to; without any SA they are one attempt.
        """
        self._bound()
        real = {spi for spi, part in self.parts.items() if spi != ZERO_SPI and self._is_association(part)}
        rest = [self.parts[spi] for spi in sorted(self.parts) if spi not in real]
        if not real:
            found = [self._attempt(rest)]
        else:
            found = [self.parts[spi].copy() if keep else self.parts[spi] for spi in sorted(real)]
            found.sort(key=_order)
            if len(found) == 1:
                for part in rest:
                    found[0].absorb(part)
            else:
                _distribute(found, rest)
            _mark_conflicts(found)
        for association in found:
            if self.limited:
                association.overflow |= {"responder-spis"}
            association.name_bounds()
        return found

    def _bound(self) -> None:
        if len(self.parts) <= MOST_RESPONDER_SPIS:
            return
        for spi in sorted(self.parts, key=self._rank)[MOST_RESPONDER_SPIS:]:
            del self.parts[spi]
        self.limited = True

    def _rank(self, spi: bytes) -> tuple[bool, bool, Reference, bytes]:
        part = self.parts[spi]
        return (spi != ZERO_SPI, not self._is_association(part), *_order(part))

    def _is_association(self, part: SecurityAssociation) -> bool:
        if part.version == MAJOR_IKEV1:
            return True
        return part.has_traffic or any(
            m.content.selects or m.content.selects_unreadably for m in part.responses.values()
        )

    def _attempt(self, parts: list[SecurityAssociation]) -> SecurityAssociation:
        spis = [part.responder_spi for part in parts if part.responder_spi != ZERO_SPI]
        attempt = SecurityAssociation(self.version, self.initiator_spi, spis[0] if len(spis) == 1 else ZERO_SPI)
        for part in parts:
            attempt.absorb(part)
        return attempt


def _order(association: SecurityAssociation) -> tuple[Reference, bytes]:
    assert association.first is not None  # a part is made for a packet and saw it
    return (association.first, association.responder_spi)


def finish_merged(association: SecurityAssociation) -> None:
    """Draw from the evidence of an SA that was merged from parts what ``Group.associations`` draws from it.

    That its responses conflict with those of other SAs only the run knows that saw them all; it said so in an anomaly.
    """
    responses = [message.content for message in association.selecting_responses]
    if CONFLICTING_RESPONSES in association.anomalies or _any_conflict(responses):
        _mark_conflicting(association)
    association.name_bounds()


def _mark_conflicts(found: list[SecurityAssociation]) -> None:
    if _any_conflict([message.content for association in found for message in association.selecting_responses]):
        for association in found:
            _mark_conflicting(association)


def _mark_conflicting(association: SecurityAssociation) -> None:
    # Always from the responses as they are now, so that parts give the same in whatever order they are merged.
    references = [message.seen.first for message in association.selecting_responses[:MOST_REFERENCES]]
    if references:
        association.anomalies[CONFLICTING_RESPONSES] = dict.fromkeys(references)


def _any_conflict(responses: list[InitContent]) -> bool:
    return any(_conflict(one, other) for one, other in combinations(responses, 2))


def _conflict(one: InitContent, other: InitContent) -> bool:
    """True when two responses cannot be the same message, of which one capture holds less than another."""
    if one.responder_spi != other.responder_spi or one.proposals != other.proposals:
        return True
    return not (one.truncated or other.truncated)


def _distribute(found: list[SecurityAssociation], rest: list[SecurityAssociation]) -> None:
    """Give each request and refusal to the SA between its two ends whose selecting response follows it first.

    Several responder SPIs under one initiator SPI are rare: a responder that restarted, equipment that reuses its SPI,
    or a forged response.
    """
    ends = [(min((m.seen.first for m in a.selecting_responses), default=a.first), a) for a in found]
    ends.sort(key=lambda end: (end[0], end[1].responder_spi))
    pairs = [{_pair(path) for path in a.paths} for _, a in ends]

    def owner(reference: Reference, path: Path) -> SecurityAssociation:
        pair = _pair(path)
        near = [end for end, known in zip(ends, pairs, strict=True) if pair in known] or ends
        return next((a for end, a in near if end is not None and reference <= end), near[-1][1])

    for part in rest:
        for message in part.requests.values():
            association = owner(message.seen.first, message.seen.path)
            association.requests.setdefault(message.content.digest, message.copy())
            _extend(association, message)
        for message in part.responses.values():
            association = owner(message.seen.first, message.seen.path)
            association.responses.setdefault(message.content.digest, message.copy())
            _extend(association, message)
        for phase1 in part.phase1.values():
            association = owner(phase1.seen.first, phase1.seen.path)
            association.phase1.setdefault(phase1.content.digest, phase1.copy())
            _extend(association, phase1)
        if part.first is not None:
            association = owner(part.first, min(part.paths, key=lambda path: (part.paths[path], path)))
            add_file_counts(association.files, part.files)
            for key, ids in part.exchanges.items():
                association.exchanges.setdefault(key, MessageIds()).update(ids)
            for slug, references in part.anomalies.items():
                for reference in references:
                    association.add_anomaly(slug, reference)
        for association in found:
            association.overflow |= part.overflow
    for association in found:
        association.bound_init()


def _pair(path: Path) -> frozenset[bytes]:
    return frozenset((path.source.address, path.destination.address))


def _extend(association: SecurityAssociation, message: InitMessage | V1Phase1Message) -> None:
    association.see(message.seen.first, message.seen.path, counted=False)
    association.see(message.seen.last, message.seen.path, counted=False)
