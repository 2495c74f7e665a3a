"""Peers and tunnels in a table."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pqaudit.finding.document import Document
from pqaudit.outputs.terminal import verdict_text
from pqaudit.outputs.wording import exchanges_text, plural
from pqaudit.rules.rulebook import Rulebook


def write_groups(
    documents: Iterable[Document], by: str, rulebook: Rulebook, console: Console, *, most_rows: int
) -> None:
    """Print the current state of each peer or tunnel, the worst first."""
    documents = list(documents)
    exposed = any("exposure" in document for document in documents)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("Now", by.capitalize(), "SAs", "Selected last", "Reason", "Waits for", "Last negotiation", "Before"):
        table.add_column(title, overflow="fold", no_wrap=title in ("Now", "SAs"))
    if exposed:
        table.add_column("ESP octets", justify="right", no_wrap=True)
    total = 0
    for document in documents:
        total += 1
        if total > most_rows:
            continue
        who = " - ".join(document[by]) if by == "tunnel" else document[by]
        selected = document["selected"]
        table.add_row(
            verdict_text(document["verdict"]),
            Text(who),
            Text(f"{document['sas']:,}"),
            Text("-" if selected is None else exchanges_text(selected, rulebook.registry)),
            Text(document["reason"] or "-"),
            Text(document["responsibility"] or "-"),
            Text(document["last_negotiation"] or "-"),
            verdict_text(document["first_verdict"]) if document["changed"] else Text("-"),
            *([Text(_octets(document["exposure"]))] if exposed else []),
        )
    console.print(Text(plural(total, by), style="bold"))
    if total:
        console.print(table)
    if total > most_rows:
        console.print(Text(f"{total - most_rows:,} more are not shown; --rows shows more.", style="dim"))


def _octets(exposure: Document | None) -> str:
    return "-" if exposure is None else f"{exposure['esp_octets']:,}"
