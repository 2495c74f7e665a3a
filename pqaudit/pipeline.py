"""Captures to SAs: the way of the data from the readers to the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.capture.shown import shown_name
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder
from pqaudit.decode.esp import esp_in
from pqaudit.exposure.table import ExposureTable
from pqaudit.ike.header import NotIkeError, parse_header
from pqaudit.ike.ikev1 import V1Message, parse_v1_message
from pqaudit.ike.message import Message, parse_message
from pqaudit.ike.numbers import MAJOR_IKEV1
from pqaudit.sa.table import DEFAULT_MOST_GROUPS, SaTable

MOST_ANOMALIES = 1000

OnMessage = Callable[[Datagram, "Message | V1Message"], None]


@dataclass(frozen=True, slots=True)
class RunAnomaly:
    """Something out of order that belongs to no SA: where, a stable slug, and a sentence."""

    file: str
    frame: int
    slug: str
    text: str


@dataclass(frozen=True, slots=True)
class InputFile:
    """A capture that was read, by its ``shown_name``.

    ``sha256`` is of its octets as stored, None where it was not asked for.
    """

    name: str
    octets: int
    sha256: str | None
    messages: int


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How captures are read.

    Attributes:
        ports: ports that carry IKE beside 500 and 4500, by UDP or TCP.
        tunnels: look for IKE inside tunnels.
        digest: take the SHA-256 of every capture; it costs as much as half of the reading.
        exposure: count ESP by pair of peers; every frame is then decoded, which takes several times as long.
        folder: where relative paths start, when that is not the current folder.
        most_sas: bound on the initiator SPIs that are held at once, by each reader and by the whole run.
    """

    ports: tuple[int, ...] = ()
    tunnels: bool = True
    digest: bool = False
    exposure: bool = False
    folder: str | None = None
    most_sas: int = DEFAULT_MOST_GROUPS


@dataclass(slots=True)
class AuditRun:
    """All that reading gave: SAs under assembly, and what there is to say about the input."""

    table: SaTable = field(default_factory=SaTable)
    files: list[InputFile] = field(default_factory=list)
    notes: list[InputNote] = field(default_factory=list)
    anomalies: list[RunAnomaly] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    exposure: ExposureTable = field(default_factory=ExposureTable)
    interrupted: bool = False

    @property
    def unreadable(self) -> bool:
        """True when some input could not be read."""
        return any(note.fatal for note in self.notes)

    def take_over(self, other: AuditRun) -> None:
        """Take what another reader found in the captures that come next; ``other`` is used up."""
        self.take_sums(other)
        self.take_lists(other)

    def take_sums(self, other: AuditRun) -> None:
        """Take out of ``other`` what is the same in whatever order parts are put together: SAs and traffic."""
        self.table.take_over(other.table)
        self.exposure.merge(other.exposure)
        other.table, other.exposure = SaTable(), ExposureTable()

    def take_lists(self, other: AuditRun) -> None:
        """Take the rest, which lists the captures that come next."""
        self.files += other.files
        self.notes += other.notes
        self.counters.update(other.counters)
        for anomaly in other.anomalies:
            self.list_anomaly(anomaly)
        self.interrupted = self.interrupted or other.interrupted

    def add_anomaly(self, anomaly: RunAnomaly) -> None:
        """Count an anomaly under its slug and list it."""
        self.counters[anomaly.slug] += 1
        self.list_anomaly(anomaly)

    def list_anomaly(self, anomaly: RunAnomaly) -> None:
        """List an anomaly that is counted already; when there are many, only how many are not listed."""
        if len(self.anomalies) < MOST_ANOMALIES:
            self.anomalies.append(anomaly)
        else:
            self.counters["anomalies-not-listed"] += 1


def new_run(options: ReadOptions) -> AuditRun:
    """A run in which nothing was read yet."""
    return AuditRun(SaTable(most_groups=options.most_sas))


def read_message(datagram: Datagram) -> Message | V1Message:
    """Read the IKE message of a datagram.

    Raises:
        NotIkeError: the octets are no IKE message.
    """
    header = parse_header(datagram.payload, truncated=datagram.truncated)
    if header.major == MAJOR_IKEV1:
        return parse_v1_message(header, datagram.payload)
    return parse_message(header, datagram.payload)


def read_inputs(
    sources: Iterable[str],
    run: AuditRun,
    options: ReadOptions,
    *,
    progress: Callable[[int], None] | None = None,
    on_message: OnMessage | None = None,
) -> None:
    """Read captures one after the other into ``run``. An interrupt keeps what was found and sets ``interrupted``."""
    try:
        for source in sources:
            read_input(source, run, options, progress=progress, on_message=on_message)
    except KeyboardInterrupt:
        run.interrupted = True


def read_input(
    source: str,
    run: AuditRun,
    options: ReadOptions,
    *,
    progress: Callable[[int], None] | None = None,
    on_message: OnMessage | None = None,
) -> None:
    """Read one capture into ``run``."""
    decoder = Decoder(ports=options.ports, tunnels=options.tunnels)
    digest = sha256() if options.digest else None
    octets = 0
    messages = 0

    def advance(taken: int) -> None:
        nonlocal octets
        octets += taken
        if progress is not None:
            progress(taken)

    wanted = None if options.exposure else decoder.wanted
    frames = read_capture(
        source, wanted=wanted, note=run.notes.append, progress=advance, digest=digest, folder=options.folder
    )
    try:
        for frame in frames:
            if options.exposure and (packet := esp_in(frame)) is not None:
                run.exposure.add(packet, frame.time)
                continue
            for datagram in decoder.feed(frame):
                messages += _add(datagram, run, on_message)
        for datagram in decoder.flush():
            messages += _add(datagram, run, on_message)
    finally:
        run.files.append(InputFile(shown_name(source), octets, digest.hexdigest() if digest else None, messages))
        run.counters.update(decoder.counters)
        for anomaly in decoder.anomalies:
            run.list_anomaly(RunAnomaly(anomaly.file, anomaly.frame, anomaly.slug, anomaly.text))


def _add(datagram: Datagram, run: AuditRun, on_message: OnMessage | None) -> int:
    try:
        message = read_message(datagram)
    except NotIkeError as error:
        run.add_anomaly(RunAnomaly(datagram.file, datagram.frames[-1], f"not-ike-{error.slug}", str(error)))
        return 0
    run.table.add(datagram, message)
    if on_message is not None:
        on_message(datagram, message)
    return 1
