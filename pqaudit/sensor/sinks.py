"""Where a sensor's findings go: to the spool for a server, or to a file as JSON lines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import RawIOBase

from pqaudit.elastic.shipment import Shipment
from pqaudit.elastic.spool import SpoolError
from pqaudit.finding.document import Document
from pqaudit.outputs.jsonl import line_of
from pqaudit.sensor.loop import Sink, SinkError


class SpoolSink:
    """Findings to a spool, from where they are delivered."""

    def __init__(self, shipment: Shipment) -> None:
        self._shipment = shipment

    def add(self, findings: Sequence[Document]) -> None:
        """Put findings on disk."""
        try:
            self._shipment.add(list(findings))
        except SpoolError as error:
            raise SinkError(str(error)) from error


class LineSink:
    """Findings as JSON lines; they are with the reader, or on disk, when ``add`` returns.

    Args:
        out: an unbuffered file, so that nothing is left to be written when the disk has room again or never.
        name: how it is called in messages.
    """

    def __init__(self, out: RawIOBase, name: str) -> None:
        self._out = out
        self._name = name

    def add(self, findings: Sequence[Document]) -> None:
        """Write findings."""
        lines = "".join(map(line_of, findings)).encode()
        try:
            left = memoryview(lines)
            while left:
                left = left[self._out.write(left) or 0 :]
            if self._out.seekable():
                os.fsync(self._out.fileno())
        except OSError as error:
            raise SinkError(f"{self._name} cannot be written: {error.strerror}") from error


class AllSinks:
    """Several places at once; findings are safe when each has taken them.

    What is offered again begins with the same findings, so that those which have taken them already are left out.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._taken = [0] * len(sinks)

    def add(self, findings: Sequence[Document]) -> None:
        """Give findings to all, each once."""
        failure: SinkError | None = None
        for number, sink in enumerate(self._sinks):
            new = findings[self._taken[number] :]
            if not new:
                continue
            try:
                sink.add(new)
            except SinkError as error:
                failure = error
            else:
                self._taken[number] = len(findings)
        if failure is not None:
            raise failure
        self._taken = [0] * len(self._sinks)
