"""Charts as SVG inside the page. Each has a text alternative, and the table beside it has the same numbers.

A chart stays wide enough to be read: its box scrolls, so the keyboard has to reach it.

Colours stand in attributes for programs that do not apply the page's styles to drawings; the styles replace them where
it is dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pqaudit.outputs.wording import plural
from pqaudit.policy.assess import DeadlineState, Status
from pqaudit.report.html_parts import text
from pqaudit.report.model import PolicyPart, PolicyTotals
from pqaudit.report.words import STATUS_WORDS, deadline_words, ready_words

_COLOURS = {
    Status.FAILS_NOW: "#a3161a",
    Status.WILL_FAIL: "#8a5300",
    Status.NOT_ASSESSABLE: "#5b5f66",
    Status.MEETS: "#1b6b36",
}
_INK = "#1b1d21"
_DEADLINE = "#2457a6"
_LEFT, _BAR, _RIGHT = 230, 480, 190
_WIDTH = _LEFT + _BAR + _RIGHT
_ROW = 28
_LABEL_ROOM = 9  # for each digit of a label inside a bar
_LONGEST = 30


def shares(totals: Sequence[PolicyTotals]) -> Iterator[str]:
    """Of each policy a bar with the share of tunnels of each status."""
    said = "; ".join(f"{t.policy}: {_counted(t)}" for t in totals)
    yield from _figure("shares", "Tunnels by status and policy", said, len(totals) + 1, _share_rows(totals))


def deadlines(parts: Sequence[PolicyPart]) -> Iterator[str]:
    """Of each deadline that is still to come a bar as long as the time left."""
    coming = sorted(
        ((state, part.policy.id) for part in parts for state in part.deadlines if state.days_left >= 0),
        key=lambda entry: (entry[0].days_left, entry[1], entry[0].deadline.id),
    )
    if coming:
        said = "; ".join(f"{policy} {deadline_words(state)}" for state, policy in coming)
        yield from _figure("days", "Days to deadlines", said, len(coming), _deadline_rows(coming))


def _counted(totals: PolicyTotals) -> str:
    return ", ".join(f"{STATUS_WORDS[status]} {count:,}" for status, count in totals.tunnels.items())


def _figure(name: str, title: str, said: str, rows: int, drawn: Iterator[str]) -> Iterator[str]:
    height = rows * _ROW + 8
    yield (
        f'<figure class="wide" tabindex="0">\n<figcaption>{text(title)}</figcaption>\n'
        f'<svg id="chart-{name}" role="img" aria-labelledby="chart-{name}-title chart-{name}-text" '
        f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="13">\n'
        f'<title id="chart-{name}-title">{text(title)}</title>\n<desc id="chart-{name}-text">{text(said)}</desc>\n'
    )
    yield from drawn
    yield "</svg>\n</figure>\n"


def _text(x: float, row: int, content: str, kind: str = "ink", fill: str = _INK, anchor: str = "start") -> str:
    y = row * _ROW + 20
    return f'<text class="{kind}" x="{x:g}" y="{y}" fill="{fill}" text-anchor="{anchor}">{text(content)}</text>\n'


def _bar(x: float, row: int, width: float, kind: str, fill: str) -> str:
    y = row * _ROW + 4
    return f'<rect class="{kind}" x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_ROW - 6}" fill="{fill}"/>\n'


def _name(row: int, name: str) -> str:
    short = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "\u2026"
    return _text(_LEFT - 8, row, short, anchor="end")


def _share_rows(totals: Sequence[PolicyTotals]) -> Iterator[str]:
    for row, of_policy in enumerate(totals):
        yield _name(row, of_policy.policy)
        whole = sum(of_policy.tunnels.values())
        x = float(_LEFT)
        for status, count in of_policy.tunnels.items():
            if not count:
                continue
            width = _BAR * count / whole
            # A gap between the bars: colours alone must not part them.
            yield _bar(x, row, max(width - 2, 0.75), status, _COLOURS[status])
            if width > _LABEL_ROOM * (len(f"{count:,}") + 1):
                yield _text(x + width / 2 - 1, row, f"{count:,}", "on-bar", "#ffffff", "middle")
            x += width
        yield _text(_LEFT + _BAR + 8, row, f"{ready_words(of_policy.ready)} ready")
    x = float(_LEFT)
    for status, name in STATUS_WORDS.items():
        yield _bar(x, len(totals), 14, status, _COLOURS[status])
        yield _text(x + 19, len(totals), name)
        x += 160


def _deadline_rows(coming: Sequence[tuple[DeadlineState, str]]) -> Iterator[str]:
    longest = max(state.days_left for state, _ in coming) or 1
    for row, (state, policy) in enumerate(coming):
        yield _name(row, policy)
        width = max(_BAR * state.days_left / longest, 2)
        yield _bar(_LEFT, row, width, "deadline", _DEADLINE)
        yield _text(_LEFT + _BAR + 8, row, f"{state.deadline.day}, {plural(state.days_left, 'day')}")
