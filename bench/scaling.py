"""Reading on a Dask cluster of two processes on this machine against ``--workers 1`` and ``--workers 2``.

    python -m bench.scaling                          # both archives, three rounds; some minutes
    python -m bench.scaling --only sparse --rounds 9 --markdown
    python -m bench.scaling --only scheduler         # memory of the scheduler, 10,000,000 packets of handshakes

Only reading is timed, in processes that are started and have their imports before the clock starts: what follows is the
same for all. The three ways read the same files in turn in each round. Processor time is that of all processes of a
way: for the cluster those of scheduler, workers and client.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench import corpus
from bench.run import size, spread
from pqaudit import parallel
from pqaudit.pipeline import ReadOptions, new_run

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A scheduler and its workers, as processes."""

    address: str
    scheduler: int
    workers: list[int]

    @property
    def processor(self) -> float:
        """Seconds of processor that all have used."""
        return sum(_processor(process) for process in (self.scheduler, *self.workers))


@contextmanager
def started_cluster(workers: int) -> Iterator[Cluster]:
    """Workers with one thread each."""
    environment = dict(os.environ) | {"PYTHONPATH": os.getcwd(), "DASK_LOGGING__DISTRIBUTED": "critical"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        place = ["--scheduler-file", str(file)]
        quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *place]
        worker = [*dask, "worker", "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0", *place]
        worker += ["--local-directory", folder, "--host", "127.0.0.1"]
        processes = [subprocess.Popen(scheduler, **quiet)]  # type: ignore[call-overload]
        try:
            while not file.exists():
                time.sleep(0.1)
            processes += [subprocess.Popen(worker, **quiet) for _ in range(workers)]  # type: ignore[call-overload]
            from distributed import Client

            with Client(scheduler_file=str(file), set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=60)
                address = client.scheduler.address
            yield Cluster(address, processes[0].pid, [process.pid for process in processes[1:]])
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:  # a worker may miss that its scheduler went away
                    process.kill()
                    process.wait()


def _processor(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory(process: int) -> float:
    """Resident memory in MB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# -- one way, in a process of its own ---------------------------------------------------------------------------------


def read_once(way: str, sources: list[str]) -> None:
    """Read, and print seconds on the clock, seconds of this and its ended processes, and the number of SAs."""
    gc.disable()
    run, options = new_run(ReadOptions()), ReadOptions()
    if way.isdigit():
        parallel.LEAST_PARALLEL_OCTETS = 0  # small archives show the cost of processes too
        start, used = time.monotonic(), _used()
        parallel.read_side_by_side(sources, run, options, workers=int(way))
    else:
        from pqaudit.archive import cluster_reading  # noqa: F401  # brings Dask along before the clock starts
        from pqaudit.archive.cluster import read_on_cluster

        start, used = time.monotonic(), _used()
        read_on_cluster(sources, run, options, way, tell=print)
    print(time.monotonic() - start, _used() - used, len(run.table))


def _used() -> float:
    """Seconds of processor of this process and of those it started that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def take(way: str, folder: Path) -> tuple[float, float, int]:
    """Seconds on the clock, seconds of processor, SAs."""
    command = [sys.executable, "-m", "bench.scaling", "--way", way, "--folder", str(folder)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1]), int(out[2])


def compare(name: str, folder: Path, rounds: int, markdown: bool) -> None:
    """Time the three ways in turn, after a round that does not count."""
    octets = sum(path.stat().st_size for path in folder.iterdir())
    walls: dict[str, list[float]] = {"1": [], "2": [], "cluster": []}
    used: dict[str, list[float]] = {"1": [], "2": [], "cluster": []}
    sas = set()
    with started_cluster(2) as cluster:
        for index in range(rounds + 1):
            for way in walls:
                before = cluster.processor
                wall, processor, found = take(cluster.address if way == "cluster" else way, folder)
                sas.add(found)
                if index:
                    walls[way].append(wall)
                    used[way].append(processor + (cluster.processor - before if way == "cluster" else 0.0))
    if len(sas) != 1:
        raise SystemExit(f"the ways differ in their SAs: {sas}")
    what = f"{name}: {len(list(folder.iterdir()))} files, {octets / 1e6:,.0f} MB, {sas.pop():,} SAs"
    for way in walls:
        cells = [what, "cluster of 2" if way == "cluster" else f"--workers {way}", str(rounds), spread(walls[way])]
        cells += [spread(used[way]), f"{octets / 1e6 / min(used[way]):.1f}"]
        for other in ("1", "2"):
            pairs = zip(walls[way], walls[other], strict=True)
            cells.append("" if way == other else spread([one / two for one, two in pairs]))
        pairs = zip(used[way], used["2"], strict=True)
        cells.append("" if way == "2" else spread([one / two for one, two in pairs]))
        _line(cells, markdown)


HEADINGS = [
    "archive",
    "way",
    "rounds",
    "wall s",
    "processor s",
    "MB a second of processor",
    "wall, to --workers 1",
    "wall, to --workers 2",
    "processor, to --workers 2",
]


def _line(cells: list[str], markdown: bool) -> None:
    print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells), flush=True)


# -- memory of the scheduler -------------------------------------------------------------------------------------------


def scheduler_memory(folder: Path, most_files: int) -> None:
    """Read a whole archive on a cluster, with all merging, and let go of what comes: the client keeps nothing."""
    from distributed import Client

    from pqaudit.archive.cluster_reading import ClusterReading

    sources = sorted(str(path) for path in folder.iterdir())
    octets = 0
    results = 0

    def taken(first: int, count: int, partials: list[bytes]) -> None:
        nonlocal octets, results
        results += 1
        octets += sum(map(len, partials))

    with started_cluster(2) as cluster, Client(cluster.address, direct_to_workers=True, set_as_default=False) as client:

        def read(some: list[str]) -> None:
            options = ReadOptions()
            reading = ClusterReading(
                client, options, pack=None, taken=taken, tell=print, progress=None, most_files=most_files
            )
            reading.read(some, 2)

        read(sources[:8])
        before, peak, ended = _memory(cluster.scheduler), 0.0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.1):
                peak = max(peak, _memory(cluster.scheduler))

        watching = threading.Thread(target=watch)
        watching.start()
        octets = results = 0
        start = time.monotonic()
        processor = _processor(cluster.scheduler)
        read(sources)
        ended.set()
        watching.join()
        after = _memory(cluster.scheduler)
        print(f"{len(sources):,} files in {time.monotonic() - start:.0f} s; {results} results, {octets / 1e6:.0f} MB")
        print(f"scheduler: resident {before:.0f} MB before, {peak:.0f} MB at most, {after:.0f} MB after")
        print(f"scheduler: {_processor(cluster.scheduler) - processor:.1f} s of processor")
        print("workers at the end: " + ", ".join(f"{_memory(process):.0f} MB" for process in cluster.workers))


# -- all of it ---------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    """Make archives in a temporary folder, measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=["sparse", "dense", "small", "scheduler"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=size, default=2 * 10**9, help="octets of the archive of mixed traffic (2G)")
    parser.add_argument("--messages", type=int, default=400_000, help="messages of the archive that is all IKE")
    parser.add_argument(
        "--files", type=int, default=10_000, help="files of the archives of small captures and of handshakes"
    )
    parser.add_argument("--most-files", type=int, default=64, help="files a task, for the scheduler")
    parser.add_argument("--packets", type=int, default=10_000_000, help="packets of handshakes for the scheduler")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.way:
        read_once(options.way, sorted(str(path) for path in options.folder.iterdir()))
        return
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, distributed {version('distributed')}\n")
    only = options.only or ["sparse", "dense", "small"]
    if {"sparse", "dense", "small"} & set(only):
        _line(HEADINGS, options.markdown)
        if options.markdown:
            _line(["---"] * len(HEADINGS), True)
    with tempfile.TemporaryDirectory() as made:
        for name in only:
            folder = Path(made) / name
            folder.mkdir()
            if name == "sparse":
                for index in range(16):
                    frames = corpus.mixed_frames(options.size // 16, seed=index)
                    corpus.write_pcap(folder / f"{index:05d}.pcap", frames)
            elif name == "dense":
                for index in range(32):
                    frames = corpus.dense_frames(options.messages // 32, seed=index)
                    corpus.write_pcap(folder / f"{index:05d}.pcap", frames)
            elif name == "small":
                corpus.write_many(folder, options.files)
            else:
                for index in range(options.files):
                    frames = corpus.handshake_frames(options.packets // options.files, seed=index)
                    corpus.write_pcap(folder / f"{index:05d}.pcap", frames)
                scheduler_memory(folder, options.most_files)
                continue
            compare(name, folder, options.rounds, options.markdown)


if __name__ == "__main__":
    main()
