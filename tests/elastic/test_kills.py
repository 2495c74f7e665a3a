"""Delivery when pqaudit or the server is killed (SIGKILL) at any moment: each finding is one document in the end.

``make long`` tries more moments. A failure shows its seed; ``PQAUDIT_SEED`` repeats the choice of moments.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pqaudit.elastic.dead_letters import FILE_NAME as DEAD_LETTERS
from pqaudit.elastic.spool import ADDED, DELIVERED, Spool
from tests import build as b
from tests.conftest import REPOSITORY
from tests.elastic.conftest import documents
from tests.searchserver.node import Node

FINDINGS = 60_000
MONTHS = {"2023-11": 1_700_000_000, "2023-12": 1_702_000_000}
LONG = "PQAUDIT_LONG" in os.environ
# How often pqaudit and the server are killed.
KILLS = {"pqaudit": (20, 0), "server": (0, 20), "both": (14, 7)} if LONG else {"both": (2, 1)}
LATEST = 6.0 if LONG else 2.5  # seconds after the last start or kill

SUITES = (
    (*b.SUITE, (b.KE, 31)),
    (*b.SUITE, (b.KE, 31), b.addke(1, 36)),
    (*b.SUITE, (b.KE, 31), b.addke(1, 36), b.addke(2, 37)),
    (*b.SUITE, (b.KE, 19), b.addke(1, 1025)),  # of the range for private use
)


def frames(numbers: range) -> Iterator[bytes]:
    """An SA for each number: the two messages of IKE_SA_INIT, of some the first of IKE_AUTH too."""
    for number in numbers:
        suite = SUITES[number % len(SUITES)]
        spi_i, spi_r = (0xA << 60 | number).to_bytes(8, "big"), (0xB << 60 | number).to_bytes(8, "big")
        initiator = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        method, octets = (19, 64) if (b.KE, 19) in suite else (31, 32)
        payloads = [b.sa(suite), b.ke(method, octets), b.nonce()]
        request = b.message(b.INIT, payloads, spi_i=spi_i)
        yield b.udp_frame(request, initiator, b.B)
        if number % 7 == 0:
            yield b.udp_frame(request, initiator, b.B)  # sent again
        yield b.udp_frame(b.message(b.INIT, payloads, spi_i=spi_i, spi_r=spi_r, flags=b.RESPONSE), b.B, initiator)
        if number % 5 == 0:
            yield b.udp_frame(b.encrypted(b.AUTH, 1, inner=35, octets=200, spi_i=spi_i, spi_r=spi_r), initiator, b.B)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``pqaudit audit`` says of two captures, of two months."""
    folder = tmp_path_factory.mktemp("findings")
    each = FINDINGS // len(MONTHS)
    audits = []
    for index, (month, start) in enumerate(MONTHS.items()):
        capture = b.pcap(frames(range(index * each, (index + 1) * each)), folder / f"{month}.pcap", start=start)
        command = [sys.executable, "-m", "pqaudit", "audit", str(capture), "--format", "jsonl"]
        audits.append(subprocess.Popen([*command, "-o", str(folder / f"{month}.jsonl")], cwd=REPOSITORY))
    assert [process.wait() for process in audits] == [0] * len(MONTHS)
    whole = folder / "findings.jsonl"
    with whole.open("wb") as out:
        for month in MONTHS:
            out.write((folder / f"{month}.jsonl").read_bytes())
    return whole


def ship(url: str, spool: Path, *files: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pqaudit", "ship", *map(str, files), "--elasticsearch", url, "--spool", str(spool)]
    return subprocess.Popen([*command, "--patience", "120"], cwd=REPOSITORY, text=True, stderr=subprocess.PIPE)


def finished(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate()
    assert process.returncode == 0, said


@pytest.mark.parametrize("who", KILLS)
def test_kills_at_any_moment_lose_and_double_nothing(who: str, file: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("PQAUDIT_SEED", time.time_ns() % 1_000_000))
    print(f"PQAUDIT_SEED={seed}")
    chance = random.Random(seed)
    of_pqaudit, of_server = KILLS[who]
    victims = ["pqaudit"] * of_pqaudit + ["server"] * of_server
    chance.shuffle(victims)
    spool = tmp_path / "spool"
    with Node("elasticsearch", data=tmp_path / "node") as node:
        # In the spool is what was on disk; a call with the file gives it the rest, and what is there already once more.
        process = ship(node.url, spool, file)
        for victim in victims:
            time.sleep(chance.uniform(0.2, LATEST))
            if process.poll() is not None:
                finished(process)
                process = ship(node.url, spool, file)
                time.sleep(chance.uniform(0.2, LATEST))
            if victim == "server":
                node.kill()
                node.restart()
            else:
                process.kill()
                process.communicate()
                process = ship(node.url, spool, *([file] if chance.random() < 0.5 else []))
        finished(process)
        if str(file) not in process.args:  # type: ignore[operator]
            finished(ship(node.url, spool, file))

        state = Spool(spool).state()
        assert (state.findings, state.octets) == (0, 0)
        assert state.counters == {ADDED: state.counters[ADDED], DELIVERED: state.counters[ADDED]}
        assert not (spool / DEAD_LETTERS).exists()
        lines = {line.partition('"event":{"id":"')[2][:40]: line for line in file.read_text().splitlines()}
        assert len(lines) == FINDINGS
        assert node.request("POST", "/pqaudit-sa-*/_refresh")[0] == 200
        for month in MONTHS:
            _, answer = node.request("GET", f"/pqaudit-sa-{month.replace('-', '.')}/_count")
            assert answer["count"] == FINDINGS // len(MONTHS)
        for id_, document in documents(node):
            assert document == json.loads(lines.pop(id_))  # a second one with its ID is not there any more
        assert not lines
