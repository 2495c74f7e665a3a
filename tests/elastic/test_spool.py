from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.elastic.spool import DELIVERED, DROPPED_BY_AGE, DROPPED_BY_SIZE, FILE_NAME, Spool, SpoolError
from tests.conftest import REPOSITORY
from tests.elastic.findings import finding, findings

ALL = 1 << 40


def ids(spool: Spool) -> list[str]:
    return [entry.id for entry in spool.waiting(0, 1_000_000, ALL)]


def test_findings_come_out_as_they_went_in_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(findings(5))
    entries = spool.waiting(0, 100, ALL)
    assert [json.loads(entry.body) for entry in entries] == list(findings(5))
    assert {entry.home for entry in entries} == {"pqaudit-sa-2026.11"}


def test_what_is_done_leaves_and_the_rest_waits(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(findings(5))
    entries = spool.waiting(0, 100, ALL)
    spool.done(entries[1:3])
    assert ids(spool) == [entries[0].id, entries[3].id, entries[4].id]
    state = spool.state()
    assert (state.findings, state.counters[DELIVERED]) == (3, 2)
    assert state.octets == sum(len(entry.body) for entry in (entries[0], entries[3], entries[4]))


def test_done_twice_counts_once(tmp_path: Path) -> None:
    spool, other = Spool(tmp_path), Spool(tmp_path)
    spool.add(findings(3))
    entries = spool.waiting(0, 100, ALL)
    spool.done(entries[:2])
    other.done(entries)
    state = spool.state()
    assert (state.findings, state.octets, state.counters[DELIVERED]) == (0, 0, 3)


def test_a_batch_keeps_to_its_octets_but_is_never_empty(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(findings(4))
    size = len(spool.waiting(0, 1, ALL)[0].body)
    assert len(spool.waiting(0, 100, 2 * size)) == 2
    assert len(spool.waiting(0, 100, 1)) == 1


def test_the_oldest_are_dropped_and_counted_beyond_the_size(tmp_path: Path) -> None:
    size = len(json.dumps(finding(0, 1), separators=(",", ":")))
    spool = Spool(tmp_path, most_octets=100 * size)
    dropped = sum(spool.add([one]) for one in findings(300))
    left = ids(spool)
    assert dropped == 300 - len(left) == spool.state().counters[DROPPED_BY_SIZE]
    assert 0 < len(left) <= 100
    assert left[-1] == finding(299)["event"]["id"]
    assert spool.state().octets <= 100 * size


def test_what_waited_too_long_is_dropped_and_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most_age=0.05)
    spool.add(findings(3))
    time.sleep(0.1)
    assert spool.expire() == 3
    assert (len(spool), spool.state().counters[DROPPED_BY_AGE]) == (0, 3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 40), st.just(0)), max_size=12))
def test_the_bound_holds_and_every_finding_is_accounted_for(steps: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), most_octets=20_000)
        number = 0
        for step in steps:
            if step:
                spool.add([finding(number + n, 1) for n in range(step)])
                number += step
            else:
                spool.done(spool.waiting(0, 7, ALL))
            state = spool.state()
            entries = spool.waiting(0, 10_000, ALL)
            assert state.octets == sum(len(entry.body) for entry in entries) <= 20_000
            counters = state.counters
            assert number == len(entries) + counters.get(DELIVERED, 0) + counters.get(DROPPED_BY_SIZE, 0)
        spool.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    Spool(tmp_path / "a" / "spool").add(findings(1))
    folder = tmp_path / "a" / "spool"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())


def test_a_damaged_spool_is_set_aside_and_not_deleted(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database at all, but long enough to be read as one" * 50)
    spool = Spool(tmp_path)
    spool.add(findings(1))
    assert len(spool) == 1
    assert spool.damaged is not None
    assert spool.damaged.read_bytes().startswith(b"no database")


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot be made"):
        Spool(tmp_path / "file" / "spool")


def test_a_full_disk_is_one_sentence_and_what_was_there_stays(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(findings(10))
    pages = spool._database.execute("PRAGMA page_count").fetchone()[0]
    spool._database.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own answer to a full disk: SQLITE_FULL
    with pytest.raises(SpoolError, match="full"):
        spool.add(findings(2000))
    assert len(spool) == 10


ADDER = """
import sys
from pathlib import Path
from pqaudit.elastic.spool import Spool
from tests.elastic.findings import finding
spool = Spool(Path(sys.argv[1]))
start = int(sys.argv[2])
for number in range(start, start + 100_000):
    spool.add([finding(number, 1)])
    print(number, flush=True)
"""


def test_what_was_told_to_be_on_disk_survives_sigkill(tmp_path: Path) -> None:
    told: list[int] = []
    for start in (0, 1_000_000, 2_000_000):
        command = [sys.executable, "-c", ADDER, str(tmp_path), str(start)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, env={**os.environ})
        assert process.stdout is not None
        told += [int(process.stdout.readline()) for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().splitlines()]
        process.wait()
    kept = ids(Spool(tmp_path))
    assert {finding(number)["event"]["id"] for number in told} <= set(kept)
    assert len(kept) <= len(told) + 3  # one at most for each kill was on disk and not yet told
    assert len(kept) == len(set(kept))
