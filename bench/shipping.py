"""Findings a second to Elasticsearch: through the spool, and by the client's own ``streaming_bulk``.

    python -m bench.shipping                    # 20,000 findings a round; some minutes
    python -m bench.shipping --rounds 9 --only ship --markdown
    python -m bench.shipping --only memory

Ours is what ``pqaudit audit --elasticsearch`` does with findings: each is on disk before it counts, and the spool is
empty at the end. The peer keeps nothing on disk and asks nothing of the server first. Both get the same findings as
Python dicts and send them to the same node, in turn, each round to an empty one. Connections are made, and findings
are at hand, before the clock starts. Ratios are of findings a second: above 1, ours is the quicker.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import elasticsearch
from elasticsearch.helpers import streaming_bulk

from bench import corpus
from bench.run import spread
from pqaudit.elastic.connection import Connection
from pqaudit.elastic.dead_letters import DeadLetters
from pqaudit.elastic.delivery import Delivery
from pqaudit.elastic.indices import PATTERN, index_of
from pqaudit.elastic.server import connect
from pqaudit.elastic.setup import set_up
from pqaudit.elastic.shipment import Shipment
from pqaudit.elastic.spool import Spool
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.merging import Merger
from pqaudit.finding.stream import drain_findings
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from pqaudit.rules.rulebook import load_rulebook
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node

CHUNK = 500
"""Documents of one request of the peer, its default."""
ROWS = {
    "new": "findings that are new",
    "again": "the same again",
    "merged": "the same SAs, seen by another sensor",
    "beside": "new, beside another month's index",
}
Line = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds on the clock, and of processor in this process and in the server's."""

    wall: float
    cpu: float
    server: float


Side = Callable[[Node, Iterable[Document]], Taken]


def make_findings(folder: Path, most: int) -> tuple[list[Document], list[Document]]:
    """Findings of whole negotiations, with all that findings of an audit hold, as two sensors see them."""
    rng = random.Random(corpus.SEED)
    frames = (frame for _ in range(most) for frame in corpus.negotiation(rng, rng.random() < 0.5))
    path = corpus.write_pcap(folder / "whole.pcap", frames)
    rulebook = load_rulebook()
    seen = []
    for sensor in ("one", "other"):
        run = AuditRun()
        read_inputs([str(path)], run, ReadOptions())
        seen.append(list(drain_findings(run.table, rulebook, Observer(sensor))))
    path.unlink()
    return seen[0], seen[1]


class Clock:
    """Starts when it is made."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._start = self._now()

    def taken(self) -> Taken:
        """What has gone by."""
        return Taken(*(now - start for now, start in zip(self._now(), self._start, strict=True)))

    def _now(self) -> tuple[float, float, float]:
        server = 0.0
        if self._node.pid is not None:
            # User and system ticks (proc(5)); the name before them may hold anything but ends with a bracket.
            fields = Path(f"/proc/{self._node.pid}/stat").read_text().rpartition(")")[2].split()
            server = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), time.process_time(), server


def ours(node: Node, findings: Iterable[Document]) -> Taken:
    """What it takes until the findings have gone through the spool, and it is closed."""
    with tempfile.TemporaryDirectory(dir=node.data) as folder:
        server = connect(Connection(node.url))
        spool = Spool(Path(folder))
        delivery = Delivery(spool, lambda: server, Merger(load_rulebook()).merge, DeadLetters(spool.folder))
        clock = Clock(node)
        with Shipment(delivery) as shipment:
            for _ in shipment.through(findings):
                pass
            shipment.finish(60.0)
        if len(spool):
            raise SystemExit("the spool is not empty")
        spool.close()
        taken = clock.taken()
        server.close()
        if delivery.dead_letters.path.exists():
            raise SystemExit("some findings were refused")
    return taken


def theirs(node: Node, findings: Iterable[Document]) -> Taken:
    """What the client's helper takes."""
    client = elasticsearch.Elasticsearch(node.url)
    client.info()
    actions = (
        {"_op_type": "index", "_index": index_of(finding), "_id": finding["event"]["id"], "_source": finding}
        for finding in findings
    )
    clock = Clock(node)
    for _ in streaming_bulk(client, actions, chunk_size=CHUNK):
        pass
    taken = clock.taken()
    client.close()
    return taken


SIDES: dict[str, Side] = {"ours": ours, "theirs": theirs}


def empty(node: Node) -> None:
    """Nothing but the templates is left on the server."""
    wipe(node)
    server = connect(Connection(node.url))
    for step in set_up(server):
        if step.error is not None:
            raise step.error
    server.close()


def counted(node: Node, expected: int) -> None:
    """Stop unless every finding is there, once."""
    node.request("POST", f"/{PATTERN}/_refresh")
    _, answer = node.request("GET", f"/{PATTERN}/_count")
    if answer["count"] != expected:
        raise SystemExit(f"the server holds {answer['count']} findings and not {expected}")


def in_month(findings: Iterable[Document], month: str) -> Iterator[Document]:
    """Findings of other SAs, of that month."""
    for finding in findings:
        event = {**finding["event"], "id": finding["event"]["id"][::-1]}
        yield {**finding, "@timestamp": month + finding["@timestamp"][len(month) :], "event": event}


def one_run(row: str, side: Side, node: Node, seen: tuple[list[Document], list[Document]]) -> Taken:
    """One row for one side, from an empty server on."""
    first, second = seen
    empty(node)
    if row == "beside":
        theirs(node, in_month(first, "2023-10"))
    elif row != "new":
        theirs(node, first)
    taken = side(node, second if row == "merged" else first)
    counted(node, len(first) * (2 if row == "beside" else 1))
    return taken


def bench_ship(node: Node, folder: Path, options: argparse.Namespace) -> None:
    """Row by row both sides in turn; the one that begins changes, and the first round does not count."""
    seen = make_findings(folder, options.findings)
    octets = sum(len(json.dumps(finding, separators=(",", ":"))) for finding in seen[0]) / len(seen[0])
    print(f"{len(seen[0]):,} findings of {octets:,.0f} octets each\n")
    # Neither side is to pay for the garbage collector's looks at findings that stay.
    gc.collect()
    gc.freeze()
    taken: dict[str, dict[str, list[Taken]]] = {row: {name: [] for name in SIDES} for row in options.rows}
    for row in options.rows:
        for number in range(options.rounds + 1):
            for name in list(SIDES)[:: 1 if number % 2 else -1]:
                one = one_run(row, SIDES[name], node, seen)
                if number:
                    taken[row][name].append(one)
                    speed = f"{len(seen[0]) / one.wall:,.0f} findings/s"
                    print(f"{row} {number}, {name}: {speed}, processor {one.cpu:.1f} s, server {one.server:.1f} s")
                    sys.stdout.flush()
    print()
    lines: list[Line] = [("what", "rounds", "ours /s", "streaming_bulk /s", "ratio", "processor ratio")]
    for row in options.rows:
        own, peer = taken[row].values()
        pairs = list(zip(own, peer, strict=True))
        ratio = spread([other.wall / one.wall for one, other in pairs])
        processor = spread([(other.cpu + other.server) / (one.cpu + one.server) for one, other in pairs])
        speeds = [f"{len(seen[0]) / statistics.median(one.wall for one in runs):,.0f}" for runs in (own, peer)]
        lines.append((ROWS[row], str(options.rounds), *speeds, ratio, processor))
    _table(lines, options.markdown)


def bench_memory(node: Node, folder: Path, options: argparse.Namespace) -> None:
    """Peak memory of a process that ships findings from a file, and of one that ships four times as many."""
    lines: list[Line] = [("peak MB", "findings", "ours", "streaming_bulk", "reading alone")]
    made = make_findings(folder, options.findings)[0]
    for factor in (1, 4):
        path = folder / "findings.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for copy in range(factor):
                for finding in made:
                    id_ = f"{copy}{finding['event']['id'][1:]}"
                    file.write(json.dumps({**finding, "event": {**finding["event"], "id": id_}}) + "\n")
        peaks = []
        for side in (*SIDES, "none"):
            empty(node)
            command = [sys.executable, "-m", "bench.shipping", "--child", side, str(path), str(node.port)]
            peaks.append(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())
        lines.append(("memory", f"{factor * len(made):,}", *peaks))
    _table(lines, options.markdown)


def child(side: str, path: Path, port: int) -> None:
    """What `bench_memory` measures: one side alone, with findings that are read one by one."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(data=Path(folder), port=port)
        with path.open(encoding="utf-8") as file:
            findings = map(json.loads, file)
            if side == "none":
                for _ in findings:
                    pass
            else:
                SIDES[side](node, findings)
    # Unlike the peak of getrusage, that of proc(5) does not begin with the peak of the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(f"{int(status['VmHWM'].split()[0]) / 1024:.0f}")


def _table(lines: list[Line], markdown: bool) -> None:
    for index, cells in enumerate(lines):
        if markdown:
            print("| " + " | ".join(cells) + " |")
            if index == 0:
                print("|" + " --- |" * len(cells))
        else:
            print("{:<38} {:>8}  {:>10}  {:>18}".format(*cells), *cells[4:], sep="  ")
    print(flush=True)


BENCHES = {"ship": bench_ship, "memory": bench_memory}


def main(arguments: list[str] | None = None) -> None:
    """Make findings, start a node, measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--findings", type=int, default=20_000, help="findings of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--rows", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="ROW", help=", ".join(ROWS)
    )
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="measure only this")
    parser.add_argument("--markdown", action="store_true", help="print tables for docs/performance.md")
    parser.add_argument("--folder", type=Path, help="where captures, spools and the node's data lie (a temporary one)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        side, path, port = options.child
        child(side, Path(path), int(port))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        with Node("elasticsearch", data=folder / "node", heap="1g") as node:
            cores = f"{os.cpu_count()} cores, {platform.machine()}"
            print(f"Python {platform.python_version()}, {cores}, {node.engine} {node.version}, client ", end="")
            print(version("elasticsearch"))
            for bench in options.only or BENCHES:
                BENCHES[bench](node, folder, options)


if __name__ == "__main__":
    main()
