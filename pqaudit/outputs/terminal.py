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
_TABLE_WIDTH = 150
_Order = tuple[int, int, str, str]


def verdict_text(verdict: str) -> Text:
    """A verdict in its colour."""
    return Text(verdict, style=_STYLES.get(verdict, ""))


class Summary:
    """What a summary needs of findings, gathered one by one so that they need not be kept.

    Args:
        rulebook: gives the order of verdicts.
        most_rows: SAs in the table, the worst ones.
    """

    def __init__(self, rulebook: Rulebook, most_rows: int) -> None:
        self._rulebook = rulebook
        self._most_rows = most_rows
        self._counts: Counter[str] = Counter()
        self._worst: list[tuple[_Order, Document]] = []
        self._anomalies: dict[str, tuple[int, Document]] = {}
        self._rules: dict[str, tuple[int, str]] = {}

    def add(self, finding: Document) -> None:
        """Take one finding into account."""
        own = finding["pqaudit"]
        self._counts[own["verdict"]] += 1
        for anomaly in own["anomalies"]:
            count, first = self._anomalies.get(anomaly["id"], (0, anomaly["frames"][0] if anomaly["frames"] else {}))
            self._anomalies[anomaly["id"]] = (count + 1, first)
        for rule in own.get("rules", ()):
            count, _ = self._rules.get(rule["id"], (0, ""))
            self._rules[rule["id"]] = (count + 1, rule["title"])
        rank = self._rulebook.rank(own["verdict"])
        order = (rank, -finding["event"]["severity"], finding["@timestamp"], finding["event"]["id"])
        self._worst.append((order, finding))
        # Twice the room, so that sorting costs little for each finding.
        if len(self._worst) > 2 * self._most_rows + 64:
            self._keep_worst()

    def write(self, run: AuditRun, console: Console) -> None:
        """Print the summary."""
        total = self._counts.total()
        console.print(Text(f"{plural(total, 'IKE SA')} in {plural(len(run.files), 'file')}", style="bold"))
        width = max(len(f"{count:,}") for count in [0, *self._counts.values()])
        for name in self._rulebook.verdicts:
            count = self._counts[name.id]
            line = Text(f"  {count:>{width},}  ")
            line.append(f"{name.id:<22}", style=_STYLES.get(name.id, "") if count else "dim")
            line.append(name.meaning, style="dim")
            console.print(line, soft_wrap=True)
        self._keep_worst()
        if self._worst:
            console.print()
            _write_table([finding for _, finding in self._worst], self._rulebook, console)
        if total > len(self._worst):
            rest = plural(total - len(self._worst), "further SA is", "further SAs are")
            console.print(Text(f"{rest} not shown; --rows shows more, --format jsonl all.", style="dim"))
        if self._rules:
            console.print()
            console.print(Text("Your rules", style="bold"))
            for identifier, (count, title) in sorted(self._rules.items()):
                console.print(Text(f"  {identifier}: {plural(count, 'SA')}: {printable(title)}"))
        self._write_anomalies(run, console)

    def _keep_worst(self) -> None:
        self._worst.sort(key=lambda entry: entry[0])
        del self._worst[self._most_rows :]

    def _write_anomalies(self, run: AuditRun, console: Console) -> None:
        lines: list[Text] = []
        for slug, (count, first) in sorted(self._anomalies.items()):
            where = f", first in {printable(first['file'])} #{first['frame']}" if first else ""
            lines.append(Text(f"  {slug}: {plural(count, 'SA')}{where}"))
        seen: set[str] = set()
        for outside in run.anomalies:
            if outside.slug not in seen:
                seen.add(outside.slug)
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


def _write_table(findings: Sequence[Document], rulebook: Rulebook, console: Console) -> None:
    folder = _common_folder(findings)
    rows = [_cells(finding, rulebook, folder) for finding in findings]
    if console.width < _TABLE_WIDTH:
        # Seven columns do not fit: two lines for each SA, what was found first and where to look after it.
        for verdict, reason, selected, seen, ends, spi, where in rows:
            line = verdict_text(verdict)
            line.append(f"  {selected}  {reason}, {seen}", style="")
            console.print(line, soft_wrap=True)
            console.print(Text(f"    {ends}  SPI {spi}  {where}", style="dim"), soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("Verdict", "Reason", "Selected", "Seen", "Initiator > responder", "Initiator SPI", "Look at"):
        table.add_column(title, overflow="fold", no_wrap=title in ("Verdict", "Seen", "Initiator SPI"))
    for verdict, *rest in rows:
        table.add_row(verdict_text(verdict), *map(Text, rest))
    console.print(table)


def _cells(finding: Document, rulebook: Rulebook, folder: str) -> tuple[str, str, str, str, str, str, str]:
    own = finding["pqaudit"]
    evidence = own["evidence"][0]
    return (
        own["verdict"],
        own["reason"] if own["protection"] != "ppk" else f"{own['reason']}, PPK negotiated",
        exchanges_text(own["selected"], rulebook.registry),
        own["assurance"],
        f"{endpoint_text(finding['source'])} > {endpoint_text(finding['destination'])}",
        own["ike"]["initiator_spi"],
        printable(f"{evidence['file'].removeprefix(folder)} #{evidence['frame']}"),
    )


def _common_folder(findings: Sequence[Document]) -> str:
    """The folder that all evidence lies in, with its slash, or nothing: it would only fill the table."""
    folders = {os.path.dirname(f["pqaudit"]["evidence"][0]["file"]) for f in findings}
    common = folders.pop() if len(folders) == 1 else ""
    return f"{common}/" if common else ""
