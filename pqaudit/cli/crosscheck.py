"""``pqaudit crosscheck``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.number_range import NumberRange
from pqaudit.cli.reading import opened_output, port_option, rules_option, tunnels_option
from pqaudit.cli.signals import ending_in_order

if TYPE_CHECKING:
    from pqaudit.crosscheck.run import Crosscheck

_WIDTH_WITHOUT_TERMINAL = 200


@click.command(
    "crosscheck",
    epilog="Exit codes: 0 no difference that is not explained, 1 unexplained differences, 2 usage (also: tshark or "
    "pyshark is missing), 3 some input could not be read or tshark died (what was compared is printed), 130 "
    "interrupted.",
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="table for people, json for the whole comparison.",
)
@click.option("-o", "--output", default="-", metavar="FILE", help="Write to FILE instead of standard output.")
@port_option
@tunnels_option
@rules_option
@click.option("--rows", type=click.IntRange(0), default=100, show_default=True, help="Differences shown in the table.")
@click.option(
    "--timeout",
    type=NumberRange(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="End tshark when it says nothing for so long, beside a second for every megabyte of the capture.",
)
def command(
    paths: tuple[str, ...],
    form: str,
    output: str,
    ports: tuple[int, ...],
    tunnels: bool,
    rules_folder: Path | None,
    rows: int,
    timeout: float,
) -> None:
    """Compare how pqaudit and tshark read the IKE messages of captures, field by field.

    A second opinion: tshark dissects the captures on its own, and every field on which the two differ is listed.
    Differences that come from a known gap of tshark are counted under the name of the gap. Needs tshark, and pyshark
    (pip install 'pqaudit[crosscheck]').

    \b
      pqaudit crosscheck captures/
    """
    from pqaudit.capture.discover import find_captures
    from pqaudit.capture.shown import scheme_of
    from pqaudit.crosscheck.gaps import Gaps, load_gaps
    from pqaudit.crosscheck.run import Crosscheck
    from pqaudit.crosscheck.runner import NotInstalledError, Tshark, TsharkError
    from pqaudit.pipeline import ReadOptions
    from pqaudit.rules.errors import RulesError

    if any(scheme_of(path) not in (None, "file") for path in paths):
        raise click.UsageError("tshark reads local files; copy captures from a server here, and give the copies")
    try:
        gaps = load_gaps(rules_folder)
        tshark = Tshark(timeout)
    except (RulesError, NotInstalledError) as error:
        raise click.UsageError(str(error)) from error
    except TsharkError as error:
        click.echo(f"pqaudit: error: {error}", err=True)
        sys.exit(ExitCode.UNREADABLE)
    check = Crosscheck(tshark, Gaps(gaps, tshark.version), ReadOptions(ports, tunnels))
    with ending_in_order():
        check.check(find_captures(paths, check.notes.append))
    _report_faults(check)
    with opened_output(output) as out:
        _write(check, form, rows, out)
    sys.exit(_exit_code(check))


def _write(check: Crosscheck, form: str, rows: int, out: TextIO) -> None:
    from pqaudit.crosscheck.report import write_json, write_table

    if form == "json":
        write_json(check, out)
        return
    from rich.console import Console

    # Without a terminal there is no width to fit: lines are kept whole for grep and less.
    width = None if out.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
    write_table(check, Console(file=out, width=width, highlight=False, markup=False, emoji=False), rows)


def _report_faults(check: Crosscheck) -> None:
    from pqaudit.outputs.escape import printable

    for note in check.notes:
        where = printable(note.source) + ("" if note.frame is None else f", after frame {note.frame}")
        click.echo(f"pqaudit: {'error' if note.fatal else 'note'}: {where}: {printable(note.message)}", err=True)
    for file in check.files:
        if file.error is not None:
            done = f"after {file.messages:,} messages" if file.messages else "nothing of it was compared"
            click.echo(f"pqaudit: error: {printable(file.name)}: {printable(file.error)} ({done})", err=True)
    if check.interrupted:
        click.echo("pqaudit: interrupted; this is what was compared so far", err=True)


def _exit_code(check: Crosscheck) -> ExitCode:
    if check.interrupted:
        return ExitCode.INTERRUPTED
    if check.unreadable:
        return ExitCode.UNREADABLE
    return ExitCode.FINDINGS if check.differing else ExitCode.DONE
