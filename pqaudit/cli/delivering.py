"""Options of all commands that send findings to a server, and what they say about it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.number_range import NumberRange
from pqaudit.cli.server_options import server_failure
from pqaudit.elastic.connection import Connection
from pqaudit.outputs.escape import printable

if TYPE_CHECKING:
    from pqaudit.elastic.delivery import Delivery
    from pqaudit.elastic.errors import ServerError
    from pqaudit.elastic.server import Server
    from pqaudit.elastic.spool import Spool
    from pqaudit.finding.custom_rules import CustomRules
    from pqaudit.finding.document import Document
    from pqaudit.rules.rulebook import Rulebook

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

    def in_folder(self, folder: Path) -> SpoolOptions:
        """The same with another folder."""
        return replace(self, folder=folder)


def spool_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the spool to a command, which receives them as one argument ``spool`` (`SpoolOptions`)."""
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
            type=NumberRange(0, min_open=True),
            default=30.0,
            show_default=True,
            metavar="DAYS",
            help="Longest wait there.",
        ),
        click.option(
            "--patience",
            type=NumberRange(0),
            default=30.0,
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

    @wraps(function)
    def with_spool(**arguments: Any) -> Any:
        values = [
            arguments.pop(name) for name in ("spool_folder", "spool_megabytes", "spool_days", "patience", "adopt")
        ]
        return function(**arguments, spool=SpoolOptions(*values))

    command: Callable[..., Any] = with_spool
    for option in reversed(options):
        command = option(command)
    return command


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


class Delivering:
    """Sends findings to a server while a command makes them, and says what became of them.

    A context manager; leaving it keeps in the spool what is not confirmed.
    """

    def __init__(
        self,
        connection: Connection,
        options: SpoolOptions,
        rulebook: Rulebook,
        custom: CustomRules | None,
        *,
        for_ever: bool = False,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._tell = tell or (lambda text: _say(f"note: {text}"))
        self._for_ever = for_ever
        self._connection = connection
        self._options = options
        self._rulebook = rulebook
        self._custom = custom
        self._stack = ExitStack()

    def __enter__(self) -> Delivering:
        from pqaudit.elastic.dead_letters import DeadLetters
        from pqaudit.elastic.delivery import Delivery
        from pqaudit.elastic.shipment import Shipment
        from pqaudit.finding.merging import Merger

        with ExitStack() as stack:
            spool = stack.enter_context(opened_spool(self._options, self._connection))
            merger = Merger(self._rulebook, self._custom)
            self._delivery = Delivery(
                spool, lambda: _prepared(self._connection), merger.merge, DeadLetters(spool.folder), tell=self._hear
            )
            self.shipment = stack.enter_context(Shipment(self._delivery, for_ever=self._for_ever))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, _SpoolFailed):
            self.shipment.stop()
            self._say_what_waits()
        self._stack.__exit__(kind, error, trace)

    def _hear(self, error: ServerError | None) -> None:
        self._tell("the server takes findings again" if error is None else f"{error}; findings wait in the spool")

    @property
    def waiting(self) -> int:
        """Findings that wait in the spool."""
        return len(self._delivery.spool)

    @property
    def delivered(self) -> int:
        """Findings that the server confirmed."""
        from pqaudit.elastic.delivery import CREATED, MERGED, SAME

        return sum(self._delivery.counters[name] for name in (CREATED, MERGED, SAME))

    @property
    def dropped(self) -> int:
        """Findings dropped in this run, to keep to the bounds of the spool."""
        return self.shipment.dropped

    @property
    def refused(self) -> int:
        """Findings that the server refused for good."""
        from pqaudit.elastic.spool import REJECTED

        return self._delivery.counters[REJECTED]

    @property
    def trouble(self) -> str | None:
        """A sentence while the server does not take findings."""
        error = self._delivery.trouble
        return None if error is None else str(error)

    def expire(self) -> None:
        """Drop what has waited for too long."""
        from pqaudit.elastic.spool import SpoolError

        with suppress(SpoolError):
            self.shipment.dropped += self._delivery.spool.expire()

    def through(self, findings: Iterable[Document]) -> Iterator[Document]:
        """The findings again, each only after it is on disk; ends the command where the disk does not take them."""
        from pqaudit.elastic.spool import SpoolError

        try:
            yield from self.shipment.through(findings)
        except SpoolError as error:
            raise _SpoolFailed(str(error)) from error

    def finish(self) -> ExitCode:
        """Wait for the server with a progress bar, say what became of the findings, and give the exit code for it."""
        from pqaudit.elastic.errors import ServerError
        from pqaudit.elastic.spool import SpoolError

        code = ExitCode.DONE
        try:
            with _progress(self._delivery):
                self.shipment.finish(self._options.patience)
        except ServerError as error:
            failure = server_failure(error)
            click.echo(f"pqaudit: error: {failure.message}", err=True)
            code = ExitCode(failure.exit_code)
        except SpoolError as error:
            raise _SpoolFailed(str(error)) from error
        except OSError as error:
            where = self._delivery.dead_letters.path
            raise _SpoolFailed(f"{where} cannot be written: {error.strerror}") from error
        return self._report(code)

    def _say_what_waits(self) -> None:
        if waiting := self.waiting:
            _say(f"{waiting:,} findings are safe in {self._delivery.spool.folder}; send them with `pqaudit ship`")

    def _report(self, code: ExitCode) -> ExitCode:
        """Tell what became of the findings; refused ones make the exit code unless a worse one is set."""
        from pqaudit.elastic.delivery import CREATED, MERGED, SAME
        from pqaudit.elastic.spool import REJECTED

        delivery = self._delivery
        counters = delivery.counters
        _say(
            f"{self.delivered:,} findings delivered to {printable(self._connection.url)}: {counters[CREATED]:,} new, "
            f"{counters[MERGED]:,} merged with what was known, {counters[SAME]:,} known already"
        )
        self._say_what_waits()
        if self.shipment.dropped:
            _say(f"{self.shipment.dropped:,} findings were dropped to keep to the bounds of the spool")
        if counters[REJECTED]:
            where = delivery.dead_letters.path
            _say(f"{counters[REJECTED]:,} findings were refused and are kept with the reason in {where}")
            if delivery.dead_letters.left_out:
                _say(f"{delivery.dead_letters.left_out:,} of them found no room there")
            if code is ExitCode.DONE:
                code = ExitCode.REJECTED
        return code


def _say(text: str) -> None:
    click.echo(f"pqaudit: {text}", err=True)


def _prepared(connection: Connection) -> Server:
    """The server, with the index templates made where they are missing."""
    from pqaudit.elastic.server import connect
    from pqaudit.elastic.setup import ensure_templates

    server = connect(connection)
    ensure_templates(server)
    return server


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
