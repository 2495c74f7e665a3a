"""Options and progress that all commands share which read captures."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

import click

from pqaudit.capture.shown import scheme_of
from pqaudit.capture.stamp import size
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.outputs.escape import printable
from pqaudit.pipeline import AuditRun
from pqaudit.rules.errors import RulesError
from pqaudit.rules.rulebook import Rulebook, load_rulebook

if TYPE_CHECKING:
    from pqaudit.capture.note import InputNote
    from pqaudit.finding.custom_rules import CustomRules
    from pqaudit.keys.opened import OpenedTable
    from pqaudit.keys.table import KeyTable

PORT = click.IntRange(1, 65535)

port_option = click.option(
    "--port",
    "ports",
    type=PORT,
    multiple=True,
    metavar="N",
    help="Port that carries IKE beside 500 and 4500, by UDP with or without the non-ESP marker, or by TCP; may be "
    "repeated.",
)
tunnels_option = click.option(
    "--tunnels/--no-tunnels",
    default=True,
    help="Look for IKE inside tunnels such as GRE and VXLAN.  [default: tunnels]",
)
rules_option = click.option(
    "--rules",
    "rules_folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of your own rules; files named like built-in ones replace them.",
)


keys_option = click.option(
    "--keys",
    "key_files",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Keys of IKE SAs as Wireshark's ikev2_decryption_table; what they open is added to findings and changes no "
    "verdict.",
)


def inputs_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what names captures to a command, which receives it as one argument ``inputs``."""

    @wraps(function)
    def with_inputs(paths: tuple[str, ...], lists: tuple[str, ...], null: bool, **arguments: Any) -> Any:
        return function(**arguments, inputs=InputsGiven(paths, lists, null))

    command: Callable[..., Any] = with_inputs
    for option in (
        click.option(
            "-0",
            "--null",
            is_flag=True,
            help="With --files-from: NUL ends each entry, as find -print0 writes them.  [default: NUL where there is "
            "one, or else the end of a line]",
        ),
        click.option(
            "--files-from",
            "lists",
            multiple=True,
            metavar="FILE",
            help="Read more PATHs from FILE, one in each line, - for standard input; may be repeated.",
        ),
        click.argument("paths", nargs=-1, metavar="PATH..."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class InputsGiven:
    """What the command line says captures are: arguments, and files that list more of them."""

    paths: tuple[str, ...]
    lists: tuple[str, ...]
    null: bool

    def check(self) -> None:
        """End with a sentence where there is nothing to read, or the standard input would be read twice."""
        if not self.paths and not self.lists:
            raise click.UsageError("Missing argument 'PATH...'; or name inputs with --files-from.")
        if self.null and not self.lists:
            raise click.UsageError("--null needs --files-from")
        if [*self.paths, *self.lists].count("-") > 1 and "-" in self.lists:
            raise click.UsageError("standard input can be read once; it is given more than once")

    def named(self, note: Callable[[InputNote], None]) -> list[str]:
        """The arguments, and then what each list names; what is wrong with a list goes to ``note``."""
        from pqaudit.capture.input_list import read_list

        return [*self.paths, *(path for file in self.lists for path in read_list(file, note, null=self.null))]


def keys_or_exit(files: tuple[Path, ...]) -> KeyTable | None:
    """The keys in files, or None without any; every fault in them is told, and the keys of good lines are used."""
    if not files:
        return None
    from pqaudit.keys.table import KeyTable
    from pqaudit.keys.table_file import read_decryption_table

    table = KeyTable()
    for file in files:
        keys, faults = read_decryption_table(file)
        table = table.joined(keys)
        for fault in faults:
            click.echo(f"pqaudit: note: keys: {printable(str(fault))}", err=True)
    if not len(table):
        raise click.UsageError("no key could be read from " + ", ".join(str(file) for file in files))
    return table


def opened_table() -> OpenedTable:
    """An empty table of what keys open; its module brings ciphers along and is loaded only here."""
    from pqaudit.keys.opened import OpenedTable

    return OpenedTable()


def rulebook_or_exit(folder: Path | None) -> Rulebook:
    """Load the rules, or end with one sentence and the exit code for usage."""
    try:
        return load_rulebook(folder)
    except RulesError as error:
        raise click.UsageError(str(error)) from error


def custom_rules(folder: Path | None) -> CustomRules | None:
    """The user's rules in a folder, or None without any; what is wrong with one is said and the others are used."""
    if folder is None:
        return None
    from pqaudit.finding.custom_rules import CustomRules
    from pqaudit.rules.custom import load_custom_rules

    rules, problems = load_custom_rules(folder)
    for problem in problems:
        click.echo(f"pqaudit: note: rule left out: {printable(str(problem))}", err=True)
    return CustomRules(rules) if rules else None


def report_failures(custom: CustomRules) -> None:
    """Say which of the user's rules could not be decided for some SAs."""
    for rule, (count, reason) in custom.failures.items():
        click.echo(
            f"pqaudit: note: rule {rule} could not be decided for {count:,} SAs, first because {reason}", err=True
        )


def report_keys(opened: OpenedTable | None, keys: KeyTable | None) -> None:
    """Say which keys did not open what they were given for."""
    if opened is not None and keys is not None:
        for note in opened.notes(keys):
            click.echo(f"pqaudit: note: keys: {printable(str(note))}", err=True)


def report_notes(run: AuditRun) -> None:
    """Say on standard error what was wrong with inputs."""
    for note in run.notes:
        where = printable(note.source)
        if note.frame is not None:
            where += f", after frame {note.frame}"
        kind = "error" if note.fatal else "note"
        click.echo(f"pqaudit: {kind}: {where}: {printable(note.message)}", err=True)


@contextmanager
def progress_bar(sources: list[str]) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on standard error while reading; None where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    sizes = [size(source) for source in sources]
    # Without a total where there is a size that nobody knows, as of standard input and of some servers.
    total = None if None in sizes else sum(octets or 0 for octets in sizes)
    with Progress(
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("reading", total=total)
        yield lambda octets: progress.advance(task, octets)


@contextmanager
def opened_output(target: str, inputs: Sequence[str] = ()) -> Iterator[TextIO]:
    """The output, standard output for ``-``. A regular file is written beside and moved into place when complete.

    Ends with the exit code for usage where ``target`` is one of ``inputs`` or cannot be opened, and with
    ``OUTPUT_FAILED`` where it cannot be written to the end, a full disk for one.
    """
    if target == "-":
        if sys.stdout is None:  # closed by who called us
            raise _output_failed("standard output", OSError(errno.EBADF, os.strerror(errno.EBADF)))
        try:
            yield sys.stdout
            sys.stdout.flush()
        except OSError as error:
            # What is left in the buffer would fail once more when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise _output_failed("standard output", error) from error
        return
    path = Path(os.path.realpath(target))
    if any(os.path.realpath(source) == str(path) for source in inputs if source != "-" and scheme_of(source) is None):
        raise click.UsageError(f"{target} is one of the files that are read; write to another file")
    part: Path | None = None
    try:
        if os.path.exists(target) and not os.path.isfile(target):
            # A device, a pipe, or a folder: it is written to as it is, never replaced. What /dev/stdout leads to may
            # have no path of its own.
            file: IO[str] = open(target, "w", encoding="utf-8")  # noqa: SIM115
        else:
            prefix = f".{path.name}."
            file = NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=prefix, delete=False)  # noqa: SIM115
            part = Path(file.name)
    except OSError as error:
        raise click.UsageError(f"cannot write {target}: {error.strerror}") from error
    try:
        with file:
            yield cast("TextIO", file)
        if part is not None:
            part.chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
            part.replace(path)
    except OSError as error:
        raise _output_failed(target, error) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


class _OutputFailed(click.ClickException):
    exit_code = ExitCode.OUTPUT_FAILED


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _output_failed(target: str, error: OSError) -> click.ClickException:
    return _OutputFailed(f"{target} could not be written to the end: {error.strerror}")


def exit_code(run: AuditRun, failing: bool) -> ExitCode:
    """The exit code of a run; an unread input weighs more than a finding, for the answer is not complete."""
    if run.interrupted:
        return ExitCode.INTERRUPTED
    if run.unreadable:
        return ExitCode.UNREADABLE
    return ExitCode.FINDINGS if failing else ExitCode.DONE
