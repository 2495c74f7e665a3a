"""Where a sensor's findings go: to the spool for a server, or to a file as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TextIO

from pqaudit.elastic.shipment import Shipment
from pqaudit.elastic.spool import SpoolError
from pqaudit.finding.document import Document
from pqaudit.sensor.loop import SinkError


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
    """Findings as JSON lines; each call is on its way to the reader, or on disk, when it returns."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def add(self, findings: Sequence[Document]) -> None:
        """Write findings."""
        lines = [json.dumps(finding, separators=(",", ":")) for finding in findings]
        try:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()
            if self._out.seekable():
                os.fsync(self._out.fileno())
        except OSError as error:
            raise SinkError(f"{self._out.name} cannot be written: {error.strerror}") from error
