"""A run over captures of which a journal knows some: what is known is taken from it, what is new is read into it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pqaudit.archive.journal import Journal, Known, Naming
from pqaudit.archive.packing import PackedCapture, pack
from pqaudit.archive.trust import names_one_file, trusted
from pqaudit.archive.view import Shown
from pqaudit.capture.shown import scheme_of, shown_name
from pqaudit.capture.stamp import stamp
from pqaudit.pipeline import AuditRun, ReadOptions
from pqaudit.sa.record import VERSION

READING_VERSION: Final = 1
"""Raised when captures are read to other evidence than before: what journals know of them is then read again."""

TakeCapture = Callable[[int, AuditRun | PackedCapture], None]
"""Takes what one capture gave, packed where it was read or not; the number is its index."""
Read = Callable[[Sequence[str], TakeCapture], bool]
"""Reads captures each by itself, gives each to the function, and says whether it was interrupted."""


class _Task(NamedTuple):
    """A capture to be read: its place, its stamp as far as it is trusted, and how it was known before."""

    place: str
    stamp: str | None
    changed: bool = False
    otherwise: bool = False


class _Kept(NamedTuple):
    """An input that needs no reading, at its place and with its stamp."""

    place: str
    stamp: str
    known: Known


class Resuming:
    """What a run finds in the journal, and what it has to read.

    Args:
        journal: stays open.
        options: how captures are read; what was read otherwise is read again.

    Attributes:
        known: captures that need no reading.
        again: captures that were read before and have changed, or may have.
        otherwise: captures that were read before with other options or by an earlier pqaudit.
        unread: sources that have to be read.
        interrupted: ``read`` was.
        settings: how captures are read.
    """

    def __init__(self, journal: Journal, options: ReadOptions) -> None:
        self._journal = journal
        self.settings = settings_text(options)
        self._found: dict[str, _Kept | _Task] = {}
        self._read: dict[str, tuple[int, bool]] = {}
        self._sources: list[str] = []
        self.known = self.again = self.otherwise = 0
        self.unread: list[str] = []
        self.interrupted = False

    def is_known_capture(self, source: str) -> bool:
        """True when the journal has what reading ``source`` would give, and it is a capture."""
        found = self._look(source)
        return isinstance(found, _Kept) and found.known.recognised

    def _look(self, source: str) -> _Kept | _Task:
        found = self._found.get(source)
        if found is None:
            found = self._found[source] = self._look_up(source)
        return found

    def _look_up(self, source: str) -> _Kept | _Task:
        place = place_of(source)
        now = time.time()
        mark = stamp(source)
        known = self._journal.known(place)
        if known is not None and known.settings != self.settings:
            return _Task(place, trusted(mark, now), otherwise=True)
        if known is not None and mark is not None and known.stamp == mark:
            return _Kept(place, mark, known)
        if mark is not None and names_one_file(mark):
            moved = self._journal.moved(mark, self.settings)
            if moved is not None:
                return _Kept(place, mark, moved)
        return _Task(place, trusted(mark, now), changed=known is not None)

    def plan(self, sources: Sequence[str]) -> None:
        """Tell what is known of ``sources`` from what is to be read.

        Raises:
            JournalError: the journal cannot be used.
        """
        self._sources = list(sources)
        # All is looked up before anything changes: names may have been exchanged since.
        self.unread = [source for source in sources if isinstance(self._look(source), _Task)]
        kept: list[Naming] = []
        for source in sources:
            match self._found[source]:
                case _Kept(place, mark, known):
                    kept.append(Naming(place, shown_name(source), mark, known.content, known.told))
                case _Task(changed=changed, otherwise=otherwise):
                    self.again += changed
                    self.otherwise += otherwise
        self.known = len(kept)
        self._journal.name(kept)

    def read(self, read: Read) -> None:
        """Read what is to be read into the journal, capture by capture.

        Raises:
            JournalError: a capture could not be kept, as the disk is full for one; those before are.
        """

        def take(index: int, run: AuditRun | PackedCapture) -> None:
            source = self.unread[index]
            task = self._found[source]
            assert isinstance(task, _Task)
            packed = run if isinstance(run, PackedCapture) else pack(run)
            self._read[source] = self._journal.record(task.place, shown_name(source), task.stamp, self.settings, packed)

        self.interrupted = read(self.unread, take)

    @property
    def read_count(self) -> int:
        """Captures that were read."""
        return len(self._read)

    def shown(self) -> list[Shown]:
        """The captures of this run in the order of the sources; after an interrupt, those that were read."""
        found: list[Shown] = []
        for source in self._sources:
            entry = self._found[source]
            if isinstance(entry, _Kept):
                found.append(Shown(entry.place, shown_name(source), entry.known.content, entry.known.told))
            elif source in self._read:
                found.append(Shown(entry.place, shown_name(source), *self._read[source]))
        return found


def place_of(source: str) -> str:
    """What tells an input from all others, from whatever folder and by whatever links it is named."""
    return shown_name(source) if scheme_of(source) is not None else os.path.realpath(source)


def settings_text(options: ReadOptions) -> str:
    """All that the evidence in a capture depends on beside its octets."""
    settings = {
        "reading": READING_VERSION,
        "record": VERSION,
        "ports": sorted(set(options.ports)),
        "tunnels": options.tunnels,
        "exposure": options.exposure,
        "most_sas": options.most_sas,
    }
    return json.dumps(settings, sort_keys=True, separators=(",", ":"))
