"""What the sensor follows, on disk, so that it goes on where it was after any end."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pqaudit.durable import LaterFileError, open_database, transaction
from pqaudit.sa.bounds import MOST_RESPONDER_SPIS
from pqaudit.sa.group import Group
from pqaudit.sa.record import RecordError, from_record, to_record
from pqaudit.sensor.tracked import Key, Tier, Tracked

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
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value REAL NOT NULL);
"""


Row = tuple[int, bytes, int, float, str, bytes]


class CheckpointError(Exception):
    """The checkpoint cannot be used: one sentence."""


class Checkpoint:
    """A file of what is followed, changed in transactions: after SIGKILL it holds the state of the last one.

    Args:
        folder: made when missing.

    Raises:
        CheckpointError: it cannot be made, or belongs to a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.unreadable = 0
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database, self.damaged = open_database(
                folder / FILE_NAME,
                _TABLES,
                _SCHEMA,
                probe="followed",
                busy=_BUSY_SECONDS,
                # Findings are on disk for sure, in the spool; of this the last seconds may be lost in a power cut.
                always=("synchronous = NORMAL",),
            )
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
        """All that is followed, without the evidence, the longest silent first."""
        rows = self._database.execute("SELECT version, spi, tier, last, emitted FROM followed ORDER BY last")
        for version, spi, tier, last, emitted in rows:
            tracked = Tracked(None, Tier(tier), last)
            tracked.saved = True
            tracked.untold = True  # not known; telling it once more does no harm
            tracked.emitted = {id_: bytes.fromhex(material) for id_, material in json.loads(emitted).items()}
            yield (version, spi), tracked

    def evidence(self, key: Key) -> Group:
        """The evidence of one SPI; a row that is missing or damaged gives none, and is counted in ``unreadable``."""
        row = self._database.execute("SELECT body FROM followed WHERE version = ? AND spi = ?", key).fetchone()
        group = Group(*key)
        try:
            if row is None:
                raise RecordError("the row is missing")
            unpacked = zlib.decompressobj().decompress(row[0], _MOST_OCTETS)
            _fill(group, json.loads(unpacked))
        except (RecordError, zlib.error, ValueError, TypeError, KeyError):
            self.unreadable += 1
            return Group(*key)
        return group

    def save(self, rows: Iterable[Row], ended: Iterable[Key], now: float) -> None:
        """Write what changed and forget what ended, in one transaction.

        Raises:
            sqlite3.Error: it could not be written, a full disk for one; the state before stands.
        """
        database = self._database
        with transaction(database):
            database.executemany("DELETE FROM followed WHERE version = ? AND spi = ?", list(ended))
            database.executemany("INSERT OR REPLACE INTO followed VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.execute("INSERT OR REPLACE INTO notes VALUES ('alive', ?)", (now,))

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()


def row_of(key: Key, tracked: Tracked, group: Group) -> Row:
    """What is written of one SPI: some 0.1 ms of work."""
    return (*key, int(tracked.tier), tracked.last, _emitted(tracked), _packed(group))


def _packed(group: Group) -> bytes:
    parts = [to_record(part) for part in group.parts.values() if part.first is not None]
    text = json.dumps({"limited": group.limited, "parts": parts}, separators=(",", ":"))
    return zlib.compress(text.encode(), _COMPRESSION)


def _fill(group: Group, content: Any) -> None:
    group.limited = bool(content["limited"])
    for record in content["parts"][: 2 * MOST_RESPONDER_SPIS]:
        part = from_record(record)
        if (part.version, part.initiator_spi) == (group.version, group.initiator_spi):
            group.parts[part.responder_spi] = part


def _emitted(tracked: Tracked) -> str:
    return json.dumps({id_: material.hex() for id_, material in tracked.emitted.items()}, separators=(",", ":"))
