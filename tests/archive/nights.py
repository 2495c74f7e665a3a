"""Runs over an archive in this process: one without a journal, and those of nights with one."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pqaudit.archive.journal import Journal
from pqaudit.archive.packing import pack
from pqaudit.archive.resume import Resuming
from pqaudit.archive.view import View
from pqaudit.capture.discover import find_captures
from pqaudit.finding.document import Observer
from pqaudit.finding.stream import drain_findings, findings_of
from pqaudit.outputs.jsonl import write_run
from pqaudit.parallel import read_apart
from pqaudit.pipeline import ReadOptions, new_run, read_inputs
from tests import build as b
from tests.conftest import rulebook_cached

OBSERVER = Observer("test")
DIGEST = ReadOptions(digest=True)
HYBRID = [(b.KE, 31), b.addke(1, 36)]


@dataclass(frozen=True)
class Night:
    """What a run gave: its JSON, and how it came by it."""

    text: str
    known: int
    read: int
    again: int
    otherwise: int
    earlier: int
    earlier_otherwise: int


def fresh(*paths: Path | str, options: ReadOptions = DIGEST) -> str:
    """The JSON of a run without a journal."""
    run = new_run(options)
    read_inputs(find_captures(map(str, paths), run.notes.append), run, options)
    out = io.StringIO()
    write_run(drain_findings(run.table, rulebook_cached(), OBSERVER), run, rulebook_cached(), out)
    return out.getvalue()


def night(journal: Path, *paths: Path | str, options: ReadOptions = DIGEST, **shown: Any) -> Night:
    """A run with a journal; ``shown`` are options of the view."""
    run = new_run(options)
    with Journal(journal) as opened:
        resuming = Resuming(opened, options)
        sources = find_captures(map(str, paths), run.notes.append, resuming.is_known_capture)
        resuming.plan(sources)
        resuming.read(lambda unread, take: read_apart(unread, options, workers=1, pack=pack, take=take))
        view = View(
            opened, resuming.shown(), resuming.settings, **{"with_earlier": False, "touched_only": False, **shown}
        )
        view.add_to(run)
        wanted = view.is_touched if shown.get("touched_only") else None
        out = io.StringIO()
        findings = findings_of(view.groups(), rulebook_cached(), OBSERVER, wanted=wanted)
        write_run(findings, run, rulebook_cached(), out)
        if wanted is not None:
            view.set_told()
        return Night(
            out.getvalue(),
            resuming.known,
            resuming.read_count,
            resuming.again,
            resuming.otherwise,
            view.earlier,
            view.otherwise,
        )


def aged(*paths: Path, seconds: float = 3600) -> None:
    """Make files old enough that their stamps are trusted."""
    for path in paths:
        when = time.time_ns() - int(seconds * 1e9)
        os.utime(path, ns=(when, when))


def swapped(path: Path, octets: bytes) -> None:
    """Put other octets of the same number into a file that looks as it did."""
    before = path.stat()
    assert len(octets) == before.st_size
    with path.open("r+b") as file:
        file.write(octets)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_ino == before.st_ino


def conversation(number: int) -> list[bytes]:
    """The frames of one hybrid SA that was used and rekeyed; SPIs and initiator differ by ``number``."""
    spi_i, spi_r = (side + number.to_bytes(7) for side in (b"\x11", b"\x22"))
    talk = b.ran(b.negotiated(HYBRID, HYBRID), 1)
    for exchange, message_id in ((b.CHILD, 3), (b.INFO, 4)):
        talk.send(b.encrypted(exchange, message_id)).answer(b.encrypted(exchange, message_id, response=True))
    ends = b.udp_frame(b"")[26:30], bytes((10, 0, 0, number))
    return [frame.replace(b.SPI_I, spi_i).replace(b.SPI_R, spi_r).replace(*ends) for frame in talk.frames]


def rekeyed(number: int) -> list[bytes]:
    """Frames of the SA that replaced it, of which no negotiation is seen."""
    spi_i, spi_r = (side + number.to_bytes(7) for side in (b"\x33", b"\x44"))
    talk = b.Conversation().send(b.encrypted(b.INFO, 0)).answer(b.encrypted(b.INFO, 0, response=True))
    ends = b.udp_frame(b"")[26:30], bytes((10, 0, 0, number))
    return [frame.replace(b.SPI_I, spi_i).replace(b.SPI_R, spi_r).replace(*ends) for frame in talk.frames]


def archive(folder: Path, parts: Iterable[Sequence[bytes]], *, first: int = 0) -> list[Path]:
    """Captures with the frames of each part, a second of its own for each, old enough to be trusted."""
    folder.mkdir(exist_ok=True)
    found = [
        b.pcap(frames, folder / f"{number:03d}.pcap", start=1_700_000_000 + number)
        for number, frames in enumerate(parts, first)
    ]
    aged(*found)
    return found
