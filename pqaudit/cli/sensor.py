"""``pqaudit sensor``: live traffic to findings, for months."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections import deque
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING

import click

from pqaudit.cli.delivering import Delivering, SpoolOptions, spool_options
from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.number_range import NumberRange
from pqaudit.cli.reading import custom_rules, port_option, rulebook_or_exit, rules_option
from pqaudit.cli.server_options import ServerOptions, connection_options, connection_or_exit

if TYPE_CHECKING:
    from pqaudit.capture.privileges import Account
    from pqaudit.capture.ring import RingOptions
    from pqaudit.elastic.connection import Connection
    from pqaudit.finding.custom_rules import CustomRules
    from pqaudit.finding.document import Document
    from pqaudit.rules.rulebook import Rulebook
    from pqaudit.sensor.capturing import CaptureOptions
    from pqaudit.sensor.exposing import Exposing
    from pqaudit.sensor.exposure_wire import ExposureOptions
    from pqaudit.sensor.log import Log
    from pqaudit.sensor.loop import Sink
    from pqaudit.sensor.notify import Notifier
    from pqaudit.sensor.sinks import LineSink
    from pqaudit.sensor.status import Status
    from pqaudit.sensor.view import LiveView

_MEGABYTE = 1 << 20
_RING_FILE = 64 * _MEGABYTE
_HOUR = 3600.0
_VIEW_SECONDS = 0.25
_SUMMARY_SECONDS = 60.0
_EXPIRY_SECONDS = 60.0
_LAST_REQUEST_SECONDS = 5.0  # for what is under way to the server at the end


@click.command(
    "sensor",
    epilog="Exit codes: 0 ended by SIGTERM or Ctrl-C, 2 usage, 3 an interface cannot be captured from, 4 the state or "
    "the spool cannot be written.",
)
@click.option(
    "-i",
    "--interface",
    "interfaces",
    multiple=True,
    required=True,
    metavar="IFACE",
    help="Interface to watch, or any; may be repeated.",
)
@click.option("--wait", is_flag=True, help="Wait for interfaces that are not there yet.")
@click.option("--user", metavar="NAME", help="Become this user once the interfaces are open; begin as root.")
@click.option(
    "--promiscuous/--no-promiscuous", default=True, help="Also frames for other machines.  [default: promiscuous]"
)
@click.option(
    "--buffer",
    "buffer_megabytes",
    type=click.IntRange(16, 2047),
    default=16,
    show_default=True,
    metavar="MB",
    help="The kernel's buffer for each interface.",
)
@click.option(
    "--backlog",
    "backlog_megabytes",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    metavar="MB",
    help="Frames that may wait in memory for the analysis.",
)
@click.option(
    "--write-ring",
    "ring",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the IKE packets themselves there as pcapng, so that evidence can be looked up.",
)
@click.option(
    "--ring-size",
    "ring_megabytes",
    type=click.IntRange(2),
    default=1024,
    show_default=True,
    metavar="MB",
    help="Most that is kept there; the oldest go first.",
)
@click.option(
    "--ring-age",
    "ring_hours",
    type=NumberRange(0, min_open=True),
    metavar="HOURS",
    help="Longest time that packets are kept there.  [default: as long as there is room]",
)
@click.option(
    "--max-sas", type=click.IntRange(1), default=200_000, show_default=True, metavar="N", help="SAs followed at once."
)
@click.option(
    "--idle",
    "idle_hours",
    type=NumberRange(0, min_open=True),
    default=25.0,
    show_default=True,
    metavar="HOURS",
    help="Time without a packet after which an SA counts as ended.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    envvar="STATE_DIRECTORY",
    help="Where SAs outlive a restart, and the spool lies unless --spool says otherwise.  "
    "[default: ~/.local/state/pqaudit]",
)
@click.option(
    "--exposure/--no-exposure",
    default=False,
    help="Count the encrypted traffic (ESP) of each tunnel, in a second capture of headers alone.  "
    "[default: no-exposure]",
)
@click.option(
    "--exposure-sample",
    "sample",
    type=click.IntRange(1),
    metavar="N",
    help="Of N packets of ESP take one, N a power of two; 1 takes all.  [default: 64]",
)
@click.option(
    "--metrics",
    metavar="[HOST:]PORT",
    help="Serve /metrics for Prometheus and /healthz there, on loopback unless HOST says otherwise.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Append findings to FILE as JSON lines; - is standard output.  "
    "[default: standard output without --elasticsearch, unless it is a terminal]",
)
@click.option("--quiet", is_flag=True, help="No line in the log for each finding.")
@click.option("--sensor", metavar="NAME", help="Name of the observer in findings.  [default: this machine's name]")
@port_option
@click.option(
    "--tunnels/--no-tunnels",
    default=False,
    help="Look for IKE inside tunnels such as GRE and VXLAN; all that such tunnels carry is then looked at.  "
    "[default: no-tunnels]",
)
@rules_option
@connection_options()
@spool_options
def command(
    interfaces: tuple[str, ...],
    wait: bool,
    user: str | None,
    promiscuous: bool,
    buffer_megabytes: int,
    backlog_megabytes: int,
    ring: Path | None,
    ring_megabytes: int,
    ring_hours: float | None,
    max_sas: int,
    idle_hours: float,
    state: Path | None,
    exposure: bool,
    sample: int | None,
    metrics: str | None,
    output: str | None,
    quiet: bool,
    sensor: str | None,
    ports: tuple[int, ...],
    tunnels: bool,
    rules_folder: Path | None,
    server: ServerOptions,
    spool: SpoolOptions,
) -> None:
    """Watch interfaces, and tell of every IKE SA as soon as it is decided.

    Nothing is ever sent to the network that is watched. A finding is told when an SA is decided, and again when
    something material changes: an exchange was seen to run, or not to; the SA was rekeyed, or ended. The sensor goes on
    where it was after a restart, and says in findings when packets were missed about their time.

    \b
      pqaudit sensor -i eth1
      pqaudit sensor -i eth1 -i eth2 --user pqaudit --elasticsearch https://search.example:9200 --metrics 9370
    """
    connection = connection_or_exit(server)
    rulebook = rulebook_or_exit(rules_folder)
    custom = custom_rules(rules_folder)
    # Imported late so that --help and wrong usage answer at once.
    from pqaudit.sensor.capturing import CaptureOptions
    from pqaudit.sensor.exposure_wire import DEFAULT_SAMPLE, ExposureOptions
    from pqaudit.sensor.status import Status

    if sample is not None and not exposure:
        raise click.UsageError("--exposure-sample needs --exposure")
    gc.freeze()
    # Of what is kept for hours there is much, and few cycles: going through it all often costs a fifth of the time.
    gc.set_threshold(50_000, 20, 100)
    total = ring_megabytes * _MEGABYTE
    try:
        options = CaptureOptions(
            interfaces=interfaces,
            ports=frozenset(ports),
            tunnels=tunnels,
            buffer_octets=buffer_megabytes * _MEGABYTE,
            promiscuous=promiscuous,
            ring_folder=None if ring is None else str(ring),
            ring=_ring_options(total, ring_hours),
            account=None if user is None else _account(user),
            backlog_octets=backlog_megabytes * _MEGABYTE,
            wait=wait,
        )
        counted = (
            ExposureOptions(interfaces, sample or DEFAULT_SAMPLE, promiscuous, options.account) if exposure else None
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    status = Status(started=time.time(), observer=sensor or socket.gethostname())
    folder = state or _default_state()
    if spool.folder is None:
        spool = spool.in_folder(folder / "spool")
    if output is None and connection is None and (sys.stdout is None or not sys.stdout.isatty()):
        output = "-"
    if output == "-" and sys.stdout is None:
        raise click.UsageError("standard output is closed; name another --output")
    _fill_standard_streams()
    code = _run(
        options,
        counted,
        status,
        folder,
        connection,
        spool,
        rulebook,
        custom,
        max_sas,
        idle_hours,
        metrics,
        output,
        quiet,
    )
    sys.exit(code)


def _ring_options(octets: int, hours: float | None) -> RingOptions:
    from pqaudit.capture.ring import RingOptions

    options = RingOptions(min(_RING_FILE, octets // 2), octets)
    if hours is None:
        return options
    # A file goes as a whole, so many seconds after its last packet, and is not to have the first for too long.
    longest = min(options.max_age, hours * _HOUR / 4)
    return replace(options, max_age=longest, keep=hours * _HOUR - longest)


def _run(
    options: CaptureOptions,
    counted: ExposureOptions | None,
    status: Status,
    folder: Path,
    connection: Connection | None,
    spool: SpoolOptions,
    rulebook: Rulebook,
    custom: CustomRules | None,
    max_sas: int,
    idle_hours: float,
    metrics: str | None,
    output: str | None,
    quiet: bool,
) -> ExitCode:
    from pqaudit.capture.privileges import PrivilegeError, drop_privileges
    from pqaudit.sensor.capturing import CaptureProcess, CaptureStartError
    from pqaudit.sensor.checkpoint import Checkpoint, CheckpointError
    from pqaudit.sensor.decoders import Decoders
    from pqaudit.sensor.exposing import Exposing
    from pqaudit.sensor.log import Log
    from pqaudit.sensor.loop import NOT_KEPT, Sensor
    from pqaudit.sensor.metrics import MetricsError, MetricsServer
    from pqaudit.sensor.notify import Notifier
    from pqaudit.sensor.sinks import AllSinks, SpoolSink
    from pqaudit.sensor.source import CaptureEndedError
    from pqaudit.sensor.view import LiveView, can_show
    from pqaudit.sensor.watch import Timing, Watch

    stopping = _stopping()
    heard: deque[str] = deque(maxlen=100)  # sentences from where there is no log

    def said(sentence: str) -> None:
        status.notes.append((time.time(), sentence))
        heard.append(sentence)

    notifier = Notifier.from_environment()
    with ExitStack() as stack:
        source = CaptureProcess(options)
        state = folder / "sensor"
        exposing = None if counted is None else Exposing(counted, rulebook, state, said)
        try:
            source.start()
            stack.callback(source.close)
            if exposing is not None:
                # While it may: this process may soon be no longer root.
                exposing.start()
                stack.callback(exposing.close)
            if options.account is not None:
                _import_for_later(connection)
                drop_privileges(options.account)
            checkpoint = Checkpoint(state)
        except CaptureStartError as error:
            raise _CaptureFailed(error.message) from error
        except (CaptureEndedError, PrivilegeError) as error:
            raise _CaptureFailed(str(error)) from error
        except CheckpointError as error:
            raise _StateFailed(str(error)) from error
        if exposing is not None:
            exposing.resume()
            status.exposure = exposing.status
        delivering: Delivering | None = None
        sinks: list[Sink] = []
        if connection is not None:
            delivering = stack.enter_context(
                Delivering(connection, spool, rulebook, custom, for_ever=True, tell=heard.append)
            )
            status.server = connection.url
            sinks.append(SpoolSink(delivering.shipment))
        if output is not None:
            sinks.append(stack.enter_context(closing(_lines_to(output))))
        if metrics is not None:
            try:
                stack.enter_context(MetricsServer(metrics, status))
            except MetricsError as error:
                raise click.UsageError(str(error)) from error
        # Lines of findings on the same terminal would tear the view apart.
        alone = output != "-" or not sys.stdout.isatty()
        view = stack.enter_context(LiveView(status, rulebook.registry)) if alone and can_show() else None
        log = None if view is not None else Log(sys.stderr, quiet)
        try:
            watch = Watch(
                rulebook,
                status.observer,
                max_sas,
                checkpoint,
                time.time(),
                timing=Timing(idle=idle_hours * _HOUR),
                custom=custom,
            )
        except CheckpointError as error:
            raise _StateFailed(str(error)) from error
        chores = _Chores(status, delivering, view, log, notifier, heard, exposing)
        sensor = Sensor(
            source,
            Decoders(ports=options.ports, tunnels=options.tunnels),
            watch,
            AllSinks(sinks),
            status,
            stopping,
            turned=chores.turn,
            told=chores.told,
            said=chores.said,
        )
        if checkpoint.damaged is not None:
            chores.said(f"the state was damaged and is kept as {checkpoint.damaged}")
        if log is not None:
            log.started(status)
        notifier.ready()
        try:
            sensor.run()
        except CaptureEndedError as error:
            raise _CaptureFailed(str(error)) from error
        finally:
            notifier.stopping()
            if exposing is not None:
                exposing.close()
            chores.ask()
            if log is not None:
                log.stopped(status)
        code = ExitCode.OUTPUT_FAILED if status.counters[NOT_KEPT] else ExitCode.DONE
        if delivering is not None:
            _end_within(_LAST_REQUEST_SECONDS, code)
    return code


def _end_within(seconds: float, code: ExitCode) -> None:
    """End then, whatever a server makes this process wait for: all is on disk."""
    timer = Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()


def _import_for_later(connection: Connection | None) -> None:
    """Load what is loaded late otherwise: the user that this becomes may not be allowed to read it."""
    import pqaudit.elastic.dead_letters
    import pqaudit.elastic.delivery
    import pqaudit.elastic.setup
    import pqaudit.elastic.shipment
    import pqaudit.finding.merging  # noqa: F401

    if connection is not None:
        import elasticsearch  # noqa: F401

        with suppress(ImportError):
            import opensearchpy  # noqa: F401


class _Chores:
    """What is due between packets: the view or the log, the watchdog, the spool's age."""

    def __init__(
        self,
        status: Status,
        delivering: Delivering | None,
        view: LiveView | None,
        log: Log | None,
        notifier: Notifier,
        heard: deque[str],
        exposing: Exposing | None,
    ) -> None:
        self._exposing = exposing
        self._heard = heard
        self._status = status
        self._delivering = delivering
        self._view = view
        self._log = log
        self._notifier = notifier
        self._due = dict.fromkeys(("view", "summary", "spool"), 0.0)
        self._dropped = 0

    def turn(self) -> None:
        """Called several times a second."""
        now = time.monotonic()
        status, delivering = self._status, self._delivering
        self.hear()
        if self._exposing is not None:
            self._exposing.turn()
        if self._is_due("view", now, _VIEW_SECONDS):
            self.ask()
            if self._view is not None:
                self._view.update()
            if not status.capture_hangs:
                # Otherwise the service manager is to begin anew.
                self._notifier.alive(status)
        if self._is_due("summary", now, _SUMMARY_SECONDS) and self._log is not None:
            self._log.summary(status)
        if self._is_due("spool", now, _EXPIRY_SECONDS) and delivering is not None:
            delivering.expire()
            self._say_what_was_dropped()

    def ask(self) -> None:
        """Have the status tell of the findings on their way to the server as it is now."""
        status, delivering = self._status, self._delivering
        if delivering is not None:
            status.spooled = delivering.waiting
            status.delivered = delivering.delivered
            status.dropped = delivering.dropped
            status.refused = delivering.refused
            status.trouble = delivering.trouble

    def _say_what_was_dropped(self) -> None:
        assert self._delivering is not None
        more = self._delivering.dropped - self._dropped
        if more:
            self._dropped += more
            self.said(f"{more:,} findings that waited for the server were dropped to keep to the bounds of the spool")

    def hear(self) -> None:
        """Say what waits to be said."""
        while self._heard:
            self.said(self._heard.popleft())

    def _is_due(self, what: str, now: float, seconds: float) -> bool:
        if now < self._due[what]:
            return False
        self._due[what] = now + seconds
        return True

    def told(self, finding: Document) -> None:
        """A finding went out."""
        if self._log is not None:
            self._log.finding(finding)
        if self._exposing is not None:
            self._exposing.told(finding)

    def said(self, sentence: str) -> None:
        """There is something to say to a person."""
        if self._log is not None:
            self._log.note(sentence)


def _stopping() -> Event:
    """Set by SIGTERM, by Ctrl-C and by a terminal that goes: all mean an orderly end."""
    stopping = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    if sys.platform != "win32":
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
            signal.signal(signal.SIGHUP, lambda *_: stopping.set())
        # Who asks for metrics or reads the log may go away: an error of one writing, and not the end of the process.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    return stopping


def _fill_standard_streams() -> None:
    """Streams that were closed lead nowhere: no file or socket of ours must get the number of one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _lines_to(output: str) -> LineSink:
    from pqaudit.sensor.sinks import LineSink

    try:
        return LineSink(output)
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from error


def _account(name: str) -> Account:
    from pqaudit.capture.privileges import PrivilegeError, find_account

    try:
        return find_account(name)
    except PrivilegeError as error:
        raise click.UsageError(str(error)) from error


def _default_state() -> Path:
    from pqaudit.elastic.spool import default_folder

    return default_folder().parent


class _CaptureFailed(click.ClickException):
    exit_code = ExitCode.UNREADABLE


class _StateFailed(click.ClickException):
    exit_code = ExitCode.OUTPUT_FAILED
