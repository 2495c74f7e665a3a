"""A sensor under load: its share of the processor at idle and at given rates, and its memory over a million SAs.

    python -m bench.sensor_load                     # as root; needs tcpreplay; some twenty minutes
    python -m bench.sensor_load --only memory --sas 100000

The sensor is `pqaudit sensor` with its defaults, writing findings to a file, its state on the disk of the temporary
folder; it listens at one end of a veth pair. At the other end tcpreplay sends whole negotiations (IKE_SA_INIT,
IKE_INTERMEDIATE, IKE_AUTH, INFORMATIONAL, the messages of 64 SAs mingled) at a rate, or this process sends new SAs with
random SPIs as fast as the sensor takes them: it waits while more than a bound of messages is not analysed.
Processor and memory are those of all processes of the sensor, as the kernel counts them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import corpus
from bench.live import SENDING, WATCHED, link

REPOSITORY = Path(__file__).parent.parent
RATES = (1_000, 10_000)
"""IKE messages a second."""
LOAD_SECONDS = 60.0
MOST_WAITING = 20_000
"""Messages sent and not analysed at most, while memory is measured: they fit into the sensor's backlog."""
AT_A_TIME = 64
KINDS = 16
"""Of SAs, of which each new one is one with SPIs of its own."""
OCTETS_OF_SPIS = 42, 50  # Ethernet, IPv4, UDP; then the SPIs
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Use:
    """What the processes of a sensor have used up: seconds of processor, and octets in memory, the capture's apart."""

    processor: float
    analysis: int
    capture: int


class Subject:
    """A sensor that runs, as somebody looks at it from outside. A context manager."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.state = folder / "state"
        command = [sys.executable, "-m", "pqaudit", "sensor", "-i", WATCHED, "--state", str(self.state), "--quiet"]
        command += ["-o", str(folder / "findings.jsonl"), "--metrics", str(self._port), *options]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log, cwd=REPOSITORY)
        while not self._ready():
            if self._process.poll() is not None:
                sys.exit((folder / "log").read_text())
            time.sleep(0.1)

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def _ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self._get("/healthz").startswith('{"ok": true')
        return False

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def metrics(self) -> dict[str, float]:
        """All of them, those with a label under ``name{label="value"}``."""
        found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", self._get("/metrics"), re.MULTILINE)
        return {name: float(value) for name, value in found}

    def use(self) -> Use:
        """Up to now."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        each = [_use_of(number) for number in (str(pid), *children)]
        processor = sum(seconds for seconds, _ in each)
        return Use(processor, each[0][1], sum(octets for _, octets in each[1:]))


def _use_of(pid: str) -> tuple[float, int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * PAGE


def lost(metrics: dict[str, float]) -> int:
    """Packets that the sensor says it missed."""
    names = ("kernel_dropped_packets", "interface_dropped_packets", "not_analysed_frames")
    return int(sum(metrics[f'pqaudit_{name}_total{{interface="{WATCHED}"}}'] for name in names))


def mingled(messages: int) -> Iterator[bytes]:
    """Frames of whole negotiations, those of 64 at a time mingled; half of them hybrid."""
    rng = random.Random(corpus.SEED)
    waiting: list[list[bytes]] = []
    made = 0
    while made < messages:
        while len(waiting) < AT_A_TIME:
            waiting.append(corpus.negotiation(rng, rng.random() < 0.5)[::-1])
        chosen = rng.choice(waiting)
        yield chosen.pop()
        made += 1
        if not chosen:
            waiting.remove(chosen)


def processor(folder: Path, idle_seconds: float, scale: float) -> None:
    """Shares of one processor, printed."""
    with Subject(folder) as sensor:
        before, began = sensor.use(), time.monotonic()
        time.sleep(idle_seconds)
        _say_share("idle", sensor.use().processor - before.processor, time.monotonic() - began, "")
    for rate in RATES:
        messages = int(rate * LOAD_SECONDS * scale)
        capture = corpus.write_pcap(folder / "load.pcap", mingled(messages))
        own = folder / str(rate)
        own.mkdir()
        with Subject(own) as sensor:
            time.sleep(5)
            before, began = sensor.use(), time.monotonic()
            command = ["tcpreplay", "-i", SENDING, "--preload-pcap", "--pps", str(rate), str(capture)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            sent = time.monotonic() - began
            while (now := sensor.metrics())["pqaudit_messages_total"] + lost(now) < messages:
                time.sleep(0.5)
            late = time.monotonic() - began - sent
            # What waited counts for the time in which it came.
            used = sensor.use().processor - before.processor
            reached = re.search(r"([0-9.]+) pps", said)
            note = f"reached {float(reached[1]) if reached else 0:,.0f}/s, {lost(now):,} of {messages:,} lost"
            _say_share(f"{rate:,} messages/s", used, sent, f"{note}, done {late:.1f} s after the last was sent")


def _say_share(load: str, seconds: float, of: float, note: str) -> None:
    print(f"{load:<20} {seconds / of:7.1%} of one processor over {of:4.0f} s  {note}", flush=True)


class NewSas:
    """Frames of new SAs with random SPIs: request, response and IKE_AUTH; of every fourth the request alone."""

    def __init__(self) -> None:
        self._rng = random.Random(corpus.SEED)
        self._kinds = []
        for number in range(KINDS):
            # IKE_SA_INIT, and the first IKE_AUTH request: then an SA counts as used.
            frames = corpus.negotiation(self._rng, number % 2 == 0)
            auth = 2 if number % 2 else 5
            self._kinds.append([frames[0], frames[1], frames[auth]])

    def __call__(self, number: int) -> list[bytes]:
        """The frames of one."""
        start, middle = OCTETS_OF_SPIS
        end = middle + 8
        initiator, responder = self._rng.randbytes(8), self._rng.randbytes(8)
        request, response, auth = self._kinds[number % KINDS]
        frames = [request[:start] + initiator + request[middle:]]
        if number % 4:
            spis = initiator + responder
            # Behind a NAT a marker stands before the SPIs.
            at = start + 4 * (auth[34:36] == b"\x11\x94")
            frames.append(response[:start] + spis + response[end:])
            frames.append(auth[:at] + spis + auth[at + 16 :])
        return frames


def memory(folder: Path, sas: int, every: int, idle_hours: float | None) -> None:
    """A table of memory over SAs, printed."""
    options = () if idle_hours is None else ("--idle", str(idle_hours))
    new = NewSas()
    print(f"{'SAs sent':>10} {'messages/s':>10} {'followed':>9} {'analysis MB':>11} {'capture MB':>10} {'state MB':>8}"
          f" {'evicted':>9} {'refused':>9} {'timed out':>9} {'lost':>6}", flush=True)  # fmt: skip
    with Subject(folder, *options) as sensor, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((SENDING, 0))
        sent = analysed = 0
        began, messages_before = time.monotonic(), 0
        for number in range(sas + 1):
            if number % every == 0:
                now = sensor.metrics()
                use = sensor.use()
                events = {
                    name: int(now.get(f'pqaudit_events_total{{event="{name}"}}', 0))
                    for name in ("attempts-evicted", "sas-refused", "sas-timed-out")
                }
                rate = (sent - messages_before) / max(time.monotonic() - began, 0.001)
                began, messages_before = time.monotonic(), sent
                state = sum(path.stat().st_size for path in sensor.state.rglob("*") if path.is_file())
                print(
                    f"{number:>10,} {rate:>10,.0f} {int(now['pqaudit_sas']):>9,} {use.analysis / 1e6:>11,.0f}"
                    f" {use.capture / 1e6:>10,.0f} {state / 1e6:>8,.0f} {events['attempts-evicted']:>9,}"
                    f" {events['sas-refused']:>9,} {events['sas-timed-out']:>9,} {lost(now):>6,}",
                    flush=True,
                )
            for frame in new(number):
                sender.send(frame)
                sent += 1
            while sent - analysed > MOST_WAITING:
                now = sensor.metrics()
                analysed = int(now["pqaudit_messages_total"]) + lost(now)
                if sent - analysed > MOST_WAITING:
                    time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["processor", "memory"])
    parser.add_argument("--scale", type=float, default=1.0, help="length of the loads: 1 is a minute each")
    parser.add_argument("--sas", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=50_000, help="SAs between two samples of memory")
    parser.add_argument("--idle", type=float, metavar="HOURS", help="for the sensor, so that SAs end while it runs")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench.sensor_load makes interfaces: run it as root")
    link()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            if arguments.only != "memory":
                processor(folder, 60.0 * arguments.scale, arguments.scale)
            if arguments.only != "processor":
                own = folder / "memory"
                own.mkdir()
                memory(own, arguments.sas, arguments.every, arguments.idle)
    finally:
        subprocess.run(["ip", "link", "delete", SENDING], capture_output=True, check=False)


if __name__ == "__main__":
    main()
