"""What reading one capture gave, as rows that can be kept and sent, free of the capture's name.

When rows are used, a capture is called by its name of that day: an archive that was moved gives what reading it at its
new place would give.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pqaudit.capture.faults import PLACE_FAULTS
from pqaudit.capture.note import InputNote
from pqaudit.exposure.table import Exposure, ExposureTable
from pqaudit.ike.numbers import Exchange
from pqaudit.pipeline import AuditRun, InputFile, RunAnomaly
from pqaudit.sa.bounds import MOST_RESPONDER_SPIS
from pqaudit.sa.group import Group
from pqaudit.sa.lineage import may_be_rekeyed
from pqaudit.sa.record import RecordError, from_record, to_record

TRANSIENT: Final = frozenset((*PLACE_FAULTS, "missing-library", "reader-died"))
"""Kinds of notes that say nothing of the capture itself: reading it at another time or place may give more."""

_COMPRESSION: Final = 1  # the quickest: it is done for every SA
_MOST_OCTETS: Final = 64 << 20  # of one row, unpacked
_TIME_DIGITS: Final = 32
_TIME_OFFSET: Final = 1 << (4 * _TIME_DIGITS - 1)  # damaged pcapng can state some 10 ** 28 nanoseconds, both ways
_NO_NAME: Final = ""

_dump = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


class PackedError(ValueError):
    """Rows that cannot be what ``pack`` gave."""


class PackedGroup(NamedTuple):
    """All that one capture shows under one initiator SPI.

    Attributes:
        time, frame: of its first packet; times sort as text.
        lineage: SAs seen elsewhere may have been rekeyed from its SAs, or its SAs from those.
    """

    version: int
    spi: bytes
    time: str
    frame: int
    lineage: bool
    body: bytes


@dataclass(frozen=True, slots=True)
class PackedCapture:
    """What reading one capture gave.

    Attributes:
        sha256: of its octets as far as they were read, which is all that the result depends on; None when it is not
            finished: reading it again may give more.
        recognised: its first octets are those of a capture.
        about: files, notes, anomalies, counters, and traffic.
        groups: the evidence of SAs.
    """

    sha256: str | None
    recognised: bool
    about: bytes
    groups: list[PackedGroup]


def pack(run: AuditRun) -> PackedCapture:
    """Pack what reading one capture gave, some 0.1 ms of work for each SA; the table of ``run`` is used up."""
    file = run.files[0] if run.files else None
    finished = file is not None and not run.interrupted and not any(note.kind in TRANSIENT for note in run.notes)
    about = {
        "file": None if file is None else [file.octets, file.sha256, file.messages],
        "notes": [[note.frame, note.kind, note.message, note.fatal] for note in run.notes],
        "anomalies": [[each.frame, each.slug, each.text] for each in run.anomalies],
        "counters": dict(run.counters),
        "table": dict(run.table.counters),
        "pairs": [
            [one.hex(), other.hex(), seen.packets, seen.octets, seen.first, seen.last]
            for (one, other), seen in run.exposure.pairs.items()
        ],
        "exposure": dict(run.exposure.counters),
    }
    groups = [_packed(group) for group in run.table.drain()]
    # What is wrong with first octets is noted without a frame; so are few other things, and a look more does no harm.
    recognised = not any(note.frame is None for note in run.notes)
    return PackedCapture(file.sha256 if file is not None and finished else None, recognised, _deflated(about), groups)


def unpack_about(about: bytes, name: str, run: AuditRun) -> None:
    """Add to ``run`` what is known of a capture besides its SAs, as if it had been read next.

    Raises:
        PackedError: it is damaged.
    """
    content = _inflated(about)
    try:
        part = AuditRun(
            files=[] if content["file"] is None else [InputFile(name, *content["file"])],
            notes=[InputNote(name, *note) for note in content["notes"]],
            anomalies=[RunAnomaly(name, *anomaly) for anomaly in content["anomalies"]],
            counters=Counter(content["counters"]),
            exposure=ExposureTable(
                {(bytes.fromhex(one), bytes.fromhex(other)): Exposure(*sums) for one, other, *sums in content["pairs"]},
                Counter(content["exposure"]),
            ),
        )
        part.table.counters.update(content["table"])
    except (KeyError, TypeError, ValueError) as error:
        raise PackedError("what is known of a capture is damaged") from error
    run.take_over(part)


def unpack_group(body: bytes, version: int, spi: bytes, name: str) -> Group:
    """The evidence of one row, with the name of its capture.

    Raises:
        PackedError: it is damaged.
    """
    content = _inflated(body)
    group = Group(version, spi)
    try:
        group.limited = bool(content["limited"])
        for record in content["parts"][: 2 * MOST_RESPONDER_SPIS]:
            record["files"] = [name]
            part = from_record(record)
            if (part.version, part.initiator_spi) != (version, spi):
                raise PackedError("evidence of an SA is that of another one")
            group.parts[part.responder_spi] = part
    except (RecordError, KeyError, TypeError) as error:
        raise PackedError(f"evidence of an SA is damaged: {error}") from error
    return group


def _packed(group: Group) -> PackedGroup:
    first = group.first
    assert first is not None  # a group is made for a packet
    records = [to_record(part) for part in group.parts.values()]
    for record in records:
        assert len(record["files"]) == 1  # a capture is read by one reader, under one name
        record["files"] = [_NO_NAME]
    body = _deflated({"limited": group.limited, "parts": records})
    parts = group.parts.values()
    lineage = any(Exchange.CREATE_CHILD_SA in part.protected for part in parts) or all(map(may_be_rekeyed, parts))
    return PackedGroup(group.version, group.initiator_spi, _time_text(first.time), first.frame, lineage, body)


def _time_text(time: int) -> str:
    """Nanoseconds as text of fixed width that sorts as the number does."""
    return f"{time + _TIME_OFFSET:0{_TIME_DIGITS}x}"


def _deflated(content: Any) -> bytes:
    return zlib.compress(_dump(content).encode(), _COMPRESSION)


def _inflated(octets: bytes) -> Any:
    try:
        return json.loads(zlib.decompressobj().decompress(octets, _MOST_OCTETS))
    except (zlib.error, ValueError, TypeError) as error:
        raise PackedError("a row cannot be unpacked") from error
