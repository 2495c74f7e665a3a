"""Finding the captures that the arguments of a command line mean."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from pqaudit.capture.faults import InputFault
from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import STANDARD_INPUT, RawOctets, cannot_open, opened
from pqaudit.capture.reader import identify

# Octets of a file in a directory that are looked at.
_START = 4096

_Report = Callable[[str, InputFault], None]


def find_captures(
    paths: Iterable[str], note: Callable[[InputNote], None], known: Callable[[str], bool] = lambda path: False
) -> list[str]:
    """The inputs that ``paths`` mean, for ``read_capture``: files as named, and the captures inside directories.

    A named file is taken whatever it holds. Directories are searched with all below them, in the order of names, and
    files there count when their content starts as a capture does, compressed or not; the others are counted in one note
    for each directory named. A file that is reached twice, by whatever names, is given once. What is missing or cannot
    be opened, and a directory without captures, give a fatal note. What is ``known`` to be a capture is not opened.
    """
    found: list[str] = []
    seen: set[str] = set()

    def add(path: str) -> None:
        real = path if path == STANDARD_INPUT else os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            found.append(path)

    def report(path: str, fault: InputFault) -> None:
        note(InputNote(path, None, fault.kind, fault.message, fault.fatal))

    for path in paths:
        if path == STANDARD_INPUT:
            add(path)
            continue
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            report(path, cannot_open(error))
            continue
        if stat.S_ISDIR(mode):
            _search(path, add, report, known)
        # Opening a named pipe here would take its writer away from the reader that comes later.
        elif not stat.S_ISREG(mode) or known(path) or _is_readable(path, report):
            add(path)
    return found


def _search(directory: str, add: Callable[[str], None], report: _Report, known: Callable[[str], bool]) -> None:
    captures = others = 0
    for path in _files_below(directory, report):
        match known(path) or _holds_capture(path, report):
            case True:
                add(path)
                captures += 1
            case False:
                others += 1
    if others:
        report(directory, InputFault("skipped-files", f"Files in it that are not captures: {others}.", fatal=False))
    if not captures:
        report(directory, InputFault("no-captures", "There is no capture in this directory."))


def _files_below(directory: str, report: _Report) -> Iterator[str]:
    """The regular files in ``directory`` and below, sorted by path within each directory.

    Symbolic links are followed, and a directory is entered once, so that a loop of links ends.
    """
    entered: set[str] = set()
    # A stack and not recursion: directories may be nested deeper than Python calls.
    waiting = [directory]
    while waiting:
        path = waiting.pop()
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISREG(mode):
                yield path
            if not stat.S_ISDIR(mode):
                continue
            real = os.path.realpath(path)
            if real in entered:
                continue
            entered.add(real)
            names = sorted(os.listdir(path), reverse=True)
        except FileNotFoundError:
            # A link to nowhere, or a file that a rotating recorder has just deleted.
            continue
        except OSError as error:
            report(path, cannot_open(error))
            continue
        waiting.extend(os.path.join(path, name) for name in names)


def is_capture(path: str) -> bool:
    """Whether a regular file starts as a capture does, compressed or not."""
    return os.path.isfile(path) and _holds_capture(path, lambda path, fault: None) is True


def _holds_capture(path: str, report: _Report) -> bool | None:
    """True when the file starts as a capture does, None when that cannot be known, which is reported."""
    try:
        with opened(path, None) as file:
            identify(RawOctets(file), _START)
    except InputFault as fault:
        if fault.kind in ("missing-library", "nested-compression"):
            # Perhaps a capture. The reader meets the same fault and says what to do about it.
            return True
        if fault.kind in ("unreadable", "read-error"):
            report(path, fault)
            return None
        return False
    return True


def _is_readable(path: str, report: _Report) -> bool:
    try:
        with opened(path, None):
            return True
    except InputFault as fault:
        report(path, fault)
        return False
