"""SQLite files that hold what must outlive the process, whole after it or the machine dies at any moment."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path


class LaterFileError(Exception):
    """The file was made by a later version of pqaudit."""


def open_database(
    path: Path,
    tables: str,
    schema: int,
    *,
    probe: str,
    busy: float,
    new: Sequence[str] = (),
    always: Sequence[str] = (),
    any_thread: bool = False,
) -> tuple[sqlite3.Connection, Path | None]:
    """Open a file in write-ahead mode, made when missing, for its owner only.

    One that is damaged or no database is set aside, never deleted, and a new one made: the second of the answer is
    where it is then.

    Args:
        path: the file.
        tables: statements that make what is missing in it.
        schema: its version.
        probe: a table that is read through, so that damage shows now.
        busy: seconds to wait for another process.
        new: pragmas for a file that is made.
        always: pragmas for every connection.
        any_thread: threads other than this one may use it, one at a time.

    Raises:
        LaterFileError: its version is not ours.
        sqlite3.Error, OSError: it cannot be made or used.
    """

    def opened() -> sqlite3.Connection:
        is_new = not path.exists() or not path.stat().st_size  # empty: made by mktemp, or by a run that was killed
        database = sqlite3.connect(path, timeout=busy, isolation_level=None, check_same_thread=not any_thread)
        try:
            if is_new:
                path.chmod(0o600)
            for pragma in (*(new if is_new else ()), "journal_mode = WAL", *always):
                database.execute(f"PRAGMA {pragma}")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, schema):
                raise LaterFileError
            database.executescript(f"BEGIN IMMEDIATE; {tables} PRAGMA user_version = {schema}; COMMIT;")
            database.execute(f"SELECT count(*) FROM {probe}").fetchone()
        except BaseException:
            database.close()
            raise
        return database

    try:
        return opened(), None
    except sqlite3.OperationalError:
        raise  # a disk that is full or a folder that may not be written to is no damage
    except sqlite3.DatabaseError:
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    return opened(), aside


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All that is done inside, or nothing of it.

    Raises:
        sqlite3.Error: it could not be written, a full disk for one.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def give_room_back(database: sqlite3.Connection) -> None:
    """Make a file smaller that was made with ``auto_vacuum = INCREMENTAL``, and empty its log.

    Raises:
        sqlite3.Error: another process uses it, or there is no room to do it.
    """
    database.executescript("PRAGMA incremental_vacuum")  # ``execute`` gives back a single page
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
