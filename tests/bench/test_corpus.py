"""The benchmark corpus holds what it says, and the benchmark runs; nothing is timed here."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from bench import corpus, run
from tests.conftest import audit


def test_a_negotiation_is_what_it_says(tmp_path: Path) -> None:
    for hybrid, verdict in ((True, "hybrid-ml-kem"), (False, "classical-only")):
        frames = corpus.negotiation(random.Random(1), hybrid)
        (finding,), _ = audit(corpus.write_pcap(tmp_path / "one.pcap", iter(frames)))
        assert (finding["pqaudit"]["verdict"], finding["pqaudit"]["assurance"]) == (verdict, "executed")
        assert finding["pqaudit"]["deviations"] == []


def test_every_form_of_the_mixed_corpus_gives_the_same_sas(tmp_path: Path) -> None:
    plain = audit(corpus.write_pcap(tmp_path / "a.pcap", corpus.mixed_frames(3_000_000)))[0]
    vlan = audit(corpus.write_pcap(tmp_path / "b.pcap", corpus.tagged(corpus.mixed_frames(3_000_000))))[0]
    pcapng = audit(corpus.write_pcapng(tmp_path / "c.pcapng", corpus.mixed_frames(3_000_000)))[0]
    assert len(plain) > 5
    for other in (vlan, pcapng):
        assert [(f["event"]["id"], f["pqaudit"]["verdict"]) for f in other] == [
            (f["event"]["id"], f["pqaudit"]["verdict"]) for f in plain
        ]
    assert {f["network"]["vlan"]["id"] for f in vlan} == {"100"}


def test_dense(tmp_path: Path) -> None:
    findings, run_ = audit(corpus.write_pcap(tmp_path / "dense.pcap", corpus.dense_frames(200)))
    assert len(findings) == 100
    assert run_.files[0].messages == 200
    assert set(Counter(f["pqaudit"]["verdict"] for f in findings)) == {"classical-only", "hybrid-ml-kem"}


def test_many_small_files_share_their_sas(tmp_path: Path) -> None:
    folder = corpus.write_many(tmp_path / "many", 12)
    findings, _ = audit(*sorted(folder.iterdir()))
    assert len(findings) == 12
    assert sum(len(f["pqaudit"]["capture"]["files"]) == 2 for f in findings) == 11


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["start", "mixed", "vlan", "pcapng", "dense", "many"]
    only = [argument for name in names for argument in ("--only", name)]
    run.main(["--size", "1M", "--messages", "100", "--files", "5", "--runs", "1", "--folder", str(tmp_path), *only])
    printed = capsys.readouterr().out
    assert "mixed pcap" in printed
    assert "us a message" in printed
    assert list(tmp_path.iterdir()) == []
