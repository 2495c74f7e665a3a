"""Findings from files and servers into the database of a report, several parts of a file at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pqaudit.finding.document import Document
from pqaudit.finding.json_text import Octets
from pqaudit.finding.reading import Note, Unread, beginning, findings_in, is_run
from pqaudit.report.hashed import HashedOctets, Progress
from pqaudit.report.model import Input
from pqaudit.report.parts import Part, RunParts, parts_of_findings, parts_of_lines
from pqaudit.report.store import Store

_MOST_WORKERS = 4
# Numbers of findings in one input; no file has so many lines.
_SPAN = 1 << 40


@dataclass(slots=True)
class Gathered:
    """What was read.

    Attributes:
        captures: of run documents: name to octets and SHA-256.
        complete: as far as run documents tell.
    """

    inputs: list[Input] = field(default_factory=list)
    captures: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)
    complete: bool = True


class Gatherer:
    """Reads findings into a store.

    Args:
        note: takes what could not be read, in the order of files and lines.
        progress: takes how many octets were read.
    """

    def __init__(self, store: Store, note: Note, progress: Progress | None = None) -> None:
        self._store = store
        self.note = note
        self._progress = progress
        self.found = Gathered()

    def read(self, file: Octets, name: str, shown: str) -> None:
        """Read a file with findings, one a line, or a run document.

        Args:
            name: for notes.
            shown: for the report.
        """
        source = HashedOctets(file, self._progress)
        before = self._next()
        try:
            begun = beginning(source)
            if is_run(begun):
                self._read_run(source, b"".join(begun), name, before)
            else:
                self._add(parts_of_lines(source, b"".join(begun)), name, before)
        except OSError as error:
            self.note(Unread(name, None, f"cannot be read: {error.strerror or error}"))
        count = self._store.count(before, before + _SPAN)
        self.found.inputs.append(Input("findings", shown, source.octets, source.sha256, count))

    def take(self, findings: Iterable[Document], name: str, shown: str) -> None:
        """Take findings that a server gave."""
        before = self._next()
        self._add(parts_of_findings(findings), name, before)
        self.found.inputs.append(Input("server", shown, None, None, self._store.count(before, before + _SPAN)))

    def _read_run(self, source: HashedOctets, begun: bytes, name: str, before: int) -> None:
        run = RunParts(source, begun, self._take)
        rest = run.head
        if run.fits:
            self._add(run, name, before)
            rest = run.rest
            if not run.ended:
                self.note(Unread(name, run.line, "the run document is cut off or no JSON"))
        findings = findings_in(_Again(rest, source), name, self.note, self._take)
        self._add(parts_of_findings(findings), name, before + run.line)

    def _next(self) -> int:
        return len(self.found.inputs) * _SPAN

    def _add(self, parts: Iterable[Part], name: str, before: int) -> None:
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        waiting: deque[Future[list[tuple[int, str]]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            for part in parts:
                waiting.append(pool.submit(part.add_to, self._store, before))
                if len(waiting) > workers:
                    self._tell(waiting.popleft(), name)
            while waiting:
                self._tell(waiting.popleft(), name)

    def _tell(self, added: Future[list[tuple[int, str]]], name: str) -> None:
        for line, message in added.result():
            self.note(Unread(name, line, message))

    def _take(self, key: str, value: object) -> None:
        """Take what a run document says beside its findings; what has another form than ours is passed over."""
        if key == "complete" and value is False:
            self.found.complete = False
        for entry in value if key == "files" and isinstance(value, list) else ():
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str):
                octets, digest = entry.get("octets"), entry.get("sha256")
                self.found.captures[name] = (
                    octets if type(octets) is int else None,
                    digest if isinstance(digest, str) else None,
                )


class _Again:
    """A file of which the beginning was read already and comes once more."""

    def __init__(self, begun: bytes, source: Octets) -> None:
        self._begun = BytesIO(begun)
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        return self._begun.read(size) or self._source.read(size)

    def readline(self, size: int = -1, /) -> bytes:
        return self._begun.readline(size) or self._source.readline(size)


def shown_name(path: str) -> str:
    """What a report calls a file: its name alone, as the folder says something of the machine."""
    return "standard input" if path == "-" else Path(path).name
