"""What the sensor reads from: frames that arrive, and what there is to say about how they were captured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pqaudit.capture.devices import DeviceState
from pqaudit.capture.frame import Frame
from pqaudit.capture.live import Statistics
from pqaudit.capture.loss import Loss
from pqaudit.capture.ring import RingState


@dataclass(frozen=True, slots=True)
class InterfaceReport:
    """One interface at a moment.

    Attributes:
        name: the interface.
        state: up, down or gone; while it is not up the sensor waits.
        statistics: packets so far.
        not_analysed: frames thrown away because the analysis was too slow and the backlog full; counted as loss too.
        problem: a sentence while it cannot be captured from, else None.
    """

    name: str
    state: DeviceState
    statistics: Statistics
    not_analysed: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What the capturing process says about once a second.

    Attributes:
        interfaces: all that are watched.
        losses: what was missed since the last report, by interface.
        ring: what became of packets kept with ``--write-ring``, or None without.
        backlog_octets: octets of frames that wait for the analysis.
        notes: sentences for a person since the last report: an interface that went or came back, a ring that is full.
    """

    interfaces: tuple[InterfaceReport, ...]
    losses: tuple[tuple[str, Loss], ...] = ()
    ring: RingState | None = None
    backlog_octets: int = 0
    notes: tuple[str, ...] = ()


class FrameSource(Protocol):
    """Where frames come from: the capturing process."""

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to read, at most so long; True when there is."""

    def read(self) -> list[Frame]:
        """Frames that have arrived, in their order, some thousands at most; never waits.

        ``source`` of a frame is ``interface:NAME`` and its ``number`` is counted from the sensor's start.

        Raises:
            CaptureEndedError: the capturing process is gone.
        """

    def locate(self, source: str, numbers: Iterable[int]) -> tuple[str, tuple[int, ...]] | None:
        """Where the ring keeps frames that were read; see ``Places.locate``. None when there is no ring."""

    def reports(self) -> list[CaptureReport]:
        """Reports since the last call, oldest first."""

    def close(self) -> None:
        """End the capture."""


class CaptureEndedError(Exception):
    """The capturing process ended: one sentence."""
