"""A progress bar for the rows of a report while it is written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from pqaudit.report.model import Report, Rows

_Row = TypeVar("_Row")
_STEP = 1000


class _CountedRows(Rows[_Row]):
    """Rows that tell how many of them were gone through."""

    def __init__(self, rows: Rows[_Row], advance: Callable[[int], None]) -> None:
        self._rows = rows
        self._advance = advance

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[_Row]:
        for number, row in enumerate(self._rows, 1):
            yield row
            if number % _STEP == 0:
                self._advance(_STEP)


@contextmanager
def writing(report: Report, form: str, target: str) -> Iterator[Report]:
    """The report with a bar on standard error that moves as its rows are read; the same where that is no terminal."""
    if not sys.stderr.isatty() or (target == "-" and sys.stdout.isatty()):  # there the report itself is seen to come
        yield report
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("writing {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(form, total=len(report.tunnels) + len(report.sas))

        def advance(rows: int) -> None:
            progress.advance(task, rows)

        yield replace(report, tunnels=_CountedRows(report.tunnels, advance), sas=_CountedRows(report.sas, advance))
