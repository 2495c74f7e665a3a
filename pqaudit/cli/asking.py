"""What commands share that ask something of findings."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from pqaudit.finding.reading import Unread
from pqaudit.outputs.escape import printable

_MOST_NOTES = 20
_T = TypeVar("_T")


def each(texts: Iterable[str], read: Callable[[str], _T]) -> frozenset[_T]:
    """What the values of an option mean; wrong usage where ``read`` raises ``ValueError``."""
    try:
        return frozenset(map(read, texts))
    except ValueError as error:
        raise click.UsageError(printable(str(error))) from error


@contextmanager
def as_a_filter(output: str) -> Iterator[None]:
    """End at once and quietly when who reads standard output goes away.

    A connection to a server has SIGPIPE ignored, so that it does not end us elsewhere.
    """
    try:
        yield
        if output == "-":
            sys.stdout.flush()
    except BrokenPipeError:
        if output != "-":
            raise
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)


class UnreadNotes:
    """Says what could not be read, the first of it in full.

    Attributes:
        count: how much that was.
    """

    def __init__(self) -> None:
        self.count = 0

    def take(self, unread: Unread) -> None:
        """Say one."""
        self.count += 1
        if self.count <= _MOST_NOTES:
            click.echo(f"pqaudit: error: {printable(str(unread))}", err=True)

    def finish(self) -> None:
        """Say how many there were, where not all were said."""
        if self.count > _MOST_NOTES:
            click.echo(f"pqaudit: error: {self.count:,} in all could not be read", err=True)
