"""The evidence of an SA as JSON, to travel inside its finding and to be merged with other evidence of the same SA.

The form is compact and nobody's to read: names of files, paths and references stand in tables and are referred to by
index, what always comes together is one flat list, and what is empty is left out. Equal evidence gives equal records,
whatever the order in which it came. The form changes with ``VERSION`` only.
"""

from __future__ import annotations

from typing import Any, Final

from pqaudit.sa.association import InitMessage, SecurityAssociation, V1Phase1Message
from pqaudit.sa.messages import FileCount, ProtectedKey, ProtectedMessage, Seen
from pqaudit.sa.record_reading import VERSION, LaterRecordError, RecordError, from_record
from pqaudit.sa.reference import Path, Reference

__all__ = ["VERSION", "LaterRecordError", "RecordError", "from_record", "to_record"]

# Numbers from here on lose digits in JSON readers that know floating point numbers only: they are written as text.
_EXACT: Final = 1 << 53
_NONE: Final = -1  # for a number that is missing


def to_record(sa: SecurityAssociation) -> dict[str, Any]:
    """The record of ``sa``, which has seen at least one packet; ``from_record`` gives the same evidence back."""
    assert sa.first is not None  # an SA is made for a packet
    assert sa.last is not None
    writer = _Writer(sa.first.time)
    refer = writer.reference
    way = writer.path
    record: dict[str, Any] = {
        "v": VERSION,
        "ike": sa.version,
        "i": sa.initiator_spi.hex(),
        "r": sa.responder_spi.hex(),
        "t": str(sa.first.time),
        "seen": [refer(sa.first), refer(sa.last)],
        "ways": [number for path in sorted(sa.paths) for number in (way(path), refer(sa.paths[path]))],
    }
    if sa.requests:
        record["requests"] = [writer.init(sa.requests[digest]) for digest in sorted(sa.requests)]
    if sa.responses:
        record["responses"] = [writer.init(sa.responses[digest]) for digest in sorted(sa.responses)]
    if sa.phase1:
        record["phase1"] = [writer.phase1(sa.phase1[digest]) for digest in sorted(sa.phase1)]
    if sa.exchanges:
        record["exchanges"] = [
            [kind, by_initiator + 2 * ids.limited, *[number for ends in ids.ranges for number in ends]]
            for (kind, by_initiator), ids in sorted(sa.exchanges.items(), key=lambda item: item[0])
        ]
    if sa.protected:
        record["protected"] = [
            writer.protected(key, messages[key])
            for _, messages in sorted(sa.protected.items(), key=lambda item: item[0])
            for key in sorted(messages)
        ]
    if sa.files:
        record["counts"] = writer.counts(sa.files)
    if sa.anomalies:
        record["anomalies"] = {
            slug: [refer(reference) for reference in sorted(sa.anomalies[slug])] for slug in sorted(sa.anomalies)
        }
    if sa.overflow:
        record["overflow"] = sorted(sa.overflow)
    if sa.initiator is not None:
        record["initiator"] = [refer(sa.initiator[0]), way(sa.initiator[1])]
    record["references"] = writer.references
    record["paths"] = writer.paths
    record["files"] = list(writer.files)
    return record


class _Writer:
    """Tables of what is referred to by index, in the order of first use."""

    __slots__ = ("_base", "_path_index", "_reference_index", "files", "paths", "references")

    def __init__(self, base: int) -> None:
        self._base = base
        self._reference_index: dict[Reference, int] = {}
        self._path_index: dict[Path, int] = {}
        self.references: list[int | str] = []
        self.paths: list[list[Any]] = []
        self.files: dict[str, int] = {}

    def file(self, name: str) -> int:
        return self.files.setdefault(name, len(self.files))

    def reference(self, reference: Reference) -> int:
        index = self._reference_index.get(reference)
        if index is None:
            index = self._reference_index[reference] = len(self._reference_index)
            time, name, frame, digits = reference
            since = time - self._base
            self.references += (
                since if -_EXACT < since < _EXACT else str(since),
                self.files.setdefault(name, len(self.files)) * 10 + digits,  # digits are 0 to 9
                frame,
            )
        return index

    def path(self, path: Path) -> int:
        index = self._path_index.get(path)
        if index is None:
            index = self._path_index[path] = len(self._path_index)
            (source, source_port), (destination, destination_port), transport, vlan = path
            self.paths.append([source.hex(), source_port, destination.hex(), destination_port, transport, vlan])
        return index

    def counts(self, counts: dict[str, FileCount]) -> list[int]:
        found: list[int] = []
        for name in sorted(counts):
            count = counts[name]
            found += (self.file(name), count.packets, count.first, count.last)
        return found

    def seen(self, seen: Seen) -> list[int]:
        found = [self.reference(seen.first), self.path(seen.path)]
        if seen.counts is not None:
            found.append(self.reference(seen.last))
            found += self.counts(seen.counts)
        elif seen.last != seen.first:
            found.append(self.reference(seen.last))
        return found

    def init(self, message: InitMessage) -> list[Any]:
        content = message.content
        flags = content.proposals_complete + 2 * content.nonce + 4 * content.complete + 8 * content.truncated
        proposals = content.proposals
        return [
            content.digest.hex(),
            self.seen(message.seen),
            content.responder_spi.hex(),
            content.exchange_type,
            flags,
            _NONE if content.ke_method is None else content.ke_method,
            _NONE if content.ke_octets is None else content.ke_octets,
            None
            if proposals is None
            else [
                [
                    proposal.number,
                    proposal.protocol,
                    proposal.spi.hex(),
                    [_NONE if number is None else number for transform in proposal.transforms for number in transform],
                ]
                for proposal in proposals
            ],
            [[kind, data.hex()] if data else kind for kind, data in content.notifies],
            [octets.hex() for octets in content.vendor_ids],
            list(content.faults),
        ]

    def phase1(self, message: V1Phase1Message) -> list[Any]:
        content = message.content
        return [
            content.digest.hex(),
            self.seen(message.seen),
            content.responder_spi.hex(),
            [_NONE if number is None else number for transform in content.transforms for number in transform],
            [octets.hex() for octets in content.vendor_ids],
        ]

    def protected(self, key: ProtectedKey, message: ProtectedMessage) -> list[int]:
        found = [
            key.message_id,
            key.exchange_type,
            key.from_initiator + 2 * key.is_response + 4 * message.truncated,
            self.reference(message.first),
            self.path(message.path),
            _NONE if message.inner_type is None else message.inner_type,
            message.octets,
        ]
        # SKF follows SK seldom (the same message sent both ways), and a total of 0 means that there was none.
        if message.fragments:
            found.append(message.fragments)
            for number in sorted(message.fragment_octets):
                found += (number, message.fragment_octets[number])
        return found
