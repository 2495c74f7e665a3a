"""The process that counts ESP: headers out of the kernel, packets and octets by pair of peers over to the sensor."""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import time

from pqaudit.capture.live_errors import LiveCaptureError
from pqaudit.capture.privileges import PrivilegeError, drop_privileges
from pqaudit.decode.esp import esp_in
from pqaudit.exposure.table import ExposureTable
from pqaudit.sensor.capture_wire import Kind, first_message, message, pack_report
from pqaudit.sensor.exposure_wire import ExposureOptions, pack_exposure, unpack_exposure_options
from pqaudit.sensor.source import CaptureReport
from pqaudit.sensor.watched import WatchedInterface, open_interface

# Where the processor is short, the estimate suffers and not the findings.
_NICENESS = 10

_ROUND = 1000  # frames that are read from an interface in one go
_TICK = 1.0

# Seconds of reading at the end: the kernel hands over a block that is not full after a tenth of a second.
_LAST_READING = 0.2
_PAUSE = 0.01


def main(descriptor: int) -> None:
    """The counting process. ``descriptor`` is its end of a socket, on which the options come first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()
    with socket.socket(fileno=descriptor) as link, contextlib.suppress(ConnectionError):
        packed = first_message(link)
        if packed is None:
            return
        try:
            counting = _prepare(unpack_exposure_options(packed), link)
        except (LiveCaptureError, PrivilegeError) as error:
            link.sendall(message(Kind.REFUSED, str(error).encode()))
            return
        counting.run()


def _prepare(options: ExposureOptions, link: socket.socket) -> _Counting:
    """Open everything and give up root. Raises LiveCaptureError or PrivilegeError."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    live = options.live()
    interfaces = [WatchedInterface(name, live) for name in options.interfaces]
    for interface in interfaces:
        # Whether one that is not there is waited for, the capture of IKE has decided before.
        open_interface(interface, wait=True)
    if options.account is not None:
        drop_privileges(options.account, keep_capture=sys.platform == "linux")
    return _Counting(interfaces, link)


class _Counting:
    """Counts until the sensor has closed its end, or SIGTERM comes. Sends what it counted once a second.

    It waits when the sensor does not take that: the kernel drops and counts meanwhile, and nothing grows here.
    """

    def __init__(self, interfaces: list[WatchedInterface], link: socket.socket) -> None:
        self._interfaces = interfaces
        self._link = link
        self._table = ExposureTable()
        self._selector = selectors.DefaultSelector()
        self._parent = os.getppid()
        self._ends = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)
        self._follow()
        self._link.sendall(message(Kind.READY, b""))
        due = time.monotonic()
        while not self._ends:
            now = time.monotonic()
            if now >= due:
                self._tick()
                due = now + _TICK
            pending = any(each.live.pending for each in self._interfaces)
            for key, _ in self._selector.select(0 if pending else due - now):
                # The sensor never sends anything: it has closed its end for writing, or is gone.
                if key.fileobj is self._link:
                    self._ends = True
            self._round()
        until = time.monotonic() + _LAST_READING
        while time.monotonic() < until:
            if not self._round():
                time.sleep(_PAUSE)
        for interface in self._interfaces:
            interface.close()
        self._report()

    def _stop(self, *_: object) -> None:
        self._ends = True

    def _round(self) -> bool:
        """Read once from all; True when there was something."""
        found = False
        for interface in self._interfaces:
            if not interface.live.is_open:
                continue
            for frame in interface.read(_ROUND):
                found = True
                packet = esp_in(frame)
                if packet is not None:
                    self._table.add(packet, frame.time)
            if not interface.live.is_open:
                self._follow()
        return found

    def _tick(self) -> None:
        before = [each.live.is_open for each in self._interfaces]
        for interface in self._interfaces:
            interface.tick()
        if before != [each.live.is_open for each in self._interfaces]:
            self._follow()
        if os.getppid() != self._parent:
            self._ends = True
        self._report()

    def _follow(self) -> None:
        """Wait for the sensor and for those interfaces that are open."""
        self._selector.close()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._link, selectors.EVENT_READ)
        for interface in self._interfaces:
            if interface.live.is_open:
                self._selector.register(interface.live.fileno(), selectors.EVENT_READ)

    def _report(self) -> None:
        notes = [note for each in self._interfaces for note in each.notes]
        for interface in self._interfaces:
            interface.notes.clear()
            interface.take_losses()
        report = CaptureReport(tuple(each.report() for each in self._interfaces), notes=tuple(notes))
        self._link.sendall(pack_exposure(self._table) + pack_report(report))
        self._table = ExposureTable()
