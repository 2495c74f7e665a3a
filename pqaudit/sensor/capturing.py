"""The capture in a process of its own, so that bursts are pulled out of the kernel while this one analyses."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from types import TracebackType

from pqaudit.capture.frame import Frame
from pqaudit.sensor.capture_options import CaptureOptions, pack_options
from pqaudit.sensor.capture_wire import Kind, Unpacker, message, unpack_frames, unpack_report
from pqaudit.sensor.source import CaptureEndedError, CaptureReport

__all__ = ["CaptureOptions", "CaptureProcess", "CaptureStartError"]

# Seconds. Starting takes 0.2; opening an interface may wait for its driver.
_START = 30.0
_CLOSE = 1.8

# Frames after which a read gives what it has.
_ENOUGH = 4096

_RECEIVE = 256 * 1024
_SOCKET_BUFFER = 1024 * 1024

# Octets of what the process said last.
_SAID = 4096

# Modules are looked for where this process does: -c alone would put the folder first in which it stands, and that may
# be anybody's.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; from pqaudit.sensor.capture_child import main; main(int(sys.argv[1]))"
)


class CaptureStartError(Exception):
    """The capture cannot begin.

    Attributes:
        message: one sentence for a person; what to do, when there is something to do.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class CaptureProcess:
    """A process that does nothing but capture; a ``FrameSource``.

    It ends with this process, however this one ends. It belongs to a process group of its own and ignores SIGINT, so
    that an interrupt at the terminal reaches this process alone. Not for use by several threads at once.

    Attributes:
        options: what it does.
    """

    def __init__(self, options: CaptureOptions) -> None:
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._unpacker = Unpacker()
        self._frames: list[Frame] = []
        self._unopened: list[bytes] = []
        self._reports: list[CaptureReport] = []
        self._ready = False
        self._over = False
        self._why: str | None = None
        self._said = b""

    @property
    def pid(self) -> int | None:
        """The number of the process; None before ``start``."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it, and wait until all interfaces are open and root is given up; some tenths of a second.

        Raises:
            CaptureStartError: it cannot begin.
        """
        if self._process is not None:
            raise ValueError("started already")
        if sys.platform == "win32":
            raise CaptureStartError("Live capture is not possible on Windows: it has nothing to wait for there.")
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            self._link = ours
            command = [sys.executable, "-I", "-c", _PROGRAM, str(theirs.fileno()), *_paths()]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
            except OSError as error:
                ours.close()
                raise CaptureStartError(f"The capturing process cannot be started: {error}.") from error
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        try:
            ours.sendall(message(Kind.OPTIONS, pack_options(self.options)))
            ours.setblocking(False)
            self._await_ready()
        except BaseException:
            self._kill()
            raise

    def _await_ready(self) -> None:
        until = time.monotonic() + _START
        while not self._ready:
            if self._over:
                raise CaptureStartError(self._why or self._obituary())
            left = until - time.monotonic()
            if left <= 0:
                raise CaptureStartError(f"The capturing process did not get ready within {_START:.0f} seconds.")
            self._poll(left)
            self._receive()

    def fileno(self) -> int:
        """A descriptor that becomes readable when frames or reports come. Raises ValueError when not running."""
        if self._link is None:
            raise ValueError("not running")
        return self._link.fileno()

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read, at most so long; True when there is, also the end."""
        if self._frames or self._unopened or self._reports or self._over or self._link is None:
            return True
        return self._poll(seconds)

    def read(self) -> list[Frame]:
        """Frames that have arrived, in their order, some thousands at most; never waits.

        After ``close`` those that were on their way then, and an empty list when there are no more.

        Raises:
            CaptureEndedError: the capturing process ended by itself, and all that it gave was read.
        """
        if not self._frames and not self._unopened:
            self._receive()
        self._open_batches()
        frames, self._frames = self._frames, []
        if not frames and self._over and self._link is not None:
            raise CaptureEndedError(self._why or self._obituary())
        return frames

    def reports(self) -> list[CaptureReport]:
        """Reports since the last call, oldest first."""
        if not self._over and len(self._frames) < _ENOUGH and not self._unopened:
            self._receive()
            self._open_batches()
        reports, self._reports = self._reports, []
        return reports

    def close(self) -> None:
        """End the capture within 2 seconds; the last report has the final counts. Nothing when it is ended already."""
        process, link = self._process, self._link
        if process is None or link is None:
            return
        until = time.monotonic() + _CLOSE
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_WR)
        while not self._over and (left := until - time.monotonic()) > 0:
            if self._poll(left):
                self._receive(everything=True)
        self._link = None
        link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.05, until - time.monotonic()))
        self._kill()

    def __enter__(self) -> CaptureProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _poll(self, seconds: float) -> bool:
        assert self._link is not None
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def _receive(self, *, everything: bool = False) -> None:
        """Take what is there, until it is enough or, at the end, all of it. Never waits."""
        link = self._link
        if link is None or self._over:
            return
        octets_enough = _ENOUGH * 256
        taken = 0
        while everything or taken < octets_enough:
            try:
                octets = link.recv(_RECEIVE)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionError:
                octets = b""
            if not octets:
                self._over = True
                break
            taken += len(octets)
            try:
                for kind, packed in self._unpacker.feed(octets):
                    self._take(kind, packed)
            except (ValueError, KeyError, TypeError, struct.error) as error:
                self._broken(error)
                break
        self._listen()

    def _take(self, kind: Kind, packed: bytes) -> None:
        if kind is Kind.FRAMES:
            # Made into frames only when they are read: many may come at the end.
            self._unopened.append(packed)
        elif kind is Kind.REPORT:
            self._reports.append(unpack_report(packed))
        elif kind is Kind.READY:
            self._ready = True
        elif kind in (Kind.REFUSED, Kind.ENDED):
            self._why = packed.decode(errors="replace")

    def _open_batches(self) -> None:
        """Frames of waiting batches, until there are enough."""
        opened = 0
        try:
            for packed in self._unopened:
                if len(self._frames) >= _ENOUGH:
                    break
                opened += 1
                self._frames += unpack_frames(packed)
        except (ValueError, IndexError, struct.error) as error:
            self._broken(error)
        del self._unopened[:opened]

    def _broken(self, error: Exception) -> None:
        self._over = True
        self._why = f"The capturing process sent what cannot be understood: {error}."

    def _listen(self) -> None:
        """Remember what it said last, so that it is never held up by saying it."""
        assert self._process is not None
        stream = self._process.stderr
        assert stream is not None
        with contextlib.suppress(BlockingIOError, ValueError):
            while octets := os.read(stream.fileno(), _SAID):
                self._said = (self._said + octets)[-_SAID:]

    def _obituary(self) -> str:
        """A sentence about how it ended."""
        assert self._process is not None
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            how = "fell silent"
        else:
            how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
        self._listen()
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"The capturing process {how}: {lines[-1].strip()}" if lines else f"The capturing process {how}."

    def _kill(self) -> None:
        """Make sure that it is gone."""
        process = self._process
        if process is None:
            return
        self._over = True
        if self._link is not None:
            self._link.close()
            self._link = None
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _paths() -> list[str]:
    """Where this process finds modules, as paths that do not depend on where it stands."""
    return [os.path.abspath(path) if path else os.getcwd() for path in sys.path]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
