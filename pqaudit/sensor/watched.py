"""One interface that is captured from for months: it goes and comes back, and what was missed is on record."""

from __future__ import annotations

import socket
import time

from pqaudit.capture.devices import DeviceState, device_index, device_state, list_devices
from pqaudit.capture.frame import Frame
from pqaudit.capture.live import LiveInterface, LiveOptions
from pqaudit.capture.live_errors import InterfaceDownError, InterfaceGoneError, LiveCaptureError
from pqaudit.capture.loss import Loss, LossLog
from pqaudit.sensor.source import InterfaceReport

# Seconds between two sentences about packets that are lost, when that goes on.
_QUIET = 60.0

# Losses that wait for a report, when nobody takes reports.
_MOST_LOSSES = 64


class WatchedInterface:
    """One interface.

    While ``live`` is open, read from it with ``read``. ``tick`` every second: it closes, waits and opens again as need
    be, and keeps the record of losses.

    Attributes:
        live: the interface itself.
        notes: sentences for a person; whoever takes them empties the list.
    """

    def __init__(self, name: str, options: LiveOptions) -> None:
        self.live = LiveInterface(name, options)
        self.notes: list[str] = []
        self._state = DeviceState.GONE
        self._problem: str | None = None
        self._not_analysed = 0
        self._losses = LossLog(_MOST_LOSSES)
        self._log = LossLog(1)
        self._thrown_away: Loss | None = None
        self._index: int | None = None
        self._well = time.time_ns()
        self._missed = 0
        self._told = -_QUIET

    @property
    def name(self) -> str:
        """The interface."""
        return self.live.name

    def open(self) -> None:
        """Open it for the first time. Raises LiveCaptureError."""
        self.live.open()
        self._opened()

    def absent(self, error: LiveCaptureError) -> None:
        """It could not be opened for the first time, and is waited for."""
        self._lose(error.message)

    def read(self, limit: int) -> list[Frame]:
        """As ``LiveInterface.read``; an interface that is gone gives nothing and is closed. Never raises."""
        try:
            return self.live.read(limit)
        except LiveCaptureError as error:
            # Also one that is not said to pass: what cannot be read from any more may work once it is opened again.
            self._lose(self._renamed() or error.message)
            return []

    def throw_away(self, frames: list[Frame]) -> None:
        """The analysis did not take these frames of this interface."""
        self._not_analysed += len(frames)
        self._missed += len(frames)
        times = [frame.time for frame in frames]
        loss = Loss(min(times), max(times), len(frames), 0)
        # One interval until the next report: between two batches there was hardly room.
        self._thrown_away = loss if self._thrown_away is None else self._thrown_away.joined(loss)

    def tick(self) -> None:
        """Look after it: what is to be done every second."""
        now = time.time_ns()
        if self.live.is_open:
            self._state = self.live.check()
            if self._state is not DeviceState.UP:
                self._drain_and_lose()
            else:
                self._well = now
                self._count(now)
        else:
            self._state = device_state(self.name)
            if self._state is DeviceState.UP:
                self._try_again()
        if not self.live.is_open:
            # Piece by piece, so that what times out meanwhile is known to have been out of sight.
            self._keep(self._log.blind_until(now))
            self._log.blind_from(now)
        self._tell()

    def report(self) -> InterfaceReport:
        """How it is."""
        return InterfaceReport(self.name, self._state, self.live.statistics(), self._not_analysed, self._problem)

    def take_losses(self) -> list[Loss]:
        """What was missed since the last call."""
        self._keep(self._thrown_away)
        self._thrown_away = None
        found = list(self._losses)
        self._losses = LossLog(_MOST_LOSSES)
        return found

    def close(self) -> None:
        """End the capture; the last counts are in the next report."""
        if self.live.is_open:
            self._count(time.time_ns())
            self.live.close()

    def _opened(self) -> None:
        now = time.time_ns()
        self._index = device_index(self.name)
        self._state = DeviceState.UP
        self._problem = None
        self._well = now
        self._keep(self._log.blind_until(now))
        self._count(now)

    def _count(self, now: int) -> None:
        """Compare the counters with those before."""
        loss = self._log.observe(now, self.live.statistics())
        if loss is not None:
            self._missed += loss.dropped + loss.interface_dropped
            self._keep(loss)

    def _keep(self, loss: Loss | None) -> None:
        if loss is not None:
            self._losses.add(loss)

    def _drain_and_lose(self) -> None:
        """It is down, gone or renamed: what the kernel still holds of it stays in order and is given up.

        Nothing can have come since, and what came before was read, as a tick follows a round of reading.
        """
        if self._state is DeviceState.DOWN:
            self._lose(f"The interface {self.name} is down.")
        else:
            self._lose(self._renamed() or f"The interface {self.name} exists no more.")

    def _lose(self, problem: str) -> None:
        now = time.time_ns()
        self._count(now)
        self.live.close()
        self._state = device_state(self.name)
        self._problem = problem
        # Since when, the system does not tell: since it was last seen to be well.
        self._log.blind_from(min(self._well, now))
        self.notes.append(f"{problem.removesuffix('.')}; waiting for it.")

    def _renamed(self) -> str | None:
        """A sentence when the interface has another name now."""
        if not self._index:
            return None
        try:
            name = socket.if_indextoname(self._index)
        except OSError:
            return None
        return f"The interface {self.name} is called {name} now." if name != self.name else None

    def _try_again(self) -> None:
        try:
            self.live.open()
        except LiveCaptureError as error:
            if error.message != self._problem:
                self._problem = error.message
                self.notes.append(f"{error.message.removesuffix('.')}; trying on.")
            return
        self._opened()
        self.notes.append(f"Capturing from {self.name} again.")

    def _tell(self) -> None:
        """Say that packets are lost: at once, and then from time to time for as long as it goes on."""
        moment = time.monotonic()
        if self._missed and moment - self._told >= _QUIET:
            self.notes.append(f"{self._missed} packets of {self.name} were lost.")
            self._told = moment
            self._missed = 0


def open_interface(interface: WatchedInterface, *, wait: bool) -> None:
    """Open an interface, or with ``wait`` prepare to wait for it. Raises LiveCaptureError."""
    try:
        # The system lets open an interface that is down, and nothing comes.
        if device_state(interface.name) is DeviceState.DOWN:
            raise InterfaceDownError(f"The interface {interface.name} is down.")
        interface.open()
    except InterfaceGoneError as error:
        if not wait:
            names = ", ".join(device.name for device in list_devices()) or "none that can be captured from"
            raise InterfaceGoneError(
                f"{error.message.removesuffix('.')}; there are: {names}; to wait for it, add --wait."
            ) from error
        interface.absent(error)
    except InterfaceDownError as error:
        if not wait:
            raise InterfaceDownError(
                f"{error.message.removesuffix('.')}; `ip link set {interface.name} up` makes it work; to wait for it, "
                "add --wait."
            ) from error
        interface.absent(error)
