"""Findings from files: JSON lines, or the run document of ``audit --format json``; ``-`` is standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain

from pqaudit.finding.document import Document
from pqaudit.finding.json_text import STRICT_JSON, Octets
from pqaudit.finding.run_document import Take, read_run
from pqaudit.finding.shape import finding_fault

LONGEST_LINE = 16 * 1024 * 1024
TOO_LONG = f"longer than {LONGEST_LINE:,} octets"
# What a run document begins with, however it was laid out since; no finding has such a field.
_RUN = re.compile(rb'\s*\{\s*"(?:schema_version|tool|files|findings|counts|anomalies|notes|counters|complete)"\s*:')
_SNIFFED = 4096
_BOM = b"\xef\xbb\xbf"
_END = (b"", True)


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read.

    Attributes:
        source: the file as it was named, or ``-``.
        line: where in it, counted from 1, or None when it is the whole file.
        message: why, in words.
    """

    source: str
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: {self.message}" if self.line else f"{self.source}: {self.message}"


Note = Callable[[Unread], None]


def read_findings(path: str, note: Note) -> Iterator[Document]:
    """Findings of a file one after the other; ``-`` reads standard input.

    What is no finding, a line that was cut off for one, is told to ``note``, and the rest is read. Memory does not
    grow with the file.
    """
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb", buffering=1 << 20) as file:
            yield from findings_in(file, path, note)
    except OSError as error:
        note(Unread(path, None, f"cannot be read: {error.strerror or error}"))


def findings_in(file: Octets, source: str, note: Note, take: Take | None = None) -> Iterator[Document]:
    """Findings of an open file, as ``read_findings``; ``source`` names it in notes.

    Args:
        take: takes what else is in a run document.
    """
    begun = beginning(file)
    if is_run(begun):
        values = read_run(b"".join(begun), file, lambda line, message: note(Unread(source, line, message)), take)
    else:
        values = _values(begun, file, source, note)
    for line, value in values:
        fault = finding_fault(value)
        if fault is None:
            assert isinstance(value, dict)
            yield value
        else:
            note(Unread(source, line, fault))


def beginning(file: Octets) -> list[bytes]:
    """As much of a file as ``is_run`` needs; a byte order mark is left out."""
    begun = [file.readline(_SNIFFED).removeprefix(_BOM)]
    if begun[0].strip() == b"{":  # a document that was laid out anew has its first name in the next line
        begun.append(file.readline(_SNIFFED))
    return begun


def is_run(begun: list[bytes]) -> bool:
    """Whether what begins so is a run document, and no lines with a finding each."""
    return _RUN.match(b"".join(begun)) is not None


def _values(begun: list[bytes], file: Octets, source: str, note: Note) -> Iterator[tuple[int, object]]:
    *before, last = begun
    first = [(octets, True) for octets in before]
    first.append((last, True) if last.endswith(b"\n") else _bounded_line(file, last))
    for number, (octets, whole) in enumerate(chain(first, iter(lambda: _bounded_line(file), _END)), 1):
        try:
            if not whole:
                raise ValueError(TOO_LONG)
            if octets.strip():
                yield number, _value(octets)
        except ValueError as error:
            note(Unread(source, number, str(error)))


def finding_in_line(octets: bytes) -> Document | None:
    """The finding in a line, None in an empty one.

    Raises:
        ValueError: it is none, in words.
    """
    if not octets.strip():
        return None
    value = _value(octets)
    fault = finding_fault(value)
    if fault is not None:
        raise ValueError(fault)
    assert isinstance(value, dict)
    return value


def _value(line: bytes) -> object:
    try:
        value: object = STRICT_JSON.decode(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("no UTF-8 text") from None
    except (ValueError, RecursionError):
        raise ValueError("no JSON; it may be cut off" if line[:1] == b"{" else "no JSON") from None
    return value


def _bounded_line(file: Octets, begun: bytes = b"") -> tuple[bytes, bool]:
    """The next line, and whether it is whole; of one that is too long the beginning, and the rest is passed over."""
    line = begun + file.readline(LONGEST_LINE - len(begun))
    if len(line) < LONGEST_LINE or line.endswith(b"\n"):
        return line, True
    rest = line
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(1 << 20)
    return line, False
