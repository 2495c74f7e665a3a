"""Findings in a database of their own, in a folder that goes with it, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import TracebackType
from typing import Any

import duckdb

from pqaudit.finding.document import Document
from pqaudit.finding.reading import finding_in_line
from pqaudit.report.case_key import case_key, dump
from pqaudit.report.judging import KNOWN, address_of, case_of, makers_key, makers_of, rest_key, rest_of
from pqaudit.report.layout import COLUMNS, take_apart
from pqaudit.rules.registry import Registry

Cursor = duckdb.DuckDBPyConnection
Row = tuple[Any, ...]
_MEMORY = "1GB"
_INTERRUPTED = "Query interrupted"
# A kind of text that many findings share, and the columns that hold it.
_SHARED = {
    "cases": ("case_text",),
    "rests": ("rest_text",),
    "makers": ("maker_text",),
    "addresses": ("source", "destination"),
}


class StoreError(Exception):
    """The database failed, a full disk for one; in one sentence."""


class Store(AbstractContextManager["Store"]):
    """The findings of a report, being gathered.

    Lines may be added from several threads at once. Each finding has a number; of several of one SA the one with the
    highest counts.

    Attributes:
        registry: names of algorithms.

    Raises:
        StoreError: from any method, when the database fails.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._lock = Lock()
        self._meanings: dict[str, Callable[[str], str | None]] = {
            "cases": lambda text: case_of(text, registry),
            "rests": rest_of,
            "makers": makers_of,
            "addresses": address_of,
        }
        self._known = dict.fromkeys(self._meanings, 0)
        try:
            self._folder = TemporaryDirectory(prefix="pqaudit-report-")
            self._connection = _connected(Path(self._folder.name))
        except (OSError, duckdb.Error) as error:
            raise _failed(error) from error
        with self.cursor() as cursor:
            for table in _SHARED:
                cursor.execute(f"CREATE TABLE {table} (number INTEGER, text VARCHAR, meaning VARCHAR)")
            cursor.execute(
                "CREATE TABLE findings (number BIGINT, id BLOB, begun VARCHAR, ended VARCHAR, source INTEGER, "
                "source_port INTEGER, destination INTEGER, destination_port INTEGER, case_ INTEGER, rest INTEGER, "
                "maker INTEGER, evidence VARCHAR, captures VARCHAR[])"
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add_lines(self, text: str, before: int) -> list[tuple[int, str]]:
        """Add findings that stand in lines.

        Args:
            before: the first line has the number after this.

        Returns:
            Numbers of lines that hold something else, and what is wrong with them.
        """
        with self.cursor() as cursor:
            lines = text.split("\n")
            staged = self._take_apart(cursor, lines, before)
            if self._add_staged(cursor) == staged:
                return []
            doubtful = cursor.execute("SELECT number FROM staged ORDER BY number").fetchall()
            return self._add_doubtful(cursor, [(number, lines[number - before - 1].encode()) for (number,) in doubtful])

    def add_octets(self, lines: Iterable[tuple[int, bytes]]) -> list[tuple[int, str]]:
        """As `add_lines`, for a few lines that may be no text."""
        with self.cursor() as cursor:
            return self._add_doubtful(cursor, lines)

    def count(self, after: int, to: int) -> int:
        """How many findings have numbers after one and up to another."""
        with self.cursor() as cursor:
            return int(one(cursor, "SELECT count(*) FROM findings WHERE number > ? AND number <= ?", [after, to]))

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A connection of its own, for one thread.

        Raises:
            StoreError: what was asked of it failed.
        """
        cursor = self._connection.cursor()
        try:
            yield cursor
        except duckdb.InterruptException as error:
            raise KeyboardInterrupt from error
        except duckdb.Error as error:
            raise _failed(error) from error
        except RuntimeError as error:  # what its client makes of SIGINT while a query runs
            if str(error) != _INTERRUPTED:
                raise
            raise KeyboardInterrupt from error
        finally:
            cursor.close()

    def _take_apart(self, cursor: Cursor, lines: list[str], before: int) -> int:
        create = "CREATE OR REPLACE TEMP TABLE staged AS SELECT * REPLACE (number + $2 AS number) FROM ({})"
        try:
            return _changed(cursor.execute(create.format(take_apart(valid=True)), [lines, before]))
        except duckdb.InvalidInputException:
            return _changed(cursor.execute(create.format(take_apart(valid=False)), [lines, before]))

    def _add_doubtful(self, cursor: Cursor, lines: Iterable[tuple[int, bytes]]) -> list[tuple[int, str]]:
        rows: list[Row] = []
        wrong: list[tuple[int, str]] = []
        for number, line in lines:
            try:
                finding = finding_in_line(line)
            except ValueError as error:
                wrong.append((number, str(error)))
            else:
                if finding is not None:
                    rows.append(_row(number, finding, self.registry))
        if rows:
            columns = ", ".join(f"unnest(?::{kind}[]) AS {name}" for name, kind in COLUMNS.items())
            values = [list(column) for column in zip(*rows, strict=True)]
            cursor.execute(f"CREATE OR REPLACE TEMP TABLE staged AS SELECT {columns}", values)
            self._add_staged(cursor)
        return wrong

    def _add_staged(self, cursor: Cursor) -> int:
        """Add what was taken apart for certain; how many that were, the others are left."""
        found = cursor.execute("SELECT count(*), min(number), max(number) FROM staged").fetchall()
        staged, *ends = found[0]
        added = _changed(cursor.execute(_ADD))
        if added < staged:  # what it shares with others was not all seen before
            cursor.execute(_DROP_ADDED, ends)
            self._judge(cursor)
            more = _changed(cursor.execute(_ADD))
            if more and added + more < staged:
                cursor.execute(_DROP_ADDED, ends)
            added += more
        return added

    def _judge(self, cursor: Cursor) -> None:
        """Find the meaning of every text that was not seen before."""
        for table, columns in _SHARED.items():
            texts = " UNION ".join(f"SELECT {column} AS text FROM staged WHERE certain" for column in columns)
            unknown = f"SELECT DISTINCT text FROM ({texts}) ANTI JOIN {table} USING (text)"
            if not cursor.execute(unknown).fetchall():
                continue
            with self._lock:  # who had it before may have found the same
                found = [text for (text,) in cursor.execute(unknown).fetchall()]
                numbers = list(range(self._known[table], self._known[table] + len(found)))
                self._known[table] += len(found)
                meanings = list(map(self._meanings[table], found))
                if found:
                    values = "SELECT unnest(?::INTEGER[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])"
                    cursor.execute(f"INSERT INTO {table} {values}", [numbers, found, meanings])


def _connected(folder: Path) -> Cursor:
    return duckdb.connect(
        folder / "findings.duckdb",
        config={
            # Nothing is loaded from anywhere: the network is none of our business.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "memory_limit": _MEMORY,
            "temp_directory": str(folder / "spilled"),
            "preserve_insertion_order": False,
        },
    )


def _failed(error: Exception) -> StoreError:
    reason = str(error).split("\n", 1)[0]
    return StoreError(f"the database of the report, in a temporary folder, failed: {reason}")


def one(cursor: Cursor, query: str, values: Sequence[Any] = ()) -> Any:
    """The one value that a query gives."""
    row = cursor.execute(query, values).fetchone()
    assert row is not None
    return row[0]


_JOINED = [(table, column) for table, columns in _SHARED.items() for column in columns]
_JOINS = " ".join(f"LEFT JOIN {table} AS {column}_ ON {column}_.text = staged.{column}" for table, column in _JOINED)
_GOOD = " AND ".join(["certain", *(f"{column}_.meaning IS NOT NULL" for _, column in _JOINED)])
_ADD = f"""
    INSERT INTO findings SELECT staged.number, id, begun, ended, source_.number, source_port, destination_.number,
        destination_port, case_text_.number, rest_text_.number, maker_text_.number, evidence, captures
    FROM staged {_JOINS} WHERE {_GOOD}
"""
# By what was added, and not by what could be now: another thread may have judged some of it in between.
_DROP_ADDED = "DELETE FROM staged WHERE number IN (SELECT number FROM findings WHERE number BETWEEN ? AND ?)"


def _changed(cursor: Cursor) -> int:
    """How many rows a statement wrote."""
    return int(cursor.fetchall()[0][0])


def _row(number: int, finding: Document, registry: Registry) -> Row:
    """A finding without a fault, in the form of lines that were taken apart."""
    own = finding["pqaudit"]
    return (
        number,
        True,
        finding["event"]["id"].encode("utf-8", "surrogatepass"),
        finding["@timestamp"],
        finding["event"]["end"],
        finding["source"]["ip"],
        finding["source"]["port"],
        finding["destination"]["ip"],
        finding["destination"]["port"],
        KNOWN + case_key(finding, registry),
        KNOWN + rest_key(finding),
        KNOWN + makers_key(finding),
        dump([_evidence(entry) for entry in own["evidence"]]),
        list(dict.fromkeys(dump(name) for name in _captures(own["capture"]))),
    )


def _evidence(entry: dict[str, Any]) -> dict[str, Any]:
    time = entry.get("time")
    return {
        "file": entry["file"],
        "frame": entry["frame"],
        "time": time if isinstance(time, str) else None,
        "what": entry["what"],
    }


def _captures(capture: dict[str, Any]) -> Iterator[str]:
    """Names of the captures; a finding need not have them."""
    files = capture.get("files")
    for entry in files if isinstance(files, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str):
            yield name
