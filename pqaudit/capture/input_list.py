"""Inputs named by a listing file, one in each line, as ``find`` or an inventory of an object store writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from pqaudit.capture.faults import InputFault
from pqaudit.capture.magic import MAGIC_LENGTH, recognise
from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import STANDARD_INPUT, RawOctets, opened
from pqaudit.capture.shown import shown_name

MOST_ENTRIES = 1_000_000
MOST_ENTRY_OCTETS = 8192
MOST_OCTETS = 256 * 1024 * 1024
_PIECE = 1 << 16
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MARK = b"\xef\xbb\xbf"


def read_list(source: str, note: Callable[[InputNote], None], *, null: bool = False) -> list[str]:
    """The paths, URLs and patterns in a listing file, which may be a path, a URL, or ``-`` for the standard input.

    Entries end with a line end, or with NUL when ``null`` is set or the beginning of the file holds one. Blank lines
    and lines that begin with ``#`` are passed over; with NUL only empty entries are. What cannot be taken gives a fatal
    note, with how many there are: entries that are too long, lines with control characters, more than a list may hold.
    """
    entries: list[str] = []
    long = strange = 0

    def say(kind: str, message: str) -> None:
        note(InputNote(shown_name(source), None, kind, message, True))

    try:
        for entry, nulls in _entries(source, null):
            if entry is None:
                long += 1
            elif not entry or (not nulls and (entry.isspace() or entry.startswith(b"#"))):
                continue
            elif not nulls and _CONTROL.search(entry):
                strange += 1
            elif len(entries) == MOST_ENTRIES:
                say("list-too-long", f"It names more than {MOST_ENTRIES:,} inputs; the rest of it was not read.")
                break
            else:
                text = os.fsdecode(entry)
                # Only as an argument is it the standard input.
                entries.append(os.path.join(os.curdir, text) if text == STANDARD_INPUT else text)
    except InputFault as fault:
        note(InputNote(shown_name(source), None, fault.kind, fault.message, fault.fatal))
    if long:
        say("list-entry-too-long", f"Entries of more than {MOST_ENTRY_OCTETS:,} octets were left out: {long:,}.")
    if strange:
        text = (
            f"Lines with control characters were left out: {strange:,}. Is it a list? Such names need NUL between them."
        )
        say("list-entry-strange", text)
    return entries


def _entries(source: str, null: bool) -> Iterator[tuple[bytes | None, bool]]:
    """Each entry, None for one that is too long, with whether NUL ends entries. Raises InputFault."""
    with opened(source, None) as stream:
        octets = RawOctets(stream)
        target = bytearray(_PIECE)
        rest: bytes | None = b""
        taken = 0
        separator = b"\0" if null else b""
        while count := octets.readinto(memoryview(target)):
            piece = bytes(target[:count])
            if not taken:
                if len(piece) >= MAGIC_LENGTH and recognise(piece[:MAGIC_LENGTH]) is not None:
                    raise InputFault("not-a-list", "It is a capture or compressed, no list of inputs.")
                piece = piece.removeprefix(_MARK)
                separator = separator or (b"\0" if b"\0" in piece else b"\n")
            taken += count
            if taken > MOST_OCTETS:
                raise InputFault("list-too-long", f"It has more than {MOST_OCTETS:,} octets; the rest was not read.")
            first, *others = piece.split(separator)
            # None while inside an entry that is too long already.
            rest = None if rest is None or len(rest) + len(first) > MOST_ENTRY_OCTETS else rest + first
            for other in others:
                yield _ended(rest, separator)
                rest = other if len(other) <= MOST_ENTRY_OCTETS else None
        if rest != b"":
            yield _ended(rest, separator)


def _ended(entry: bytes | None, separator: bytes) -> tuple[bytes | None, bool]:
    nulls = separator == b"\0"
    return (entry if entry is None or nulls else entry.removesuffix(b"\r")), nulls
