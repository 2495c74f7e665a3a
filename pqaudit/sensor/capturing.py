"""The capture in a process of its own, so that bursts are pulled out of the kernel while this one analyses."""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Iterable
from types import TracebackType

from pqaudit.capture.frame import Frame
from pqaudit.capture.ring_places import Places
from pqaudit.sensor.capture_options import CaptureOptions, pack_options
from pqaudit.sensor.capture_wire import Kind, unpack_frames, unpack_report
from pqaudit.sensor.child import Child, ChildStartError
from pqaudit.sensor.source import CaptureEndedError, CaptureReport

__all__ = ["CaptureOptions", "CaptureProcess", "CaptureStartError"]

# Seconds. Starting takes 0.2; opening an interface may wait for its driver.
_START = 30.0
_CLOSE = 1.8

# Frames after which a read gives what it has.
_ENOUGH = 4096


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
        self._child: Child | None = None
        self._frames: list[Frame] = []
        self._places = Places()
        self._unopened: list[bytes] = []
        self._reports: list[CaptureReport] = []
        self._ready = False
        self._over = False
        self._why: str | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process; None before ``start``."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start it, and wait until all interfaces are open and root is given up; some tenths of a second.

        Raises:
            CaptureStartError: it cannot begin.
        """
        if self._child is not None:
            raise ValueError("started already")
        if sys.platform == "win32":
            raise CaptureStartError("Live capture is not possible on Windows: it has nothing to wait for there.")
        try:
            self._child = Child("pqaudit.sensor.capture_child", "capturing process", pack_options(self.options))
        except ChildStartError as error:
            raise CaptureStartError(str(error)) from error
        try:
            self._await_ready(self._child)
        except BaseException:
            self._over = True
            self._child.kill()
            raise

    def _await_ready(self, child: Child) -> None:
        until = time.monotonic() + _START
        while not self._ready:
            if self._over:
                raise CaptureStartError(self._why or child.obituary())
            left = until - time.monotonic()
            if left <= 0:
                raise CaptureStartError(f"The capturing process did not get ready within {_START:.0f} seconds.")
            child.poll(left)
            self._receive()

    def fileno(self) -> int:
        """A descriptor that becomes readable when frames or reports come. Raises ValueError when not running."""
        if self._child is None or self._child.link is None:
            raise ValueError("not running")
        return self._child.link.fileno()

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read, at most so long; True when there is, also the end."""
        if self._frames or self._unopened or self._reports or self._over or self._child is None:
            return True
        return self._child.poll(seconds)

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
        if not frames and self._over and self._child is not None and self._child.link is not None:
            raise CaptureEndedError(self._why or self._child.obituary())
        return frames

    def locate(self, source: str, numbers: Iterable[int]) -> tuple[str, tuple[int, ...]] | None:
        """Where the ring keeps frames that were read; see ``Places.locate``. None when there is no ring."""
        return self._places.locate(source, numbers)

    def reports(self) -> list[CaptureReport]:
        """Reports since the last call, oldest first."""
        if not self._over and len(self._frames) < _ENOUGH and not self._unopened:
            self._receive()
            self._open_batches()
        reports, self._reports = self._reports, []
        return reports

    def close(self) -> None:
        """End the capture within 2 seconds; the last report has the final counts. Nothing when it is ended already."""
        child = self._child
        if child is None or child.link is None:
            return
        until = time.monotonic() + _CLOSE
        child.tell_to_end()
        while not self._over and (left := until - time.monotonic()) > 0:
            if child.poll(left):
                self._receive(everything=True)
        self._over = True
        child.kill(max(0.05, until - time.monotonic()))

    def __enter__(self) -> CaptureProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, *, everything: bool = False) -> None:
        """Take what is there, until it is enough or, at the end, all of it. Never waits."""
        if self._child is None or self._over:
            return
        try:
            for kind, packed in self._child.receive(None if everything else _ENOUGH * 256):
                self._take(kind, packed)
        except EOFError:
            self._over = True
            self._child.listen()
        except (ValueError, KeyError, TypeError, struct.error) as error:
            self._broken(error)

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
                for frame, place in unpack_frames(packed):
                    self._frames.append(frame)
                    if place is not None:
                        self._places.add(frame.source, frame.number, place)
        except (ValueError, IndexError, struct.error) as error:
            self._broken(error)
        del self._unopened[:opened]

    def _broken(self, error: Exception) -> None:
        self._over = True
        self._why = f"The capturing process sent what cannot be understood: {error}."
