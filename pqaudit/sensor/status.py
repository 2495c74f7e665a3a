"""What a sensor shows of itself: on the terminal, in its log, to Prometheus."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field

from pqaudit.finding.document import Document
from pqaudit.sensor.source import CaptureReport, InterfaceReport

LATEST = 20

OLDEST_REPORT = 15.0
"""Seconds after which a capturing process that reports nothing counts as hanging."""


@dataclass(slots=True)
class ExposureStatus:
    """ESP that was counted. Packets and octets are estimates when not every packet is taken.

    Attributes:
        sampled: each packet that was taken stands for so many.
        running: the counting process is there.
        pairs: of peers that send ESP.
        packets, octets: by the verdict on the tunnel when they came, or ``no-ike-seen``.
        interfaces: packets taken and dropped, not multiplied.
        counters: what was not counted or is forgotten, by slug.
        top: the tunnels with the most octets, worst verdict first: both addresses, verdict, octets, packets.
    """

    sampled: int
    running: bool = False
    pairs: int = 0
    packets: Counter[str] = field(default_factory=Counter)
    octets: Counter[str] = field(default_factory=Counter)
    interfaces: tuple[InterfaceReport, ...] = ()
    counters: Counter[str] = field(default_factory=Counter)
    top: tuple[tuple[tuple[str, ...], str, int, int], ...] = ()


@dataclass(slots=True)
class Status:
    """The sensor at a moment. One object that the loop keeps up to date; those who show it only read.

    Attributes:
        started: seconds since the epoch.
        observer: name of the sensor.
        ready: the interfaces are open and the loop runs.
        beat: seconds of the monotonic clock at which the loop last turned; old when it hangs.
        capture: the last report of the capturing process, or None before the first.
        reported: seconds of the monotonic clock at which it came; one comes every second.
        frames, messages: frames that reached the analysis, and IKE messages found in them.
        sas, half_open: SAs in the table, and how many of them wait for a response.
        findings: emitted, by verdict; an SA whose finding changed is counted again.
        counters: whatever else happened, by slug: evictions, refusals, time-outs, clock jumps, decoder's counters.
        latest: the last findings, newest first.
        spooled: findings that wait for the server.
        delivered: findings that the server confirmed in this run.
        dropped: findings that waited for the server and were dropped in this run, to keep to the bounds of the spool.
        refused: findings that the server refused for good in this run.
        server: the URL, or None without a server.
        trouble: a sentence while the server does not take findings, else None.
        exposure: how much ESP there is, or None when it is not counted.
        notes: latest sentences for a person, with the second since the epoch of each; newest last.
    """

    started: float
    observer: str
    ready: bool = False
    beat: float = 0.0
    capture: CaptureReport | None = None
    reported: float = 0.0
    frames: int = 0
    messages: int = 0
    sas: int = 0
    half_open: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    counters: Counter[str] = field(default_factory=Counter)
    latest: deque[Document] = field(default_factory=lambda: deque(maxlen=LATEST))
    spooled: int = 0
    delivered: int = 0
    dropped: int = 0
    refused: int = 0
    server: str | None = None
    trouble: str | None = None
    exposure: ExposureStatus | None = None
    notes: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=LATEST))

    @property
    def capture_hangs(self) -> bool:
        """The capturing process is there and has fallen silent: what it last said is no longer so."""
        return self.ready and time.monotonic() - self.reported > OLDEST_REPORT
