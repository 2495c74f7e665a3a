"""What is kept of the messages of an SA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.numbers import SPI_OCTETS, Notify
from pqaudit.ike.payloads import Proposal
from pqaudit.sa.bounds import MOST_FRAGMENTS, keep_smallest
from pqaudit.sa.reference import Path, Reference

_ZERO = bytes(SPI_OCTETS)


class KeptNotify(NamedTuple):
    """A notify of IKE_SA_INIT; ``data`` is kept for types that are read, and cut to ``NOTIFY_DATA_OCTETS``."""

    type: int
    data: bytes


class InitContent(NamedTuple):
    """Content of an IKE_SA_INIT or IKE_SESSION_RESUME message, free of where it was seen.

    Attributes:
        digest: hash of the message's octets: retransmissions are bit-identical (RFC 7296 section 2.1).
        exchange_type: IKE_SA_INIT or IKE_SESSION_RESUME.
        proposals: of the SA payload, or None where there was no SA payload.
        proposals_complete: False when the SA payload was cut off or damaged.
        ke_method, ke_octets: of the KE payload, or None.
        nonce: True with a nonce payload.
        complete: False when the message was cut off or damaged.
        faults: slugs of what is wrong with the message as a whole; those of its payloads are with the parser's message.
    """

    digest: bytes
    responder_spi: bytes
    exchange_type: int
    proposals: tuple[Proposal, ...] | None
    proposals_complete: bool
    ke_method: int | None
    ke_octets: int | None
    nonce: bool
    notifies: tuple[KeptNotify, ...]
    vendor_ids: tuple[bytes, ...]
    complete: bool
    truncated: bool
    faults: tuple[str, ...]

    @property
    def selects(self) -> bool:
        """True when, as a response, it selects: SA, KE, nonce and a responder SPI (RFC 7296 sections 1.2 and 2.6).

        A response that the snapshot length cut behind its SA payload selects too: an SA payload stands in a response
        only when a proposal was accepted. An SA payload that is itself cut off or damaged never counts.
        """
        if not self.proposals or not self.proposals_complete or self.responder_spi == _ZERO:
            return False
        return self.truncated or (self.ke_method is not None and self.nonce)

    @property
    def selects_unreadably(self) -> bool:
        """True when, as a response, it carries an SA payload of which not everything can be read."""
        return self.proposals is not None and not self.proposals_complete and self.responder_spi != _ZERO

    def notify(self, kind: Notify) -> KeptNotify | None:
        """The first notify of that type, or None."""
        return next((n for n in self.notifies if n.type == kind), None)


class V1Content(NamedTuple):
    """Content of an IKEv1 phase 1 message that carried an SA payload."""

    digest: bytes
    responder_spi: bytes
    transforms: tuple[Phase1Transform, ...]
    vendor_ids: tuple[bytes, ...]


@dataclass(slots=True)
class FileCount:
    """Packets of one file that an SA rests on."""

    packets: int
    first: int
    last: int

    def merged(self, other: FileCount) -> FileCount:
        """The fuller of two counts of one file: a file is read whole by one reader, so counts never add up."""
        return FileCount(max(self.packets, other.packets), min(self.first, other.first), max(self.last, other.last))


def merge_file_counts(mine: dict[str, FileCount], other: dict[str, FileCount]) -> None:
    """Merge ``other`` into ``mine``."""
    for name, count in other.items():
        known = mine.get(name)
        mine[name] = FileCount(count.packets, count.first, count.last) if known is None else known.merged(count)


def add_file_counts(mine: dict[str, FileCount], other: dict[str, FileCount]) -> None:
    """Add packets of disjoint sets of messages."""
    for name, count in other.items():
        known = mine.get(name)
        if known is None:
            mine[name] = FileCount(count.packets, count.first, count.last)
        else:
            mine[name] = FileCount(
                known.packets + count.packets, min(known.first, count.first), max(known.last, count.last)
            )


@dataclass(slots=True)
class Seen:
    """When and where a message was seen first, over which path, and in how many packets of each file.

    ``counts`` is None while there is but the first sighting: nearly all messages are seen once.
    """

    first: Reference
    path: Path
    last: Reference
    counts: dict[str, FileCount] | None = None

    @property
    def files(self) -> dict[str, FileCount]:
        """Packets of each file."""
        if self.counts is not None:
            return self.counts
        return {self.first.file: FileCount(1, self.first.frame, self.first.frame)}

    def again(self, reference: Reference, path: Path) -> None:
        """Note one more sighting."""
        counts = self.counts = self.files
        if (reference, path) < (self.first, self.path):
            self.first, self.path = reference, path
        self.last = max(self.last, reference)
        count = counts.get(reference.file)
        if count is None:
            counts[reference.file] = FileCount(1, reference.frame, reference.frame)
        else:
            count.packets += 1
            count.first = min(count.first, reference.frame)
            count.last = max(count.last, reference.frame)

    def merge(self, other: Seen) -> None:
        """Take over what ``other`` saw."""
        counts = self.files
        merge_file_counts(counts, other.files)
        if (other.first, other.path) < (self.first, self.path):
            self.first, self.path = other.first, other.path
        self.last = max(self.last, other.last)
        # The same sighting twice is one sighting, and looks like one.
        self.counts = None
        if counts != self.files:
            self.counts = counts

    def copy(self) -> Seen:
        """A copy that shares nothing."""
        counts = self.counts
        if counts is not None:
            counts = {name: FileCount(c.packets, c.first, c.last) for name, c in counts.items()}
        return Seen(self.first, self.path, self.last, counts)


class ProtectedKey(NamedTuple):
    """Identity of an encrypted message within its SA; order: message ID first, so that the lowest are kept."""

    message_id: int
    exchange_type: int
    from_initiator: bool
    is_response: bool


@dataclass(slots=True)
class ProtectedMessage:
    """What the clear octets of an SK message, or of all its SKF fragments, show.

    Attributes:
        inner_type: Next Payload octet of SK or of the first fragment, or None while the first fragment is not seen.
        octets: length of the SK payload; 0 for fragments.
        fragments: total of fragments, 0 for SK. A larger total replaces a smaller one (RFC 7383 section 2.5.2).
        fragment_octets: payload length by fragment number.
        truncated: the capture cut at least one of its packets.
    """

    first: Reference
    path: Path
    inner_type: int | None
    octets: int
    fragments: int
    fragment_octets: dict[int, int]
    truncated: bool

    @property
    def whole(self) -> bool:
        """True when every fragment was seen, or it was not fragmented."""
        return self.fragments == 0 or len(self.fragment_octets) == self.fragments

    @property
    def limited(self) -> bool:
        """True when fragments may have been seen that are not kept, so that it never counts as whole."""
        return self.fragments > MOST_FRAGMENTS and len(self.fragment_octets) == MOST_FRAGMENTS

    def merge(self, other: ProtectedMessage) -> None:
        """Take over what ``other`` shows of the same message."""
        if (other.first, other.path) < (self.first, self.path):
            self.first, self.path = other.first, other.path
        if other.fragments > self.fragments:
            self.fragments = other.fragments
            self.fragment_octets = dict(other.fragment_octets)
        elif other.fragments == self.fragments:
            for number, octets in other.fragment_octets.items():
                self.fragment_octets[number] = max(octets, self.fragment_octets.get(number, 0))
        keep_smallest(self.fragment_octets, MOST_FRAGMENTS)
        if self.inner_type is None or (other.inner_type is not None and other.inner_type < self.inner_type):
            self.inner_type = other.inner_type if other.inner_type is not None else self.inner_type
        self.octets = max(self.octets, other.octets)
        self.truncated = self.truncated or other.truncated

    def copy(self) -> ProtectedMessage:
        """A copy that shares nothing."""
        return ProtectedMessage(
            self.first,
            self.path,
            self.inner_type,
            self.octets,
            self.fragments,
            dict(self.fragment_octets),
            self.truncated,
        )
