"""The sensor's loop: frames to messages to findings to disk, and everything that is due in between."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event
from typing import Final, Protocol

from pqaudit.capture.frame import Frame
from pqaudit.decode.datagram import Datagram
from pqaudit.finding.document import Document
from pqaudit.ike.header import NotIkeError
from pqaudit.pipeline import read_message
from pqaudit.sensor.decoders import Decoders
from pqaudit.sensor.source import FrameSource
from pqaudit.sensor.status import Status
from pqaudit.sensor.watch import Watch

NOT_KEPT: Final = "findings-not-kept"
NOT_IKE: Final = "not-ike"
NOT_ANALYSED: Final = "frames-not-analysed-at-the-end"

_TURN_SECONDS = 0.25  # longest wait, so that whoever shows the status is not kept waiting
_JUMP_SECONDS = 2.0  # by which the wall clock may run off the monotonic one in one turn; time servers slew far less
_LAST_SECONDS = 5.0  # for frames that are there when the end comes; service managers wait some 30
_MOST_PENDING = 10_000  # findings kept while the output does not take them
_RETRY_SECONDS = 1.0  # between two offers of all that wait


class Sink(Protocol):
    """Where findings go; they are safe when ``add`` returns."""

    def add(self, findings: Sequence[Document]) -> None:
        """Take findings.

        Raises:
            SinkError: not now; all of them will be offered again, unless it is said not to pass.
        """


class SinkError(Exception):
    """Findings could not be taken: one sentence.

    Attributes:
        passing: waiting may help.
    """

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class Sensor:
    """Runs until ``stopping`` is set, whatever the network, the disk or the clock does.

    Args:
        source: gives frames.
        decoders: find IKE in them.
        watch: follows SAs.
        sink: takes findings.
        status: kept up to date.
        stopping: ends the loop.
        turned: called after every turn, a few times a second at least: views, logs and watchdogs live there.
        told: called with each finding that the sink has taken.
        said: called with each sentence for a person.
    """

    def __init__(
        self,
        source: FrameSource,
        decoders: Decoders,
        watch: Watch,
        sink: Sink,
        status: Status,
        stopping: Event,
        *,
        turned: Callable[[], None],
        told: Callable[[Document], None],
        said: Callable[[str], None],
    ) -> None:
        self._source = source
        self._decoders = decoders
        self._watch = watch
        self._sink = sink
        self._status = status
        self._stopping = stopping
        self._turned = turned
        self._told = told
        self._said = said
        self._pending = watch.waiting()
        self._offered_at: float | None = None  # when the sink refused last
        self._not_ike = 0
        self._lost_findings = 0
        self._left_over = 0
        self._capture_hung = False
        self._sink_trouble: str | None = None
        self._save_trouble: str | None = None
        self._clock = (time.time(), time.monotonic())

    def run(self) -> None:
        """Work until told to stop; then what was decided is on disk, and what is open in the checkpoint.

        Raises:
            CaptureEndedError: the capturing process is gone. All that arrived is kept as for an orderly end.
        """
        try:
            self._status.reported = time.monotonic()
            self._status.ready = True
            while not self._stopping.is_set():
                # When no more findings can wait, none is due.
                due = self._watch.next_due if len(self._pending) < _MOST_PENDING else None
                self._source.wait(min(_TURN_SECONDS, max(0.0, due - time.time())) if due is not None else _TURN_SECONDS)
                self._turn()
        finally:
            self._status.ready = False
            self._source.close()
            self._finish()

    def _turn(self) -> None:
        now = self._now()
        self._hear_reports()
        self._take(self._source.read(), now)
        told = self._tell(now)
        # Only now: what the checkpoint calls told must be on disk, or be among what it has waiting.
        self._watch.tick(now, self._pending, told=told)
        self._keep_status()
        if self._status.capture_hangs is not self._capture_hung:
            self._capture_hung = not self._capture_hung
            self._say(f"the capturing process {'hangs' if self._capture_hung else 'goes on'}")
        self._turned()

    def _take(self, frames: list[Frame], now: float) -> None:
        self._status.frames += len(frames)
        for frame in frames:
            for datagram in self._decoders.feed(frame):
                self._add(datagram, now)

    def _add(self, datagram: Datagram, now: float) -> None:
        try:
            message = read_message(datagram)
        except NotIkeError:
            self._not_ike += 1
            return
        kept = self._source.locate(datagram.file, datagram.frames)
        if kept is not None:
            datagram = replace(datagram, file=kept[0], frames=kept[1])
        self._status.messages += 1
        self._watch.add(datagram, message, now)

    def _tell(self, now: float, *, at_once: bool = False) -> bool:
        """Offer what is decided to the sink; True when it took something."""
        if len(self._pending) < _MOST_PENDING:
            self._pending += self._watch.findings(now)
        moment = time.monotonic()
        patient = self._offered_at is not None and moment - self._offered_at < _RETRY_SECONDS
        if not self._pending or (patient and not at_once):
            return False
        try:
            self._sink.add(self._pending)
        except SinkError as error:
            if self._sink_trouble is None:
                what = "they wait" if error.passing else "the sensor ends"
                self._say(f"findings cannot be kept: {error}; {what}")
            self._sink_trouble = str(error)
            self._offered_at = moment
            if not error.passing:
                self._stopping.set()
            return False
        if self._sink_trouble is not None:
            self._say("findings are kept again")
            self._sink_trouble = None
            self._offered_at = None
        told, self._pending = self._pending, []
        status = self._status
        for finding in told:
            verdict = finding["pqaudit"]["verdict"]
            status.findings[verdict] += 1
            status.latest.appendleft(finding)
            self._told(finding)
        return True

    def _hear_reports(self) -> None:
        for report in self._source.reports():
            self._status.capture = report
            self._status.reported = time.monotonic()
            for interface, loss in report.losses:
                self._watch.lost(interface, loss)
            for note in report.notes:
                self._say(note)

    def _now(self) -> float:
        """The wall clock, after a look whether somebody set it."""
        wall, monotonic = time.time(), time.monotonic()
        expected = self._clock[0] + monotonic - self._clock[1]
        if abs(wall - expected) > _JUMP_SECONDS:
            self._watch.clock_jumped(expected, wall)
            self._say(f"the clock of this machine jumped by {wall - expected:+.1f} seconds")
        self._clock = (wall, monotonic)
        return wall

    def _keep_status(self) -> None:
        status, watch = self._status, self._watch
        status.beat = time.monotonic()
        status.sas = len(watch.table)
        status.half_open = watch.table.unanswered
        counters = Counter(self._decoders.counters)
        counters.update(watch.counters)
        counters.update(watch.table.counters)
        for name, count in (
            (NOT_IKE, self._not_ike),
            (NOT_ANALYSED, self._left_over),
            (NOT_KEPT, self._lost_findings),
        ):
            if count:
                counters[name] = count
        # At once: to whom asks for metrics meanwhile, none of them may seem to have begun anew.
        status.counters = counters
        if watch.trouble != self._save_trouble:
            self._save_trouble = watch.trouble
            trouble = watch.trouble
            self._say(
                "the checkpoint is written again" if trouble is None else f"no checkpoint can be written: {trouble}"
            )

    def _say(self, sentence: str) -> None:
        self._status.notes.append((time.time(), sentence))
        self._said(sentence)

    def _finish(self) -> None:
        now = time.time()
        self._hear_reports()
        until = time.monotonic() + _LAST_SECONDS
        while frames := self._source.read():
            if time.monotonic() < until:
                self._take(frames, now)
            else:
                self._left_over += len(frames)
        for datagram in self._decoders.flush():
            self._add(datagram, now)
        self._tell(now, at_once=True)
        self._watch.save(now, self._pending)
        if self._pending:
            self._lost_findings += len(self._pending)
            what = "could not be kept" if self._watch.trouble else "could not be told; they will be at the next start"
            self._say(f"{len(self._pending)} findings {what}")
        self._watch.close()
        self._keep_status()
