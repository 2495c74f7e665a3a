"""Where a sensor's findings go: to the spool for a server, or to a file as JSON lines."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from io import FileIO

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

    A file that was renamed or deleted, as those do that rotate logs, is made anew. A line that could be written only in
    part does not stay.

    Args:
        output: where to; ``-`` is standard output.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, output: str) -> None:
        self._name = output
        self._out = self._opened()

    def add(self, findings: Sequence[Document]) -> None:
        """Write findings."""
        lines = "".join(map(line_of, findings)).encode()
        try:
            if self._is_elsewhere():
                self._out.close()
                self._out = self._opened()
            self._write(lines)
        except BrokenPipeError as error:
            # Of a named pipe the next reader may come; standard output has no other.
            raise SinkError(f"who read {self._name} is gone", passing=self._name != "-") from error
        except OSError as error:
            raise SinkError(f"{self._name} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; standard output stays open."""
        self._out.close()

    def _opened(self) -> FileIO:
        # Unbuffered, so that nothing is left to be written when the disk has room again or never.
        if self._name == "-":
            return FileIO(1, "a", closefd=False)
        out = FileIO(self._name, "a")
        if _is_regular(out) and _is_torn(self._name):
            out.write(b"\n")
        return out

    def _is_elsewhere(self) -> bool:
        """The name no longer stands for the file that is open."""
        if self._name == "-":
            return False
        if self._out.closed:
            return True
        try:
            return not os.path.samestat(os.stat(self._name), os.fstat(self._out.fileno()))
        except FileNotFoundError:
            return True

    def _write(self, lines: bytes) -> None:
        out = self._out
        before = os.fstat(out.fileno()).st_size
        left = memoryview(lines)
        try:
            while left:
                left = left[out.write(left) or 0 :]
            if _is_regular(out):
                os.fsync(out.fileno())
        except OSError:
            written = len(lines) - len(left)
            # All lines will be offered again. Nothing is taken back when somebody else writes there too.
            if written and _is_regular(out) and os.fstat(out.fileno()).st_size == before + written:
                with suppress(OSError):
                    out.truncate(before)
            raise


def _is_regular(file: FileIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _is_torn(path: str) -> bool:
    """Whoever wrote last was killed amid a line."""
    with suppress(OSError), open(path, "rb") as file:  # it may not be allowed to read it
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    return False


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
