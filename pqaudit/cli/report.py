"""``pqaudit report``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from pqaudit.cli.asking import UnreadNotes, each
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import opened_output, progress_bar, rulebook_or_exit, rules_option
from pqaudit.cli.report_manifest import PASSPHRASE_VARIABLE, ManifestOutput
from pqaudit.cli.server_options import (
    URL_VARIABLE,
    ServerOptions,
    connection_options,
    connection_or_exit,
    server_failure,
)
from pqaudit.cli.signals import ReaderGoneError, ending_in_order, quiet_when_reader_goes
from pqaudit.elastic.errors import ServerError
from pqaudit.outputs.escape import printable
from pqaudit.policy.choose import IN_FORCE, choose_policies
from pqaudit.policy.load import load_policies
from pqaudit.policy.model import GROUPS, Policy
from pqaudit.report.formats import FORMATS, UnavailableError, Writer
from pqaudit.rules.errors import RulesError
from pqaudit.rules.rulebook import Rulebook

if TYPE_CHECKING:
    from pqaudit.elastic.connection import Connection
    from pqaudit.finding.query import Query
    from pqaudit.report.assets import Assets
    from pqaudit.report.baseline import Baseline
    from pqaudit.report.gathering import Gatherer
    from pqaudit.report.model import Input, Report
    from pqaudit.report.store import Store

FAIL_ON = ("fails-now", "will-fail", "not-assessable")
_VERIFY = "verify"


class _WithVerify(click.Command):
    """A command that takes files, and has one command below it."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] != [_VERIFY]:
            return super().make_context(info_name, args, parent, **extra)
        from pqaudit.cli.report_verify import command as verify

        return verify.make_context(f"{info_name} {_VERIFY}", args[1:], parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(_VERIFY, "Check a report against its manifest; `./verify` is a file of that name.")])


@click.command(
    "report",
    cls=_WithVerify,
    epilog="Exit codes: 0 done, 1 a tunnel has the status of --fail-on or a worse one, 2 usage, 3 some input was no "
    "finding (the report rests on the rest and says so), 4 the report could not be written, 5 the server cannot be "
    "reached or is overloaded, 6 it refuses, 130 interrupted.",
)
@click.argument("files", nargs=-1, metavar="[FINDINGS...]")
@click.option(
    "--policy",
    "names",
    multiple=True,
    metavar="ID",
    default=[IN_FORCE],
    show_default=True,
    help="Report on this policy; `pqaudit rules list` lists them. in-force: those that ask something on the day and "
    "are certain enough to be met; all: all.",
)
@click.option("--as-of", metavar="DATE", help="See everything from that day.  [default: today, in UTC]")
@click.option(
    "--group",
    "groups",
    multiple=True,
    type=click.Choice(GROUPS),
    help="All SAs belong to this part of a policy's scope, so that its deadlines count.",
)
@click.option("--assets", metavar="FILE", help="CSV or YAML that names addresses and networks, their owner and site.")
@click.option("--baseline", metavar="FILE", help="Compare with an earlier report, written with --format json.")
@click.option(
    "--format",
    "forms",
    multiple=True,
    type=click.Choice(list(FORMATS)),
    default=["markdown"],
    show_default=True,
    help="May be repeated; then -o names a folder for all.",
)
@click.option("-o", "--output", default="-", metavar="OUT", help="File, or folder, in place of standard output.")
@click.option(
    "--sign-manifest",
    is_flag=True,
    help="Write a manifest with SHA-256 of the report, its inputs and all captures as well, as DIR/manifest.json or "
    "FILE.manifest.json, which `pqaudit report verify` checks.",
)
@click.option(
    "--signing-key",
    metavar="FILE",
    help="Sign the manifest with this private key in PEM, of Ed25519 or ML-DSA, as MANIFEST.sig; implies "
    "--sign-manifest. `openssl genpkey -algorithm ed25519 -out key.pem` makes one, `openssl pkey -in key.pem -pubout "
    f"-out public.pem` its public key. {PASSPHRASE_VARIABLE} holds the passphrase of one that is locked.",
)
@click.option("--fail-on", type=click.Choice(FAIL_ON), help="Exit with 1 when a tunnel has this status or a worse one.")
@click.option(
    "--since", metavar="WHEN", help="Only SAs that began then or later: 2026-11-25T10:00:00Z, 2026-11-25, 7d."
)
@click.option("--until", metavar="WHEN", help="Only SAs that began before that.")
@click.option("--peer", "peers", multiple=True, metavar="ADDRESS", help="Either side has this address.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Either side is in this network.")
@click.option("--sensor", "sensors", multiple=True, metavar="NAME", help="The observer has this name.")
@rules_option
@connection_options()
def command(
    files: tuple[str, ...],
    names: tuple[str, ...],
    as_of: str | None,
    groups: tuple[str, ...],
    assets: str | None,
    baseline: str | None,
    forms: tuple[str, ...],
    output: str,
    sign_manifest: bool,
    signing_key: str | None,
    fail_on: str | None,
    since: str | None,
    until: str | None,
    peers: tuple[str, ...],
    networks: tuple[str, ...],
    sensors: tuple[str, ...],
    rules_folder: Path | None,
    server: ServerOptions,
) -> None:
    """Report how tunnels stand to post-quantum deadlines.

    FINDINGS are files as audit --format json or jsonl writes them; - is standard input. json is better: it holds the
    SHA-256 of every capture. Without files the findings on a server are taken.

    \b
      pqaudit audit --format json -o run.json captures/
      pqaudit report run.json --policy cnsa-2.0 --policy uk-ncsc
      pqaudit report run.json --as-of 2027-01-01 --format json --format csv -o report/
      pqaudit report run.json --format html --format json -o report/ --signing-key key.pem
      pqaudit report verify report/manifest.json --key public.pem
    """
    rulebook = rulebook_or_exit(rules_folder)
    now = datetime.now(UTC)
    day = now.date() if as_of is None else _day(as_of)
    policies = _policies(names, rules_folder, rulebook, day)
    query, filters = _query(since, until, peers, networks, sensors, now)
    inputs = [*files, *filter(None, (assets, baseline, signing_key))]
    targets = _targets(dict.fromkeys(forms), output, inputs)
    manifest = ManifestOutput(targets, output, signing_key) if sign_manifest or signing_key is not None else None
    if manifest is not None:
        _refuse_overwriting([manifest.path, manifest.signature], inputs)
    connection = _connection(files, server)
    _refuse_captures(files)

    from pqaudit.report.build import build_report
    from pqaudit.report.gathering import Gatherer
    from pqaudit.report.rows import Lens
    from pqaudit.report.store import Store, StoreError

    notes = UnreadNotes()
    try:
        with ExitStack() as stack:
            for around in (quiet_when_reader_goes, ending_in_order):
                stack.enter_context(around())
            store = stack.enter_context(Store(rulebook.registry))
            known, assets_input = _assets(assets)
            earlier, baseline_input = _baseline(baseline, store)
            with progress_bar([file for file in files if file != "-"]) as progress:
                gatherer = Gatherer(store, notes.take, progress)
                _gather(gatherer, files, connection, query)
            notes.finish()
            lens = Lens(policies, day, frozenset(groups), rulebook.registry, known, earlier)
            report = build_report(
                store,
                gatherer.found,
                lens,
                rulebook,
                query,
                filters=filters,
                others=tuple(filter(None, (assets_input, baseline_input))),
                unread=notes.count,
            )
            _write(report, targets)
            if manifest is not None:
                manifest.write(report)
            failing = _failing(report, fail_on)
    except ServerError as error:
        raise server_failure(error) from error
    except StoreError as error:
        raise _Failed(str(error)) from error
    if notes.count:
        sys.exit(ExitCode.UNREADABLE)
    sys.exit(ExitCode.FINDINGS if failing else ExitCode.DONE)


class _Failed(click.ClickException):
    exit_code = ExitCode.OUTPUT_FAILED


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if len(text) == len("2026-11-25") else date.min
    except ValueError:
        day = date.min
    if not 1970 <= day.year <= 2999:
        raise click.UsageError(f"--as-of takes a day such as 2026-11-25, not {printable(text[:64])!r}")
    return day


def _policies(names: tuple[str, ...], folder: Path | None, rulebook: Rulebook, day: date) -> tuple[Policy, ...]:
    try:
        return choose_policies(names, load_policies(folder, rulebook.registry), day)
    except (RulesError, ValueError) as error:
        raise click.UsageError(printable(str(error))) from error


def _query(
    since: str | None,
    until: str | None,
    peers: tuple[str, ...],
    networks: tuple[str, ...],
    sensors: tuple[str, ...],
    now: datetime,
) -> tuple[Query, tuple[str, ...]]:
    """Which findings count, and that in words; verdicts are no filter, as the others of a tunnel would be missing."""
    from pqaudit.finding.query import Query, peer_address, peer_network
    from pqaudit.finding.when import when

    at = partial(when, now=now)
    query = Query(
        peers=each(peers, peer_address),
        networks=each(networks, peer_network),
        sensors=frozenset(sensors),
        since=next(iter(each([since] if since else [], at)), None),
        until=next(iter(each([until] if until else [], at)), None),
    )
    if query.since is not None and query.until is not None and query.since >= query.until:
        raise click.UsageError("--since is not before --until, so nothing can match")
    said = [f"--{name} {value}" for name, value in (("since", query.since), ("until", query.until)) if value]
    for name, values in (("peer", query.peers), ("network", query.networks), ("sensor", query.sensors)):
        said += [f"--{name} {value}" for value in sorted(map(str, values))]
    return query, tuple(said)


def _targets(forms: Iterable[str], output: str, inputs: Sequence[str]) -> dict[str, str]:
    """The file that each form is written to, ``-`` for standard output; the folder is made where one is needed."""
    chosen = list(forms)
    if output == "-":
        if len(chosen) > 1:
            raise click.UsageError("several formats need a folder: give -o DIR")
        if FORMATS[chosen[0]].binary and sys.stdout.isatty():
            raise click.UsageError(f"{chosen[0]} is nothing for a terminal: give -o FILE")
        return {chosen[0]: "-"}
    folder = Path(output)
    if len(chosen) == 1 and not folder.is_dir():
        targets = {chosen[0]: output}
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"cannot make the folder {output}: {error.strerror}") from error
        targets = {form: str(folder / FORMATS[form].file) for form in chosen}
    _refuse_overwriting(targets.values(), inputs)
    return targets


def _refuse_overwriting(targets: Iterable[str], inputs: Sequence[str]) -> None:
    read = {os.path.realpath(path) for path in inputs if path != "-"}
    for target in targets:
        if os.path.realpath(target) in read:
            raise click.UsageError(f"{target} is one of the files that are read; write to another one")


def _connection(files: tuple[str, ...], options: ServerOptions) -> Connection | None:
    if files:
        if options.given - {"timeout"}:
            raise click.UsageError(f"give files or {options.url_option} with its options, not both")
        return None
    connection = connection_or_exit(options)
    if connection is None:
        raise click.UsageError(f"give files of findings, or a server with {options.url_option} or {URL_VARIABLE}")
    return connection


def _refuse_captures(files: tuple[str, ...]) -> None:
    from pqaudit.capture.discover import is_capture

    if files.count("-") > 1:
        raise click.UsageError("standard input can be read once; it is given more than once")
    for file in files:
        if file != "-" and os.path.isdir(file):
            raise click.UsageError(f"{file} is a folder; name the files with findings in it")
        if file != "-" and is_capture(file):
            name = printable(file)
            raise click.UsageError(
                f"{name} is a capture, and a report is made of findings: "
                f"pqaudit audit --format json -o run.json {name}, then pqaudit report run.json"
            )


def _assets(path: str | None) -> tuple[Assets, Input | None]:
    from pqaudit.report.assets import MOST_OCTETS, Assets, AssetsError, read_assets
    from pqaudit.report.gathering import shown_name
    from pqaudit.report.hashed import HashedOctets
    from pqaudit.report.model import Input

    if path is None:
        return Assets({}), None
    try:
        with open(path, "rb") as file:
            source = HashedOctets(file)
            octets = source.read(MOST_OCTETS + 1)
        if len(octets) > MOST_OCTETS:
            raise click.UsageError(f"{path} has more than {MOST_OCTETS:,} octets")
        return read_assets(octets, Path(path)), Input("assets", shown_name(path), source.octets, source.sha256, None)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except AssetsError as error:
        raise click.UsageError(printable(error.told())) from error


def _baseline(path: str | None, store: Store) -> tuple[Baseline | None, Input | None]:
    from pqaudit.report.baseline import BaselineError, read_baseline
    from pqaudit.report.gathering import shown_name
    from pqaudit.report.hashed import HashedOctets
    from pqaudit.report.model import Input

    if path is None:
        return None, None
    try:
        with open(path, "rb") as file:
            source = HashedOctets(file)
            earlier = read_baseline(source, store)
            source.read_rest()
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except BaselineError as error:
        raise click.UsageError(printable(f"{path}: {error}")) from error
    return earlier, Input("baseline", shown_name(path), source.octets, source.sha256, None)


def _gather(gatherer: Gatherer, files: tuple[str, ...], connection: Connection | None, query: Query) -> None:
    from pqaudit.finding.reading import Unread
    from pqaudit.report.gathering import shown_name

    if connection is not None:
        from pqaudit.elastic.search import ServerFindings
        from pqaudit.elastic.server import connect

        found = ServerFindings(connect(connection), gatherer.note).matching(query)
        gatherer.take(found, connection.url, connection.url)
    for path in files:
        if path == "-":
            gatherer.read(sys.stdin.buffer, path, shown_name(path))
            continue
        try:
            with open(path, "rb") as file:
                gatherer.read(file, path, shown_name(path))
        except OSError as error:
            gatherer.note(Unread(path, None, f"cannot be read: {error.strerror or error}"))


def _write(report: Report, targets: dict[str, str]) -> None:
    from pqaudit.cli.row_progress import writing

    for form, target in targets.items():
        try:
            writer = FORMATS[form].load()
            with opened_output(target) as out, writing(report, form, target) as shown:
                _write_one(writer, shown, out.buffer, target)
        except UnavailableError as error:
            raise click.UsageError(f"{form} cannot be written: {error}") from error


def _write_one(writer: Writer, report: Report, out: BinaryIO, target: str) -> None:
    try:
        writer(report, out)
        out.flush()
    except BrokenPipeError as error:
        if target == "-":
            raise ReaderGoneError from error
        raise


def _failing(report: Report, fail_on: str | None) -> bool:
    from pqaudit.policy.assess import Status

    if fail_on is None:
        return False
    worst = Status(fail_on).rank
    return any(count for totals in report.totals for status, count in totals.tunnels.items() if status.rank <= worst)
