"""Findings from files and servers into the database of a report, several parts of a file at once."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pqaudit.finding.document import Document
from pqaudit.finding.json_text import Octets
from pqaudit.finding.reading import LONGEST_LINE, TOO_LONG, Note, Unread, beginning, findings_in, is_run
from pqaudit.report.case_key import dump
from pqaudit.report.hashed import HashedOctets, Progress
from pqaudit.report.model import Input
from pqaudit.report.store import Store

# Lines that are given to the database at once; more takes more memory, and less more time.
_PART = 16 * 1024 * 1024
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
                findings = findings_in(_Again(begun, source), name, self.note, self._take)
                self._add(_lines_of(findings), name, before)
            else:
                self._add(_parts(source, b"".join(begun)), name, before)
        except OSError as error:
            self.note(Unread(name, None, f"cannot be read: {error.strerror or error}"))
        count = self._store.count(before, before + _SPAN)
        self.found.inputs.append(Input("findings", shown, source.octets, source.sha256, count))

    def take(self, findings: Iterable[Document], name: str, shown: str) -> None:
        """Take findings that a server gave."""
        before = self._next()
        self._add(_lines_of(findings), name, before)
        self.found.inputs.append(Input("server", shown, None, None, self._store.count(before, before + _SPAN)))

    def _next(self) -> int:
        return len(self.found.inputs) * _SPAN

    def _add(self, parts: Iterable[_Part], name: str, before: int) -> None:
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        waiting: deque[tuple[_Part, Future[list[tuple[int, str]]]]] = deque()
        with ThreadPoolExecutor(workers) as pool:
            for part in parts:
                waiting.append((part, pool.submit(part.add_to, self._store, before)))
                if len(waiting) > workers:
                    self._finish(*waiting.popleft(), name, before)
            while waiting:
                self._finish(*waiting.popleft(), name, before)

    def _finish(self, part: _Part, added: Future[list[tuple[int, str]]], name: str, before: int) -> None:
        for number, message in added.result():
            self.note(Unread(name, number - before, message))

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


@dataclass(frozen=True, slots=True)
class _Part:
    """Lines of a file. ``first`` is the number of the first of them, ``too_long`` that of one that was passed over."""

    lines: bytes
    first: int
    too_long: int | None = None

    def add_to(self, store: Store, before: int) -> list[tuple[int, str]]:
        before += self.first - 1
        wrong: list[tuple[int, str]] = []
        try:
            text = self.lines.decode("utf-8")
        except UnicodeDecodeError:
            whole = self.lines.split(b"\n")
            bad = [(before + n, line) for n, line in enumerate(whole, 1) if not _is_text(line)]
            text = b"\n".join(line if _is_text(line) else b"" for line in whole).decode()
            wrong = store.add_octets(bad)
        wrong += store.add_lines(text, before)
        if self.too_long is not None:
            wrong.append((before - self.first + 1 + self.too_long, TOO_LONG))
        return sorted(wrong)


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _parts(source: HashedOctets, begun: bytes) -> Iterator[_Part]:
    """A file in parts that end with lines."""
    first = 1
    while octets := begun + source.read(_PART):
        begun = b""
        too_long = None
        if not octets.endswith(b"\n"):
            start = octets.rfind(b"\n") + 1
            octets += source.readline(LONGEST_LINE - (len(octets) - start))
            if not octets.endswith(b"\n") and len(octets) - start >= LONGEST_LINE:
                octets = octets[:start]
                too_long = first + octets.count(b"\n")
                while (rest := source.readline(1 << 20)) and not rest.endswith(b"\n"):
                    pass
        yield _Part(octets.removesuffix(b"\n"), first, too_long)
        first += octets.count(b"\n") + (too_long is not None)


def _lines_of(findings: Iterable[Document]) -> Iterator[_Part]:
    """Findings as lines; what they say is the same."""
    lines: list[str] = []
    size, first = 0, 1
    for finding in findings:
        lines.append(dump({**finding, "pqaudit": _without_record(finding["pqaudit"])}))
        size += len(lines[-1])
        if size >= _PART:
            yield _Part("\n".join(lines).encode(), first)
            first += len(lines)
            lines, size = [], 0
    if lines:
        yield _Part("\n".join(lines).encode(), first)


def _without_record(own: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in own.items() if name != "record"}


class _Again:
    """A file of which the first lines were read already and come once more."""

    def __init__(self, begun: list[bytes], source: HashedOctets) -> None:
        self._begun = begun
        self._source = source

    def read(self, size: int = -1, /) -> bytes:
        return self._begun.pop(0) if self._begun else self._source.read(size)

    def readline(self, size: int = -1, /) -> bytes:
        return self._begun.pop(0) if self._begun else self._source.readline(size)


def shown_name(path: str) -> str:
    """What a report calls a file: its name alone, as the folder says something of the machine."""
    return "standard input" if path == "-" else Path(path).name
