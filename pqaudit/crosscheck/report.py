"""Telling what a crosscheck found: a table for people, JSON for programs."""

from __future__ import annotations

import json
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

from pqaudit import __version__
from pqaudit.crosscheck.reading import Value
from pqaudit.crosscheck.run import MOST_LISTED, Crosscheck, Listed
from pqaudit.outputs.escape import printable

SCHEMA_VERSION = 1
_WIDEST_VALUE = 40


def write_json(check: Crosscheck, out: TextIO) -> None:
    """Write all as one object."""
    json.dump(_document(check), out, indent=2, ensure_ascii=True)
    out.write("\n")


def _document(check: Crosscheck) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "pqaudit", "version": __version__},
        "tshark": {"version": version_text(check)},
        "files": [
            {
                "name": file.name,
                "messages": file.messages,
                "fields": file.fields,
                "explained": file.explained,
                "unexplained": file.unexplained,
                "error": file.error,
            }
            for file in check.files
        ],
        "unexplained": [_difference(each) for each in check.unexplained],
        "explained": [_difference(each) for each in check.explained],
        "gaps": [
            {"id": gap.id, "title": gap.title, "source": gap.source, "differences": check.by_gap[gap.id]}
            for gap in check.gaps.known
        ],
        "counts": {
            "messages": sum(file.messages for file in check.files),
            "fields": sum(file.fields for file in check.files),
            "explained": sum(file.explained for file in check.files),
            "unexplained": check.differing,
        },
        "notes": [
            {
                "source": note.source,
                "frame": note.frame,
                "kind": note.kind,
                "message": note.message,
                "fatal": note.fatal,
            }
            for note in check.notes
        ],
        "complete": not (check.unreadable or check.interrupted),
    }


def _difference(each: Listed) -> dict[str, Any]:
    return each._asdict()


def write_table(check: Crosscheck, console: Console, most_rows: int) -> None:
    """Write a summary, the differences that nothing explains, and the gaps that explain the others."""
    messages = sum(file.messages for file in check.files)
    fields = sum(file.fields for file in check.files)
    explained = sum(file.explained for file in check.files)
    console.print(
        f"{len(check.files):,} captures, {messages:,} messages, {fields:,} fields compared with tshark"
        f" {version_text(check)}: {check.differing:,} unexplained differences, {explained:,} explained by gaps of"
        " tshark"
    )
    if check.differing:
        console.print()
        shown = check.unexplained[:most_rows]
        table = Table("capture", "frame", "field", "pqaudit", "tshark", title="Not explained", title_justify="left")
        for each in shown:
            table.add_row(
                printable(each.file), str(each.frame), each.field, value_text(each.own), value_text(each.tshark)
            )
        console.print(table)
        if check.differing > len(shown):
            what = "--rows and --format json" if check.differing <= MOST_LISTED else "--format json lists the first"
            console.print(f"{check.differing - len(shown):,} more ({what})")
    if check.by_gap:
        console.print()
        table = Table("gap", "differences", "what", title="Explained", title_justify="left")
        for gap in check.gaps.known:
            if check.by_gap[gap.id]:
                table.add_row(gap.id, f"{check.by_gap[gap.id]:,}", gap.title)
        console.print(table)


def value_text(value: Value) -> str:
    """A value for a person; None is a field that is not there."""
    text = "absent" if value is None else printable(str(value)) or "empty"
    return text if len(text) <= _WIDEST_VALUE else f"{text[: _WIDEST_VALUE - 3]}..."


def version_text(check: Crosscheck) -> str:
    """The version of tshark with dots."""
    return ".".join(map(str, check.tshark.version))
