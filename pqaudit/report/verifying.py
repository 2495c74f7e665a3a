"""Whether files are those of a manifest. Nothing is opened outside the folders that the user gives, whatever it says.

A name is looked for part by part below such a folder. No link is followed, and nothing but a plain file is read, no
further than its size in the manifest.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from pqaudit.report.manifest import ListedFile

_CHUNK = 1 << 20
_MOST_PARTS = 64


class Outcome(StrEnum):
    """Of a check. ``not-checked`` says nothing of a file, good or bad."""

    OK = "ok"
    CHANGED = "changed"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True, slots=True)
class Check:
    """What came of a check.

    Attributes:
        kind, name: of the file, as the manifest has them.
        detail: what differs or why it was not checked, a short clause; empty where all is right.
    """

    kind: str
    name: str
    outcome: Outcome
    detail: str = ""


def check_report(file: ListedFile, folder: Path, progress: Callable[[int], None] | None = None) -> Check:
    """Check a file of the report, which stands beside the manifest."""
    return _checked(file, [_look(file, folder, (file.name,), progress)], "it is not beside the manifest")


def check_elsewhere(
    file: ListedFile, folders: Sequence[Path], option: str, progress: Callable[[int], None] | None = None
) -> Check:
    """Check an input or a capture in folders, of whose name the last parts must stand there.

    Args:
        option: that gives such folders.
    """
    if file.sha256 is None or file.octets is None:
        return Check(file.kind, file.name, Outcome.NOT_CHECKED, "the manifest has no hash of it")
    if not folders:
        return Check(file.kind, file.name, Outcome.NOT_CHECKED, f"no folder was given with {option}")
    tails = list(_tails(file.name))
    found = (_look(file, folder, tail, progress) for folder in folders for tail in tails)
    return _checked(file, found, f"it is not in a folder of {option}")


def read_beside(folder: Path, name: str, most: int) -> bytes:
    """A small file in a folder.

    Raises:
        OSError: there is none, it is a link or no plain file, or it has more octets.
    """
    descriptor = _opened(folder, (name,))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise OSError(f"it is no plain file of at most {most:,} octets")
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def _checked(file: ListedFile, found: Iterator[Check | None] | list[Check | None], missing: str) -> Check:
    """The first that is right, else the first that is there."""
    there: Check | None = None
    for check in found:
        if check is not None and check.outcome is Outcome.OK:
            return check
        there = there or check
    return there or Check(file.kind, file.name, Outcome.MISSING, missing)


def _tails(name: str) -> Iterator[tuple[str, ...]]:
    """The last parts of a path, the longest first; none of a name that leads upwards."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    for start in range(max(0, len(parts) - _MOST_PARTS), len(parts)):
        yield tuple(parts[start:])


def _look(
    file: ListedFile, folder: Path, parts: tuple[str, ...], progress: Callable[[int], None] | None
) -> Check | None:
    """Compare a file with what the manifest says of it; None where there is none."""

    def said(outcome: Outcome, detail: str = "") -> Check:
        return Check(file.kind, file.name, outcome, detail)

    try:
        descriptor = _opened(folder, parts)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for what no file name can hold
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        # What O_NOFOLLOW says of a link.
        reason = "it is a link, and none is followed" if error.errno == errno.ELOOP else error.strerror or str(error)
        return said(Outcome.UNREADABLE, reason)
    try:
        return _compared(file, descriptor, progress)
    except OSError as error:
        return said(Outcome.UNREADABLE, error.strerror or str(error))
    finally:
        os.close(descriptor)


def _compared(file: ListedFile, descriptor: int, progress: Callable[[int], None] | None) -> Check:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return Check(file.kind, file.name, Outcome.UNREADABLE, "it is no plain file")
    if status.st_size != file.octets:
        detail = f"it has {status.st_size:,} octets and not {file.octets:,}"
        return Check(file.kind, file.name, Outcome.CHANGED, detail)
    digest = sha256()
    left = status.st_size
    while left and (octets := os.read(descriptor, min(_CHUNK, left))):
        digest.update(octets)
        left -= len(octets)
        if progress is not None:
            progress(len(octets))
    if digest.hexdigest() != file.sha256:
        return Check(file.kind, file.name, Outcome.CHANGED, "its SHA-256 is another one")
    return Check(file.kind, file.name, Outcome.OK)


def _opened(folder: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of what has this name below the folder; every step is one that no link leads away from."""
    # A pipe must not keep us waiting; of a plain file it changes nothing.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for place, part in enumerate(parts, 1):
        try:
            found = os.open(part, flags | (os.O_DIRECTORY if place < len(parts) else 0), dir_fd=at)
        finally:
            os.close(at)
        at = found
    return at
