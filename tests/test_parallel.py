"""Captures read side by side give the findings of one after the other, whatever the order and number of processes."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from pqaudit import parallel
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.pipeline import AuditRun, ReadOptions
from tests import build as b
from tests.conftest import SAMPLES, rulebook_cached


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


def _read_or_die(sources: list[str], options: ReadOptions) -> AuditRun:
    if any(source.endswith("deadly.pcap") for source in sources):
        os.kill(os.getpid(), signal.SIGKILL)
    return _REAL(sources, options)


_REAL = parallel._read_batch
