"""``--exposure``: ESP is counted, joined with findings, kept in a file, and shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pqaudit.finding.document import Document
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sensor.counting import CountingProcess
from pqaudit.sensor.exposure_file import FILE_NAME, read_exposure, set_aside, write_exposure
from pqaudit.sensor.exposure_wire import ExposureOptions
from pqaudit.sensor.status import ExposureStatus
from pqaudit.sensor.tunnel_traffic import TunnelTraffic

SHOWN = 5
"""Tunnels in the live view."""

# Seconds between two writings; after a finding sooner, as a verdict is not told again after a restart.
_WRITE = 60.0
_WRITE_VERDICT = 2.0

_RANK = 5.0  # between two rankings for the live view

# Of the time, writing and ranking take one part in so many each, at most.
_SHARE = 50


class Exposing:
    """Everything that the sensor does for ``--exposure``. Nothing raises: what goes wrong is said.

    Args:
        options: what is counted.
        rulebook: gives the order of verdicts.
        folder: where the file lies; nothing is written before ``resume``.
        said: called with each sentence for a person.

    Attributes:
        status: kept up to date.
    """

    def __init__(self, options: ExposureOptions, rulebook: Rulebook, folder: Path, said: Callable[[str], None]) -> None:
        self.status = ExposureStatus(options.sample)
        self._rulebook = rulebook
        self._options = options
        self._path = folder / FILE_NAME
        self._said = said
        self._process = CountingProcess(options, said)
        self._tunnels = TunnelTraffic(rulebook, options.sample)
        self._trouble: str | None = None
        self._may_write = False
        now = time.monotonic()
        self._write_due = now + _WRITE
        self._write_not_before = now
        self._rank_due = now

    def start(self) -> None:
        """Begin to count, still as root."""
        self._process.start()

    def resume(self) -> None:
        """Go on from what the file holds; one that is damaged is set aside."""
        try:
            try:
                for document in read_exposure(self._path):
                    self._tunnels.restore(document)
            except (ValueError, KeyError, TypeError, AttributeError):
                self._tunnels = TunnelTraffic(self._rulebook, self._options.sample)
                self._said(f"the traffic of tunnels was damaged and is kept as {set_aside(self._path)}")
        except OSError as error:
            # What it holds would be lost.
            self._said(f"the traffic of tunnels cannot be read, and is not written: {error.strerror}")
        else:
            self._may_write = True
        self._keep_status()

    def told(self, finding: Document) -> None:
        """A finding went out."""
        self._tunnels.told(finding)
        self._write_due = min(self._write_due, time.monotonic() + _WRITE_VERDICT)

    def turn(self) -> None:
        """Called several times a second."""
        now = time.monotonic()
        self._take()
        if now >= self._rank_due:
            self.status.top = self._tunnels.top(SHOWN)
            done = time.monotonic()
            self._rank_due = done + max(_RANK, _SHARE * (done - now))
        if self._may_write and now >= max(self._write_due, self._write_not_before):
            self._write()

    def close(self) -> None:
        """End the process, and write what it counted. Nothing when that was done."""
        self._process.close()
        self._take()
        if self._may_write:
            self._may_write = False
            self._write()

    def _take(self) -> None:
        for counted in self._process.read():
            self._tunnels.add(counted)
        self._keep_status()

    def _keep_status(self) -> None:
        status, tunnels = self.status, self._tunnels
        status.sampled = tunnels.sampled
        status.running = self._process.running
        status.pairs = tunnels.pairs
        status.packets, status.octets = tunnels.packets, tunnels.octets
        status.interfaces = self._process.interfaces
        status.counters = tunnels.counters

    def _write(self) -> None:
        begun = time.monotonic()
        try:
            write_exposure(self._path, self._tunnels.documents())
        except OSError as error:
            trouble = f"the traffic of tunnels cannot be written: {error.strerror}"
            if trouble != self._trouble:
                self._said(trouble)
            self._trouble = trouble
        else:
            if self._trouble is not None:
                self._said("the traffic of tunnels is written again")
            self._trouble = None
        now = time.monotonic()
        self._write_due = now + _WRITE
        self._write_not_before = now + _SHARE * (now - begun)
