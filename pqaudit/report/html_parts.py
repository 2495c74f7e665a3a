"""Pieces of a page: text made safe, tables that screen readers understand, and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pqaudit.outputs.escape import printable
from pqaudit.policy.assess import Status
from pqaudit.report.words import STATUS_WORDS


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell holds.

    Attributes:
        markup: safe already.
        key: what the column is sorted by; the text of the cell where it is None.
    """

    markup: str
    key: int | str | None = None


def text(raw: object) -> str:
    """Text that shows as it is, as content and in a quoted attribute."""
    return escape(printable(str(raw)), quote=True)


def words(raw: object) -> Cell:
    """A cell of text."""
    return Cell(text(raw))


def number(count: int) -> Cell:
    """A cell with a number, sorted as one."""
    return Cell(f"{count:,}", count)


def badge(status: Status, shown: str | None = None) -> str:
    """A status as a word in its colour; the word alone says it."""
    return f'<span class="badge {status}">{text(STATUS_WORDS[status] if shown is None else shown)}</span>'


def items(markups: Iterable[str]) -> str:
    """A list of safe items; a single one stands alone, and a dash for none."""
    found = list(markups)
    if len(found) > 1:
        return f"<ul>{''.join(f'<li>{markup}</li>' for markup in found)}</ul>"
    return found[0] if found else "-"


def section(name: str, title: str, content: Iterable[str]) -> Iterator[str]:
    """A part of the page with its heading."""
    yield f'<section id="{name}" aria-labelledby="{name}-title">\n<h2 id="{name}-title">{text(title)}</h2>\n'
    yield from content
    yield "</section>\n"


def table(name: str, caption: str, columns: Sequence[str], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    """A table; the first cell of a row names it. In a box of class ``sortable`` the script gives it its buttons."""
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    # The box scrolls where the table is too wide, so the keyboard has to reach it.
    yield f'<div class="wide" tabindex="0" role="region" aria-labelledby="{name}-caption">\n<table id="{name}">\n'
    yield f'<caption id="{name}-caption">{text(caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    for row in rows:
        yield f"<tr>{''.join(_cells(row))}</tr>\n"
    yield "</tbody>\n</table>\n</div>\n"


def _cells(row: Iterable[Cell]) -> Iterator[str]:
    for place, cell in enumerate(row):
        kind = ' class="number"' if isinstance(cell.key, int) and cell.markup[:1].isdigit() else ""
        key = "" if cell.key is None else f' data-key="{text(cell.key)}"'
        yield f"<td{kind}{key}>{cell.markup}</td>" if place else f'<th scope="row"{key}>{cell.markup}</th>'
