"""Reading records of SAs. They come from files and servers, so nothing in them is believed before it is checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.numbers import MAJOR_IKEV1, MAJOR_IKEV2, SPI_OCTETS
from pqaudit.ike.payloads import Proposal, Transform
from pqaudit.ike.proposals import MOST_PROPOSALS
from pqaudit.sa.association import InitMessage, Kept, SecurityAssociation, V1Phase1Message
from pqaudit.sa.bounds import (
    DIGEST_OCTETS,
    MOST_FRAGMENTS,
    MOST_INIT_MESSAGES,
    MOST_NOTIFIES,
    MOST_PATHS,
    MOST_PROTECTED_MESSAGES,
    MOST_REFERENCES,
    MOST_VENDOR_IDS,
    NOTIFY_DATA_OCTETS,
    VENDOR_ID_OCTETS,
)
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.messages import FileCount, InitContent, KeptNotify, ProtectedKey, ProtectedMessage, Seen, V1Content
from pqaudit.sa.reference import NO_VLAN, Endpoint, Path, Reference

VERSION: Final = 1

_ONE, _TWO, _FOUR = 0xFF, 0xFFFF, 0xFFFF_FFFF  # the largest number of one octet, of two, of four
_MOST_COUNTED = (1 << 63) - 1
_MOST_FILES = 1_000_000  # a capture that is rotated every minute has half as many in a year
_MOST_NAME_CHARACTERS = 65_536
_MOST_TRANSFORMS = 65_536 // 8  # in one message; a transform has 8 octets at least
_MOST_TABLE = 65_536
_MOST_SLUGS = 256
_HIGHEST_VLAN = 4095
_SLUG = re.compile(r"[a-z0-9-]{1,64}")
_TIME = re.compile(r"-?[0-9]{1,30}", re.ASCII)  # damaged pcapng can state some 10 ** 28 nanoseconds


class RecordError(ValueError):
    """What should be the record of an SA is none."""


class LaterRecordError(RecordError):
    """The record was made by a later version of pqaudit."""


def from_record(record: object) -> SecurityAssociation:
    """The evidence that ``to_record`` wrote.

    Raises:
        LaterRecordError: the record has a later version than this program knows.
        RecordError: ``record`` is anything else that is no record.
    """
    fields = _mapping(record, "record")
    version = _integer(fields.get("v"), 1, _MOST_COUNTED, "version")
    if version > VERSION:
        raise LaterRecordError(
            f"The record of an SA has version {version}, and this pqaudit knows none after {VERSION}."
        )
    return _Reader(fields).association()


def _mapping(value: object, what: str) -> dict[Any, Any]:
    if type(value) is not dict:
        raise _wrong(what)
    return value


def _list(value: object, most: int, what: str, *, least: int = 0) -> list[Any]:
    if type(value) is not list or not least <= len(value) <= most:
        raise _wrong(what)
    return value


def _integer(value: object, least: int, most: int, what: str) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _wrong(what)
    return value


def _optional(value: object, most: int, what: str) -> int | None:
    number = _integer(value, -1, most, what)
    return None if number < 0 else number


def _octets(value: object, least: int, most: int, what: str) -> bytes:
    if type(value) is not str or not 2 * least <= len(value) <= 2 * most:
        raise _wrong(what)
    try:
        found = bytes.fromhex(value)
    except ValueError:
        raise _wrong(what) from None
    if found.hex() != value:  # there is one way to write it
        raise _wrong(what)
    return found


def _time(value: object, what: str) -> int:
    if type(value) is not str or not _TIME.fullmatch(value):
        raise _wrong(what)
    return int(value)


def _slug(value: object, what: str) -> str:
    if type(value) is not str or not _SLUG.fullmatch(value):
        raise _wrong(what)
    return value


def _parts(flat: list[Any], size: int, what: str) -> Iterator[list[Any]]:
    if len(flat) % size:
        raise _wrong(what)
    return (flat[at : at + size] for at in range(0, len(flat), size))


def _wrong(what: str) -> RecordError:
    return RecordError(f"The record of an SA is damaged: its {what} cannot be.")


class _Reader:
    def __init__(self, fields: dict[Any, Any]) -> None:
        self._fields = fields
        self._base = _time(fields.get("t"), "time")
        self._files = self._names(_list(fields.get("files"), _MOST_FILES, "list of files"))
        self._paths = [_path(each) for each in _list(fields.get("paths"), _MOST_TABLE, "list of paths")]
        flat = _list(fields.get("references"), 3 * _MOST_TABLE, "list of references")
        self._references = [self._read_reference(each) for each in _parts(flat, 3, "list of references")]

    def association(self) -> SecurityAssociation:
        fields = self._fields
        sa = SecurityAssociation(
            _integer(fields.get("ike"), MAJOR_IKEV1, MAJOR_IKEV2, "IKE version"),
            _octets(fields.get("i"), SPI_OCTETS, SPI_OCTETS, "initiator SPI"),
            _octets(fields.get("r"), SPI_OCTETS, SPI_OCTETS, "responder SPI"),
        )
        sa.first, sa.last = map(self._reference, _list(fields.get("seen"), 2, "first and last packet", least=2))
        if sa.last < sa.first:
            raise _wrong("last packet")
        ways = _list(fields.get("ways"), 2 * MOST_PATHS, "ways", least=2)
        sa.paths = {self._path(path): self._reference(reference) for path, reference in _parts(ways, 2, "ways")}
        for name, table in (("requests", sa.requests), ("responses", sa.responses)):
            for message in map(self._init, _list(fields.get(name, []), MOST_INIT_MESSAGES, name)):
                table[message.content.digest] = message
        for phase1 in map(self._phase1, _list(fields.get("phase1", []), MOST_INIT_MESSAGES, "phase 1 messages")):
            sa.phase1[phase1.content.digest] = phase1
        for each in _list(fields.get("exchanges", []), 2 * (_ONE + 1), "exchanges"):
            self._exchange(sa, each)
        most = (_ONE + 1) * MOST_PROTECTED_MESSAGES
        for each in _list(fields.get("protected", []), most, "encrypted messages"):
            self._protected(sa, each)
        sa.files = self._counts(_list(fields.get("counts", []), 4 * _MOST_FILES, "packet counts"))
        anomalies = _mapping(fields.get("anomalies", {}), "anomalies")
        if len(anomalies) > _MOST_SLUGS:
            raise _wrong("number of anomalies")
        for slug, references in anomalies.items():
            found = _list(references, MOST_REFERENCES, "references of an anomaly", least=1)
            sa.anomalies[_slug(slug, "anomaly")] = dict.fromkeys(map(self._reference, found))
        overflow = _list(fields.get("overflow", []), _MOST_SLUGS, "bounds")
        sa.overflow = frozenset(_slug(each, "bound") for each in overflow)
        if "initiator" in fields:
            reference, path = _list(fields["initiator"], 2, "initiator", least=2)
            sa.initiator = (self._reference(reference), self._path(path))
        return sa

    # -- tables --------------------------------------------------------------------------------------------------

    @staticmethod
    def _names(values: list[Any]) -> list[str]:
        if any(type(name) is not str or len(name) > _MOST_NAME_CHARACTERS for name in values):
            raise _wrong("name of a file")
        return values

    def _read_reference(self, part: list[Any]) -> Reference:
        since, code, frame = part
        if type(since) is not int:
            since = _time(since, "time of a packet")
        elif not -_MOST_COUNTED <= since <= _MOST_COUNTED:
            raise _wrong("time of a packet")
        file, digits = divmod(_integer(code, 0, 10 * len(self._files) - 1, "file of a packet"), 10)
        return Reference(self._base + since, self._files[file], _integer(frame, 0, _MOST_COUNTED, "frame"), digits)

    def _reference(self, index: object) -> Reference:
        return self._references[_integer(index, 0, len(self._references) - 1, "reference")]

    def _path(self, index: object) -> Path:
        return self._paths[_integer(index, 0, len(self._paths) - 1, "path")]

    def _counts(self, flat: list[Any]) -> dict[str, FileCount]:
        found: dict[str, FileCount] = {}
        for index, packets, first, last in _parts(flat, 4, "packet counts"):
            name = self._files[_integer(index, 0, len(self._files) - 1, "counted file")]
            lowest = _integer(first, 0, _MOST_COUNTED, "first frame")
            highest = _integer(last, lowest, _MOST_COUNTED, "last frame")
            found[name] = FileCount(_integer(packets, 1, _MOST_COUNTED, "number of packets"), lowest, highest)
        return found

    # -- messages ------------------------------------------------------------------------------------------------

    def _seen(self, value: object) -> Seen:
        fields = _list(value, 3 + 4 * _MOST_FILES, "sighting", least=2)
        first = self._reference(fields[0])
        last = first if len(fields) < 3 else self._reference(fields[2])
        if last < first:
            raise _wrong("last sighting")
        return Seen(first, self._path(fields[1]), last, self._counts(fields[3:]) or None)

    def _init(self, value: object) -> InitMessage:
        fields = _list(value, 11, "negotiation message", least=11)
        digest, seen, spi, kind, flags, method, octets, proposals, notifies, vendor_ids, faults = fields
        bits = _integer(flags, 0, 15, "flags of a message")
        content = InitContent(
            digest=_octets(digest, DIGEST_OCTETS, DIGEST_OCTETS, "digest"),
            responder_spi=_octets(spi, SPI_OCTETS, SPI_OCTETS, "SPI of a message"),
            exchange_type=_integer(kind, 0, _ONE, "exchange type"),
            proposals=None if proposals is None else _proposals(proposals),
            proposals_complete=bool(bits & 1),
            ke_method=_optional(method, _TWO, "KE method"),
            ke_octets=_optional(octets, _TWO, "KE length"),
            nonce=bool(bits & 2),
            notifies=tuple(map(_notify, _list(notifies, MOST_NOTIFIES, "notifies"))),
            vendor_ids=_vendor_ids(vendor_ids),
            complete=bool(bits & 4),
            truncated=bool(bits & 8),
            faults=tuple(_slug(each, "fault") for each in _list(faults, _MOST_SLUGS, "faults")),
        )
        return Kept(content, self._seen(seen))

    def _phase1(self, value: object) -> V1Phase1Message:
        digest, seen, spi, transforms, vendor_ids = _list(value, 5, "phase 1 message", least=5)
        flat = _list(transforms, 4 * _MOST_TRANSFORMS, "phase 1 transforms", least=1)
        content = V1Content(
            _octets(digest, DIGEST_OCTETS, DIGEST_OCTETS, "digest"),
            _octets(spi, SPI_OCTETS, SPI_OCTETS, "SPI of a message"),
            tuple(
                Phase1Transform(*(_optional(number, _FOUR, "phase 1 attribute") for number in part))
                for part in _parts(flat, 4, "phase 1 transforms")
            ),
            _vendor_ids(vendor_ids),
        )
        return Kept(content, self._seen(seen))

    @staticmethod
    def _exchange(sa: SecurityAssociation, value: object) -> None:
        fields = _list(value, _MOST_COUNTED, "exchange", least=2)
        flags = _integer(fields[1], 0, 3, "flags of an exchange")
        ids = sa.exchanges[_integer(fields[0], 0, _ONE, "exchange type"), bool(flags & 1)] = MessageIds()
        lowest = 0
        for first, last in _parts(fields[2:], 2, "message IDs"):
            first = _integer(first, lowest, _FOUR, "message ID")
            ids.add_range(first, _integer(last, first, _FOUR, "message ID"))
            if ids.limited:
                raise _wrong("number of message IDs")
            lowest = last + 2  # what is adjacent would be in the same range
        ids.limited = bool(flags & 2)

    def _protected(self, sa: SecurityAssociation, value: object) -> None:
        fields = _list(value, 8 + 2 * MOST_FRAGMENTS, "encrypted message", least=7)
        message_id, kind, flags, first, path, inner, octets = fields[:7]
        bits = _integer(flags, 0, 7, "flags of an encrypted message")
        key = ProtectedKey(
            _integer(message_id, 0, _FOUR, "message ID"),
            _integer(kind, 0, _ONE, "exchange type"),
            bool(bits & 1),
            bool(bits & 2),
        )
        total = 0 if len(fields) < 8 else _integer(fields[7], 1, _TWO, "number of fragments")
        table = sa.protected.setdefault(key.exchange_type, {})
        table[key] = ProtectedMessage(
            self._reference(first),
            self._path(path),
            _optional(inner, _ONE, "inner type"),
            _integer(octets, 0, _TWO, "length of an encrypted message"),
            total,
            {
                _integer(number, 1, total, "fragment"): _integer(length, 0, _TWO, "length of a fragment")
                for number, length in _parts(fields[8:], 2, "fragments")
            },
            bool(bits & 4),
        )
        if len(table) > MOST_PROTECTED_MESSAGES:
            raise _wrong("number of encrypted messages")


def _path(value: object) -> Path:
    source, source_port, destination, destination_port, transport, vlan = _list(value, 6, "path", least=6)
    if type(transport) is not str or transport not in ("udp", "tcp"):
        raise _wrong("transport")
    return Path(
        _endpoint(source, source_port),
        _endpoint(destination, destination_port),
        transport,
        _integer(vlan, NO_VLAN, _HIGHEST_VLAN, "VLAN"),
    )


def _endpoint(address: object, port: object) -> Endpoint:
    octets = _octets(address, 4, 16, "address")
    if len(octets) not in (4, 16):
        raise _wrong("address")
    return Endpoint(octets, _integer(port, 0, _TWO, "port"))


def _proposals(value: object) -> tuple[Proposal, ...]:
    found = []
    left = 3 * _MOST_TRANSFORMS
    for each in _list(value, MOST_PROPOSALS, "proposals"):
        number, protocol, spi, transforms = _list(each, 4, "proposal", least=4)
        flat = _list(transforms, left, "transforms")
        left -= len(flat)
        found.append(
            Proposal(
                _integer(number, 0, _ONE, "proposal number"),
                _integer(protocol, 0, _ONE, "protocol"),
                _octets(spi, 0, _ONE, "SPI of a proposal"),
                tuple(
                    Transform(
                        _integer(kind, 0, _ONE, "transform type"),
                        _integer(number, 0, _TWO, "transform"),
                        _optional(bits, _TWO, "key length"),
                    )
                    for kind, number, bits in _parts(flat, 3, "transforms")
                ),
            )
        )
    return tuple(found)


def _notify(value: object) -> KeptNotify:
    if type(value) is int:
        return KeptNotify(_integer(value, 0, _TWO, "notify"), b"")
    kind, data = _list(value, 2, "notify", least=2)
    return KeptNotify(_integer(kind, 0, _TWO, "notify"), _octets(data, 1, NOTIFY_DATA_OCTETS, "notify"))


def _vendor_ids(value: object) -> tuple[bytes, ...]:
    found = _list(value, MOST_VENDOR_IDS, "vendor IDs")
    return tuple(_octets(each, 0, VENDOR_ID_OCTETS, "vendor ID") for each in found)
