"""A process that does nothing but capture, so that bursts leave the kernel's buffer while another one analyses."""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections import deque
from dataclasses import dataclass

from pqaudit.capture.frame import Frame
from pqaudit.capture.live import LEAST_BUFFER, SNAPSHOT_LENGTH
from pqaudit.capture.privileges import Account
from pqaudit.capture.ring import RingOptions
from pqaudit.sensor.channel import FAILED, FRAMES, READY, REPORT, Receiver, unpack_frames, unpack_report
from pqaudit.sensor.source import CaptureEndedError, CaptureReport

_START_SECONDS = 30.0
_STOP_SECONDS = 2.0
_FRAMES_AT_ONCE = 2000
_MOST_UNREAD = 4 << 20


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What is captured, and how.

    Attributes:
        interfaces: names.
        ports: UDP ports that carry IKE beside 500 and 4500.
        tunnels: IKE inside tunnels too.
        buffer_octets: the kernel's buffer of each interface.
        promiscuous: also frames for other machines.
        snapshot_length: octets of a frame that are kept.
        ring_folder: where packets are kept, or None.
        ring_options: its bounds.
        account: whom to become once the interfaces are open, or None.
        backlog_octets: of frames that may wait for the analysis; more are thrown away and counted.
        wait: for interfaces that are not there yet.
    """

    interfaces: tuple[str, ...]
    ports: tuple[int, ...] = ()
    tunnels: bool = True
    buffer_octets: int = LEAST_BUFFER
    promiscuous: bool = True
    snapshot_length: int = SNAPSHOT_LENGTH
    ring_folder: str | None = None
    ring_options: RingOptions | None = None
    account: Account | None = None
    backlog_octets: int = 256 << 20
    wait: bool = False


class CaptureProcess:
    """The capturing process, seen from the one that analyses; a ``FrameSource``."""

    def __init__(self, options: CaptureOptions) -> None:
        self._options = options
        self._frames: deque[Frame] = deque()
        self._reports: list[CaptureReport] = []
        self._failure: str | None = None
        self._ready = False

    def start(self) -> None:
        """Begin to capture; returns once all interfaces are open.

        Raises:
            CaptureEndedError: they cannot be opened, in one sentence.
        """
        from pqaudit.sensor.capture_child import main

        context = multiprocessing.get_context("spawn")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        self._receiver = Receiver(ours)
        self._process = context.Process(target=main, args=(self._options, theirs), name="pqaudit-capture", daemon=True)
        self._process.start()
        theirs.close()
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready:
            self.wait(max(0.0, deadline - time.monotonic()))
            self._take()
            if self._failure is not None or self._receiver.ended or time.monotonic() > deadline:
                self._end()
                raise CaptureEndedError(self._failure or "the capturing process did not start")

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read, at most so long; True when there is."""
        if self._frames:
            return True
        readable, _, _ = select.select([self._socket], [], [], seconds)
        return bool(readable)

    def read(self) -> list[Frame]:
        """Frames that have arrived, some thousands at most; never waits.

        Raises:
            CaptureEndedError: the capturing process is gone.
        """
        self._take()
        if not self._frames and self._receiver.ended:
            raise CaptureEndedError(
                self._failure or "the capturing process ended; its interfaces are no longer watched"
            )
        return [self._frames.popleft() for _ in range(min(_FRAMES_AT_ONCE, len(self._frames)))]

    def reports(self) -> list[CaptureReport]:
        """Reports since the last call, oldest first."""
        self._take()
        found, self._reports = self._reports, []
        return found

    def close(self) -> None:
        """End the capture; the last report and frames can still be read afterwards."""
        if self._process.is_alive():
            self._process.terminate()
            deadline = time.monotonic() + _STOP_SECONDS
            while not self._receiver.ended and time.monotonic() < deadline:
                self.wait(0.1) if not self._frames else time.sleep(0.01)
                self._take(everything=True)
        self._end()

    def _end(self) -> None:
        self._take(everything=True)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._receiver.ended = True
        self._socket.close()

    def _take(self, *, everything: bool = False) -> None:
        while everything or len(self._frames) < _FRAMES_AT_ONCE:
            self._receiver.fill(_MOST_UNREAD)
            message = self._receiver.next()
            if message is None:
                return
            kind, body = message
            if kind == FRAMES:
                self._frames.extend(unpack_frames(body))
            elif kind == REPORT:
                self._reports.append(unpack_report(body))
            elif kind == READY:
                self._ready = True
            elif kind == FAILED:
                self._failure = body.decode()
