"""Options of commands that keep what they read of an archive in a journal, and what they say about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from pqaudit.capture.octets import only_here
from pqaudit.cli.clustering import cluster_errors_told, tell
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.number_range import NumberRange
from pqaudit.cli.reading import progress_bar
from pqaudit.outputs.escape import printable
from pqaudit.outputs.wording import plural

if TYPE_CHECKING:
    from pqaudit.archive.resume import Read, TakeCapture
    from pqaudit.archive.view import View
    from pqaudit.finding.stream import Wanted
    from pqaudit.parallel import Progress
    from pqaudit.pipeline import AuditRun, ReadOptions
    from pqaudit.sa.group import Group

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Where the journal is, None for none, and what of it counts; ``days`` that an input may go without being named."""

    file: Path | None
    with_earlier: bool
    changed_only: bool
    days: float


def journal_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the journal to a command, which receives them as one argument ``journal``."""
    options = [
        click.option(
            "--journal",
            "journal_file",
            type=click.Path(path_type=Path, dir_okay=False, readable=False),  # what else is wrong, the journal says
            metavar="FILE",
            help="Keep in FILE what every capture showed, and read only those that are new or have changed. The result "
            "is that of reading all. A run that was stopped goes on where it was.",
        ),
        click.option(
            "--with-earlier",
            is_flag=True,
            help="With --journal: all captures that the journal knows count, also what is gone or not named.",
        ),
        click.option(
            "--changed-only",
            is_flag=True,
            help="With --journal: only findings of SAs of which captures show what no run with this option has told.",
        ),
        click.option(
            "--journal-keep",
            "journal_days",
            type=NumberRange(0, min_open=True),
            default=400.0,
            show_default=True,
            metavar="DAYS",
            help="Captures that no run named for so long are taken out of the journal.",
        ),
    ]

    @wraps(function)
    def with_journal(**arguments: Any) -> Any:
        names = ("journal_file", "with_earlier", "changed_only", "journal_days")
        values = [arguments.pop(name) for name in names]
        return function(**arguments, journal=JournalOptions(*values))

    command: Callable[..., Any] = with_journal
    for option in reversed(options):
        command = option(command)
    return command


def check_journal_options(
    journal: JournalOptions, paths: Sequence[str], lists: Sequence[str], *, keys: bool, grouped: bool
) -> None:
    """End with a sentence where options do not go together."""
    if journal.file is None:
        if journal.with_earlier or journal.changed_only:
            raise click.UsageError("--with-earlier and --changed-only need --journal")
        return
    if keys:
        raise click.UsageError("--keys cannot be used with --journal: what keys open is never written to disk")
    if any(os.path.exists(file) and journal.file.exists() and journal.file.samefile(file) for file in lists):
        raise click.UsageError(f"{journal.file} is the journal and no list of inputs; name another file")
    if any(map(only_here, paths)):
        raise click.UsageError(
            "what only this process can open, standard input for one, cannot be used with --journal: it cannot be "
            "recognised in a later run"
        )
    if journal.changed_only and grouped:
        raise click.UsageError("--changed-only leaves out findings that --group-by needs")


class JournalledReading:
    """Reads captures through a journal. A context manager.

    Args:
        options: with a file.
        reading: how captures are read; their digest is taken.
    """

    def __init__(self, options: JournalOptions, reading: ReadOptions) -> None:
        from pqaudit.archive.journal import Journal
        from pqaudit.archive.resume import Resuming

        assert options.file is not None
        self._options = options
        self._reading = reading
        self._view: View | None = None
        with _told():
            self._journal = Journal(options.file)
        if self._journal.damaged is not None:
            _say(f"note: the journal was damaged and is kept as {self._journal.damaged}; all is read anew")
        self._resuming = Resuming(self._journal, reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def is_known_capture(self, source: str) -> bool:
        """True when a source is a capture and needs no reading."""
        with _told():
            return self._resuming.is_known_capture(source)

    @property
    def files(self) -> list[str]:
        """The files in which the journal is."""
        from pqaudit.archive.journal import files_of

        return [str(file) for file in files_of(self._journal.path)]

    def is_own(self, path: str) -> bool:
        """True when a local file belongs to the journal."""
        return self._journal.owns(path)

    def read(self, sources: Sequence[str], run: AuditRun, *, workers: int, cluster: str | None = None) -> None:
        """Read what is new, here or on a cluster, and add to ``run`` all that is shown besides SAs."""
        from pqaudit.archive.view import View

        resuming = self._resuming
        with _told():
            resuming.plan(sources)
            if resuming.otherwise:
                count = plural(resuming.otherwise, "capture was", "captures were")
                _say(f"note: journal: {count} read with other options or by an earlier pqaudit, and are read again")
            with progress_bar(resuming.unread) as progress, cluster_errors_told():
                resuming.read(self._reader(workers, cluster, progress))
            forgotten = self._journal.forget(self._options.days * _DAY)
            self._view = View(
                self._journal,
                resuming.shown(),
                resuming.settings,
                with_earlier=self._options.with_earlier,
                touched_only=self._options.changed_only,
            )
            self._view.add_to(run)
        run.interrupted = resuming.interrupted
        text = f"journal: {plural(resuming.known, 'capture')} known, {resuming.read_count:,} read, "
        text += f"{resuming.again + resuming.otherwise:,} of them again"
        if self._options.with_earlier:
            text += f"; {plural(self._view.earlier, 'earlier one counts', 'earlier ones count')} too"
        _say(text)
        if self._view.otherwise:
            count = plural(self._view.otherwise, "earlier capture counts", "earlier captures count")
            _say(f"note: journal: {count} as read then, with other options or by another pqaudit")
        if forgotten:
            _say(f"journal: {plural(forgotten, 'capture')} forgotten that no run named for {self._options.days:g} days")

    def _reader(self, workers: int, cluster: str | None, progress: Progress | None) -> Read:
        from pqaudit.archive.packing import pack

        def read_here(unread: Sequence[str], take: TakeCapture) -> bool:
            from pqaudit.parallel import read_apart

            return read_apart(unread, self._reading, workers=workers, pack=pack, take=take, progress=progress)

        def read_there(unread: Sequence[str], take: TakeCapture) -> bool:
            from pqaudit.archive.cluster import read_apart_on_cluster

            assert cluster is not None
            if not unread:
                return False  # needs no cluster
            return read_apart_on_cluster(
                unread, self._reading, cluster, pack=pack, take=take, tell=tell, progress=progress
            )

        return read_here if cluster is None else read_there

    def drawn(self) -> tuple[Iterator[Group], Wanted | None]:
        """After ``read``: all evidence in order, and which findings of it are asked for, None for all."""
        assert self._view is not None
        return self._groups(self._view), self._view.is_touched if self._options.changed_only else None

    def set_told(self) -> None:
        """After all findings were printed and are in the spool: with --changed-only they are not told again."""
        if self._options.changed_only and self._view is not None:
            with _told():
                self._view.set_told()

    @staticmethod
    def _groups(view: View) -> Iterator[Group]:
        with _told():
            yield from view.groups()


class _JournalFailed(click.ClickException):
    exit_code = ExitCode.OUTPUT_FAILED


@contextmanager
def _told() -> Iterator[None]:
    from pqaudit.archive.journal import JournalError

    try:
        yield
    except JournalError as error:
        raise _JournalFailed(printable(str(error))) from error


def _say(text: str) -> None:
    click.echo(f"pqaudit: {printable(text)}", err=True)
