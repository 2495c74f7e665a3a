"""Delivery when pqaudit or the server is killed (SIGKILL) at any moment: each finding is one document in the end."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pqaudit.elastic.dead_letters import FILE_NAME as DEAD_LETTERS
from pqaudit.elastic.spool import Spool
from tests.conftest import REPOSITORY, SAMPLES, audit
from tests.elastic.conftest import stored
from tests.searchserver.node import Node

FINDINGS = 60_000
LONG = "PQAUDIT_LONG" in os.environ
KILLS_OF_PQAUDIT = 14 if LONG else 2
KILLS_OF_THE_SERVER = 7 if LONG else 1


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real finding under 60,000 pairs of SPIs, in two months."""
    (finding,), _ = audit(SAMPLES / "hybrid_x25519_mlkem768.pcap")
    text = json.dumps(finding, separators=(",", ":"))
    ike = finding["pqaudit"]["ike"]
    path = tmp_path_factory.mktemp("findings") / "findings.jsonl"
    with path.open("w") as out:
        for number in range(FINDINGS):
            line = text.replace(finding["event"]["id"], f"{number:040x}")
            line = line.replace(ike["initiator_spi"], f"{number:016x}").replace(
                ike["responder_spi"], f"{~number & (1 << 64) - 1:016x}"
            )
            if number % 2:
                line = line.replace('"@timestamp":"2026-11', '"@timestamp":"2026-10')
            out.write(line + "\n")
    return path


@pytest.fixture
def seed() -> int:
    value = int(os.environ.get("PQAUDIT_SEED", time.time_ns() % 1_000_000))
    print(f"PQAUDIT_SEED={value}")  # shown when the test fails
    return value


def ship(url: str, spool: Path, *files: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pqaudit", "ship", *map(str, files), "--elasticsearch", url, "--spool", str(spool)]
    return subprocess.Popen([*command, "--patience", "120"], cwd=REPOSITORY, text=True, stderr=subprocess.PIPE)


def test_kills_at_any_moment_lose_and_double_nothing(file: Path, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    victims = ["pqaudit"] * KILLS_OF_PQAUDIT + ["server"] * KILLS_OF_THE_SERVER
    chance.shuffle(victims)
    spool = tmp_path / "spool"
    with Node("elasticsearch", data=tmp_path / "node", heap="1g") as node:
        process = ship(node.url, spool, file)
        for victim in victims:
            time.sleep(chance.uniform(0.2, 5.0))
            if victim == "server":
                node.kill()
                node.restart()
            else:
                process.kill()
                process.communicate()
                # What was on disk goes on by itself; what was not yet is shipped again.
                process = ship(node.url, spool, *([file] if chance.random() < 0.7 else []))
        _, said = process.communicate()
        assert process.returncode == 0, said
        process = ship(node.url, spool, file)
        _, said = process.communicate()
        assert process.returncode == 0, said
        assert len(Spool(spool)) == 0
        assert not (spool / DEAD_LETTERS).exists()
        found = stored(node)
    assert len(found) == FINDINGS
    with file.open() as lines:
        for line in lines:
            finding = json.loads(line)
            assert found[finding["event"]["id"]] == [finding]
