"""``pqaudit ship``: findings made earlier, and those that wait in the spool, to a server."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pqaudit.cli.delivering import Delivering, SpoolOptions, opened_spool, spool_options
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import custom_rules, rulebook_or_exit, rules_option
from pqaudit.cli.server_options import URL_VARIABLE, ServerOptions, connection_options, connection_or_exit
from pqaudit.outputs.escape import printable

if TYPE_CHECKING:
    from pqaudit.elastic.spool import SpoolState
    from pqaudit.finding.document import Document
    from pqaudit.finding.reading import Unread

_MOST_NOTES = 20
_HOUR = 3600.0


@click.command(
    "ship",
    epilog="Exit codes: 0 delivered, 2 usage, 3 some line is no finding, 4 the spool cannot be written, "
    "5 the server is away or overloaded, 6 it refuses, 7 some findings were refused, 130 interrupted.",
)
@click.argument("files", nargs=-1, metavar="[FILE.jsonl]...")
@connection_options()
@spool_options
@rules_option
@click.option("--status", is_flag=True, help="Only show what waits in the spool.")
def command(
    files: tuple[str, ...],
    server: ServerOptions,
    spool: SpoolOptions,
    rules_folder: Path | None,
    status: bool,
) -> None:
    """Send findings to Elasticsearch or OpenSearch.

    FILE is what `pqaudit audit --format jsonl` (or json) wrote; `-` reads standard input. Without FILE, what waits in
    the spool from earlier runs is sent. Each SA is one document: sending a finding twice changes nothing, and what
    several captures or sensors saw of one SA is merged.

    \b
    pqaudit ship findings.jsonl --elasticsearch https://search.example:9200
    pqaudit ship --status
    """
    connection = connection_or_exit(server)
    if status:
        with opened_spool(spool, None) as waiting:
            _show(waiting.state(), waiting.folder)
        return
    if connection is None:
        raise click.UsageError(f"give --elasticsearch URL or {URL_VARIABLE}")
    rulebook = rulebook_or_exit(rules_folder)
    # Imported late so that --help and wrong usage answer at once.
    from pqaudit.finding.reading import read_findings

    unread: list[Unread] = []

    def findings() -> Iterator[Document]:
        for file in files:
            yield from read_findings(file, unread.append)

    with Delivering(connection, spool, rulebook, custom_rules(rules_folder)) as delivering:
        for _ in delivering.through(findings()):
            pass
        code = delivering.finish()
    for note in unread[:_MOST_NOTES]:
        click.echo(f"pqaudit: error: {printable(str(note))}", err=True)
    if len(unread) > _MOST_NOTES:
        click.echo(f"pqaudit: error: {len(unread) - _MOST_NOTES:,} more lines are no findings", err=True)
    sys.exit(ExitCode.UNREADABLE if unread else code)


def _show(state: SpoolState, folder: Path) -> None:
    click.echo(f"spool        {folder}")
    click.echo(f"for          {printable(state.destination or 'no server yet')}")
    click.echo(f"waiting      {state.findings:,} findings, {state.octets:,} octets")
    if state.oldest is not None:
        click.echo(f"oldest       {max(0.0, time.time() - state.oldest) / _HOUR:.1f} hours")
    for name, value in sorted(state.counters.items()):
        click.echo(f"{name:<12} {value:,}")
