"""``pqaudit elasticsearch``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import opened_output
from pqaudit.cli.server_options import ServerOptions, connection_options, connection_or_exit, server_failure
from pqaudit.elastic.step import Done, Step
from pqaudit.outputs.escape import printable


@click.group("elasticsearch")
def command() -> None:
    """Prepare Elasticsearch or OpenSearch for findings, and Kibana for showing them."""


@command.command("setup")
@connection_options("--url")
@click.option(
    "--retention",
    type=click.IntRange(1, 36_500),
    metavar="DAYS",
    help="Have the server delete findings after DAYS, a month at a time.  [default: findings are kept]",
)
@click.option("--dry-run", is_flag=True, help="Print all that could be sent as JSON, and ask no server.")
def setup(server: ServerOptions, retention: int | None, dry_run: bool) -> None:
    """Create the index templates of findings, or bring them and existing indices up to date.

    It can be run as often as one likes: what is there in this revision or a later one is left alone, and fields are
    only ever added to indices that exist. The privileges it needs are listed in docs/elasticsearch.md.
    """
    from pqaudit.elastic.server import connect
    from pqaudit.elastic.setup import requests, set_up
    from pqaudit.elastic.templates import load_layout

    if dry_run:
        planned = [asdict(request) for request in requests(load_layout(), retention)]
        click.echo(json.dumps(planned, indent=2))
        return
    connection = connection_or_exit(server)
    if connection is None:
        raise click.UsageError(f"give the server with {server.url_option}, or --dry-run")

    from pqaudit.elastic.errors import ServerError

    undone = False
    try:
        reached = connect(connection)
        try:
            for step in set_up(reached, retention=retention):
                undone = _told(step) or undone
        finally:
            reached.close()
    except ServerError as error:
        raise server_failure(error) from error
    if retention is None:
        click.echo("findings: kept, as no --retention is given; a policy that is there stays as it is")
    if undone:
        click.get_current_context().exit(ExitCode.SERVER_REFUSED)


def _told(step: Step) -> bool:
    """Print a step; True when something asked for was not done."""
    line = f"{step.what}: {step.done}" + (f" ({step.detail})" if step.detail else "")
    undone = step.done in (Done.FAILED, Done.LEFT_OUT)
    click.echo(printable(line), err=undone)
    return undone


@command.command("kibana")
@click.option("-o", "--output", default="-", metavar="FILE", help="Write to FILE instead of standard output.")
def kibana(output: str) -> None:
    """Print a data view and a dashboard for Kibana 8.9 and later, to be imported there under Saved Objects.

    It shows verdicts over time, the protection of what is recorded today, classical tunnels by peer and the days to the
    deadlines of policies. It was not opened in a Kibana.
    """
    from pqaudit.elastic.kibana import export_lines
    from pqaudit.policy.load import load_policies

    policies = load_policies().values()
    with opened_output(output) as out:
        for line in export_lines(policies):
            out.write(line + "\n")
