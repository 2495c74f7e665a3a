"""Pieces of a page: text made safe, tables that screen readers understand, and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from pqaudit.outputs.escape import printable
from pqaudit.policy.assess import Status
from pqaudit.report.words import STATUS_WORDS, ready_words


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell holds.

    Attributes:
        markup: safe already.
        key: what the column is sorted by, an exact number in a script (below 2**53) or text in which digits count as
            numbers; the text of the cell where it is None.
        kind: class of the cell: ``number``, ``long`` for text that needs room, or none.
    """

    markup: str
    key: int | str | None = None
    kind: str = ""


def text(raw: object) -> str:
    """Text that shows as it is, as content and in a quoted attribute."""
    return escape(printable(str(raw)), quote=True)


def words(raw: object) -> Cell:
    """A cell of text."""
    return Cell(text(raw))


def number(count: int) -> Cell:
    """A cell with a number, sorted as one."""
    return Cell(f"{count:,}", count, "number")


def percent(share: float | None) -> Cell:
    """A cell with a share in percent, known to a tenth."""
    return Cell(text(ready_words(share)), -1 if share is None else round(share * 10), "number")


def badge(status: Status, shown: str | None = None) -> str:
    """A status as a word in its colour; the word alone says it."""
    return f'<span class="badge {status}">{text(STATUS_WORDS[status] if shown is None else shown)}</span>'


def items(markups: Iterable[str]) -> Cell:
    """A cell with a list of safe items; a single one stands alone, and a dash for none."""
    found = list(markups)
    return Cell(bullets(found) if len(found) > 1 else found[0] if found else "-", kind="long")


def bullets(markups: Iterable[str]) -> str:
    """A list of safe items."""
    return f"<ul>{''.join(f'<li>{markup}</li>' for markup in markups)}</ul>"


def section(name: str, title: str, content: Iterable[str]) -> Iterator[str]:
    """A part of the page with its heading."""
    yield f'<section id="{name}" aria-labelledby="{name}-title">\n<h2 id="{name}-title">{text(title)}</h2>\n'
    yield from content
    yield "</section>\n"


def table(name: str, caption: str, columns: Sequence[str], rows: Iterable[Iterable[Cell]]) -> Iterator[str]:
    """A table; the first cell of a row names it. The script gives it buttons that sort."""
    heads = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    # The box scrolls where the table is too wide, so the keyboard has to reach it.
    yield f'<div class="wide" tabindex="0" role="region" aria-labelledby="{name}-caption">\n<table id="{name}">\n'
    yield f'<caption id="{name}-caption">{text(caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n'
    for row in rows:
        yield f"<tr>{''.join(_cells(row))}</tr>\n"
    yield "</tbody>\n</table>\n</div>\n"


def _cells(row: Iterable[Cell]) -> Iterator[str]:
    for place, cell in enumerate(row):
        kind = f' class="{cell.kind}"' if cell.kind else ""
        key = "" if cell.key is None else f' data-key="{text(cell.key)}"'
        yield f"<td{kind}{key}>{cell.markup}</td>" if place else f'<th scope="row"{key}>{cell.markup}</th>'
