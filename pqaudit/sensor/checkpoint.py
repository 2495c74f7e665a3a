"""What the sensor follows, on disk, so that it goes on where it was after any end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pqaudit.durable import LaterFileError, open_database, transaction
from pqaudit.finding.carried import origin_record, read_origin
from pqaudit.finding.document import Document
from pqaudit.outputs.jsonl import line_of
from pqaudit.sa.bounds import MOST_RESPONDER_SPIS
from pqaudit.sa.group import Group
from pqaudit.sa.lineage import Origin
from pqaudit.sa.record import RecordError, from_record, to_record
from pqaudit.sensor.tracked import Key, Tier, Tracked

if sys.platform != "win32":
    import fcntl

FILE_NAME = "sensor.sqlite3"
_SCHEMA = 1
_BUSY_SECONDS = 30.0
_COMPRESSION = 1  # the quickest: it is done for every SA again and again
_MOST_OCTETS = 64 << 20  # of one body, unpacked

_TABLES = """
CREATE TABLE IF NOT EXISTS followed (
    version INTEGER NOT NULL, spi BLOB NOT NULL, tier INTEGER NOT NULL, last REAL NOT NULL, emitted TEXT NOT NULL,
    body BLOB NOT NULL, PRIMARY KEY (version, spi)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value REAL NOT NULL);
"""


Row = tuple[int, bytes, int, float, str, bytes]


class CheckpointError(Exception):
    """The checkpoint cannot be used: one sentence."""


class Checkpoint:
    """A file of what is followed, changed in transactions: after SIGKILL it holds the state of the last one.

    One process at a time has it.

    Args:
        folder: made when missing.

    Raises:
        CheckpointError: it cannot be made, is in use, or belongs to a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.unreadable = 0
        self._folder = folder
        self._written: list[Document] = []  # of those that wait
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder)
            self._database, self.damaged = open_database(
                folder / FILE_NAME,
                _TABLES,
                _SCHEMA,
                probe="followed",
                busy=_BUSY_SECONDS,
                # Findings are on disk for sure, in the spool; of this the last seconds may be lost in a power cut.
                always=("synchronous = NORMAL",),
            )
            self._file = self._file_number()
        except OSError as error:
            raise CheckpointError(f"the state in {folder} cannot be used: {error.strerror}; see --state") from error
        except LaterFileError as error:
            raise CheckpointError(f"the state in {folder} was made by a later pqaudit; see --state") from error
        except sqlite3.Error as error:
            raise CheckpointError(f"the state in {folder} cannot be used: {error}; see --state") from error

    @property
    def alive_until(self) -> float | None:
        """Second of the wall clock at which the sensor before this one last saved, or None."""
        row = self._database.execute("SELECT value FROM notes WHERE name = 'alive'").fetchone()
        return None if row is None else float(row[0])

    def load(self) -> Iterator[tuple[Key, Tracked]]:
        """All that is followed, without the evidence, the longest silent first.

        A row that is damaged is left out, and counted in ``unreadable``.

        Raises:
            CheckpointError: the file cannot be read to its end.
        """
        try:
            for row in self._database.execute("SELECT version, spi, tier, last, emitted FROM followed ORDER BY last"):
                try:
                    yield _followed(*row)
                except (ValueError, TypeError, AttributeError):
                    self.unreadable += 1
        except sqlite3.Error as error:
            raise CheckpointError(f"the state in {self._folder} cannot be read: {error}; see --state") from error

    def evidence(self, key: Key) -> tuple[Group, dict[bytes, Origin]]:
        """The evidence of one SPI, and what ``Tracked.origins`` held of it.

        A row that is missing or damaged gives none, and is counted in ``unreadable``.
        """
        group = Group(*key)
        try:
            row = self._database.execute("SELECT body FROM followed WHERE version = ? AND spi = ?", key).fetchone()
            if row is None:
                raise RecordError("the row is missing")
            unpacked = zlib.decompressobj().decompress(row[0], _MOST_OCTETS)
            content = json.loads(unpacked)
            _fill(group, content)
            origins = {bytes.fromhex(spi): read_origin(origin) for spi, origin in content.get("origins", {}).items()}
        except (sqlite3.Error, RecordError, zlib.error, ValueError, TypeError, KeyError, AttributeError):
            self.unreadable += 1
            return Group(*key), {}
        return group, origins

    def waiting(self) -> list[Document]:
        """Findings that the sensor before this one had decided and could not tell, oldest first."""
        found = []
        for (body,) in self._database.execute("SELECT body FROM waiting ORDER BY number"):
            try:
                found.append(json.loads(zlib.decompressobj().decompress(body, _MOST_OCTETS)))
            except (zlib.error, ValueError, TypeError):
                self.unreadable += 1
        return found

    def save(
        self, rows: Iterable[Row], ended: Iterable[Key], now: float, waiting: Sequence[Document] | None = None
    ) -> None:
        """Write what changed and forget what ended, in one transaction.

        Args:
            rows: what changed.
            ended: what is followed no longer.
            now: second of the wall clock.
            waiting: findings that are decided and not told: those of the last call, more behind them, or others; None
                for those of the last call.

        Raises:
            sqlite3.Error: it could not be written, a full disk for one; the state before stands.
        """
        database = self._database
        if self._file_number() != self._file:
            # It could be written, and nobody would find it.
            raise sqlite3.OperationalError("its file was deleted or replaced; a restart makes it anew")
        with transaction(database):
            database.executemany("DELETE FROM followed WHERE version = ? AND spi = ?", list(ended))
            database.executemany("INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.execute("INSERT OR REPLACE INTO notes VALUES ('alive', ?)", (now,))
            if waiting is not None:
                self._save_waiting(waiting)
        if waiting is not None:
            self._written = list(waiting)

    def _file_number(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._folder / FILE_NAME)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _save_waiting(self, waiting: Sequence[Document]) -> None:
        written = len(self._written)
        if (
            not written
            or written > len(waiting)
            or any(a is not b for a, b in zip(self._written, waiting, strict=False))
        ):
            self._database.execute("DELETE FROM waiting")
            written = 0
        packed = ((zlib.compress(line_of(finding).encode(), _COMPRESSION),) for finding in waiting[written:])
        self._database.executemany("INSERT INTO waiting (body) VALUES (?)", packed)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()
        os.close(self._lock)


def _locked(folder: Path) -> int:
    """A descriptor that keeps others out for as long as it is open. Raises OSError or CheckpointError."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "there is no live capture on Windows")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CheckpointError(f"another sensor uses the state in {folder}; give each its own --state") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _followed(version: int, spi: bytes, tier: int, last: float, emitted: str) -> tuple[Key, Tracked]:
    tracked = Tracked(None, Tier(tier), float(last))
    tracked.saved = True
    tracked.untold = True  # not known; telling it once more does no harm
    tracked.emitted = {id_: bytes.fromhex(material) for id_, material in json.loads(emitted).items()}
    return (version, bytes(spi)), tracked


def row_of(key: Key, tracked: Tracked, group: Group) -> Row:
    """What is written of one SPI: some 0.1 ms of work."""
    return (*key, int(tracked.tier), tracked.last, _emitted(tracked), _packed(tracked, group))


def _packed(tracked: Tracked, group: Group) -> bytes:
    content: dict[str, Any] = {
        "limited": group.limited,
        "parts": [to_record(part) for part in group.parts.values() if part.first is not None],
    }
    if tracked.origins:
        content["origins"] = {spi.hex(): origin_record(origin) for spi, origin in tracked.origins.items()}
    text = json.dumps(content, separators=(",", ":"))
    return zlib.compress(text.encode(), _COMPRESSION)


def _fill(group: Group, content: Any) -> None:
    group.limited = bool(content["limited"])
    for record in content["parts"][: 2 * MOST_RESPONDER_SPIS]:
        part = from_record(record)
        if (part.version, part.initiator_spi) == (group.version, group.initiator_spi):
            group.parts[part.responder_spi] = part


def _emitted(tracked: Tracked) -> str:
    return json.dumps({id_: material.hex() for id_, material in tracked.emitted.items()}, separators=(",", ":"))
