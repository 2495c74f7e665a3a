"""``pqaudit audit``."""

from __future__ import annotations

import gc
import os
import socket
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from pqaudit.cli.clustering import check_cluster_options, cluster_errors_told, cluster_option, tell
from pqaudit.cli.delivering import Delivering, SpoolOptions, spool_options
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.journalling import JournalledReading, JournalOptions, check_journal_options, journal_options
from pqaudit.cli.reading import (
    InputsGiven,
    custom_rules,
    exit_code,
    inputs_options,
    keys_option,
    keys_or_exit,
    opened_output,
    opened_table,
    port_option,
    progress_bar,
    report_failures,
    report_keys,
    report_notes,
    rulebook_or_exit,
    rules_option,
    tunnels_option,
)
from pqaudit.cli.server_options import ServerOptions, connection_options, connection_or_exit

if TYPE_CHECKING:
    from rich.console import Console

    from pqaudit.finding.document import Document
    from pqaudit.keys.opened import OpenedTable
    from pqaudit.pipeline import AuditRun
    from pqaudit.rules.rulebook import Rulebook

VERDICTS = ("classical-only", "undetermined", "rfc9370-non-standard", "ml-kem-only", "hybrid-ml-kem")
_WIDTH_WITHOUT_TERMINAL = 200


@click.command(
    "audit",
    epilog="Exit codes: 0 done, 1 findings at or above --fail-on, 2 usage, 3 some input could not be read (the rest "
    "was), 4 the output, the spool or the journal could not be written, 5 the server of --elasticsearch or the "
    "cluster is away or overloaded, 6 it refuses, 7 some findings were refused by it, 130 interrupted (what was found "
    "so far is printed).",
)
@inputs_options
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "jsonl", "json"]),
    default="table",
    show_default=True,
    help="table for people, jsonl with one finding a line, json for the whole run with counts.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Write to FILE instead of standard output.")
@click.option(
    "--fail-on",
    type=click.Choice(VERDICTS),
    help="Exit with 1 when an SA has this verdict or a worse one; the choices stand worst first.",
)
@click.option(
    "--group-by",
    type=click.Choice(["peer", "tunnel"]),
    help="Report each address, or each pair of addresses: its state now, its last negotiation, whether it changed.",
)
@click.option(
    "--exposure",
    is_flag=True,
    help="With --group-by tunnel: count the encrypted traffic (ESP) of each tunnel, and rank by it. All frames are "
    "then looked at, which takes several times as long.",
)
@port_option
@tunnels_option
@rules_option
@keys_option
@click.option("--rows", type=click.IntRange(0), default=100, show_default=True, help="SAs shown in the table.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Captures read side by side.  [default: number of cores]",
)
@cluster_option
@click.option(
    "--max-sas",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    metavar="N",
    help="IKE SAs held in memory at once; beyond, the oldest without an answer are given up, and counted.",
)
@journal_options
@connection_options()
@spool_options
@click.option("--sensor", metavar="NAME", help="Name of the observer in findings.  [default: this machine's name]")
def command(
    inputs: InputsGiven,
    form: str,
    output: str,
    fail_on: str | None,
    group_by: str | None,
    exposure: bool,
    ports: tuple[int, ...],
    tunnels: bool,
    rules_folder: Path | None,
    key_files: tuple[Path, ...],
    rows: int,
    workers: int | None,
    cluster: str | None,
    max_sas: int,
    sensor: str | None,
    journal: JournalOptions,
    server: ServerOptions,
    spool: SpoolOptions,
) -> None:
    """Say of every IKE SA in captures which key exchange protects it, and why.

    PATH is a capture file (pcap or pcapng, compressed or not), a directory of them, a pattern with * ? [...] **, or -
    for standard input. It may be a URL: s3://, gs://, sftp://, http(s)://, with pip install 'pqaudit[s3]' and so on.

    \b
      pqaudit audit captures/
      tcpdump -w - udp port 500 or udp port 4500 | pqaudit audit -
      pqaudit audit --format jsonl site.pcapng > findings.jsonl
      pqaudit audit s3://archive/2026/ 'sftp://audit@tap.example/captures/*.pcap.zst'
      find captures -name '*.pcap' -newer last-run | pqaudit audit --files-from -
      pqaudit audit --fail-on classical-only captures/ || echo "not ready"
      pqaudit audit --elasticsearch https://search.example:9200 captures/
      pqaudit audit --journal archive.journal /archive/

    With --journal a run reads only captures that are new or have changed, and goes on where a run before was stopped;
    what it says is what reading all of them would give.

    With --elasticsearch findings are also sent there: each is on disk, in the spool, before it is printed, and stays
    there until the server has confirmed it.
    """
    if exposure and group_by != "tunnel":
        raise click.UsageError("--exposure needs --group-by tunnel: traffic belongs to a pair of peers")
    inputs.check()
    check_journal_options(journal, inputs.paths, inputs.lists, keys=bool(key_files), grouped=group_by is not None)
    check_cluster_options(cluster, inputs.paths, keys=bool(key_files), workers=workers)
    connection = connection_or_exit(server)
    rulebook = rulebook_or_exit(rules_folder)
    # What is built holds no cycles; looking for them again and again took a quarter of the time of large runs.
    gc.disable()
    keys = keys_or_exit(key_files)
    # Imported late so that --help and wrong usage answer at once.
    from pqaudit.capture.discover import find_captures
    from pqaudit.finding.document import Observer
    from pqaudit.finding.stream import findings_of
    from pqaudit.parallel import read_side_by_side
    from pqaudit.pipeline import ReadOptions, new_run, read_inputs

    options = ReadOptions(
        ports, tunnels, digest=form == "json" or journal.file is not None, exposure=exposure, most_sas=max_sas
    )
    run = new_run(options)
    opened: OpenedTable | None = None
    observer = Observer(sensor or socket.gethostname())
    worst = None if fail_on is None else rulebook.rank(fail_on)
    failing = False
    custom = custom_rules(rules_folder)

    with ExitStack() as stack:
        journalled: JournalledReading | None = None
        if journal.file is None:
            sources = find_captures(inputs.named(run.notes.append), run.notes.append)
        else:
            journalled = stack.enter_context(JournalledReading(journal, options))
            sources = find_captures(
                inputs.named(run.notes.append), run.notes.append, journalled.is_known_capture, journalled.is_own
            )
        delivering: Delivering | None = None
        if connection is not None:
            delivering = stack.enter_context(Delivering(connection, spool, rulebook, custom))
        readers = workers or os.cpu_count() or 1
        if journalled is not None:
            journalled.read(sources, run, workers=readers, cluster=cluster)
        elif cluster is not None:
            from pqaudit.archive.cluster import read_on_cluster

            with progress_bar(sources) as progress, cluster_errors_told():
                read_on_cluster(sources, run, options, cluster, tell=tell, progress=progress)
        elif keys is None:
            with progress_bar(sources) as progress:
                read_side_by_side(sources, run, options, workers=readers, progress=progress)
        else:
            opened = opened_table()
            add = opened.add
            with progress_bar(sources) as progress:
                # One process, so that keys stay in it.
                read_inputs(sources, run, options, progress=progress, on_message=lambda d, m: add(d, m.header, keys))
        report_notes(run)
        report_keys(opened, keys)
        if run.interrupted:
            click.echo("pqaudit: interrupted; this is what was found so far", err=True)

        def findings() -> Iterator[Document]:
            nonlocal failing
            groups, wanted = (run.table.drain(), None) if journalled is None else journalled.drawn()
            found = findings_of(groups, rulebook, observer, opened, wanted)
            found = found if custom is None else custom.apply(found)
            for finding in found if delivering is None else delivering.through(found):
                failing = failing or (worst is not None and rulebook.rank(finding["pqaudit"]["verdict"]) <= worst)
                yield finding

        made = findings()
        try:
            with opened_output(output, [*sources, *([] if journalled is None else journalled.files)]) as out:
                _write(made, form, group_by, run, rulebook, out, rows, exposure=exposure)
        except click.ClickException as error:
            if delivering is not None and error.exit_code == ExitCode.OUTPUT_FAILED:
                deque(made, maxlen=0)  # what can no longer be printed is kept for the server all the same
            raise
        if journalled is not None and not run.interrupted:
            journalled.set_told()
        if custom is not None:
            report_failures(custom)
        code = exit_code(run, failing)
        if delivering is not None:
            sent = delivering.finish()
            code = sent if code in (ExitCode.DONE, ExitCode.FINDINGS) and sent is not ExitCode.DONE else code
    sys.exit(code)


def _write(
    findings: Iterator[Document],
    form: str,
    group_by: str | None,
    run: AuditRun,
    rulebook: Rulebook,
    out: TextIO,
    rows: int,
    *,
    exposure: bool,
) -> None:
    if group_by is not None:
        traffic = run.exposure.documents() if exposure else None
        _write_groups(findings, group_by, form, rulebook, out, rows, traffic)
    elif form == "table":
        from pqaudit.outputs.terminal import Summary

        summary = Summary(rulebook, rows)
        for finding in findings:
            summary.add(finding)
        summary.write(run, _console(out))
    else:
        from pqaudit.outputs.jsonl import write_lines, write_run

        if form == "jsonl":
            write_lines(findings, out)
        else:
            write_run(findings, run, rulebook, out)


def _console(out: TextIO) -> Console:
    from rich.console import Console

    # Without a terminal there is no width to fit: lines are kept whole for grep and less.
    width = None if out.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
    return Console(file=out, width=width, highlight=False, markup=False, emoji=False)


def _write_groups(
    findings: Iterator[Document],
    by: str,
    form: str,
    rulebook: Rulebook,
    out: TextIO,
    rows: int,
    traffic: Mapping[tuple[str, ...], Document] | None,
) -> None:
    from pqaudit.finding.grouping import Grouping

    grouping = Grouping(by, rulebook)
    for finding in findings:
        grouping.add(finding)
    if form == "table":
        from pqaudit.outputs.groups import write_groups

        write_groups(grouping.documents(traffic), by, rulebook, _console(out), most_rows=rows)
    else:
        from pqaudit.outputs.jsonl import write_lines, write_list

        write = write_lines if form == "jsonl" else write_list
        write(grouping.documents(traffic), out)
