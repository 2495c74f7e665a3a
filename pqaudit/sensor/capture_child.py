"""What the capturing process does: interfaces in, frames and reports out."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from pqaudit.capture.devices import DeviceState
from pqaudit.capture.frame import Frame
from pqaudit.capture.live import LiveInterface, LiveOptions
from pqaudit.capture.live_errors import LiveCaptureError
from pqaudit.capture.loss import Loss, LossLog
from pqaudit.capture.privileges import PrivilegeError, drop_privileges
from pqaudit.capture.ring import PacketRing, RingError, RingOptions
from pqaudit.decode.decoder import Decoder
from pqaudit.decode.kernel_filter import kernel_filter
from pqaudit.sensor.channel import Sender, pack_failure, pack_frames, pack_ready, pack_report
from pqaudit.sensor.source import CaptureReport, InterfaceReport

if TYPE_CHECKING:
    from pqaudit.sensor.capturing import CaptureOptions

_REPORT_SECONDS = 1.0
_FRAMES_AT_ONCE = 512
_LINGER_SECONDS = 1.0  # for the other side to take the last report
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(options: CaptureOptions, end: socket.socket) -> None:
    """Capture until SIGTERM, or until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too; the other one ends us
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    end.setblocking(False)
    sender = Sender(end, options.backlog_octets)
    try:
        _Capture(options, end, sender).run()
    except (LiveCaptureError, PrivilegeError, RingError) as error:
        sender.put(pack_failure(str(error)))
    except BrokenPipeError:
        return
    _linger(end, sender)


def _linger(end: socket.socket, sender: Sender) -> None:
    deadline = time.monotonic() + _LINGER_SECONDS
    with suppress(OSError):
        while sender.octets and time.monotonic() < deadline:
            select.select([], [end], [], 0.1)
            sender.flush()


class _Watched:
    """One interface, its losses, and what was said about it."""

    def __init__(self, name: str, options: LiveOptions) -> None:
        self.interface = LiveInterface(name, options)
        self.losses = LossLog()
        self.state = DeviceState.UP
        self.problem: str | None = None
        self.not_analysed = 0
        self.not_analysed_before = 0


class _Capture:
    def __init__(self, options: CaptureOptions, end: socket.socket, sender: Sender) -> None:
        self._options = options
        self._end = end
        self._sender = sender
        self._stopping = False
        self._notes: list[str] = []
        self._losses: list[tuple[str, Loss]] = []
        self._reported_at = time.time_ns()
        decoder = Decoder(ports=options.ports, tunnels=options.tunnels)
        live = LiveOptions(
            kernel_filter=lambda link_type: kernel_filter(link_type, options.ports, tunnels=options.tunnels),
            wanted=decoder.wanted,
            buffer_octets=options.buffer_octets,
            promiscuous=options.promiscuous,
            snapshot_length=options.snapshot_length,
        )
        self._watched = [_Watched(name, live) for name in options.interfaces]
        self._ring: PacketRing | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def run(self) -> None:
        """Open everything, give up root, then capture."""
        options = self._options
        for each in self._watched:
            self._open(each, first=True)
        if options.account is not None:
            drop_privileges(options.account, keep_capture=sys.platform == "linux")
            if sys.platform == "linux":
                # Changing the user unset it.
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if options.ring_folder is not None:
            self._ring = PacketRing(
                options.ring_folder, options.ring_options or RingOptions(), report=self._notes.append
            )
        self._sender.put(pack_ready())
        self._report()
        due = time.monotonic() + _REPORT_SECONDS
        parent = os.getppid()
        while not self._stopping and os.getppid() == parent:
            self._turn(max(0.0, due - time.monotonic()))
            if time.monotonic() >= due:
                due = time.monotonic() + _REPORT_SECONDS
                self._look_after_interfaces()
                self._report()
        for each in self._watched:
            self._drain(each)
            each.interface.close()
        self._report()
        if self._ring is not None:
            self._ring.close()

    def _turn(self, seconds: float) -> None:
        is_open = {each.interface.fileno(): each for each in self._watched if each.interface.is_open}
        pending = [each for each in is_open.values() if each.interface.pending]
        writing = [self._end] if self._sender.octets else []
        # The other side sends nothing: readable means that it is gone.
        end = self._end.fileno()
        readable, _, _ = select.select([*is_open, end], writing, [], 0 if pending else seconds)
        for each in {*pending, *(is_open[which] for which in readable if which in is_open)}:
            self._read(each)
        self._sender.flush()
        if end in readable and not self._end.recv(1, socket.MSG_PEEK):
            raise BrokenPipeError

    def _read(self, watched: _Watched) -> bool:
        interface = watched.interface
        try:
            frames = interface.read(_FRAMES_AT_ONCE)
        except LiveCaptureError as error:
            self._lose(watched, error)
            return False
        if not frames:
            return False
        if self._ring is not None:
            for frame in frames:
                place = self._ring.add(frame)
                if place is not None:
                    frame.source, frame.number = place
        if not self._sender.offer(pack_frames(frames)):
            watched.not_analysed += len(frames)
            self._note_not_analysed(watched, frames)
        return True

    def _drain(self, watched: _Watched) -> None:
        while watched.interface.is_open and self._read(watched):
            pass

    def _note_not_analysed(self, watched: _Watched, frames: list[Frame]) -> None:
        times = [frame.time for frame in frames]
        loss = Loss(min(times), max(times), len(frames), 0)
        self._losses.append((watched.interface.name, loss))
        del self._losses[:-1000]

    # -- interfaces that go and come back ------------------------------------------------------------------------

    def _open(self, watched: _Watched, *, first: bool = False) -> None:
        try:
            watched.interface.open()
        except LiveCaptureError as error:
            if not error.passing or (first and not self._options.wait):
                raise
            if first:
                self._lose(watched, error)
            return
        if watched.problem is not None:
            watched.problem = None
            self._notes.append(f"{watched.interface.name} is watched again")
            loss = watched.losses.blind_until(time.time_ns())
            if loss is not None:
                self._losses.append((watched.interface.name, loss))

    def _lose(self, watched: _Watched, error: LiveCaptureError) -> None:
        if watched.problem is None:
            self._notes.append(f"{error.message.rstrip('.')}; waiting for it")
        watched.problem = error.message
        watched.interface.close()
        watched.losses.blind_from(time.time_ns())

    def _look_after_interfaces(self) -> None:
        for each in self._watched:
            interface = each.interface
            if not interface.is_open:
                with suppress(LiveCaptureError):
                    self._open(each)
            each.state = state = interface.check()
            if state is DeviceState.GONE and interface.is_open:
                self._drain(each)
                if interface.is_open:
                    self._lose(each, LiveCaptureError(f"The interface {interface.name} is gone or was replaced"))
            elif state is DeviceState.DOWN and each.problem is None:
                each.problem = f"The interface {interface.name} is down."
                self._notes.append(f"{interface.name} is down; waiting for it")
                each.losses.blind_from(time.time_ns())
            elif state is DeviceState.UP and interface.is_open and each.problem is not None:
                self._open(each)
                each.problem = None
                self._notes.append(f"{interface.name} is up again")
                loss = each.losses.blind_until(time.time_ns())
                if loss is not None:
                    self._losses.append((interface.name, loss))
        if self._ring is not None:
            self._ring.tick()

    # -- reports -------------------------------------------------------------------------------------------------

    def _interfaces(self) -> Iterator[InterfaceReport]:
        now = time.time_ns()
        for each in self._watched:
            statistics = each.interface.statistics()
            loss = each.losses.observe(now, statistics)
            if loss is not None:
                self._losses.append((each.interface.name, loss))
                lost = loss.dropped + loss.interface_dropped
                self._notes.append(f"{lost:,} packets were dropped on {each.interface.name}")
            fresh = each.not_analysed - each.not_analysed_before
            if fresh:
                each.not_analysed_before = each.not_analysed
                self._notes.append(f"{fresh:,} frames of {each.interface.name} came too fast for the analysis")
            yield InterfaceReport(each.interface.name, each.state, statistics, each.not_analysed, each.problem)

    def _report(self) -> None:
        interfaces = tuple(self._interfaces())
        report = CaptureReport(
            interfaces,
            tuple(self._losses),
            None if self._ring is None else self._ring.state,
            self._sender.octets,
            tuple(self._notes),
        )
        self._losses.clear()
        self._notes.clear()
        self._sender.put(pack_report(report))
