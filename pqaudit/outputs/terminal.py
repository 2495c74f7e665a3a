"""The summary that a person reads: totals first, then SAs worst first, then what was odd."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pqaudit.finding.document import Document
from pqaudit.outputs.escape import printable
from pqaudit.outputs.wording import endpoint_text, exchanges_text, plural
from pqaudit.pipeline import AuditRun
from pqaudit.rules.rulebook import Rulebook

_STYLES = {
    "classical-only": "bold red",
    "undetermined": "yellow",
    "rfc9370-non-standard": "magenta",
    "ml-kem-only": "cyan",
    "hybrid-ml-kem": "bold green",
}
_MOST_LISTED = 20


def write_summary(
    findings: Sequence[Document], run: AuditRun, rulebook: Rulebook, console: Console, *, most_rows: int
) -> None:
    """Print the summary. ``findings`` are all of the run; the table shows the worst ``most_rows`` of them."""
    counts = Counter(f["pqaudit"]["verdict"] for f in findings)
    files = plural(len(run.files), "file")
    console.print(Text(f"{plural(len(findings), 'IKE SA')} in {files}", style="bold"))
    width = max(len(f"{count:,}") for count in [0, *counts.values()])
    for name in rulebook.verdicts:
        line = Text(f"  {counts[name.id]:>{width},}  ")
        line.append(f"{name.id:<22}", style=_STYLES.get(name.id, "") if counts[name.id] else "dim")
        line.append(name.meaning, style="dim")
        console.print(line)
    if findings:
        console.print()
        _write_table(findings, rulebook, console, most_rows)
    _write_anomalies(findings, run, console)


def _write_table(findings: Sequence[Document], rulebook: Rulebook, console: Console, most_rows: int) -> None:
    ordered = sorted(
        findings,
        key=lambda f: (
            rulebook.rank(f["pqaudit"]["verdict"]),
            -f["event"]["severity"],
            f["@timestamp"],
            f["event"]["id"],
        ),
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Verdict", no_wrap=True)
    table.add_column("Reason", overflow="fold")
    table.add_column("Selected", overflow="fold")
    table.add_column("Seen", no_wrap=True)
    table.add_column("Initiator > responder", overflow="fold")
    table.add_column("Initiator SPI", no_wrap=True)
    table.add_column("Look at", overflow="fold")
    folder = _common_folder(ordered[:most_rows])
    for finding in ordered[:most_rows]:
        own = finding["pqaudit"]
        evidence = own["evidence"][0]
        verdict = own["verdict"]
        reason = own["reason"] if own["protection"] != "ppk" else f"{own['reason']}, PPK negotiated"
        table.add_row(
            Text(verdict, style=_STYLES.get(verdict, "")),
            Text(reason),
            Text(exchanges_text(own["selected"], rulebook.registry)),
            Text(own["assurance"]),
            Text(f"{endpoint_text(finding['source'])} > {endpoint_text(finding['destination'])}"),
            Text(own["ike"]["initiator_spi"]),
            Text(printable(f"{evidence['file'].removeprefix(folder)} #{evidence['frame']}")),
        )
    console.print(table)
    if len(ordered) > most_rows:
        rest = plural(len(ordered) - most_rows, "further SA is", "further SAs are")
        console.print(Text(f"{rest} not shown; --rows shows more, --format jsonl all.", style="dim"))


def _common_folder(findings: Sequence[Document]) -> str:
    """The folder that all evidence lies in, with its slash, or nothing: it would only fill the table."""
    folders = {os.path.dirname(f["pqaudit"]["evidence"][0]["file"]) for f in findings}
    common = folders.pop() if len(folders) == 1 else ""
    return f"{common}/" if common else ""


def _write_anomalies(findings: Sequence[Document], run: AuditRun, console: Console) -> None:
    lines: list[Text] = []
    in_sas: dict[str, list[Document]] = {}
    for finding in findings:
        for anomaly in finding["pqaudit"]["anomalies"]:
            in_sas.setdefault(anomaly["id"], []).append(anomaly["frames"][0] if anomaly["frames"] else {})
    for slug, frames in sorted(in_sas.items()):
        where = f"{frames[0]['file']} #{frames[0]['frame']}" if frames[0] else ""
        lines.append(Text(f"  {slug}: {plural(len(frames), 'SA')}, first in {printable(where)}"))
    by_slug: dict[str, int] = {}
    for outside in run.anomalies:
        by_slug[outside.slug] = by_slug.get(outside.slug, 0) + 1
        if by_slug[outside.slug] == 1:
            where = f"{printable(outside.file)} #{outside.frame}"
            lines.append(Text(f"  {outside.slug}: {printable(outside.text)} ({where})"))
    counters = run.counters + run.table.counters
    lines += [Text(f"  {name}: {count:,}") for name, count in sorted(counters.items()) if count]
    if lines:
        console.print()
        console.print(Text("Anomalies and limits", style="bold"))
        for line in lines[:_MOST_LISTED]:
            console.print(line)
        if len(lines) > _MOST_LISTED:
            console.print(Text(f"  {len(lines) - _MOST_LISTED:,} more in --format json", style="dim"))
