"""Options of all commands that send findings to a server, and what they say about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.server_options import server_failure
from pqaudit.elastic.connection import Connection
from pqaudit.outputs.escape import printable

if TYPE_CHECKING:
    from pqaudit.elastic.delivery import Delivery
    from pqaudit.elastic.server import Server
    from pqaudit.elastic.shipment import Shipment
    from pqaudit.elastic.spool import Spool
    from pqaudit.finding.merging import Merger

_MEGABYTE = 1 << 20
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class SpoolOptions:
    """Where and how long findings wait for a server; ``patience`` in seconds."""

    folder: Path | None
    megabytes: int
    days: float
    patience: float
    adopt: bool


def spool_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the spool to a command; ``spool_options_of`` reads them."""
    options = [
        click.option(
            "--spool",
            "spool_folder",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="DIR",
            envvar="PQAUDIT_SPOOL",
            show_envvar=True,
            help="Folder where findings wait on disk until the server has confirmed them.  "
            "[default: ~/.local/state/pqaudit/spool]",
        ),
        click.option(
            "--spool-size",
            "spool_megabytes",
            type=click.IntRange(1),
            default=2048,
            show_default=True,
            metavar="MB",
            help="Most that may wait there; beyond it the oldest are dropped and counted.",
        ),
        click.option(
            "--spool-age",
            "spool_days",
            type=click.FloatRange(0, min_open=True),
            default=30.0,
            show_default=True,
            metavar="DAYS",
            help="Longest wait there.",
        ),
        click.option(
            "--patience",
            type=click.FloatRange(0),
            default=60.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to go on without any progress when the server is away or overloaded.",
        ),
        click.option(
            "--adopt",
            is_flag=True,
            help="Send findings that wait for another server to this one.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@contextmanager
def opened_spool(options: SpoolOptions, connection: Connection | None) -> Iterator[Spool]:
    """The spool, meant for the connection's server from now on; ends with a sentence where it cannot be."""
    from pqaudit.elastic.spool import Spool, SpoolError, default_folder

    try:
        spool = Spool(
            options.folder or default_folder(),
            most_octets=options.megabytes * _MEGABYTE,
            most_age=options.days * _DAY,
        )
        try:
            if spool.damaged is not None:
                click.echo(f"pqaudit: note: the spool was damaged and is kept as {spool.damaged}", err=True)
            if connection is not None:
                _claim(spool, connection, adopt=options.adopt)
            yield spool
        finally:
            spool.close()
    except SpoolError as error:
        raise _SpoolFailed(str(error)) from error


def _claim(spool: Spool, connection: Connection, *, adopt: bool) -> None:
    known = spool.destination
    if known not in (None, connection.url) and not adopt and (waiting := len(spool)):
        raise click.UsageError(
            f"{waiting:,} findings in the spool {spool.folder} wait for {known}; send them there with `pqaudit ship`, "
            "add --adopt to send them to this server, or name another --spool"
        )
    if known != connection.url:
        spool.destination = connection.url


class _SpoolFailed(click.ClickException):
    exit_code = ExitCode.OUTPUT_FAILED


def new_delivery(spool: Spool, connection: Connection, merger: Merger, patience: float | None) -> Delivery:
    """Delivery from a spool to a server whose index templates are made when missing."""
    from pqaudit.elastic.dead_letters import DeadLetters
    from pqaudit.elastic.delivery import Delivery

    return Delivery(spool, lambda: _prepared(connection), merger.merge, DeadLetters(spool.folder), patience)


def _prepared(connection: Connection) -> Server:
    from pqaudit.elastic.server import connect

    return connect(connection)


def finish(shipment: Shipment, delivery: Delivery, url: str) -> ExitCode:
    """Wait for the server with a progress bar, say what became of the findings, and give the exit code for it."""
    from pqaudit.elastic.errors import ServerError
    from pqaudit.elastic.spool import SpoolError

    code = ExitCode.DONE
    try:
        with _progress(delivery):
            shipment.finish()
    except ServerError as error:
        failure = server_failure(error)
        click.echo(f"pqaudit: error: {failure.message}", err=True)
        code = ExitCode(failure.exit_code)
    except SpoolError as error:
        raise _SpoolFailed(str(error)) from error
    except OSError as error:
        raise _SpoolFailed(f"{delivery.dead_letters.path} cannot be written: {error.strerror}") from error
    return report(delivery, shipment.dropped, url, code)


def report(delivery: Delivery, dropped: int, url: str, code: ExitCode) -> ExitCode:
    """Say on standard error what became of the findings; refused ones make the exit code unless a worse one is set."""
    from pqaudit.elastic.delivery import CREATED, MERGED, SAME
    from pqaudit.elastic.spool import REJECTED

    counters = delivery.counters
    delivered = counters[CREATED] + counters[MERGED] + counters[SAME]
    click.echo(
        f"pqaudit: {delivered:,} findings delivered to {printable(url)}: {counters[CREATED]:,} new, "
        f"{counters[MERGED]:,} merged with what was known, {counters[SAME]:,} known already",
        err=True,
    )
    if waiting := len(delivery.spool):
        click.echo(
            f"pqaudit: {waiting:,} findings are safe in {delivery.spool.folder}; send them with `pqaudit ship`",
            err=True,
        )
    if dropped:
        click.echo(f"pqaudit: {dropped:,} findings were dropped to keep to the bounds of the spool", err=True)
    if counters[REJECTED]:
        click.echo(
            f"pqaudit: {counters[REJECTED]:,} findings were refused and are kept with the reason in "
            f"{delivery.dead_letters.path}",
            err=True,
        )
        if delivery.dead_letters.left_out:
            click.echo(f"pqaudit: {delivery.dead_letters.left_out:,} of them found no room there", err=True)
        if code is ExitCode.DONE:
            code = ExitCode.REJECTED
    return code


@contextmanager
def _progress(delivery: Delivery) -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sending", total=len(delivery.spool))
        delivery.progress = lambda findings: progress.advance(task, findings)
        try:
            yield
        finally:
            delivery.progress = None
