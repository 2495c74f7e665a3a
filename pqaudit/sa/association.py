"""What was seen of one IKE SA, as evidence that merges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pqaudit.ike.numbers import Exchange
from pqaudit.sa.bounds import (
    MOST_INIT_MESSAGES,
    MOST_PATHS,
    MOST_PROTECTED_MESSAGES,
    MOST_REFERENCES,
    keep_smallest,
)
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.messages import (
    FileCount,
    InitContent,
    ProtectedKey,
    ProtectedMessage,
    Seen,
    V1Content,
    add_file_counts,
    merge_file_counts,
)
from pqaudit.sa.reference import Path, Reference

C = TypeVar("C", InitContent, V1Content)


@dataclass(slots=True)
class Kept(Generic[C]):
    """Content of a clear message with its sightings."""

    content: C
    seen: Seen

    def copy(self) -> Kept[C]:
        """A copy whose sightings share nothing with this one's."""
        return Kept(self.content, self.seen.copy())


InitMessage = Kept[InitContent]
V1Phase1Message = Kept[V1Content]


@dataclass(slots=True)
class SecurityAssociation:
    """Evidence of one IKE SA.

    ``merge`` is associative, commutative and idempotent, so parts found in several files, by several workers or out of
    order give one answer. Nothing here is a judgement; that is the verdict's work.

    Attributes:
        version: major version, 1 or 2.
        initiator_spi, responder_spi: 8 octets; a responder SPI of zero is not known.
        requests, responses: distinct IKE_SA_INIT (or IKE_SESSION_RESUME) messages, by digest.
        phase1: distinct IKEv1 messages with an SA payload, by digest.
        exchanges: message IDs by (exchange type, whether the SA's original initiator made the request).
        protected: encrypted messages looked at one by one, by exchange type.
        paths: ways the messages took, with the first sighting of each.
        files: packets of each file, IKE_SA_INIT packets aside (they are counted with their message).
        anomalies: slug to where it was seen.
        overflow: names of bounds that were reached.
        first, last: first and last packet.
        initiator: first packet after IKE_SA_INIT, and the way from initiator to responder by its initiator flag.
    """

    version: int
    initiator_spi: bytes
    responder_spi: bytes
    requests: dict[bytes, InitMessage] = field(default_factory=dict)
    responses: dict[bytes, InitMessage] = field(default_factory=dict)
    phase1: dict[bytes, V1Phase1Message] = field(default_factory=dict)
    exchanges: dict[tuple[int, bool], MessageIds] = field(default_factory=dict)
    protected: dict[int, dict[ProtectedKey, ProtectedMessage]] = field(default_factory=dict)
    paths: dict[Path, Reference] = field(default_factory=dict)
    files: dict[str, FileCount] = field(default_factory=dict)
    anomalies: dict[str, dict[Reference, None]] = field(default_factory=dict)
    overflow: frozenset[str] = frozenset()
    first: Reference | None = None
    last: Reference | None = None
    initiator: tuple[Reference, Path] | None = None

    # -- evidence in ---------------------------------------------------------------------------------------------

    def see(self, reference: Reference, path: Path, *, counted: bool = True) -> None:
        """Note that a packet of this SA was seen; ``counted`` False when its message keeps its own count."""
        if self.first is None or reference < self.first:
            self.first = reference
        if self.last is None or reference > self.last:
            self.last = reference
        known = self.paths.get(path)
        if known is None or reference < known:
            self.paths[path] = reference
            self._bound_paths()
        if not counted:
            return
        count = self.files.get(reference.file)
        if count is None:
            self.files[reference.file] = FileCount(1, reference.frame, reference.frame)
        else:
            count.packets += 1
            count.first = min(count.first, reference.frame)
            count.last = max(count.last, reference.frame)

    def add_init(self, content: InitContent, is_response: bool, reference: Reference, path: Path) -> None:
        """Add an IKE_SA_INIT or IKE_SESSION_RESUME message."""
        self.see(reference, path, counted=False)
        _keep(self.responses if is_response else self.requests, content, reference, path)
        if len(self.requests) > MOST_INIT_MESSAGES or len(self.responses) > MOST_INIT_MESSAGES:
            self.bound_init()

    def add_phase1(self, content: V1Content, reference: Reference, path: Path) -> None:
        """Add an IKEv1 message that carried an SA payload."""
        self.see(reference, path, counted=False)
        _keep(self.phase1, content, reference, path)
        if len(self.phase1) > MOST_INIT_MESSAGES:
            self.bound_init()

    def see_initiator(self, reference: Reference, path: Path) -> None:
        """Note a way from the original initiator to the responder, known by the initiator flag."""
        if self.initiator is None or (reference, path) < self.initiator:
            self.initiator = (reference, path)

    def add_exchange(self, exchange_type: int, by_initiator: bool, message_id: int) -> None:
        """Note a request or response of an exchange."""
        key = (exchange_type, by_initiator)
        ids = self.exchanges.get(key)
        if ids is None:
            ids = self.exchanges[key] = MessageIds()
        ids.add(message_id)

    def add_protected(self, key: ProtectedKey, message: ProtectedMessage) -> None:
        """Add an encrypted message or one of its fragments."""
        table = self.protected.get(key.exchange_type)
        if table is None:
            table = self.protected[key.exchange_type] = {}
        known = table.get(key)
        if known is None:
            table[key] = message
            if keep_smallest(table, MOST_PROTECTED_MESSAGES):
                self.overflow |= {"protected-messages"}
        else:
            known.merge(message)

    def add_anomaly(self, slug: str, reference: Reference) -> None:
        """Note something out of order, with where it was seen."""
        table = self.anomalies.setdefault(slug, {})
        table[reference] = None
        keep_smallest(table, MOST_REFERENCES)

    # -- merging -------------------------------------------------------------------------------------------------

    def merge(self, other: SecurityAssociation) -> None:
        """Take over the evidence of ``other``, a part of the same SA or of the attempt that led to it."""
        merge_file_counts(self.files, other.files)
        self._merge_evidence(other)

    def absorb(self, other: SecurityAssociation) -> None:
        """Take over a part that holds other packets (another responder SPI): packet counts add up."""
        add_file_counts(self.files, other.files)
        self._merge_evidence(other)

    def _merge_evidence(self, other: SecurityAssociation) -> None:
        _merge_kept(self.requests, other.requests)
        _merge_kept(self.responses, other.responses)
        _merge_kept(self.phase1, other.phase1)
        self.bound_init()
        for key, ids in other.exchanges.items():
            self.exchanges.setdefault(key, MessageIds()).update(ids)
        for exchange_type, messages in other.protected.items():
            table = self.protected.setdefault(exchange_type, {})
            for protected_key, message in messages.items():
                known = table.get(protected_key)
                if known is None:
                    table[protected_key] = message.copy()
                else:
                    known.merge(message)
            if keep_smallest(table, MOST_PROTECTED_MESSAGES):
                self.overflow |= {"protected-messages"}
        for path, reference in other.paths.items():
            known_reference = self.paths.get(path)
            if known_reference is None or reference < known_reference:
                self.paths[path] = reference
        self._bound_paths()
        for slug, references in other.anomalies.items():
            anomaly = self.anomalies.setdefault(slug, {})
            anomaly.update(references)
            keep_smallest(anomaly, MOST_REFERENCES)
        self.overflow |= other.overflow
        if other.initiator is not None:
            self.see_initiator(*other.initiator)
        if other.first is not None and (self.first is None or other.first < self.first):
            self.first = other.first
        if other.last is not None and (self.last is None or other.last > self.last):
            self.last = other.last

    def copy(self) -> SecurityAssociation:
        """A copy that shares no mutable part with this one."""
        fresh = SecurityAssociation(self.version, self.initiator_spi, self.responder_spi)
        fresh.merge(self)
        return fresh

    # -- bounds --------------------------------------------------------------------------------------------------

    def bound_init(self) -> None:
        """Keep to the bound on distinct negotiation messages."""
        while len(self.requests) > MOST_INIT_MESSAGES:
            # The last request decides, and the first ones show how it began: one in the middle goes.
            ordered = sorted(self.requests, key=lambda digest: (self.requests[digest].seen.first, digest))
            del self.requests[ordered[MOST_INIT_MESSAGES // 2]]
            self.overflow |= {"init-messages"}
        for kept in (self.responses, self.phase1):
            while len(kept) > MOST_INIT_MESSAGES:
                # Evidence for a verdict comes first: a response that selects is never pushed out by one that does not,
                # and one that selected but was cut off only by those that can be read.
                worst = max(kept, key=lambda digest: _rank(kept[digest]))
                del kept[worst]
                self.overflow |= {"init-messages"}

    def name_bounds(self) -> None:
        """Add to ``overflow`` the bounds that parts of this evidence reached on their own."""
        if any(ids.limited for ids in self.exchanges.values()):
            self.overflow |= {"message-ids"}
        if any(message.limited for table in self.protected.values() for message in table.values()):
            self.overflow |= {"fragments"}

    def _bound_paths(self) -> None:
        while len(self.paths) > MOST_PATHS:
            del self.paths[max(self.paths, key=lambda path: (self.paths[path], path))]
            self.overflow |= {"paths"}

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def file_counts(self) -> dict[str, FileCount]:
        """Packets of each file, all messages included."""
        total: dict[str, FileCount] = {}
        add_file_counts(total, self.files)
        for table in (self.requests, self.responses):
            for message in table.values():
                add_file_counts(total, message.seen.files)
        for phase1 in self.phase1.values():
            add_file_counts(total, phase1.seen.files)
        return total

    @property
    def has_traffic(self) -> bool:
        """True when anything but the negotiation itself was seen."""
        return any(kind not in (Exchange.IKE_SA_INIT, Exchange.IKE_SESSION_RESUME) for kind, _ in self.exchanges)

    @property
    def phase1_messages(self) -> list[V1Phase1Message]:
        """IKEv1 messages with an SA payload, first seen first."""
        return sorted(self.phase1.values(), key=lambda m: (m.seen.first, m.content.digest))

    @property
    def selecting_responses(self) -> list[InitMessage]:
        """Responses that select, first seen first."""
        found = [m for m in self.responses.values() if m.content.selects]
        return sorted(found, key=lambda m: (m.seen.first, m.content.digest))


def _rank(message: InitMessage | V1Phase1Message) -> tuple[int, Reference, bytes]:
    content = message.content
    rank = 0
    if isinstance(content, InitContent) and not content.selects:
        rank = 1 if content.selects_unreadably else 2
    return (rank, message.seen.first, content.digest)


def _keep(table: dict[bytes, Kept[C]], content: C, reference: Reference, path: Path) -> None:
    known = table.get(content.digest)
    if known is None:
        table[content.digest] = Kept(content, Seen(reference, path, reference))
    else:
        known.seen.again(reference, path)


def _merge_kept(mine: dict[bytes, Kept[C]], other: dict[bytes, Kept[C]]) -> None:
    for digest, message in other.items():
        known = mine.get(digest)
        if known is None:
            mine[digest] = message.copy()
        else:
            known.seen.merge(message.seen)
