"""The capturing process at work: out of the kernel, into the ring, over to the analysis."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from operator import attrgetter

from pqaudit.capture.frame import Frame
from pqaudit.capture.ring import PacketRing
from pqaudit.sensor.capture_wire import Kind, message, pack_frames, pack_report
from pqaudit.sensor.outbox import Outbox
from pqaudit.sensor.source import CaptureReport
from pqaudit.sensor.watched import WatchedInterface

# Frames that are read from an interface in one go, and so at most in one batch: the others wait no longer than these
# take, and what a batch costs beside its frames no longer counts.
_ROUND = 1000

# Octets of frames after which a batch ends: what does not fit into the backlog is lost batch by batch.
_BATCH_OCTETS = 256 * 1024

# Octets of frames that are held at most before they are kept in the ring and packed, and what Python needs for a frame
# beside its octets. The kernel has more: taking a frame out costs a third of keeping it, so a burst is taken out first.
_MOST_HELD = 64 * 1024 * 1024
_FRAME_OVERHEAD = 350

_TICK = 1.0

# Seconds of reading at the end: the kernel hands over a block that is not full after a tenth of a second.
_LAST_READING = 0.2
_PAUSE = 0.01

# Seconds for which the rest is handed over at the end.
_LAST_SECONDS = 1.5

# Sentences that wait for a report.
_MOST_NOTES = 100


class CaptureLoop:
    """The work of the capturing process, from when everything is open on.

    Args:
        interfaces: opened, or waited for.
        ring: where packets are kept, or None.
        notes: sentences for the next report; the ring may write there too.
        link: the socket to the analysis, not blocking. Its end there is the sign to end here.
        backlog_octets: most octets of frames that wait for the analysis.
        alarm: a descriptor that becomes readable when a signal arrives.
    """

    def __init__(
        self,
        interfaces: list[WatchedInterface],
        ring: PacketRing | None,
        notes: deque[str],
        link: socket.socket,
        backlog_octets: int,
        alarm: int,
    ) -> None:
        self._interfaces = {interface.live.source: interface for interface in interfaces}
        self._ring = ring
        self._notes = notes
        self._link = link
        self._alarm = alarm
        self._outbox = Outbox(link, backlog_octets)
        self._selector = selectors.DefaultSelector()
        self._watched: dict[WatchedInterface, int] = {}
        self._held: deque[Frame] = deque()
        self._held_octets = 0
        self._most_held = min(_MOST_HELD, backlog_octets // 4)
        self._parent = os.getppid()
        self._why: str | None = None
        self._ends = False

    def run(self) -> None:
        """Capture until the analysis has enough of it or is gone, or until ``stop``. Hands over what is there."""
        self._selector.register(self._link, selectors.EVENT_READ)
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._follow()
        with contextlib.suppress(ConnectionError):
            self._outbox.add_urgent(message(Kind.READY, b""))
            self._report()
            self._work()
            self._finish()
        self._close()

    def stop(self, why: str) -> None:
        """End soon, and give the analysis a sentence about why."""
        self._why = why
        self._ends = True

    def _work(self) -> None:
        due = time.monotonic() + _TICK
        while not self._ends:
            now = time.monotonic()
            if now >= due:
                self._tick()
                due = max(due + _TICK, now)
            busy = self._held or any(interface.live.pending for interface in self._watched)
            self._wait(0 if busy else max(0, due - now))
            self._round()

    def _wait(self, seconds: float) -> None:
        """Until something happens, at most so long; sends what can be sent."""
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        self._selector.modify(self._link, wanted)
        for key, events in self._selector.select(seconds):
            if key.fileobj is self._link:
                # The analysis never sends anything: it has closed its end for writing, or is gone.
                if events & selectors.EVENT_READ and not self._link.recv(4096):
                    self._ends = True
            elif key.fd == self._alarm:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._alarm, 4096)

    def _round(self) -> bool:
        """Read once from all, and hand over some of it when the kernel has no more; True when there was something."""
        frames: list[Frame] = []
        for interface in tuple(self._watched):
            frames += interface.read(_ROUND)
            if not interface.live.is_open:
                self._follow()
        if len(self._watched) > 1:
            # Request and response may come by different interfaces, as with a tap.
            frames.sort(key=attrgetter("time"))
        self._held.extend(frames)
        self._held_octets += sum(len(frame.data) + _FRAME_OVERHEAD for frame in frames)
        pending = any(interface.live.pending for interface in self._watched)
        if not pending or self._held_octets > self._most_held:
            # As many as can have been read, so that this keeps up.
            for _ in range(max(1, len(self._watched))):
                self._hand_over()
            self._outbox.send()
        return bool(self._held or frames)

    def _hand_over(self) -> None:
        """One batch of what is held."""
        batch: list[Frame] = []
        octets = 0
        held = self._held
        while held and octets < _BATCH_OCTETS and len(batch) < _ROUND:
            frame = held.popleft()
            batch.append(frame)
            octets += len(frame.data)
        if batch:
            self._held_octets -= octets + len(batch) * _FRAME_OVERHEAD
            self._put(batch)

    def _put(self, batch: list[Frame]) -> None:
        # Kept also when the analysis does not get them.
        ring = self._ring
        if self._outbox.add(pack_frames([(frame, None if ring is None else ring.add(frame)) for frame in batch])):
            return
        for source, interface in self._interfaces.items():
            if lost := [frame for frame in batch if frame.source == source]:
                interface.throw_away(lost)

    def _follow(self) -> None:
        """Wait for those interfaces that are open."""
        # An interface that was closed and opened again may have the descriptor that it had: all are told anew.
        for descriptor in self._watched.values():
            with contextlib.suppress(KeyError, ValueError, OSError):
                self._selector.unregister(descriptor)
        self._watched = {each: each.live.fileno() for each in self._interfaces.values() if each.live.is_open}
        for descriptor in self._watched.values():
            self._selector.register(descriptor, selectors.EVENT_READ)

    def _tick(self) -> None:
        for interface in self._interfaces.values():
            was_open = interface.live.is_open
            interface.tick()
            if was_open is not interface.live.is_open:
                self._follow()
        if self._ring is not None:
            self._ring.tick()
        # The socket's end tells, unless a process that the analysis forked still holds its other end. The signal that
        # Linux can send when a parent dies is no use: it also comes when the thread ends that started this process.
        if os.getppid() != self._parent:
            self._ends = True
        # When one still waits, the next one says it all.
        if not self._outbox.urgent:
            self._report()

    def _report(self) -> None:
        interfaces = self._interfaces.values()
        for interface in interfaces:
            self._notes.extend(interface.notes)
            interface.notes.clear()
        report = CaptureReport(
            tuple(interface.report() for interface in interfaces),
            tuple((interface.name, loss) for interface in interfaces for loss in interface.take_losses()),
            self._ring.state if self._ring is not None else None,
            self._outbox.octets + self._held_octets,
            tuple(self._notes),
        )
        self._notes.clear()
        self._outbox.add_urgent(pack_report(report))

    def _finish(self) -> None:
        """What the kernel still holds, the last counts, and what waits, for as long as the analysis takes it."""
        until = time.monotonic() + _LAST_READING
        while time.monotonic() < until:
            if not self._round():
                time.sleep(_PAUSE)
        while self._held:
            self._hand_over()
        for interface in self._interfaces.values():
            interface.close()
        self._follow()
        if self._ring is not None:
            self._ring.close()
        self._report()
        if self._why is not None:
            self._outbox.add_urgent(message(Kind.ENDED, self._why.encode()))
        until = time.monotonic() + _LAST_SECONDS
        self._link.setblocking(True)
        while self._outbox and (left := until - time.monotonic()) > 0:
            self._link.settimeout(left)
            with contextlib.suppress(TimeoutError):
                self._outbox.send()

    def _close(self) -> None:
        for interface in self._interfaces.values():
            interface.close()
        if self._ring is not None:
            self._ring.close()
        self._selector.close()


def new_notes() -> deque[str]:
    """Where sentences wait; of very many the oldest are forgotten."""
    return deque(maxlen=_MOST_NOTES)
