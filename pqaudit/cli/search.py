"""``pqaudit search``."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, TextIO

import click

from pqaudit.cli.asking import UnreadNotes, as_a_filter, each
from pqaudit.cli.audit import VERDICTS
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import opened_output, rulebook_or_exit
from pqaudit.cli.server_options import (
    URL_VARIABLE,
    ServerOptions,
    connection_options,
    connection_or_exit,
    server_failure,
)
from pqaudit.elastic.errors import ServerError
from pqaudit.finding.answers import BY, By

if TYPE_CHECKING:
    from pqaudit.elastic.search import ServerFindings
    from pqaudit.finding.document import Document
    from pqaudit.finding.local import FileFindings
    from pqaudit.finding.reading import Note
    from pqaudit.rules.registry import Registry

_PROTECTIONS = ("ml-kem", "unverified", "ppk", "none", "unknown")
_WIDTH_WITHOUT_TERMINAL = 200


@click.command(
    "search",
    epilog="Exit codes: 0 done, also when nothing matches, 2 usage, 3 some input was no finding (the rest counts), 5 "
    "the server cannot be reached or is overloaded, 6 it refuses, 130 interrupted.",
)
@click.argument("files", nargs=-1, metavar="[FILE.jsonl...]")
@click.option("--peer", "peers", multiple=True, metavar="ADDRESS", help="Either side has this address.")
@click.option("--network", "networks", multiple=True, metavar="CIDR", help="Either side is in this network.")
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice(VERDICTS))
@click.option("--protection", "protections", multiple=True, type=click.Choice(_PROTECTIONS))
@click.option("--reason", "reasons", multiple=True, metavar="SLUG", help="For example not-offered.")
@click.option("--since", metavar="WHEN", help="First packet then or later: 2026-11-25T10:00:00Z, 2026-11-25, 7d, 12h.")
@click.option("--until", metavar="WHEN", help="First packet before that.")
@click.option("--method", "methods", multiple=True, metavar="NAME|ID", help="This key exchange was selected, anywhere.")
@click.option("--vendor", "vendors", multiple=True, metavar="NAME", help="A vendor ID of either side hints at it.")
@click.option("--deviation", "deviations", multiple=True, metavar="ID", help="It departs from a document in this.")
@click.option("--sensor", "sensors", multiple=True, metavar="NAME", help="The observer has this name.")
@click.option("--by", type=click.Choice(BY), help="Count the SAs of each value, in place of listing the latest.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "jsonl"]),
    default="table",
    show_default=True,
    help="table for people, json for the whole answer, jsonl for all findings that match or all counts, one a line.",
)
@click.option("--rows", type=click.IntRange(0), default=20, show_default=True, help="Findings or counts shown.")
@click.option("-o", "--output", default="-", metavar="FILE", help="Write to FILE instead of standard output.")
@connection_options()
def command(
    files: tuple[str, ...],
    peers: tuple[str, ...],
    networks: tuple[str, ...],
    verdicts: tuple[str, ...],
    protections: tuple[str, ...],
    reasons: tuple[str, ...],
    since: str | None,
    until: str | None,
    methods: tuple[str, ...],
    vendors: tuple[str, ...],
    deviations: tuple[str, ...],
    sensors: tuple[str, ...],
    by: By | None,
    form: str,
    rows: int,
    output: str,
    server: ServerOptions,
) -> None:
    """Ask the usual questions of findings, in files or on a server.

    FILE holds findings as audit --format jsonl or json writes them; - is standard input. Without files the server is
    asked, and answers the same. Options that filter may be repeated: any value of one, and all of the options.

    \b
      pqaudit search findings.jsonl --verdict classical-only --by peer
      pqaudit search --elasticsearch https://host:9200 --network 192.0.2.0/24 --since 7d
    """
    from pqaudit.finding.query import Query, peer_address, peer_network
    from pqaudit.finding.when import when

    registry = rulebook_or_exit(None).registry
    at = partial(when, now=datetime.now(UTC))
    query = Query(
        peers=each(peers, peer_address),
        networks=each(networks, peer_network),
        verdicts=frozenset(verdicts),
        protections=frozenset(protections),
        reasons=frozenset(reasons),
        methods=each(methods, partial(_method, registry=registry)),
        vendors=frozenset(map(registry.vendor, vendors)),
        deviations=frozenset(deviations),
        sensors=frozenset(sensors),
        since=next(iter(each([since] if since is not None else [], at)), None),
        until=next(iter(each([until] if until is not None else [], at)), None),
    )
    if query.since is not None and query.until is not None and query.since >= query.until:
        raise click.UsageError("--since is not before --until, so nothing can match")
    notes = UnreadNotes()
    try:
        source = _source(files, server, notes.take)
        with opened_output(output, files) as out, as_a_filter(output):
            if form == "jsonl" and by is None:
                found = _write_lines(source.matching(query), out)
            else:
                answer = (
                    source.summary(query, rows).document()
                    if by is None
                    else source.groups(query, by).document(registry)
                )
                found = answer["sas"]
                _write(answer, form, registry, out, rows)
    except ServerError as error:
        raise server_failure(error) from error
    finally:
        notes.finish()
    if not found and form != "table":
        click.echo("pqaudit: no finding matches", err=True)
    sys.exit(ExitCode.UNREADABLE if notes.count else ExitCode.DONE)


def _source(files: tuple[str, ...], options: ServerOptions, note: Note) -> FileFindings | ServerFindings:
    if files:
        if options.given - {"timeout"}:
            raise click.UsageError(f"give files or {options.url_option} with its options, not both")
        from pqaudit.finding.local import FileFindings

        return FileFindings(files, note)
    connection = connection_or_exit(options)
    if connection is None:
        raise click.UsageError(f"give files of findings, or a server with {options.url_option} or {URL_VARIABLE}")
    from pqaudit.elastic.search import ServerFindings
    from pqaudit.elastic.server import connect

    return ServerFindings(connect(connection), note)


def _method(text: str, registry: Registry) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else registry.method_number(text)
    if number is None:
        raise ValueError(f"no key exchange method is named {text!r}; give its number")
    return number


def _write(answer: Document, form: str, registry: Registry, out: TextIO, rows: int) -> None:
    from pqaudit.outputs.answers import write_group_lines, write_groups, write_json, write_summary

    if form == "json":
        write_json(answer, out)
    elif form == "jsonl":
        write_group_lines(answer, out)
    else:
        from rich.console import Console

        # Without a terminal there is no width to fit: lines are kept whole for grep and less.
        width = None if out.isatty() or "COLUMNS" in os.environ else _WIDTH_WITHOUT_TERMINAL
        console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
        if "by" in answer:
            write_groups(answer, console, rows)
        else:
            write_summary(answer, registry, console)


def _write_lines(findings: Generator[Document, None, None], out: TextIO) -> int:
    from pqaudit.outputs.jsonl import write_lines

    count = 0

    def counted() -> Iterator[Document]:
        nonlocal count
        for finding in findings:
            count += 1
            yield finding

    with closing(findings):  # also when the reader goes away: a server keeps up what it reads from
        write_lines(counted(), out)
    return count
