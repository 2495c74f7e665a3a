"""How frames and reports travel from the capturing process: messages of a kind, a length and octets.

Nothing here can do more than make frames and reports, whatever the octets: the two processes may have different
privileges, so nothing is unpickled.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import IntEnum
from itertools import accumulate
from struct import Struct
from typing import Any

from pqaudit.capture.devices import DeviceState
from pqaudit.capture.frame import Frame
from pqaudit.capture.live import Statistics
from pqaudit.capture.loss import Loss
from pqaudit.capture.ring import RingState
from pqaudit.capture.ring_places import Place
from pqaudit.sensor.source import CaptureReport, InterfaceReport

MOST_SOURCES = 255
"""Sources of different frames in one batch; one whose frames lie in two files of the ring counts as two."""

KeptFrame = tuple[Frame, Place | None]
"""A frame as it was captured, and where the ring keeps it."""

_MESSAGE = Struct("<BI")
_BATCH = Struct("<IB")
# Lengths of the name and of the name of the file in the ring, digits, link type.
_SOURCE = Struct("<HHBH")
# Nanoseconds, number, octets on the wire, octets captured, number in the file of the ring or 0, source. All heads stand
# together before all octets: so they are read in one go, which takes a third less time.
_HEAD = Struct("<qQIIIB")


class Kind(IntEnum):
    """What a message holds."""

    OPTIONS = 1
    READY = 2
    REFUSED = 3
    FRAMES = 4
    REPORT = 5
    ENDED = 6
    EXPOSURE = 7


def message(kind: Kind, octets: bytes) -> bytes:
    """One message."""
    return _MESSAGE.pack(kind, len(octets)) + octets


class Unpacker:
    """Takes the octets of a stream as they come, and gives whole messages."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def __len__(self) -> int:
        """Octets that wait for the rest of their message."""
        return len(self._waiting)

    def feed(self, octets: bytes) -> Iterator[tuple[Kind, bytes]]:
        """The messages that these octets complete. Raises ValueError for a kind that there is not."""
        waiting = self._waiting
        waiting += octets
        start, end = 0, len(waiting)
        while end - start >= _MESSAGE.size:
            kind, length = _MESSAGE.unpack_from(waiting, start)
            if end - start - _MESSAGE.size < length:
                break
            start += _MESSAGE.size
            yield Kind(kind), bytes(waiting[start : start + length])
            start += length
        del waiting[:start]


def first_message(link: socket.socket) -> bytes | None:
    """What the first message holds that comes, waited for; None when the other end closes before that."""
    unpacker = Unpacker()
    while octets := link.recv(65_536):
        for _, packed in unpacker.feed(octets):
            return packed
    return None


def pack_frames(frames: Sequence[KeptFrame]) -> bytes:
    """A message of frames; of at most ``MOST_SOURCES`` sources."""
    sources: dict[tuple[str, str, int, int], int] = {}
    heads: list[bytes] = []
    pack = _HEAD.pack
    for frame, place in frames:
        file, kept = ("", 0) if place is None else place
        source = (frame.source, file, frame.digits, frame.link_type)
        index = sources.setdefault(source, len(sources))
        heads.append(pack(frame.time, frame.number, frame.original_length, len(frame.data), kept, index))
    parts = [_BATCH.pack(len(frames), len(sources))]
    for name, file, digits, link_type in sources:
        names = [each.encode(errors="surrogateescape") for each in (name, file)]
        parts += (_SOURCE.pack(*map(len, names), digits, link_type), *names)
    return message(Kind.FRAMES, b"".join([*parts, *heads, *(frame.data for frame, _ in frames)]))


def unpack_frames(octets: bytes) -> list[KeptFrame]:
    """The frames of a message. Raises ValueError or struct.error for octets that are none."""
    count, size = _BATCH.unpack_from(octets, 0)
    start = _BATCH.size
    sources: list[tuple[str, str, int, int]] = []
    for _ in range(size):
        length, more, digits, link_type = _SOURCE.unpack_from(octets, start)
        middle = start + _SOURCE.size + length
        name = octets[start + _SOURCE.size : middle].decode(errors="surrogateescape")
        start = middle + more
        sources.append((name, octets[middle:start].decode(errors="surrogateescape"), digits, link_type))
    first = start + count * _HEAD.size
    heads = list(_HEAD.iter_unpack(memoryview(octets)[start:first]))
    ends = accumulate((head[3] for head in heads), initial=first)
    found: list[KeptFrame] = []
    for (time, number, original, captured, kept, index), at in zip(heads, ends, strict=False):
        source, file, digits, link_type = sources[index]
        frame = Frame(time, digits, link_type, octets[at : at + captured], original, source, number)
        found.append((frame, Place(file, kept) if kept else None))
    return found


def pack_report(report: CaptureReport) -> bytes:
    """A message with a report."""
    return message(Kind.REPORT, json.dumps(asdict(report), default=lambda state: state.value).encode())


def unpack_report(octets: bytes) -> CaptureReport:
    """The report of a message. Raises ValueError, KeyError or TypeError for octets that are none."""
    fields: dict[str, Any] = json.loads(octets)
    interfaces = tuple(
        InterfaceReport(
            entry["name"],
            DeviceState(entry["state"]),
            Statistics(**entry["statistics"]),
            entry["not_analysed"],
            entry["problem"],
        )
        for entry in fields["interfaces"]
    )
    losses = tuple((name, Loss(**loss)) for name, loss in fields["losses"])
    ring = RingState(**fields["ring"]) if fields["ring"] is not None else None
    return CaptureReport(interfaces, losses, ring, fields["backlog_octets"], tuple(fields["notes"]))
