"""When a live capture missed packets, so that what was seen at that time can say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pqaudit.capture.live import Statistics

MOST_LOSSES = 1024
"""Intervals that are kept."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What was missed somewhere between two moments.

    Attributes:
        start, end: nanoseconds since 1970-01-01T00:00:00Z.
        dropped: packets dropped by the kernel for want of room.
        interface_dropped: packets dropped by the network card or its driver.
        blind: for some of the time nothing was captured at all, so more was missed than the counts say.
    """

    start: int
    end: int
    dropped: int
    interface_dropped: int
    blind: bool = False

    def joined(self, other: Loss) -> Loss:
        """Both, and the time between them."""
        return Loss(
            min(self.start, other.start),
            max(self.end, other.end),
            self.dropped + other.dropped,
            self.interface_dropped + other.interface_dropped,
            self.blind or other.blind,
        )


class LossLog:
    """The losses of one interface, in the order in which they were noticed.

    When there are more than ``most``, those two neighbours become one between which the least time lies: no packet and
    no moment of loss is forgotten, but moments in between without loss may count as lossy.
    """

    def __init__(self, most: int = MOST_LOSSES) -> None:
        if most < 1:
            raise ValueError("At least one interval must be kept.")
        self._most = most
        self._losses: list[Loss] = []
        self._previous: tuple[int, Statistics] | None = None
        self._blind_since: int | None = None

    def __iter__(self) -> Iterator[Loss]:
        return iter(self._losses)

    def __len__(self) -> int:
        return len(self._losses)

    def observe(self, time: int, statistics: Statistics) -> Loss | None:
        """Compare with the statistics before: the loss since then, which is also kept, or None.

        ``time`` is that of the statistics, in nanoseconds since 1970. What the first statistics count was lost before,
        at times unknown, and makes no interval.
        """
        previous, self._previous = self._previous, (time, statistics)
        if previous is None:
            return None
        dropped = statistics.dropped - previous[1].dropped
        interface_dropped = statistics.interface_dropped - previous[1].interface_dropped
        if dropped <= 0 and interface_dropped <= 0:
            return None
        # The system's clock may have been set back.
        start, end = sorted((previous[0], time))
        loss = Loss(start, end, max(dropped, 0), max(interface_dropped, 0))
        self.add(loss)
        return loss

    def blind_from(self, time: int) -> None:
        """Nothing is captured from this moment on; repeated, the first one counts."""
        if self._blind_since is None:
            self._blind_since = time

    def blind_until(self, time: int) -> Loss | None:
        """Captured again from this moment on: the interval, which is also kept; None when there was none."""
        if self._blind_since is None:
            return None
        start, end = sorted((self._blind_since, time))
        self._blind_since = None
        loss = Loss(start, end, 0, 0, blind=True)
        self.add(loss)
        return loss

    def add(self, loss: Loss) -> None:
        """Keep a loss, one of an earlier run for instance."""
        losses = self._losses
        losses.append(loss)
        if len(losses) > self._most:
            at = min(
                range(1, len(losses)),
                key=lambda i: (
                    losses[i].start - losses[i - 1].end,
                    losses[i].end - losses[i - 1].start,
                ),
            )
            losses[at - 1 : at + 1] = [losses[at - 1].joined(losses[at])]

    def between(self, start: int, end: int) -> Loss | None:
        """All losses that overlap the time from ``start`` to ``end`` as one, or None.

        The counts are those of whole intervals, so at most so much was missed in that time, unless ``blind``.
        """
        found: Loss | None = None
        for loss in self._losses:
            if loss.start <= end and loss.end >= start:
                found = loss if found is None else found.joined(loss)
        if self._blind_since is not None and self._blind_since <= end:
            open_end = Loss(self._blind_since, max(end, self._blind_since), 0, 0, blind=True)
            found = open_end if found is None else found.joined(open_end)
        return found
