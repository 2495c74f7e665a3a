"""The journal of an archive: what reading its captures gave, by content, in a file that outlives the process.

A capture is written in one transaction, so a run that is stopped at any moment leaves whole captures only.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from pqaudit.archive.packing import PackedCapture
from pqaudit.durable import LaterFileError, give_room_back, open_database, transaction
from pqaudit.sa.record import LaterRecordError

_SCHEMA: Final = 1
_APPLICATION: Final = 0x70714A31  # tells a journal from other SQLite files
_BUSY_SECONDS: Final = 1.0
_NAMED_SECONDS: Final = 86_400.0  # how exactly it is kept when an input was last named
_CLOSED: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_OCTETS: Final = 100
_APPLICATION_AT: Final = 68  # https://www.sqlite.org/fileformat.html, "Application ID"

# The index has all that the order of SAs is found by, so that evidence is read only when it is used.
_TABLES = """
CREATE TABLE IF NOT EXISTS contents (
    id INTEGER PRIMARY KEY, sha256 TEXT, settings TEXT NOT NULL, recognised INTEGER NOT NULL, about BLOB NOT NULL,
    UNIQUE (sha256, settings)
);
CREATE TABLE IF NOT EXISTS inputs (
    place BLOB PRIMARY KEY, name BLOB NOT NULL, stamp TEXT, content INTEGER NOT NULL, named REAL NOT NULL,
    told INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inputs_by_content ON inputs (content);
CREATE INDEX IF NOT EXISTS inputs_by_stamp ON inputs (stamp);
CREATE TABLE IF NOT EXISTS groups (
    id INTEGER PRIMARY KEY, content INTEGER NOT NULL, version INTEGER NOT NULL, spi BLOB NOT NULL, time TEXT NOT NULL,
    frame INTEGER NOT NULL, lineage INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS told_groups (id INTEGER PRIMARY KEY);
CREATE INDEX IF NOT EXISTS groups_by_content ON groups (content, version, spi, time, frame, lineage);
"""


class JournalError(Exception):
    """The journal cannot be used: one sentence."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows of an input.

    Attributes:
        stamp: of the input when it was read.
        content: number of what it held.
        settings: how that was read.
        recognised: its first octets are those of a capture.
        told: a run that tells what changed has told what it shows.
    """

    stamp: str | None
    content: int
    settings: str
    recognised: bool
    told: bool


class Naming(NamedTuple):
    """An input that a run names: its place, its name, its stamp, its content in the journal, whether that was told."""

    place: str
    name: str
    stamp: str
    content: int
    told: bool


class Journal:
    """A file of what was read, used by one run at a time. A context manager.

    Args:
        path: made when missing; its folder is not.

    Attributes:
        damaged: where a damaged journal was set aside, or None.
        database: for the view of a run; tables beside its temporary ones change here only.

    Raises:
        JournalError: it cannot be made, is in use, is no journal, or belongs to a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            _check(path)
            self.database, self.damaged = open_database(
                path,
                _TABLES,
                _SCHEMA,
                probe="contents",
                busy=_BUSY_SECONDS,
                new=("auto_vacuum = INCREMENTAL", f"application_id = {_APPLICATION}"),
                # One run at a time. A power cut may cost the last captures, never half a capture.
                always=("locking_mode = EXCLUSIVE", "synchronous = NORMAL", "secure_delete = FAST"),
            )
            with transaction(self.database):
                self._forget_unfinished()
            self._files = {(each.st_dev, each.st_ino) for each in map(Path.stat, filter(Path.exists, files_of(path)))}
        except OSError as error:
            raise JournalError(f"the journal {path} cannot be used: {error.strerror}") from error
        except LaterFileError as error:
            raise JournalError(f"the journal {path} was made by a later pqaudit; use that, or another file") from error
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def failed(self, error: Exception) -> JournalError:
        """The sentence for an error met while the journal is used."""
        if isinstance(error.__cause__, LaterRecordError):
            return JournalError(f"the journal {self.path} holds what a later pqaudit read; use that, or another file")
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return JournalError(f"the journal {self.path} is in use by another run; wait for it, or name another file")
        if code is not None and code & 0xFF in _CLOSED:
            return JournalError(
                f"the journal {self.path} cannot be written to; it needs a file, and a folder, that this user may "
                "write to"
            )
        if isinstance(error, sqlite3.OperationalError):
            return JournalError(
                f"the journal {self.path} cannot be used: {error}; what was read before is kept, and the same command "
                "goes on from there"
            )
        return JournalError(f"the journal {self.path} is damaged ({error}); move it away, and all is read anew")

    def owns(self, path: str) -> bool:
        """True when a local file is one of those in which the journal is, under any name; raises nothing.

        Such a file must not be opened in this process: closing it again would take SQLite's locks away from it
        (https://www.sqlite.org/howtocorrupt.html, 2.2).
        """
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            return False
        return (found.st_dev, found.st_ino) in self._files

    # -- reading -------------------------------------------------------------------------------------------------

    def known(self, place: str) -> Known | None:
        """What is known of the input at ``place``, or None."""
        return self._known("place = ?", os.fsencode(place))

    def moved(self, stamp: str, settings: str) -> Known | None:
        """What is known of an input with this stamp, wherever it lay, or None."""
        return self._known("stamp = ? AND settings = ?", stamp, settings)

    def _known(self, condition: str, *values: object) -> Known | None:
        with self._errors_told():
            row = self.database.execute(
                "SELECT stamp, content, settings, recognised, told FROM inputs JOIN contents ON contents.id = content "
                f"WHERE {condition}",
                values,
            ).fetchone()
        return None if row is None else Known(row[0], row[1], row[2], bool(row[3]), bool(row[4]))

    # -- writing -------------------------------------------------------------------------------------------------

    def record(
        self, place: str, name: str, stamp: str | None, settings: str, packed: PackedCapture
    ) -> tuple[int, bool]:
        """Keep what was read, all or nothing of it; gives the number of its content, and whether that was told.

        What is not finished is kept for this run alone, and does not replace what was known of the input.

        Raises:
            JournalError: it could not be written, a full disk for one.
        """
        told = False
        with self._errors_told(), transaction(self.database):
            content = self._content(settings, packed)
            if packed.sha256 is not None:
                before = self.database.execute(
                    "SELECT content, told FROM inputs WHERE place = ?", (os.fsencode(place),)
                ).fetchone()
                told = before is not None and before == (content, 1)
                self._put(place, name, stamp, content, told)
                if before is not None and before[0] != content:
                    self._keep_told(before[0], content, told=bool(before[1]))
                    self._forget_unused(before[0])
        return content, told

    def _keep_told(self, before: int, content: int, *, told: bool) -> None:
        """Of a capture that grew, what it showed before and shows unchanged was told if it was before."""
        # The order of the index; a cross join keeps SQLite to this one.
        self.database.execute(
            "INSERT OR IGNORE INTO told_groups SELECT new.id FROM groups AS new CROSS JOIN groups AS old ON "
            "old.content = ? AND old.version = new.version AND old.spi = new.spi AND old.body = new.body "
            "WHERE new.content = ? AND (? OR old.id IN told_groups)",
            (before, content, told),
        )

    def _content(self, settings: str, packed: PackedCapture) -> int:
        database = self.database
        if packed.sha256 is not None:
            row = database.execute(
                "SELECT id FROM contents WHERE sha256 = ? AND settings = ?", (packed.sha256, settings)
            ).fetchone()
            if row is not None:
                return int(row[0])
        content = database.execute(
            "INSERT INTO contents (sha256, settings, recognised, about) VALUES (?, ?, ?, ?)",
            (packed.sha256, settings, packed.recognised, packed.about),
        ).lastrowid
        assert content is not None
        database.executemany(
            "INSERT INTO groups (content, version, spi, time, frame, lineage, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((content, *group) for group in packed.groups),
        )
        return content

    def name(self, inputs: Iterable[Naming]) -> None:
        """Note that this run named inputs that are known, under whatever name they were read."""
        now = time.time()
        with self._errors_told(), transaction(self.database):
            replaced: set[int] = set()
            for place, name, stamp, content, told in inputs:
                row = self.database.execute(
                    "SELECT content, name, named FROM inputs WHERE place = ?", (os.fsencode(place),)
                ).fetchone()
                # Not every row is written in every run: there may be very many.
                if row is None or row[:2] != (content, os.fsencode(name)) or not 0 <= now - row[2] < _NAMED_SECONDS:
                    self._put(place, name, stamp, content, told)
                if row is not None and row[0] != content:
                    replaced.add(row[0])
            for content in replaced:
                self._forget_unused(content)

    def _put(self, place: str, name: str, stamp: str | None, content: int, told: bool) -> None:
        self.database.execute(
            "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?, ?)",
            (os.fsencode(place), os.fsencode(name), stamp, content, time.time(), told),
        )

    def forget(self, seconds: float) -> int:
        """Forget inputs that no run has named for so long; gives how many."""
        with self._errors_told(), transaction(self.database):
            gone = self.database.execute("DELETE FROM inputs WHERE named < ?", (time.time() - seconds,)).rowcount
            if gone:
                self._forget_unused()
        return gone

    def _forget_unused(self, content: int | None = None) -> None:
        """Forget a content, or all, that no input has."""
        unused = "SELECT id FROM contents WHERE NOT EXISTS (SELECT 1 FROM inputs WHERE content = contents.id)"
        if content is not None:
            unused += f" AND id = {int(content)}"
        self._forget(unused)

    def _forget_unfinished(self) -> None:
        self._forget("SELECT id FROM contents WHERE sha256 IS NULL")

    def _forget(self, contents: str) -> None:
        gone = f"SELECT id FROM groups WHERE content IN ({contents})"
        self.database.execute(f"DELETE FROM told_groups WHERE id IN ({gone})")
        self.database.execute(f"DELETE FROM groups WHERE content IN ({contents})")
        self.database.execute(f"DELETE FROM contents WHERE id IN ({contents})")

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self.failed(error) from error

    def close(self) -> None:
        """Forget what was not finished, give room back to the disk, and close."""
        with contextlib.suppress(sqlite3.Error):
            with transaction(self.database):
                self._forget_unfinished()
            give_room_back(self.database)
        self.database.close()


def files_of(path: Path) -> list[Path]:
    """The files of the journal at ``path``, some of which may not be there."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]


def _check(path: Path) -> None:
    """Take nothing for a journal that is none: it would be set aside as damaged, or written to."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent
        if not folder.is_dir():
            raise JournalError(
                f"the journal {path} cannot be made: there is no folder {folder}; make it first"
            ) from None
        return
    # SQLite would put a file in the place of a device, and opening a pipe would wait for ever.
    if not stat.S_ISREG(mode):
        raise JournalError(f"{path} is no regular file; name another one for the journal")
    with path.open("rb") as file:
        header = file.read(_HEADER_OCTETS)
    if not header:  # maybe another run is just making it
        return
    if path.with_name(path.name + "-journal").exists():  # killed while it was made: SQLite puts it right
        return
    application = int.from_bytes(header[_APPLICATION_AT : _APPLICATION_AT + 4], "big")
    if not header.startswith(_MAGIC) or application != _APPLICATION:
        raise JournalError(f"{path} is no journal of pqaudit; name another file, or move it away")
