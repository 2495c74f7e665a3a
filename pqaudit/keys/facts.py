"""What keys opened of one SA: small facts that merge in any order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from pqaudit.ike.header import Header
from pqaudit.ike.numbers import SPI_OCTETS, Exchange
from pqaudit.ike.payloads import Proposal
from pqaudit.keys.inner import (
    NOTIFY_ADDITIONAL_KEY_EXCHANGE,
    NOTIFY_REKEY_SA,
    PROTOCOL_IKE,
    InnerMessage,
    OpenedNotify,
    parse_inner,
)
from pqaudit.keys.table import Closed, KeySource, Opened
from pqaudit.sa.bounds import MOST_FRAGMENTS, MOST_PROTECTED_MESSAGES, keep_smallest
from pqaudit.sa.messages import ProtectedKey
from pqaudit.sa.reference import Reference

MOST_PENDING: Final = 16  # messages of one SA of which not every fragment was seen
MOST_PLAIN_OCTETS: Final = 1 << 18  # of one message from fragments; a payload has at most 65,535
OPENED: Final = "opened"


class OpenedMessage(NamedTuple):
    """One message that was opened.

    Attributes:
        key: message ID, exchange type, sender and direction.
        first: the first packet that carried it or a fragment of it.
        fragments: how many fragments it came in, 0 for none; the most where it was sent in several ways.
        payload_types: types of the payloads inside, in order.
        ke_method, ke_octets: of the KE payload, or None.
        proposals: of the SA payload, or None.
        proposals_complete: False when the SA payload was damaged.
        notifies: the notifies inside.
        faults: slugs from the parser.
    """

    key: ProtectedKey
    first: Reference
    fragments: int
    payload_types: tuple[int, ...]
    ke_method: int | None
    ke_octets: int | None
    proposals: tuple[Proposal, ...] | None
    proposals_complete: bool
    notifies: tuple[OpenedNotify, ...]
    faults: tuple[str, ...]

    @property
    def errors(self) -> tuple[OpenedNotify, ...]:
        """Notifies that say something went wrong."""
        return tuple(notify for notify in self.notifies if notify.is_error)

    def notify(self, kind: int) -> OpenedNotify | None:
        """The first notify of that type, or None."""
        return next((notify for notify in self.notifies if notify.type == kind), None)


class Purpose(StrEnum):
    """What an exchange is for."""

    CHILD_SA_OF_IKE_AUTH = "child-sa-of-ike-auth"
    NEW_CHILD_SA = "new-child-sa"
    REKEY_CHILD_SA = "rekey-child-sa"
    REKEY_IKE_SA = "rekey-ike-sa"
    INTERMEDIATE = "intermediate"
    FOLLOWUP_KE = "followup-ke"
    OTHER = "other"


class OpenedExchange(NamedTuple):
    """A request and its response, either of which may be missing (not captured, or not opened)."""

    message_id: int
    exchange_type: int
    by_initiator: bool
    request: OpenedMessage | None
    response: OpenedMessage | None

    @property
    def purpose(self) -> Purpose:
        """What it is for, as far as what was opened says."""
        messages = [message for message in (self.request, self.response) if message is not None]
        protocols = {proposal.protocol for message in messages for proposal in message.proposals or ()}
        if self.exchange_type == Exchange.IKE_INTERMEDIATE:
            return Purpose.INTERMEDIATE
        if self.exchange_type == Exchange.IKE_FOLLOWUP_KE:
            return Purpose.FOLLOWUP_KE
        if self.exchange_type == Exchange.IKE_AUTH and protocols:
            return Purpose.CHILD_SA_OF_IKE_AUTH
        if self.exchange_type != Exchange.CREATE_CHILD_SA:
            return Purpose.OTHER
        if PROTOCOL_IKE in protocols:
            return Purpose.REKEY_IKE_SA
        if any(message.notify(NOTIFY_REKEY_SA) for message in messages):
            return Purpose.REKEY_CHILD_SA
        return Purpose.NEW_CHILD_SA if self.request is not None and protocols else Purpose.OTHER

    @property
    def selected(self) -> Proposal | None:
        """The proposal that the response selects: the only one of an undamaged SA payload."""
        response = self.response
        if response is None or response.proposals is None or not response.proposals_complete:
            return None
        return response.proposals[0] if len(response.proposals) == 1 else None

    @property
    def ke_method(self) -> int | None:
        """The KE method of both sides, or of the only side seen; None when there is none or they differ."""
        methods = {m.ke_method for m in (self.request, self.response) if m is not None}
        return methods.pop() if len(methods) == 1 else None

    @property
    def done(self) -> bool:
        """True when both sides sent a KE payload with the same method: that key exchange was run."""
        return self.request is not None and self.response is not None and self.ke_method is not None

    @property
    def link(self) -> bytes | None:
        """Data of ADDITIONAL_KEY_EXCHANGE in the response: an IKE_FOLLOWUP_KE is to follow (RFC 9370 section 2.2.4)."""
        notify = self.response.notify(NOTIFY_ADDITIONAL_KEY_EXCHANGE) if self.response is not None else None
        return notify.data if notify is not None else None

    @property
    def successor(self) -> tuple[bytes, bytes] | None:
        """SPIs (initiator's, responder's) of the IKE SA that this rekey made, or None."""
        selected = self.selected
        if selected is None or selected.protocol != PROTOCOL_IKE or self.request is None:
            return None
        offers = [p for p in self.request.proposals or () if p.number == selected.number]
        if len(offers) != 1 or len(offers[0].spi) != SPI_OCTETS or len(selected.spi) != SPI_OCTETS:
            return None
        return (offers[0].spi, selected.spi)


class OpenedNegotiation(NamedTuple):
    """A negotiation of an SA inside the IKE SA, with the IKE_FOLLOWUP_KE exchanges that belong to it.

    ``finished`` is False when the last response announces one more exchange.
    """

    exchange: OpenedExchange
    followups: tuple[OpenedExchange, ...]

    @property
    def finished(self) -> bool:
        """True when no further key exchange was announced."""
        last = self.followups[-1] if self.followups else self.exchange
        return last.response is not None and last.link is None


@dataclass(slots=True)
class _Pieces:
    """Plaintext of fragments of one message, by number, of one total."""

    first: Reference
    plaintext_checked: bool
    inner_type: int | None = None
    octets: dict[int, bytes] = field(default_factory=dict, repr=False)

    def merge(self, other: _Pieces) -> None:
        self.first = min(self.first, other.first)
        self.plaintext_checked = self.plaintext_checked and other.plaintext_checked
        if self.inner_type is None or (other.inner_type is not None and other.inner_type < self.inner_type):
            self.inner_type = other.inner_type if other.inner_type is not None else self.inner_type
        for number, piece in other.octets.items():
            self.octets[number] = min(piece, self.octets.get(number, piece))
        keep_smallest(self.octets, MOST_FRAGMENTS)
        while sum(map(len, self.octets.values())) > MOST_PLAIN_OCTETS:
            del self.octets[max(self.octets)]

    def copy(self) -> _Pieces:
        return _Pieces(self.first, self.plaintext_checked, self.inner_type, dict(self.octets))


@dataclass(slots=True)
class OpenedFacts:
    """All that keys opened of one IKE SA. Merging gives the same in any order, and twice the same as once.

    Attributes:
        messages: what was opened, the lowest message IDs of each exchange type; INFORMATIONAL without payloads (a
            sign of life) is only counted.
        unreadable: messages from fragments that pass the integrity check but whose payloads do not fit together.
        packets: packets by file, exchange type and outcome (``OPENED`` or a value of ``Closed``).
        sources: lines of the table whose keys opened something.
        overflow: True when messages were left out.
    """

    messages: dict[ProtectedKey, OpenedMessage] = field(default_factory=dict)
    unreadable: dict[ProtectedKey, Reference] = field(default_factory=dict)
    packets: dict[tuple[str, int, str], int] = field(default_factory=dict)
    sources: set[KeySource] = field(default_factory=set)
    overflow: bool = False
    _pending: dict[tuple[ProtectedKey, int], _Pieces] = field(default_factory=dict, repr=False)

    def add(self, header: Header, outcome: Opened | Closed, reference: Reference) -> None:
        """Take one packet."""
        opened = isinstance(outcome, Opened)
        counter = (reference.file, header.exchange_type, OPENED if opened else str(outcome))
        self.packets[counter] = self.packets.get(counter, 0) + 1
        if not isinstance(outcome, Opened):
            return
        self.sources.add(outcome.source)
        key = ProtectedKey(header.message_id, header.exchange_type, header.from_initiator, header.is_response)
        if outcome.inner is not None:
            if outcome.inner.payloads or header.exchange_type != Exchange.INFORMATIONAL:
                self._keep(_message(key, 0, outcome.inner, reference))
            return
        inner_type = outcome.inner_type if outcome.fragment == 1 else None
        pieces = _Pieces(reference, outcome.plaintext_checked, inner_type, {outcome.fragment: outcome.octets})
        self._add_pieces(key, outcome.fragments, pieces)

    def merge(self, other: OpenedFacts) -> None:
        """Take over what ``other`` holds."""
        for message in other.messages.values():
            self._keep(message)
        for key, first in other.unreadable.items():
            self._keep_unreadable(key, first)
        for counter, count in other.packets.items():
            self.packets[counter] = max(count, self.packets.get(counter, 0))
        self.sources |= other.sources
        self.overflow = self.overflow or other.overflow
        for (key, total), pieces in other._pending.items():
            self._add_pieces(key, total, pieces)

    def copy(self) -> OpenedFacts:
        """A copy that shares nothing that changes."""
        found = OpenedFacts()
        found.merge(self)
        return found

    def count(self, *outcomes: str) -> int:
        """Packets with one of those outcomes; all packets without any."""
        return sum(count for (_, _, outcome), count in self.packets.items() if not outcomes or outcome in outcomes)

    @property
    def fragments_missing(self) -> tuple[ProtectedKey, ...]:
        """Messages of which not every fragment was seen and opened."""
        return tuple(sorted({key for key, _ in self._pending}))

    def exchanges(self) -> tuple[OpenedExchange, ...]:
        """Requests with their responses, by message ID; those of the original initiator first."""
        found: dict[tuple[int, bool, int], dict[bool, OpenedMessage]] = {}
        for key, message in self.messages.items():
            by_initiator = key.from_initiator != key.is_response
            found.setdefault((key.message_id, not by_initiator, key.exchange_type), {})[key.is_response] = message
        return tuple(
            OpenedExchange(message_id, exchange_type, not by_responder, sides.get(False), sides.get(True))
            for (message_id, by_responder, exchange_type), sides in sorted(found.items(), key=lambda item: item[0])
        )

    def intermediates(self) -> tuple[OpenedExchange, ...]:
        """The IKE_INTERMEDIATE exchanges with a KE payload: the additional key exchanges of the IKE SA, in order."""
        return tuple(
            e
            for e in self.exchanges()
            if e.exchange_type == Exchange.IKE_INTERMEDIATE
            and any(m is not None and m.ke_method is not None for m in (e.request, e.response))
        )

    def negotiations(self) -> tuple[OpenedNegotiation, ...]:
        """SAs that were negotiated inside: the first child in IKE_AUTH, and all CREATE_CHILD_SA with what follows."""
        exchanges = self.exchanges()
        followups = [e for e in exchanges if e.exchange_type == Exchange.IKE_FOLLOWUP_KE]
        return tuple(
            OpenedNegotiation(exchange, tuple(_chain(exchange, followups)))
            for exchange in exchanges
            if exchange.exchange_type == Exchange.CREATE_CHILD_SA or exchange.purpose is Purpose.CHILD_SA_OF_IKE_AUTH
        )

    def _add_pieces(self, key: ProtectedKey, total: int, pieces: _Pieces) -> None:
        done = self.messages.get(key)
        if done is not None:
            self._keep(done._replace(first=min(done.first, pieces.first), fragments=max(done.fragments, total)))
            return
        if key in self.unreadable:
            self._keep_unreadable(key, pieces.first)
            return
        known = self._pending.get((key, total))
        if known is None:
            known = self._pending[key, total] = pieces.copy()
            if keep_smallest(self._pending, MOST_PENDING) or total > MOST_FRAGMENTS:
                self.overflow = True
        else:
            known.merge(pieces)
        if len(known.octets) != total or known.inner_type is None or (key, total) not in self._pending:
            return
        plain = b"".join(known.octets[number] for number in sorted(known.octets))
        header = Header(b"", b"", 0, 0, key.exchange_type, 0, key.message_id, 0)
        inner = parse_inner(header, known.inner_type, plain)
        # An integrity check beside the cipher says nothing of the encryption key; chance does not make a whole chain.
        if inner.complete or known.plaintext_checked:
            self._keep(_message(key, total, inner, known.first))
        else:
            self._keep_unreadable(key, known.first)

    def _keep(self, message: OpenedMessage) -> None:
        key = message.key
        known = self.messages.get(key, message)
        first = min(message.first, known.first, self.unreadable.pop(key, message.first))
        fragments = max(message.fragments, known.fragments)
        for waiting in [each for each in self._pending if each[0] == key]:
            first = min(first, self._pending.pop(waiting).first)
            fragments = max(fragments, waiting[1])
        kept = min(known, message, key=lambda each: each.first)
        self.messages[key] = kept._replace(first=first, fragments=fragments)
        same = [each for each in self.messages if each.exchange_type == key.exchange_type]
        if len(same) > MOST_PROTECTED_MESSAGES:
            del self.messages[max(same)]
            self.overflow = True

    def _keep_unreadable(self, key: ProtectedKey, first: Reference) -> None:
        known = self.messages.get(key)
        if known is not None:
            self.messages[key] = known._replace(first=min(known.first, first))
            return
        for waiting in [each for each in self._pending if each[0] == key]:
            first = min(first, self._pending.pop(waiting).first)
        self.unreadable[key] = min(first, self.unreadable.get(key, first))
        if keep_smallest(self.unreadable, MOST_PROTECTED_MESSAGES):
            self.overflow = True


def _message(key: ProtectedKey, fragments: int, inner: InnerMessage, first: Reference) -> OpenedMessage:
    exchange = inner.key_exchange
    association = inner.security_association
    return OpenedMessage(
        key,
        first,
        fragments,
        inner.payload_types,
        None if exchange is None else exchange.method,
        None if exchange is None else exchange.octets,
        inner.proposals,
        association is None or association.complete,
        inner.notifies,
        inner.faults,
    )


def _chain(exchange: OpenedExchange, followups: list[OpenedExchange]) -> Iterator[OpenedExchange]:
    """The IKE_FOLLOWUP_KE exchanges that ``exchange`` leads to: each request repeats the last response's link."""
    at, link = exchange.message_id, exchange.link
    while link is not None:
        following = None
        for each in followups:
            if each.message_id <= at or each.by_initiator != exchange.by_initiator or each.request is None:
                continue
            notify = each.request.notify(NOTIFY_ADDITIONAL_KEY_EXCHANGE)
            if notify is not None and notify.data == link:
                following = each
                break
        if following is None:
            return
        yield following
        at, link = following.message_id, following.link
