"""Captures read side by side give the findings of one after the other, whatever the order and number of processes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pqaudit import parallel
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.outputs.jsonl import write_run
from pqaudit.pipeline import MOST_ANOMALIES, AuditRun, ReadOptions, new_run
from tests import build as b
from tests.conftest import REPOSITORY, SAMPLES, rulebook_cached


@pytest.fixture(autouse=True)
def small_files_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "LEAST_PARALLEL_OCTETS", 0)


def findings(sources: list[str], workers: int) -> tuple[list[Document], AuditRun]:
    run = AuditRun()
    parallel.read_side_by_side(sources, run, ReadOptions(), workers=workers)
    return list(drain_findings(run.table, rulebook_cached(), Observer("test"))), run


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_and_order_change_nothing(workers: int, tmp_path: Path) -> None:
    hybrid = [(b.KE, 31), b.addke(1, 36)]
    frames = b.ran(b.negotiated(hybrid, hybrid), 1).frames
    # One SA with each of its packets in a file of its own, beside the samples.
    scattered = [str(b.pcap([f], tmp_path / f"{i}.pcap", start=1_700_000_000 + i)) for i, f in enumerate(frames)]
    sources = scattered + sorted(str(path) for path in SAMPLES.glob("*.pcap"))
    expected, one = findings(sources, 1)
    mixed = random.Random(5).sample(sources, len(sources))
    found, many = findings(mixed, workers)
    assert found == expected
    assert [file.name for file in many.files] == mixed
    assert {(f.name, f.sha256, f.messages) for f in many.files} == {(f.name, f.sha256, f.messages) for f in one.files}
    assert many.counters == one.counters
    whole = next(f for f in found if f["pqaudit"]["ike"]["initiator_spi"] == b.SPI_I.hex())
    assert whole["pqaudit"]["assurance"] == "executed"
    assert whole["pqaudit"]["capture"]["packets"] == len(frames)


def test_progress_counts_every_octet() -> None:
    sources = sorted(str(path) for path in SAMPLES.glob("*.pcap"))
    taken: list[int] = []
    parallel.read_side_by_side(sources, AuditRun(), ReadOptions(), workers=2, progress=taken.append)
    assert sum(taken) == sum(Path(source).stat().st_size for source in sources)


def test_a_capture_that_kills_its_reader_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadly = tmp_path / "deadly.pcap"
    deadly.write_bytes((SAMPLES / "classical_x25519.pcap").read_bytes())
    monkeypatch.setattr(parallel, "_read_batch", _read_or_die)
    sources = [
        str(deadly),
        *(str(SAMPLES / name) for name in ("default_proposals.pcap", "hybrid_x25519_mlkem768.pcap")),
    ]
    found, run = findings(sources, 2)
    assert len(found) == 2
    assert [(note.source, note.kind, note.fatal) for note in run.notes] == [(str(deadly), "reader-died", True)]


def test_listings_are_those_of_one_reader(tmp_path: Path) -> None:
    """More anomalies than are listed, in captures that differ in size, beside ones that are damaged or missing."""
    sources = write_faulty(tmp_path)
    expected = as_json(sources, 1)
    assert as_json(sources, 2) == expected
    document = json.loads(expected)
    assert len(document["anomalies"]) == MOST_ANOMALIES
    assert document["counters"]["anomalies-not-listed"] == FAULTY_MESSAGES - MOST_ANOMALIES
    assert [file["name"] for file in document["files"]] == sources
    unread = [note["file"] for note in document["notes"] if note["unread"]]
    assert unread == [source for source in sources if source.endswith(("text.pcap", "missing.pcap"))]


FAULTY_MESSAGES = sum(range(200, 1500, 100))


def write_faulty(folder: Path) -> list[str]:
    """Captures with so many messages each that are not IKE though they claim to be; three cannot be read whole."""
    fault = b.udp_frame(b.message(b.INIT, [], spi_i=bytes(8)))
    sources = [str(b.pcap([fault] * count, folder / f"{count:05d}.pcap")) for count in range(1400, 100, -100)]
    whole = (SAMPLES / "hybrid_x25519_mlkem768.pcap").read_bytes()
    (folder / "cut.pcap").write_bytes(whole[:-20])
    (folder / "text.pcap").write_text("no capture at all")
    for place, name in ((1, "missing.pcap"), (5, "cut.pcap"), (9, "text.pcap")):
        sources.insert(place, str(folder / name))
    return sources


def as_json(sources: list[str], workers: int) -> str:
    options = ReadOptions(digest=True)
    run = new_run(options)
    parallel.read_side_by_side(sources, run, options, workers=workers)
    out = io.StringIO()
    write_run(drain_findings(run.table, rulebook_cached(), Observer("test")), run, rulebook_cached(), out)
    return out.getvalue()


@pytest.mark.parametrize("workers", [1, 2])
def test_captures_apart_give_each_its_own(workers: int, tmp_path: Path) -> None:
    sources = write_faulty(tmp_path)
    apart: dict[int, AuditRun] = {}
    octets: list[int] = []
    assert not parallel.read_apart(
        sources,
        ReadOptions(digest=True),
        workers=workers,
        pack=as_it_is,
        take=apart.__setitem__,
        progress=octets.append,
    )
    assert sorted(apart) == list(range(len(sources)))
    assert sum(octets) == sum(os.path.getsize(source) for source in sources if os.path.exists(source))
    run = AuditRun()
    for index, source in enumerate(sources):
        assert [file.name for file in apart[index].files] == [source]
        assert {note.source for note in apart[index].notes} <= {source}
        run.take_over(apart[index])
    out = io.StringIO()
    write_run(drain_findings(run.table, rulebook_cached(), Observer("test")), run, rulebook_cached(), out)
    assert out.getvalue() == as_json(sources, 1)


def test_apart_a_capture_that_kills_its_reader_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.pcap").write_bytes((SAMPLES / "classical_x25519.pcap").read_bytes())
    monkeypatch.setattr(parallel, "_read_batch", _read_or_die)
    sources = [str(SAMPLES / "default_proposals.pcap"), str(tmp_path / "deadly.pcap")]
    apart: dict[int, AuditRun] = {}
    assert not parallel.read_apart(sources, ReadOptions(), workers=2, pack=as_it_is, take=apart.__setitem__)
    assert len(apart[0].table) == 1
    assert len(apart[1].table) == 0
    assert [(note.source, note.kind, note.fatal) for note in apart[1].notes] == [(sources[1], "reader-died", True)]


@pytest.mark.parametrize("workers", [1, 2])
def test_apart_an_interrupt_keeps_whole_captures_only(workers: int, tmp_path: Path) -> None:
    """A process that is interrupted when it has taken one capture; a pipe nobody writes to holds the last one up."""
    os.mkfifo(tmp_path / "held.pcap")
    sources = [str(SAMPLES / "default_proposals.pcap"), str(tmp_path / "held.pcap")]
    code = (
        "import os, signal, sys, threading\n"
        "from pqaudit import parallel\n"
        "from pqaudit.pipeline import ReadOptions\n"
        "parallel.LEAST_PARALLEL_OCTETS = 0\n"
        "from tests.test_parallel import as_it_is\n"
        "def take(index, run):\n"
        "    print(index, len(run.table), flush=True)\n"
        "if __name__ == '__main__':\n"
        f"    options = dict(workers={workers}, pack=as_it_is, take=take)\n"
        f"    print(parallel.read_apart({sources!r}, ReadOptions(), **options), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=REPOSITORY
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "0 1\n"
        time.sleep(1)  # until the pipe is being opened
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == "True\n"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_readers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    sources = [str(tmp_path / f"{name}.pcap") for name in "ab"]
    for source in sources:
        os.mkfifo(source)
    code = (
        "from pqaudit import parallel\n"
        "from pqaudit.pipeline import AuditRun, ReadOptions\n"
        "parallel.LEAST_PARALLEL_OCTETS = 0\n"
        "if __name__ == '__main__':\n"
        f"    parallel.read_side_by_side({sources!r}, AuditRun(), ReadOptions(), workers=2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, cwd=REPOSITORY)
    try:
        writers = [open(source, "wb") for source in sources]  # noqa: SIM115 - each waits until its reader is there
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20
        while True:
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            assert time.monotonic() < deadline, "a reader is left"
            time.sleep(0.05)
        for writer in writers:
            writer.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def as_it_is(run: AuditRun) -> AuditRun:
    """Packs nothing; readers in other processes find it here by name."""
    return run


def _read_or_die(sources: tuple[str, ...], options: ReadOptions, pack: Any) -> Any:
    if any(source.endswith("deadly.pcap") for source in sources):
        os.kill(os.getpid(), signal.SIGKILL)
    return _REAL(sources, options, pack)


_REAL = parallel._read_batch


@pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}", "/dev//fd/../fd/{}"])
def test_a_pipe_that_only_this_process_can_open_is_read_here(place: str) -> None:
    other, piped = SAMPLES / "default_proposals.pcap", SAMPLES / "classical_x25519.pcap"
    reading, writing = os.pipe()
    try:
        os.write(writing, piped.read_bytes())  # fewer octets than a pipe holds
        os.close(writing)
        run = AuditRun()
        parallel.read_side_by_side([str(other), place.format(reading)], run, ReadOptions(), workers=2)
    finally:
        os.close(reading)
    assert run.notes == []
    assert len(list(run.table.drain())) == 2
