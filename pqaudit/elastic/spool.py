"""A durable queue of findings on disk, between finding and delivering them.

SQLite in write-ahead mode keeps it whole when the process or the machine dies at any moment. A finding counts as found
only when its transaction is on disk, and leaves only when the server has confirmed it. Sending one twice is harmless,
so losing the very last confirmation costs nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from pqaudit.durable import LaterFileError, give_room_back, open_database, transaction
from pqaudit.elastic.bulk import body_of
from pqaudit.elastic.indices import index_of
from pqaudit.finding.document import Document

FILE_NAME = "spool.sqlite3"
DEFAULT_OCTETS = 2 << 30
DEFAULT_AGE = 30 * 86_400.0
_BUSY_SECONDS = 60.0
_DROPPED_AT_ONCE = 64
_SCHEMA = 1
_PAGE = 16 << 10  # octets; several findings fit, and SQLite checkpoints by the number of pages

ADDED = "added"
DELIVERED = "delivered"
REJECTED = "rejected"
DROPPED_BY_SIZE = "dropped-by-size"
DROPPED_BY_AGE = "dropped-by-age"

_TABLES = """
CREATE TABLE IF NOT EXISTS queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, home TEXT NOT NULL, added REAL NOT NULL,
    octets INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_age ON queue (added);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class SpoolError(Exception):
    """The spool cannot be used: one sentence."""


class Entry(NamedTuple):
    """One queued finding: its place, its ``event.id``, the index it belongs in, and its JSON without a line end."""

    seq: int
    id: str
    home: str
    body: bytes


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What a spool holds. ``counters`` go on over restarts; ``oldest`` is seconds since the epoch or None."""

    findings: int
    octets: int
    oldest: float | None
    destination: str | None
    counters: dict[str, int]


class Spool:
    """Findings waiting for delivery; several threads and processes may use one folder at once.

    Args:
        folder: made when missing, readable by its owner only: findings name peers.
        most_octets: JSON octets that may wait; beyond it the oldest are dropped and counted.
        most_age: seconds after which a waiting finding is dropped and counted.

    Raises:
        SpoolError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, *, most_octets: int = DEFAULT_OCTETS, most_age: float = DEFAULT_AGE) -> None:
        self.folder = folder
        self._most_octets = most_octets
        self._most_age = most_age
        self._lock = Lock()  # one connection serves all threads, one at a time
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database, self.damaged = open_database(
                folder / FILE_NAME,
                _TABLES,
                _SCHEMA,
                probe="queue",
                busy=_BUSY_SECONDS,
                new=("auto_vacuum = INCREMENTAL", f"page_size = {_PAGE}"),
                # Some builds write every finding once more, as zeros, when it is taken out.
                always=("secure_delete = FAST",),
                any_thread=True,
            )
        except OSError as error:
            raise SpoolError(
                f"the spool {folder} cannot be made: {error.strerror}; choose another with --spool"
            ) from error
        except LaterFileError as error:
            raise SpoolError(f"the spool {folder} was made by a later pqaudit; use that, or another --spool") from error
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> SpoolError:
        return SpoolError(f"the spool {self.folder} cannot be used: {error}")

    # -- writing -------------------------------------------------------------------------------------------------

    def add(self, findings: Iterable[Document]) -> int:
        """Put findings on disk, all or none; gives how many older ones were dropped to keep to the bounds.

        Raises:
            SpoolError: they could not be written, a full disk for one.
            ValueError: one has no usable time.
        """
        now = time.time()
        rows = []
        for finding in findings:
            body = body_of(finding)
            rows.append((finding["event"]["id"], index_of(finding), now, len(body), body))
        with self._lock, self._transaction():
            self._database.executemany("INSERT INTO queue (id, home, added, octets, body) VALUES (?, ?, ?, ?, ?)", rows)
            self._count(ADDED, len(rows))
            self._count(_OCTETS, sum(row[3] for row in rows))
            return self._bound(now)

    def done(self, entries: Sequence[Entry], outcome: str = DELIVERED) -> None:
        """Take out findings that were delivered, or given up as ``outcome`` names it."""
        # When the machine fails, what was taken out last may be there again, and is then delivered once more.
        with self._lock, self._transaction(synced=False):
            gone = self._database.executemany(
                "DELETE FROM queue WHERE seq = ?", [(entry.seq,) for entry in entries]
            ).rowcount
            self._count(outcome, gone)
            self._recount_octets(entries, gone)

    def expire(self) -> int:
        """Drop what has waited too long; gives how many."""
        with self._lock, self._transaction():
            return self._bound(time.time())

    def _bound(self, now: float) -> int:
        dropped = self._drop("added < ?", (now - self._most_age,), DROPPED_BY_AGE)
        while self._value(_OCTETS) > self._most_octets:
            oldest = "seq IN (SELECT seq FROM queue ORDER BY seq LIMIT ?)"
            gone = self._drop(oldest, (_DROPPED_AT_ONCE,), DROPPED_BY_SIZE)
            if not gone:
                break
            dropped += gone
        return dropped

    def _drop(self, condition: str, values: tuple[float, ...], counter: str) -> int:
        where = f"FROM queue WHERE {condition}"
        octets = self._database.execute(f"SELECT coalesce(sum(octets), 0) {where}", values).fetchone()[0]
        gone = self._database.execute(f"DELETE {where}", values).rowcount
        if gone:
            self._count(counter, gone)
            self._count(_OCTETS, -octets)
        return gone

    def _recount_octets(self, entries: Sequence[Entry], gone: int) -> None:
        if gone == len(entries):
            self._count(_OCTETS, -sum(len(entry.body) for entry in entries))
            return
        # Another process took some of them out: ask the database itself.
        octets = self._database.execute("SELECT coalesce(sum(octets), 0) FROM queue").fetchone()[0]
        self._database.execute("INSERT OR REPLACE INTO counters VALUES (?, ?)", (_OCTETS, octets))

    @contextlib.contextmanager
    def _transaction(self, *, synced: bool = True) -> Iterator[None]:
        try:
            # Synced, it reaches the disk before it counts, a power cut included.
            self._database.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            with transaction(self._database):
                yield
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _count(self, name: str, more: int) -> None:
        self._database.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, more),
        )

    def _value(self, name: str) -> int:
        row = self._database.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return 0 if row is None else int(row[0])

    # -- reading -------------------------------------------------------------------------------------------------

    def waiting(self, after: int, most: int, most_octets: int) -> list[Entry]:
        """The oldest findings behind ``after``: at most ``most`` and ``most_octets``, or a single larger one."""
        found: list[Entry] = []
        octets = 0
        with self._lock:
            try:
                rows = self._database.execute(
                    "SELECT seq, id, home, body FROM queue WHERE seq > ? ORDER BY seq LIMIT ?", (after, most)
                )
                for row in rows:
                    entry = Entry(*row)
                    octets += len(entry.body)
                    if found and octets > most_octets:
                        break
                    found.append(entry)
            except sqlite3.Error as error:
                raise self._failed(error) from error
        return found

    @property
    def destination(self) -> str | None:
        """URL that the waiting findings are meant for, or None while none was named."""
        with self._lock:
            row = self._database.execute("SELECT value FROM notes WHERE name = 'destination'").fetchone()
        return None if row is None else str(row[0])

    @destination.setter
    def destination(self, url: str) -> None:
        with self._lock, self._transaction():
            self._database.execute("INSERT OR REPLACE INTO notes VALUES ('destination', ?)", (url,))

    def state(self) -> SpoolState:
        """What waits here, and the counters."""
        destination = self.destination
        with self._lock:
            findings, oldest = self._database.execute("SELECT count(*), min(added) FROM queue").fetchone()
            counters = dict(self._database.execute("SELECT name, value FROM counters"))
        octets = counters.pop(_OCTETS, 0)
        return SpoolState(findings, octets, oldest, destination, counters)

    def fullness(self) -> float:
        """Share of the bound on size that is in use."""
        with self._lock:
            return self._value(_OCTETS) / self._most_octets

    def __len__(self) -> int:
        with self._lock:
            return int(self._database.execute("SELECT count(*) FROM queue").fetchone()[0])

    def close(self) -> None:
        """Give room back to the disk and close."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            give_room_back(self._database)
        self._database.close()


_OCTETS = "octets"


def default_folder() -> Path:
    """Where the spool lies unless told otherwise (XDG base directories: state that outlives a run)."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "pqaudit" / "spool"
