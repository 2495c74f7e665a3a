"""Live capture on a pair of interfaces: what is lost at the highest rate that this machine can send.

    python -m bench.live                 # as root; needs tcpreplay and tshark; some minutes

tcpreplay sends a capture into one end of a veth pair, and each receiver in turn listens at the other: ours (capturing
process, decoder and table of the sensor), scapy's AsyncSniffer and pyshark's LiveCapture, with the same filter. Sender
and receiver share the machine's cores, so "0 lost" holds for the rate that could be sent.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import corpus
from pqaudit.capture.live import LEAST_BUFFER
from pqaudit.decode.decoder import Decoder
from pqaudit.decode.kernel_filter import kernel_filter
from pqaudit.ike.header import NotIkeError
from pqaudit.pipeline import read_message
from pqaudit.rules.rulebook import load_rulebook
from pqaudit.sensor.capturing import CaptureOptions, CaptureProcess
from pqaudit.sensor.checkpoint import Checkpoint
from pqaudit.sensor.watch import Watch

SENDING, WATCHED = "pqbench0", "pqbench1"
ETHERNET = 1
QUIET = 3.0  # seconds without a message after which all has arrived


@dataclass(frozen=True)
class Load:
    """A capture to be sent, ``loops`` times.

    Attributes:
        messages: of IKE, in all.
        rate: packets a second, or None for as fast as possible.
    """

    name: str
    path: Path
    messages: int
    rate: int | None
    loops: int = 1


@dataclass(frozen=True)
class Result:
    """What a receiver got. ``rate`` is what was sent, in packets a second; ``cpu`` in seconds of the receiver."""

    messages: int
    rate: float
    cpu: float
    note: str = ""


def link() -> None:
    subprocess.run(["ip", "link", "delete", SENDING], capture_output=True, check=False)
    subprocess.run(["ip", "link", "add", SENDING, "type", "veth", "peer", "name", WATCHED], check=True)
    for name in (SENDING, WATCHED):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    time.sleep(0.5)


def send(load: Load) -> float:
    """Send a load; packets a second that were reached."""
    pace = ["--topspeed"] if load.rate is None else ["--pps", str(load.rate)]
    command = ["tcpreplay", "-i", SENDING, "--preload-pcap", "--loop", str(load.loops), *pace, str(load.path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"([0-9.]+) pps", said)
    return float(found[1]) if found else 0.0


def ours(load: Load, folder: Path, buffer: int = LEAST_BUFFER) -> Result:
    """The sensor's way, with the analysis, and with so many octets of a buffer in the kernel."""
    source = CaptureProcess(CaptureOptions((WATCHED,), tunnels=False, buffer_octets=buffer))
    source.start()
    decoder = Decoder(tunnels=False)
    watch = Watch(load_rulebook(), "bench", 200_000, Checkpoint(folder / f"ours{time.time_ns()}"), time.time())
    before = resource.getrusage(resource.RUSAGE_SELF)
    rate = 0.0

    def sender() -> None:
        nonlocal rate
        rate = send(load)

    thread = threading.Thread(target=sender)
    thread.start()
    messages = 0
    last = time.monotonic()
    backlog = 0
    dropped = 0
    while thread.is_alive() or time.monotonic() - last < QUIET:
        source.wait(0.1)
        now = time.time()
        frames = source.read()
        for frame in frames:
            for datagram in decoder.feed(frame):
                try:
                    message = read_message(datagram)
                except NotIkeError:
                    continue
                watch.add(datagram, message, now)
                messages += 1
        for _ in watch.findings(now):
            pass
        watch.tick(now)
        if frames:
            last = time.monotonic()
        for report in source.reports():
            backlog = max(backlog, report.backlog_octets)
            (interface,) = report.interfaces
            statistics = interface.statistics
            dropped = statistics.dropped + statistics.interface_dropped + interface.not_analysed
    thread.join()
    source.close()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(messages, rate, cpu, f"reported dropped {dropped}, backlog at most {backlog / 1e6:.0f} MB")


def scapy(load: Load, folder: Path) -> Result:
    """scapy's AsyncSniffer: it only has to count."""
    from scapy.sendrecv import AsyncSniffer

    count = 0

    def one(packet: object) -> None:
        nonlocal count
        count += 1

    sniffer = AsyncSniffer(iface=WATCHED, filter=kernel_filter(ETHERNET), prn=one, store=False)
    sniffer.start()
    time.sleep(1)
    before = time.process_time()
    rate = send(load)
    seen = -1
    while seen != count:
        seen = count
        time.sleep(QUIET)
    sniffer.stop()
    return Result(count, rate, time.process_time() - before)


def pyshark(load: Load, folder: Path) -> Result:
    """pyshark's LiveCapture in a process of its own, ended once nothing more comes."""
    program = (
        "import sys, pyshark\n"
        f"capture = pyshark.LiveCapture({WATCHED!r}, bpf_filter={kernel_filter(ETHERNET)!r})\n"
        "for n, packet in enumerate(capture.sniff_continuously(), 1):\n"
        "    print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    count = 0
    assert process.stdout is not None
    lines = process.stdout

    def read() -> None:
        nonlocal count
        for line in lines:
            count = int(line)

    threading.Thread(target=read, daemon=True).start()
    time.sleep(4)
    rate = send(load)
    seen = -1
    deadline = time.monotonic() + 60
    while seen != count and time.monotonic() < deadline:
        seen = count
        time.sleep(QUIET)
    process.kill()
    process.wait()
    note = "" if seen == count else "given up after 60 s"
    return Result(count, rate, 0.0, note)


Receiver = Callable[[Load, Path], Result]
RECEIVERS: dict[str, Receiver] = {"ours": ours, "scapy": scapy, "pyshark": pyshark}


def loads(folder: Path, scale: float) -> list[Load]:
    tally = corpus.Tally()
    octets = int(200_000_000 * scale)
    mixed = corpus.write_pcap(folder / "mixed.pcap", corpus.mixed_frames(octets, tally))
    messages = int(200_000 * scale)
    dense = corpus.write_pcap(folder / "dense.pcap", corpus.dense_frames(messages))
    return [
        Load("mixed, full rate", mixed, tally.messages, None),
        Load("dense, 50,000 a second", dense, messages, 50_000),
        Load("dense, full rate", dense, messages, None),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the loads: 1 is 200 MB and 200,000 messages")
    parser.add_argument("--only", action="append", choices=list(RECEIVERS))
    parser.add_argument("--buffer", type=int, default=16, metavar="MB", help="of ours, in the kernel; default: 16")
    parser.add_argument("--load", choices=["mixed", "dense"], help="only this one")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench.live makes interfaces: run it as root")
    link()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            receivers: dict[str, Receiver] = {**RECEIVERS, "ours": partial(ours, buffer=arguments.buffer << 20)}
            for load in loads(folder, arguments.scale):
                if not load.name.startswith(arguments.load or ""):
                    continue
                for receiver in arguments.only or RECEIVERS:
                    result = receivers[receiver](load, folder)
                    lost = load.messages - result.messages
                    share = lost / load.messages
                    print(
                        f"{load.name:<24} {receiver:<8} sent {load.messages:>8,} at {result.rate:>9,.0f} packets/s"
                        f"  lost {lost:>8,} ({share:7.2%})  cpu {result.cpu:5.1f} s  {result.note}",
                        flush=True,
                    )
    finally:
        subprocess.run(["ip", "link", "delete", SENDING], capture_output=True, check=False)


if __name__ == "__main__":
    main()
