"""``/metrics`` for Prometheus and ``/healthz``, read from the status when they are asked for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Thread
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pqaudit import __version__
from pqaudit.capture.devices import DeviceState
from pqaudit.sensor.status import ExposureStatus, Status

OLDEST_BEAT = 15.0
"""Seconds after which a loop that did not turn counts as hanging."""

_LOOPBACK = "127.0.0.1"
_MOST_CLIENTS = 16  # answered at a time
_JSON = ("Content-Type", "application/json")


class MetricsError(ValueError):
    """The address cannot be used: one sentence."""


class MetricsServer:
    """Serves in a thread of its own; a context manager.

    Args:
        address: ``[HOST:]PORT``; loopback without a host. Port 0 takes a free one.
        status: what is shown.

    Raises:
        MetricsError: the address is none, or in use.
    """

    def __init__(self, address: str, status: Status) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or _LOOPBACK
        if not port.isdecimal() or int(port) > 65535:
            raise MetricsError(f"{address} is no address for metrics; it looks like 9370 or 127.0.0.1:9370")
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_StatusCollector(status))
        show = make_wsgi_app(registry)

        def answer(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path = environment.get("PATH_INFO", "")
            if path == "/metrics":
                shown: Iterable[bytes] = show(environment, start)
                return shown
            if path == "/healthz":
                problem = health(status)
                start("200 OK" if problem is None else "503 Service Unavailable", [_JSON])
                return [json.dumps({"ok": problem is None, "reason": problem}).encode() + b"\n"]
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics and /healthz are here\n"]

        try:
            self._server = (_SixServer if ":" in host else _Server)((host, int(port)), _Handler)
        except OSError as error:
            raise MetricsError(f"metrics cannot be served on {address}: {error.strerror}") from error
        self._server.set_app(answer)
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> MetricsServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def health(status: Status) -> str | None:
    """None while all is well, else what is wrong."""
    if not status.ready:
        return "the sensor is not ready"
    if time.monotonic() - status.beat > OLDEST_BEAT:
        return "the loop hangs"
    if status.capture_hangs:
        return "the capturing process hangs"
    capture = status.capture
    if capture is not None and all(each.state is not DeviceState.UP for each in capture.interfaces):
        return "no interface is up"
    return None


class _Server(ThreadingMixIn, WSGIServer):
    """Answers some at a time, so that who connects and asks nothing keeps nobody from asking."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._free = BoundedSemaphore(_MOST_CLIENTS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """As the base, which would look for a name of the address."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for one more; who is not answered is hung up on."""
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up or fall silent: the log is the sensor's."""


class _SixServer(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10  # who connects and asks nothing is not waited for

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the log is the sensor's."""


class _StatusCollector(Collector):
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[Metric]:
        """All metrics as they are now."""
        status = self._status
        yield _gauge("pqaudit_start_time_seconds", "Second since the epoch at which the sensor began.", status.started)
        build = GaugeMetricFamily("pqaudit_build_info", "Version of pqaudit.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield _counter("pqaudit_frames", "Frames that reached the analysis.", status.frames)
        yield _counter("pqaudit_messages", "IKE messages found in them.", status.messages)
        yield _gauge("pqaudit_sas", "IKE SAs followed.", status.sas)
        yield _gauge("pqaudit_half_open_sas", "IKE SAs followed that wait for a response.", status.half_open)
        yield _labelled("pqaudit_findings", "Findings emitted.", "verdict", status.findings)
        yield _labelled("pqaudit_events", "Whatever else happened.", "event", status.counters)
        yield _gauge("pqaudit_spooled_findings", "Findings that wait for the server.", status.spooled)
        yield _counter("pqaudit_delivered_findings", "Findings that the server confirmed.", status.delivered)
        yield _counter("pqaudit_dropped_findings", "Findings for which the spool had no room.", status.dropped)
        yield _counter("pqaudit_refused_findings", "Findings that the server refused.", status.refused)
        yield _gauge("pqaudit_server_trouble", "1 while the server takes no findings.", int(status.trouble is not None))
        if status.exposure is not None:
            yield from _exposure(status.exposure)
        capture = status.capture
        if capture is None:
            return
        interfaces = capture.interfaces
        for name, text, values in (
            (
                "pqaudit_received_packets",
                "Packets that the filter let through.",
                [i.statistics.received for i in interfaces],
            ),
            (
                "pqaudit_kernel_dropped_packets",
                "Packets the kernel had no room for.",
                [i.statistics.dropped for i in interfaces],
            ),
            (
                "pqaudit_interface_dropped_packets",
                "Packets dropped by the network card or its driver.",
                [i.statistics.interface_dropped for i in interfaces],
            ),
            (
                "pqaudit_not_analysed_frames",
                "Frames the analysis was too slow for.",
                [i.not_analysed for i in interfaces],
            ),
        ):
            yield _labelled(name, text, "interface", dict(zip((i.name for i in interfaces), values, strict=True)))
        up = GaugeMetricFamily("pqaudit_interface_up", "1 while the interface can give frames.", labels=["interface"])
        for each in interfaces:
            up.add_metric([each.name], int(each.state is DeviceState.UP and not status.capture_hangs))
        yield up
        yield _gauge("pqaudit_backlog_bytes", "Frames that wait for the analysis.", capture.backlog_octets)
        if capture.ring is not None:
            yield _gauge("pqaudit_ring_bytes", "Size of the packets kept.", capture.ring.octets)
            yield _counter("pqaudit_ring_packets", "Packets kept.", capture.ring.kept)
            yield _counter("pqaudit_ring_lost_packets", "Packets that could not be kept.", capture.ring.not_kept)


def _exposure(status: ExposureStatus) -> Iterable[Metric]:
    yield _labelled("pqaudit_esp_packets", "ESP packets by the verdict on their tunnel.", "verdict", status.packets)
    yield _labelled("pqaudit_esp_octets", "Octets of them.", "verdict", status.octets)
    yield _labelled("pqaudit_esp_events", "What of ESP is not counted or is forgotten.", "event", status.counters)
    yield _gauge("pqaudit_esp_pairs", "Pairs of peers that send ESP.", status.pairs)
    yield _gauge("pqaudit_esp_sampled", "Packets that one stands for which was taken.", status.sampled)
    yield _gauge("pqaudit_esp_running", "1 while ESP is counted.", int(status.running))
    interfaces = status.interfaces
    taken = {each.name: each.statistics.received for each in interfaces}
    yield _labelled("pqaudit_esp_received_packets", "Packets taken, not multiplied.", "interface", taken)
    dropped = {each.name: each.statistics.dropped for each in interfaces}
    yield _labelled(
        "pqaudit_esp_kernel_dropped_packets", "Of them dropped by the kernel, not multiplied.", "interface", dropped
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for each, value in sorted(values.copy().items()):
        family.add_metric([each], value)
    return family
