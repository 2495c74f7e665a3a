"""What counting ESP costs beside the capture of IKE, and what of either is lost.

    python -m bench.exposure             # as root; needs tcpreplay; some minutes

tcpreplay sends ESP with one IKE message in a hundred packets into one end of a veth pair. At the other the sensor's way
takes IKE, without and with the counting process, in turn in every round. All share the machine's cores.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import corpus, live
from pqaudit.rules.rulebook import load_rulebook
from pqaudit.sensor.counting import CountingProcess
from pqaudit.sensor.exposure_wire import ExposureOptions
from pqaudit.sensor.tunnel_traffic import TunnelTraffic
from tests.exposure.esp_frames import UDP, esp, frame, ipv4, ipv6, udp

TUNNELS = 200
ESP_FOR_ONE_IKE = 99
LENGTHS = (80, 120, 600, 1400, 1400)
SAMPLES = (None, 64, 1)
"""None is without the counting process."""


@dataclass
class Counted:
    """What the counting process did: packets estimated, packets dropped, seconds of processor."""

    packets: int = 0
    dropped: int = 0
    cpu: float = 0.0


def frames(esp_packets: int, tally: corpus.Tally) -> Iterator[bytes]:
    """ESP of many tunnels, their sequence numbers one by one, in all forms, and whole IKE SAs between."""
    rng = random.Random(corpus.SEED)
    waiting: list[bytes] = []
    numbers = [0] * TUNNELS
    for sent in range(esp_packets):
        tunnel = rng.randrange(TUNNELS)
        numbers[tunnel] += 1
        packet = esp(numbers[tunnel], rng.choice(LENGTHS), spi=0xC0000000 + tunnel)
        if tunnel % 4 == 0:
            yield frame(ipv6(packet, a=f"2001:db8::{tunnel:x}", b="2001:db8:1::1"))
        elif tunnel % 4 == 1:
            yield frame(ipv4(packet, a=f"192.0.2.{tunnel}", b="198.51.100.1"))
        else:
            yield frame(ipv4(udp(packet), UDP, a=f"192.0.2.{tunnel}", b="198.51.100.1"))
        if sent % ESP_FOR_ONE_IKE == 0:
            if not waiting:
                hybrid = rng.random() < 0.5
                waiting = tally.add(corpus.negotiation(rng, hybrid), hybrid)
            yield waiting.pop(0)
    yield from waiting


def processor(pid: int) -> float:
    """Seconds of processor that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def counting(sample: int | None, result: Counted) -> Iterator[None]:
    """Count ESP meanwhile, joined as the sensor does; nothing without a sample."""
    if sample is None:
        yield
        return
    process = CountingProcess(ExposureOptions((live.WATCHED,), sample), print)
    tunnels = TunnelTraffic(load_rulebook(), sample)
    process.start()
    assert process.pid is not None
    before = processor(process.pid)
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.25):
            for table in process.read():
                tunnels.add(table)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        result.cpu = processor(process.pid) - before
        process.close()
        for table in process.read():
            tunnels.add(table)
        result.packets = tunnels.packets.total()
        result.dropped = process.interfaces[0].statistics.dropped


def one_round(load: live.Load, packets: int, esp_packets: int, folder: Path) -> None:
    """Send a load once for each variant, and print what came of it."""
    for sample in SAMPLES:
        counted = Counted()
        with counting(sample, counted):
            result = live.ours(load, folder)
        seconds = packets * load.loops / result.rate
        lost = (load.messages - result.messages) / load.messages
        line = f"{load.name:<20} {result.rate:>9,.0f} packets/s  IKE lost {lost:7.2%}"
        if sample is not None:
            off = counted.packets / (esp_packets * load.loops) - 1
            line += (
                f"  1 in {sample:<3} processor {counted.cpu / seconds:6.1%} of one core"
                f"  dropped {counted.dropped:>9,}  estimate off by {off:+.2%}"
            )
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the load: 1 is 200,000 packets of ESP")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("bench.exposure makes interfaces: run it as root")
    live.link()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tally = corpus.Tally()
            esp_packets = int(200_000 * arguments.scale)
            path = corpus.write_pcap(folder / "esp.pcap", frames(esp_packets, tally))
            packets = esp_packets + tally.messages
            loads = [
                live.Load("20,000 a second", path, tally.messages, 20_000),
                live.Load("100,000 a second", path, 3 * tally.messages, 100_000, 3),
                live.Load("full rate", path, 10 * tally.messages, None, 10),
            ]
            for _ in range(arguments.rounds):
                for load in loads:
                    one_round(load, packets, esp_packets, folder)
    finally:
        subprocess.run(["ip", "link", "delete", live.SENDING], capture_output=True, check=False)


if __name__ == "__main__":
    main()
