"""All that was seen under one initiator SPI, and how it falls into SAs.

An IKE_SA_INIT request names no responder SPI, and answers that create no SA (COOKIE, INVALID_KE_PAYLOAD,
NO_PROPOSAL_CHOSEN) may or may not name one (RFC 7296 section 2.6). So evidence is first kept by responder SPI, zero
included, and what belongs together is decided when everything is known: the answer cannot depend on the order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pqaudit.ike.numbers import MAJOR_IKEV1, ZERO_SPI
from pqaudit.sa.association import InitMessage, SecurityAssociation
from pqaudit.sa.messages import add_file_counts
from pqaudit.sa.reference import Reference

CONFLICTING_RESPONSES = "conflicting-responses"


@dataclass(slots=True)
class Group:
    """Parts by responder SPI."""

    version: int
    initiator_spi: bytes
    parts: dict[bytes, SecurityAssociation] = field(default_factory=dict)

    def part(self, responder_spi: bytes) -> SecurityAssociation:
        """The part with that responder SPI, made when missing."""
        found = self.parts.get(responder_spi)
        if found is None:
            found = SecurityAssociation(self.version, self.initiator_spi, responder_spi)
            self.parts[responder_spi] = found
        return found

    def merge(self, other: Group) -> None:
        """Take over the evidence of ``other``."""
        for spi, part in other.parts.items():
            self.part(spi).merge(part)

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
        real = [spi for spi, part in self.parts.items() if spi != ZERO_SPI and self._is_association(part)]
        rest = [self.parts[spi] for spi in sorted(self.parts) if spi not in real]
        if not real:
            return [self._attempt(rest)]
        found = [self.parts[spi].copy() if keep else self.parts[spi] for spi in sorted(real)]
        found.sort(key=_order)
        if len(found) == 1:
            for part in rest:
                found[0].absorb(part)
        else:
            _distribute(found, rest)
        for association in found:
            selecting = association.selecting_responses
            others = [m for a in found if a is not association for m in a.selecting_responses]
            if len(selecting) > 1 or (selecting and others):
                for message in selecting:
                    association.add_anomaly(CONFLICTING_RESPONSES, message.seen.first)
        return found

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


def _distribute(found: list[SecurityAssociation], rest: list[SecurityAssociation]) -> None:
    """Give each request and refusal to the SA whose selecting response follows it first.

    Several responder SPIs under one initiator SPI are rare: a responder that restarted, equipment that reuses its SPI,
    or a forged response.
    """
    ends = [(min((m.seen.first for m in a.selecting_responses), default=a.first), a) for a in found]

    def owner(reference: Reference) -> SecurityAssociation:
        for end, association in ends:
            if end is not None and reference <= end:
                return association
        return found[-1]

    for part in rest:
        for message in part.requests.values():
            association = owner(message.seen.first)
            association.requests.setdefault(message.content.digest, message.copy())
            _extend(association, message)
        for message in part.responses.values():
            association = owner(message.seen.first)
            association.responses.setdefault(message.content.digest, message.copy())
            _extend(association, message)
        first = part.first
        if first is not None:
            association = owner(first)
            add_file_counts(association.files, part.files)
            for slug, references in part.anomalies.items():
                for reference in references:
                    association.add_anomaly(slug, reference)


def _extend(association: SecurityAssociation, message: InitMessage) -> None:
    association.see(message.seen.first, message.seen.path, counted=False)
    association.see(message.seen.last, message.seen.path, counted=False)
