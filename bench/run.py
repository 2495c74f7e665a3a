"""Times ``pqaudit audit`` as a whole process against its peers, in turn, in the same run.

    python -m bench.run                 # a gigabyte; some minutes
    python -m bench.run --size 100M     # quicker, with the same shape
    python -m bench.run --only mixed --runs 9 --markdown
    python -m bench.run --only memory --huge    # a gigabyte and four

What counts is the ratio to the peer measured beside it; seconds differ from machine to machine and from hour to hour.
Peak memory is what the kernel counts for the whole process; it cannot show less than this process has (about 16 MB).
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench import corpus

# Every encapsulation that tcpdump can filter without losing frames: the fair floor for a reader that looks for all.
C = (
    "udp port 500 or (udp port 4500 and udp[8:4] = 0)"
    " or (ip6[6] = 17 and (ip6[40:2] = 4500 or ip6[42:2] = 4500) and ip6[48:4] = 0)"
    " or (ip[9] = 17 and ip[6:2] & 0x1fff != 0) or (ip6[6] = 44 and ip6[40] = 17)"
    " or (ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60)"
)
FILTER = f"({C}) or (vlan and (({C}) or (vlan and ({C}))))"
PYSHARK = (
    "import pyshark,sys\n"
    "c=pyshark.FileCapture(sys.argv[1],display_filter='isakmp',keep_packets=False)\n"
    "n=sum(1 for _ in c);c.close();print(n)"
)
SLOW_PEER_OCTETS = 100_000_000


@dataclass(frozen=True, slots=True)
class Taken:
    """One run of a process: seconds on the clock, seconds of processor, peak memory in MB."""

    wall: float
    cpu: float
    memory: float


def take(command: list[str]) -> Taken:
    """Run a command to its end; what it prints is thrown away."""
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - start
    if process.returncode not in (0, 1):
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {' '.join(command)}")
    return Taken(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def in_turn(first: list[str], second: list[str] | None, runs: int) -> tuple[list[Taken], list[Taken]]:
    """Both commands, one after the other and again, after a run of each that does not count."""
    ones: list[Taken] = []
    others: list[Taken] = []
    for index in range(runs + 1):
        one = take(first)
        other = take(second) if second else None
        if index:
            ones.append(one)
            if other:
                others.append(other)
    return ones, others


def audit(*paths: Path, workers: int = 1) -> list[str]:
    """The command that is timed."""
    listed = [str(path) for path in paths]
    return [sys.executable, "-m", "pqaudit", "audit", "--format", "jsonl", "--workers", str(workers), *listed]


def tcpdump(path: Path) -> list[str]:
    """The floor: libpcap with a filter, in C."""
    return ["tcpdump", "-r", str(path), "-w", "/dev/null", FILTER]


HEADINGS = ("what", "runs", "wall s", "user+sys s", "peak MB", "ratio", "peer")


def spread(values: list[float]) -> str:
    """Least, median and greatest."""
    ordered = sorted(values)
    return f"{ordered[0]:.2f} / {statistics.median(ordered):.2f} / {ordered[-1]:.2f}"


class Report:
    """Rows as they are measured: least / median / greatest of all runs."""

    def __init__(self, markdown: bool) -> None:
        self._markdown = markdown
        self._line(HEADINGS)
        if markdown:
            self._line(("---",) * len(HEADINGS))

    def row(self, name: str, ones: list[Taken], others: list[Taken], note: str = "") -> None:
        """One measurement, and the ratio of each pair of runs: above 1, pqaudit takes longer than the peer."""
        ratio = spread([one.wall / other.wall for one, other in zip(ones, others, strict=True)]) if others else ""
        cpu = f"{statistics.median(taken.cpu for taken in ones):.2f}"
        memory = f"{max(taken.memory for taken in ones):.0f}"
        self._line((name, str(len(ones)), spread([taken.wall for taken in ones]), cpu, memory, ratio, note))

    def _line(self, cells: tuple[str, ...]) -> None:
        if self._markdown:
            print("| " + " | ".join(cells) + " |")
        else:
            print("{:<36} {:>4}  {:<22} {:>10} {:>7}  {:<22} {}".format(*cells).rstrip())
        sys.stdout.flush()


def versions() -> str:
    """The peers that are here, and the names of those that are not and are left out."""
    found: list[str] = []
    for name in ("tcpdump", "tshark"):
        if shutil.which(name):
            shown = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
            number = re.search(r"\d+(\.\d+)+", shown.stdout or shown.stderr)
            found.append(f"{name} {number[0] if number else '?'}")
        else:
            found.append(f"no {name}")
    if find_spec("pyshark") is None:
        found.append("no pyshark")
    return ", ".join(found)


def size(text: str) -> int:
    """``1G``, ``100M``, or octets."""
    factor = {"G": 10**9, "M": 10**6, "K": 10**3}.get(text[-1:].upper())
    return int(float(text[:-1]) * factor) if factor else int(text)


def main(arguments: list[str] | None = None) -> None:
    """Make the corpus in a temporary folder, measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=size, default=10**9, help="octets of the mixed captures (1G)")
    parser.add_argument("--messages", type=int, default=400_000, help="messages of the dense capture")
    parser.add_argument("--files", type=int, default=2_000, help="files of the folder of small captures")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="measure only these")
    parser.add_argument("--markdown", action="store_true", help="print a table for docs/performance.md")
    parser.add_argument("--huge", action="store_true", help="measure memory at four times the size as well")
    parser.add_argument("--folder", type=Path, help="where captures are made (a temporary folder)")
    options = parser.parse_args(arguments)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, {versions()}\n")
    report = Report(options.markdown)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name in options.only or BENCHES:
            BENCHES[name](Path(folder), options, report)


def _against_tcpdump(name: str, path: Path, options: argparse.Namespace, report: Report) -> None:
    peer = tcpdump(path) if shutil.which("tcpdump") else None
    ones, others = in_turn(audit(path), peer, options.runs)
    report.row(name, ones, others, "tcpdump" if peer else "(tcpdump is not here)")
    path.unlink()


def bench_start(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """``--help`` and one small file: nearly all of it is starting."""
    small = corpus.write_pcap(folder / "small.pcap", corpus.dense_frames(20))
    report.row("pqaudit --help", in_turn([sys.executable, "-m", "pqaudit", "--help"], None, options.runs)[0], [])
    report.row("one small capture", in_turn(audit(small), None, options.runs)[0], [])


def bench_mixed(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """Mixed traffic, two in a hundred frames IKE."""
    path = corpus.write_pcap(folder / "mixed.pcap", corpus.mixed_frames(options.size))
    _against_tcpdump("mixed pcap", path, options, report)


def bench_vlan(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """The same with VLAN tags."""
    path = corpus.write_pcap(folder / "vlan.pcap", corpus.tagged(corpus.mixed_frames(options.size)))
    _against_tcpdump("mixed pcap, VLAN-tagged", path, options, report)


def bench_pcapng(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """The same as pcapng with differing interfaces, which libpcap refuses: the peer reads the plain pcap."""
    path = corpus.write_pcapng(folder / "mixed.pcapng", corpus.mixed_frames(options.size))
    plain = corpus.write_pcap(folder / "mixed.pcap", corpus.mixed_frames(options.size))
    peer = tcpdump(plain) if shutil.which("tcpdump") else None
    ones, others = in_turn(audit(path), peer, options.runs)
    report.row("mixed pcapng, four interfaces", ones, others, "tcpdump on the plain pcap" if peer else "")
    path.unlink()
    plain.unlink()


def bench_dense(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """IKE_SA_INIT messages and nothing else, each SA with its finding."""
    path = corpus.write_pcap(folder / "dense.pcap", corpus.dense_frames(options.messages))
    ones, _ = in_turn(audit(path), None, max(1, options.runs // 2))
    each = statistics.median(taken.wall for taken in ones) / options.messages * 1e6
    processor = statistics.median(taken.cpu for taken in ones) / options.messages * 1e6
    note = f"{each:.0f} us a message (processor {processor:.0f}), findings included"
    report.row(f"dense, {options.messages:,} messages", ones, [], note)
    path.unlink()


def bench_many(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """Many small captures, alone and with two processes."""
    path = corpus.write_many(folder / "many", options.files)
    ones, others = in_turn(audit(path, workers=2), audit(path), max(1, options.runs // 2))
    report.row(f"{options.files:,} small captures, 2 workers", ones, others, "1 worker")
    shutil.rmtree(path)


def bench_dissectors(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """tshark and pyshark, once and on a small capture: they are slow."""
    path = corpus.write_pcap(folder / "small-mixed.pcap", corpus.mixed_frames(min(options.size, SLOW_PEER_OCTETS)))
    peers = {
        "tshark": ["tshark", "-r", str(path), "-Y", "isakmp"],
        "pyshark": [sys.executable, "-c", PYSHARK, str(path)],
    }
    for name, peer in peers.items():
        if shutil.which("tshark") and (name == "tshark" or find_spec(name)):
            ones, others = in_turn(audit(path), peer, 1)
            report.row(f"{path.stat().st_size / 1e6:.0f} MB mixed", ones, others, name)
    path.unlink()


def bench_memory(folder: Path, options: argparse.Namespace, report: Report) -> None:
    """Peak memory for the size and, with ``--huge``, for four times the size, which has four times the SAs."""
    for factor in (1, 4) if options.huge else (1,):
        tally = corpus.Tally()
        path = corpus.write_pcap(folder / "memory.pcap", corpus.mixed_frames(options.size * factor, tally))
        report.row(f"memory, {options.size * factor / 1e9:g} GB", [take(audit(path))], [], f"{tally.sas:,} SAs")
        path.unlink()


BENCHES: dict[str, Callable[[Path, argparse.Namespace, Report], None]] = {
    "start": bench_start,
    "mixed": bench_mixed,
    "vlan": bench_vlan,
    "pcapng": bench_pcapng,
    "dense": bench_dense,
    "many": bench_many,
    "dissectors": bench_dissectors,
    "memory": bench_memory,
}

if __name__ == "__main__":
    main()
