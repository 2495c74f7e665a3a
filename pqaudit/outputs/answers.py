"""Answers of ``pqaudit search`` for people."""

from __future__ import annotations

import json
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pqaudit.finding.document import Document
from pqaudit.outputs.escape import printable
from pqaudit.outputs.terminal import verdict_text
from pqaudit.outputs.wording import endpoint_text, exchanges_text, plural
from pqaudit.rules.registry import Registry

_TABLE_WIDTH = 150
_NOTHING = "No finding matches."
# Sorted: a server may keep the names of a document in another order than a file.
_dump = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), check_circular=False).encode


def write_json(answer: Document, out: TextIO) -> None:
    """The answer as one JSON object, the same octets for the same findings wherever they lie."""
    out.write(_dump(answer) + "\n")


def write_group_lines(answer: Document, out: TextIO) -> None:
    """The counts of each value, one a line."""
    for group in answer["groups"]:
        out.write(_dump(group) + "\n")


def write_summary(answer: Document, registry: Registry, console: Console) -> None:
    """Print counts and the latest findings."""
    if not answer["sas"]:
        console.print(Text(_NOTHING))
        return
    console.print(Text(_head(answer), style="bold"))
    between = f"{plural(answer['peers'], 'peer')} in {plural(answer['tunnels'], 'tunnel')}"
    console.print(Text(f"  {between}, first packets from {answer['first']} to {answer['last']}"))
    _write_verdicts(answer["verdicts"], console)
    protections = ", ".join(f"{printable(name)} {number:,}" for name, number in answer["protections"].items())
    console.print(Text(f"  protection: {protections}"))
    findings = answer["findings"]
    if findings:
        console.print()
        _write_findings(findings, registry, console)
    if answer["sas"] > len(findings):
        rest = plural(answer["sas"] - len(findings), "earlier SA is", "earlier SAs are")
        console.print(Text(f"{rest} not shown; --rows shows more, --format jsonl all.", style="dim"))


def write_groups(answer: Document, console: Console, most_rows: int) -> None:
    """Print how many findings have each value."""
    by, groups = answer["by"], answer["groups"]
    if not groups:
        console.print(Text(_NOTHING))
        return
    console.print(Text(f"{_head(answer)}, {plural(len(groups), by)}", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("SAs", justify="right", no_wrap=True)
    table.add_column(by.capitalize(), overflow="fold")
    if by != "verdict":
        table.add_column("Verdicts", overflow="fold")
    for row in groups[:most_rows]:
        value = printable(value_text(row[by]))
        cells = [Text(f"{row['sas']:,}"), verdict_text(value) if by == "verdict" else Text(value)]
        if by != "verdict":
            cells.append(_verdicts_text(row["verdicts"]))
        table.add_row(*cells)
    console.print(table)
    if len(groups) > most_rows:
        console.print(Text(f"{len(groups) - most_rows:,} more are not shown; --rows shows more.", style="dim"))


def value_text(value: object) -> str:
    """A value of a group in words."""
    if value is None:
        return "(none)"
    if isinstance(value, list):
        return " - ".join(value)
    if isinstance(value, dict):
        return f"{value['name']} ({value['id']})"
    return str(value)


def _head(answer: Document) -> str:
    return plural(answer["sas"], "IKE SA")


def _write_verdicts(verdicts: dict[str, int], console: Console) -> None:
    width = max(len(f"{number:,}") for number in verdicts.values())
    for verdict, number in sorted(verdicts.items(), key=lambda item: (-item[1], item[0])):
        line = Text(f"  {number:>{width},}  ")
        line.append_text(verdict_text(printable(verdict)))
        console.print(line)


def _verdicts_text(verdicts: dict[str, int]) -> Text:
    ordered = sorted(verdicts.items(), key=lambda item: (-item[1], item[0]))
    return Text(", ").join(
        verdict_text(printable(verdict)).append(f" {number:,}", style="") for verdict, number in ordered
    )


def _write_findings(findings: list[Document], registry: Registry, console: Console) -> None:
    rows = [_cells(finding, registry) for finding in findings]
    if console.width < _TABLE_WIDTH:
        # Seven columns do not fit: two lines for each SA.
        for time, verdict, reason, selected, ends, spi, sensor in rows:
            line = Text(f"{time}  ")
            line.append_text(verdict_text(verdict))
            line.append(f"  {selected}  {reason}", style="")
            console.print(line, soft_wrap=True)
            console.print(Text(f"    {ends}  SPI {spi}  {sensor}", style="dim"), soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    titles = ("First packet", "Verdict", "Reason", "Selected", "Initiator > responder", "Initiator SPI", "Sensor")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in ("First packet", "Verdict", "Initiator SPI"))
    for time, verdict, *rest in rows:
        table.add_row(Text(time), verdict_text(verdict), *map(Text, rest))
    console.print(table)


def _cells(finding: Document, registry: Registry) -> tuple[str, str, str, str, str, str, str]:
    own = finding["pqaudit"]
    # Findings from elsewhere may hold anything in their texts.
    return (
        finding["@timestamp"],
        printable(own["verdict"]),
        printable(own["reason"] if own["protection"] != "ppk" else f"{own['reason']}, PPK negotiated"),
        printable(exchanges_text(own["selected"], registry)),
        f"{endpoint_text(finding['source'])} > {endpoint_text(finding['destination'])}",
        printable(own["ike"]["initiator_spi"]),
        printable(finding["observer"]["name"]),
    )
