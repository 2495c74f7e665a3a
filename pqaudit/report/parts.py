"""A file of findings in parts that end with lines, for the database to take apart; read once, from its beginning."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pqaudit.finding.document import Document
from pqaudit.finding.json_text import Octets
from pqaudit.finding.reading import LONGEST_LINE, TOO_LONG
from pqaudit.report.case_key import dump
from pqaudit.report.store import Store

# Lines that are given to the database at once; more takes more memory, and less more time.
PART = 16 * 1024 * 1024
_LONGEST_HEAD = 256 * 1024 * 1024
_HEAD_ENDS = b'"findings":[\n'
_COMMA = "the run document has no comma where one must be, or one where none may be"

Take = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of a file.

    Attributes:
        first: number of the first of them.
        wrong: lines that were passed over, and why.
    """

    lines: bytes
    first: int
    wrong: tuple[tuple[int, str], ...] = ()

    def add_to(self, store: Store, before: int) -> list[tuple[int, str]]:
        """Add the findings to a store; what is wrong with which lines.

        Args:
            before: findings get the number of their line after this.
        """
        wrong = dict(self.wrong)
        try:
            text = self.lines.decode("utf-8")
        except UnicodeDecodeError:
            whole = self.lines.split(b"\n")
            bad = [(before + n, line) for n, line in enumerate(whole, self.first) if not _is_text(line)]
            text = b"\n".join(line if _is_text(line) else b"" for line in whole).decode()
            wrong.update((number - before, message) for number, message in store.add_octets(bad))
        found = store.add_lines(text, before + self.first - 1)
        wrong.update((number - before, message) for number, message in found)
        return sorted(wrong.items())


def _is_text(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def parts_of_lines(source: Octets, begun: bytes, first: int = 1, longest: int | None = None) -> Iterator[Part]:
    """A file with a finding in each line."""
    longest = longest or LONGEST_LINE
    while octets := begun + source.read(PART):
        begun = b""
        wrong: tuple[tuple[int, str], ...] = ()
        if not octets.endswith(b"\n"):
            start = octets.rfind(b"\n") + 1
            octets += source.readline(longest - (len(octets) - start))
            if not octets.endswith(b"\n") and len(octets) - start >= longest:
                octets = octets[:start]
                wrong = ((first + octets.count(b"\n"), TOO_LONG),)
                while (rest := source.readline(1 << 20)) and not rest.endswith(b"\n"):
                    pass
        yield Part(octets.removesuffix(b"\n"), first, wrong)
        first += octets.count(b"\n") + len(wrong)


def parts_of_findings(findings: Iterable[Document]) -> Iterator[Part]:
    """Findings as lines that say the same; what nobody reads here is left out."""
    lines: list[str] = []
    size, first = 0, 1
    for finding in findings:
        own: dict[str, Any] = finding["pqaudit"]
        lines.append(dump({**finding, "pqaudit": {name: own[name] for name in own if name != "record"}}))
        size += len(lines[-1])
        if size >= PART:
            yield Part("\n".join(lines).encode(), first)
            first += len(lines)
            lines, size = [], 0
    if lines:
        yield Part("\n".join(lines).encode(), first)


class RunParts:
    """A run document as pqaudit lays it out, with a finding in each line between a head and a tail of one line.

    Any other layout, and what follows the document, is for ``pqaudit.finding.run_document``.

    Args:
        begun: the first line, or its beginning.
        take: takes names and values of head and tail.

    Attributes:
        head: the first line.
        fits: the head is laid out so; else nothing but it was read.
        rest: what was read of what follows the document.
        ended: the tail was found.
        line: the last that was read.
    """

    def __init__(self, source: Octets, begun: bytes, take: Take) -> None:
        self._source = source
        self._take = take
        self.head = begun if begun.endswith(b"\n") else begun + source.readline(_LONGEST_HEAD)
        self.rest = b""
        self.ended = False
        self.line = 1
        fields = _without_findings(self.head + b"]}") if self.head.endswith(_HEAD_ENDS) else None
        self.fits = fields is not None
        self._give(fields)

    def __iter__(self) -> Iterator[Part]:
        before: Part | None = None  # whether its last line is the last of all shows in what follows
        for part in parts_of_lines(self._source, b"", 2, _LONGEST_HEAD):
            lines = part.lines + b"\n"
            ends = lines.startswith(b"]")
            if before is not None:
                yield _without_commas(before, ends)
                before = None
            end = lines.find(b"\n]") + 1
            if not ends and not end:
                before = part
                self.line = part.first + lines.count(b"\n")
                continue
            end = 0 if ends else end
            self.line = part.first + lines.count(b"\n", 0, end)
            if end:
                yield _without_commas(replace(part, lines=lines[: end - 1]), True)
            self._finish(lines[end:])
            return
        if before is not None:
            yield _without_commas(before, None)

    def _finish(self, octets: bytes) -> None:
        tail, _, self.rest = octets.partition(b"\n")
        fields = _without_findings(b'{"findings":[' + tail)
        self.ended = fields is not None
        self._give(fields)

    def _give(self, fields: dict[str, object] | None) -> None:
        for name, value in (fields or {}).items():
            if name != "findings":
                self._take(name, value)


def _without_commas(part: Part, last: bool | None) -> Part:
    """Lines that each end with a comma, without it.

    Args:
        last: the last line is the last of all, which has none; None where that cannot be told.
    """
    lines = part.lines + b"\n"
    wrong = part.wrong
    if lines.count(b",\n") != lines.count(b"\n") - bool(last):
        *others, end = (line.endswith(b",") for line in part.lines.split(b"\n"))
        right = [*others, True if last is None else end != last]
        if False in right:
            wrong += ((part.first + right.index(False), _COMMA),)
    return Part(lines.replace(b",\n", b"\n")[:-1], part.first, wrong)


def _without_findings(octets: bytes) -> dict[str, object] | None:
    """The object in a text that has no findings in it, None where there is none."""
    try:
        found = json.loads(octets.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("findings") == [] else None
