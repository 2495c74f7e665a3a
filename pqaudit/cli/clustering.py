"""The option for reading on a cluster, and how its errors end the command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from pqaudit.capture.octets import only_here
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.outputs.escape import printable

cluster_option = click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Read on the workers of a Dask cluster: its scheduler's address, tcp://host:8786 or tls://..., or the file "
    "that dask scheduler --scheduler-file wrote. The workers open the captures themselves. The result does not depend "
    "on it. Needs pip install 'pqaudit[cluster]'.",
)


def check_cluster_options(cluster: str | None, paths: Sequence[str], *, keys: bool, workers: int | None) -> None:
    """End with a sentence where options do not go together."""
    if cluster is None:
        return
    if keys:
        raise click.UsageError("--keys cannot be used with --cluster: keys are never sent to other machines")
    if any(map(only_here, paths)):
        raise click.UsageError(
            "what only this process can open, standard input for one, cannot be used with --cluster: the workers cannot"
        )
    if workers is not None:
        raise click.UsageError("--workers is for reading on this machine; with --cluster all of its workers read")


class _ClusterAway(click.ClickException):
    exit_code = ExitCode.NOT_DELIVERED


class _ClusterUnfit(click.ClickException):
    exit_code = ExitCode.USAGE


@contextmanager
def cluster_errors_told() -> Iterator[None]:
    """Errors of a cluster end the command, in one sentence and with an exit code that tells whether to try again."""
    from pqaudit.archive.cluster_errors import ClusterAwayError, ClusterError

    try:
        yield
    except ClusterError as error:
        kind = _ClusterAway if isinstance(error, ClusterAwayError) else _ClusterUnfit
        raise kind(printable(str(error))) from error


def tell(text: str) -> None:
    """Say what is going on with the cluster, on standard error."""
    click.echo(f"pqaudit: note: {printable(text)}", err=True)
