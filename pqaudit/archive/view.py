"""What a run shows, drawn from the journal: SAs in order, one at a time, so that memory does not grow with them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pqaudit.archive.journal import Journal
from pqaudit.archive.packing import PackedError, unpack_about, unpack_group
from pqaudit.durable import transaction
from pqaudit.pipeline import AuditRun
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.group import Group
from pqaudit.sa.lineage import Origin

_TABLES = """
DROP TABLE IF EXISTS temp.shown;
DROP TABLE IF EXISTS temp.touched;
CREATE TEMP TABLE shown (
    position INTEGER PRIMARY KEY, content INTEGER NOT NULL, place BLOB NOT NULL, name BLOB NOT NULL,
    told INTEGER NOT NULL, rank INTEGER
);
"""

# As SaTable orders them: by the first packet of all that is under one key, then by key. A packet is ordered by time,
# name of the file and frame; ``rank`` stands for the name, and numbers of fixed width sort as text.
_ORDER = """
SELECT id, rank, version, spi FROM (
    SELECT groups.id, rank, version, spi,
        min(time || printf('%08x%016x', rank, frame)) OVER one AS first,
        min(told OR groups.id IN told_groups) OVER one AS told,
        max(lineage) OVER one AS lineage
    FROM temp.shown JOIN groups ON groups.content = shown.content
    WINDOW one AS (PARTITION BY version, spi)
) WHERE NOT told OR lineage OR NOT ? ORDER BY first, version, spi, rank
"""

# Of captures that this run does not name: each content once, under the name that was used last.
_EARLIER = """
SELECT content, place, name, told FROM (
    SELECT content, place, name, min(told) OVER (PARTITION BY content) AS told,
        row_number() OVER (PARTITION BY content ORDER BY named DESC, name) AS turn
    FROM inputs
    WHERE content NOT IN (SELECT content FROM temp.shown) AND place NOT IN (SELECT place FROM temp.shown)
) WHERE turn = 1 ORDER BY name
"""
_OTHERWISE = "SELECT count(*) FROM temp.shown JOIN contents ON contents.id = content WHERE settings != ?"

_TOUCHED = """
CREATE TEMP TABLE touched (version INTEGER NOT NULL, spi BLOB NOT NULL, PRIMARY KEY (version, spi)) WITHOUT ROWID;
INSERT OR IGNORE INTO temp.touched
    SELECT version, spi FROM temp.shown JOIN groups ON groups.content = shown.content
    WHERE NOT told AND groups.id NOT IN told_groups;
"""
_TOLD_AS_A_WHOLE = """
DELETE FROM told_groups WHERE (SELECT content FROM groups WHERE groups.id = told_groups.id) IN
    (SELECT content FROM temp.shown)
"""


class Shown(NamedTuple):
    """A capture that a run shows: its place, its name, its content in the journal, and whether that was told."""

    place: str
    name: str
    content: int
    told: bool


class View:
    """What a run shows.

    Args:
        journal: stays open while the view is used, and unchanged.
        captures: in the order in which the run names them.
        settings: how captures are read in this run.
        with_earlier: all other captures that the journal knows count too, and come first.
        touched_only: of SAs of which no capture shows anything untold, only those are drawn that others may have been
            rekeyed from, or they from others.

    Attributes:
        earlier: how many of these there are.
        otherwise: how many of them were read with other options or by another pqaudit.

    Raises:
        JournalError: the journal cannot be read, or there is no room for temporary files.
    """

    def __init__(
        self, journal: Journal, captures: Iterable[Shown], settings: str, *, with_earlier: bool, touched_only: bool
    ) -> None:
        self._journal = journal
        self._database = journal.database
        self._touched_only = touched_only
        self._names: list[str] = []
        try:
            self._list(captures, with_earlier)
            self.otherwise = int(self._database.execute(_OTHERWISE, (settings,)).fetchone()[0])
            if touched_only:
                self._database.executescript(_TOUCHED)
        except sqlite3.Error as error:
            raise journal.failed(error) from error

    def _list(self, captures: Iterable[Shown], with_earlier: bool) -> None:
        database = self._database
        database.executescript(_TABLES)
        insert = "INSERT INTO temp.shown (position, content, place, name, told) VALUES (?, ?, ?, ?, ?)"
        database.execute("BEGIN")
        database.executemany(
            insert,
            (
                (position, each.content, os.fsencode(each.place), os.fsencode(each.name), each.told)
                for position, each in enumerate(captures)
            ),
        )
        earlier = database.execute(_EARLIER).fetchall() if with_earlier else []
        self.earlier = len(earlier)
        used = {name for (name,) in database.execute("SELECT name FROM temp.shown")}
        for index, (content, place, name, told) in enumerate(earlier):
            if name in used:  # named from another folder
                earlier[index] = (content, place, place, told)
            used.add(name)
        database.executemany(insert, ((index - len(earlier), *row) for index, row in enumerate(earlier)))
        # By the text of names, as Python orders it, which is not always the order of their octets.
        named = database.execute("SELECT position, name FROM temp.shown").fetchall()
        ranked = sorted((os.fsdecode(name), position) for position, name in named)
        self._names = [name for name, _ in ranked]
        database.executemany(
            "UPDATE temp.shown SET rank = ? WHERE position = ?",
            ((rank, position) for rank, (_, position) in enumerate(ranked)),
        )
        database.execute("COMMIT")

    def add_to(self, run: AuditRun) -> None:
        """Add all but the SAs to ``run``: files, notes, anomalies, counters, and traffic.

        Raises:
            JournalError: the journal cannot be read.
        """
        try:
            rows = self._database.execute(
                "SELECT name, about FROM temp.shown JOIN contents ON contents.id = content ORDER BY position"
            )
            for name, about in rows:
                unpack_about(about, os.fsdecode(name), run)
        except (sqlite3.Error, PackedError) as error:
            raise self._journal.failed(error) from error

    def groups(self) -> Iterator[Group]:
        """The evidence, in the order of ``SaTable.drain``; what several captures show of one key is merged.

        Raises:
            JournalError: the journal cannot be read, or there is no room for temporary files.
        """
        group: Group | None = None
        try:
            for row, rank, version, spi in self._database.execute(_ORDER, (self._touched_only,)):
                body = self._database.execute("SELECT body FROM groups WHERE id = ?", (row,)).fetchone()[0]
                part = unpack_group(body, version, spi, self._names[rank])
                if group is not None and (group.version, group.initiator_spi) == (version, spi):
                    group.merge(part)
                    continue
                if group is not None:
                    yield group
                group = part
        except (sqlite3.Error, PackedError) as error:
            raise self._journal.failed(error) from error
        if group is not None:
            yield group

    def is_touched(self, sa: SecurityAssociation, origin: Origin | None) -> bool:
        """True when something untold is shown of the SA, or of the one it was probably rekeyed from.

        For views with ``touched_only``.
        """
        keys = [(sa.version, sa.initiator_spi)]
        if origin is not None:
            keys.append((sa.version, origin.initiator_spi))
        return any(
            self._database.execute("SELECT 1 FROM temp.touched WHERE version = ? AND spi = ?", key).fetchone()
            for key in keys
        )

    def set_told(self) -> None:
        """Note that all that is shown was told.

        Raises:
            JournalError: the journal cannot be written.
        """
        try:
            with transaction(self._database):
                self._database.execute(_TOLD_AS_A_WHOLE)
                self._database.execute(
                    "UPDATE inputs SET told = 1 WHERE NOT told AND content IN (SELECT content FROM temp.shown)"
                )
        except sqlite3.Error as error:
            raise self._journal.failed(error) from error
