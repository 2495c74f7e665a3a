"""Keeps the counting process running, and adds up what its lives reported."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import replace

from pqaudit.capture.live import Statistics
from pqaudit.exposure.table import ExposureTable
from pqaudit.sensor.capture_wire import Kind, unpack_report
from pqaudit.sensor.child import Child, ChildStartError
from pqaudit.sensor.exposure_wire import ExposureOptions, pack_exposure_options, unpack_exposure
from pqaudit.sensor.source import InterfaceReport

# Seconds. A start takes some tenths.
_START = 30.0
_CLOSE = 1.8

# Seconds until it is started again after its end; twice as long each time, up to the second, until it ran so long.
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 300.0

# Octets taken in one call, so that the analysis is not kept waiting.
_ENOUGH = 4 * 1024 * 1024

_NAME = "process that counts ESP"


class CountingProcess:
    """Counts ESP on interfaces in a process of its own, which is started again when it ends. Nothing raises.

    Args:
        options: what it does.
        said: called with each sentence for a person.

    Attributes:
        running: the process is there and ready.
        interfaces: as the process last told of them, with the packets of its earlier lives.
    """

    def __init__(self, options: ExposureOptions, said: Callable[[str], None]) -> None:
        self.running = False
        self.interfaces: tuple[InterfaceReport, ...] = ()
        self._options = options
        self._said = said
        self._child: Child | None = None
        self._earlier: dict[str, Statistics] = {}
        self._tables: list[ExposureTable] = []
        self._why: str | None = None
        self._told: str | None = None
        self._pause = _FIRST_PAUSE
        self._started = self._due = 0.0

    @property
    def pid(self) -> int | None:
        """The number of the process; None while there is none."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start it for the first time, and wait until it counts or is known not to; that is said, and tried again."""
        self._start()
        until = time.monotonic() + _START
        while self._child is not None and not self.running and (left := until - time.monotonic()) > 0:
            self._child.poll(left)
            self._receive(self._child)

    def read(self) -> list[ExposureTable]:
        """What was counted since the last call, packets as they came; starts the process again when it is time."""
        if self._child is not None:
            self._receive(self._child)
        elif time.monotonic() >= self._due:
            self._start()
        tables, self._tables = self._tables, []
        return tables

    def close(self) -> None:
        """End it within 2 seconds; ``read`` then gives the rest, and must not be called again."""
        child = self._child
        self._due = float("inf")
        if child is None:
            return
        until = time.monotonic() + _CLOSE
        child.tell_to_end()
        while self._child is not None and (left := until - time.monotonic()) > 0:
            if child.poll(left):
                self._receive(child, closing=True)
        if self._child is not None:
            self._end(child)

    def _start(self) -> None:
        self._why = None
        self._started = time.monotonic()
        try:
            self._child = Child("pqaudit.sensor.exposure_child", _NAME, pack_exposure_options(self._options))
        except ChildStartError as error:
            self._fail(str(error))

    def _receive(self, child: Child, *, closing: bool = False) -> None:
        try:
            for kind, packed in child.receive(None if closing else _ENOUGH):
                self._take(kind, packed)
        except EOFError:
            why = self._why or ("" if closing else child.obituary())
        except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            why = f"The {_NAME} sent what cannot be understood: {error}."
        else:
            return
        self._end(child)
        if not closing:
            self._fail(why)

    def _take(self, kind: Kind, packed: bytes) -> None:
        if kind is Kind.EXPOSURE:
            self._tables.append(unpack_exposure(packed))
        elif kind is Kind.REPORT:
            report = unpack_report(packed)
            self.interfaces = tuple(self._with_earlier(each) for each in report.interfaces)
            for note in report.notes:
                self._said(f"Counting ESP: {note}")
        elif kind is Kind.READY:
            self.running = True
            if self._told is not None:
                self._said(f"The {_NAME} runs again.")
                self._told = None
        elif kind is Kind.REFUSED:
            self._why = packed.decode(errors="replace")

    def _with_earlier(self, report: InterfaceReport) -> InterfaceReport:
        earlier, now = self._earlier.get(report.name, Statistics()), report.statistics
        total = Statistics(
            earlier.received + now.received,
            earlier.dropped + now.dropped,
            earlier.interface_dropped + now.interface_dropped,
        )
        return replace(report, statistics=total)

    def _end(self, child: Child) -> None:
        child.kill()
        self._child = None
        self.running = False
        self._earlier = {each.name: each.statistics for each in self.interfaces}

    def _fail(self, why: str) -> None:
        now = time.monotonic()
        if now - self._started > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        if why != self._told:
            self._said(f"ESP is not counted for now. {why}")
            self._told = why
        self._due = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
