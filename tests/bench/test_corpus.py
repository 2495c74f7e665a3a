"""The benchmark corpus holds what it says, and the benchmark runs; nothing is timed here."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench import corpus, run
from tests.conftest import audit


def test_a_negotiation_is_what_it_says(tmp_path: Path) -> None:
    for hybrid, verdict in ((True, "hybrid-ml-kem"), (False, "classical-only")):
        frames = corpus.negotiation(random.Random(1), hybrid)
        (finding,), _ = audit(corpus.write_pcap(tmp_path / "one.pcap", iter(frames)))
        assert (finding["pqaudit"]["verdict"], finding["pqaudit"]["assurance"]) == (verdict, "executed")
        assert finding["pqaudit"]["deviations"] == []


def test_every_form_of_the_mixed_corpus_gives_the_sas_that_were_put_in(tmp_path: Path) -> None:
    tally = corpus.Tally()
    plain, run_ = audit(corpus.write_pcap(tmp_path / "a.pcap", corpus.mixed_frames(3_000_000, tally)))
    vlan = audit(corpus.write_pcap(tmp_path / "b.pcap", corpus.tagged(corpus.mixed_frames(3_000_000))))[0]
    pcapng = audit(corpus.write_pcapng(tmp_path / "c.pcapng", corpus.mixed_frames(3_000_000)))[0]
    assert run_.files[0].messages == tally.messages
    assert _verdicts(plain) == {"hybrid-ml-kem": tally.hybrid, "classical-only": tally.classical}
    assert tally.sas > 5
    for other in (vlan, pcapng):
        assert [(f["event"]["id"], f["pqaudit"]["verdict"]) for f in other] == [
            (f["event"]["id"], f["pqaudit"]["verdict"]) for f in plain
        ]
    assert {f["network"]["vlan"]["id"] for f in vlan} == {"100"}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="optional: tshark is not installed")
@pytest.mark.parametrize("form", ["pcap", "vlan", "pcapng"])
def test_tshark_counts_the_messages_and_sas_that_were_put_in(tmp_path: Path, form: str) -> None:
    tally = corpus.Tally()
    frames = corpus.mixed_frames(2_000_000, tally)
    if form == "pcapng":
        path = corpus.write_pcapng(tmp_path / "mixed", frames)
    else:
        path = corpus.write_pcap(tmp_path / "mixed", corpus.tagged(frames) if form == "vlan" else frames)
    command = ["tshark", "-r", str(path), "-Y", "isakmp", "-T", "fields", "-e", "isakmp.ispi", "-e", "isakmp.rspi"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(shown) == tally.messages
    assert len({line for line in shown if not line.endswith("0" * 16)}) == tally.sas


def test_the_corpus_is_the_same_each_time_and_mostly_not_ike(tmp_path: Path) -> None:
    tally = corpus.Tally()
    first = corpus.write_pcap(tmp_path / "a", corpus.mixed_frames(20_000_000, tally)).read_bytes()
    assert corpus.write_pcap(tmp_path / "b", corpus.mixed_frames(20_000_000)).read_bytes() == first
    assert 20_000_000 <= len(first) < 20_100_000
    assert 0.015 < tally.messages / tally.frames < 0.025


def test_dense(tmp_path: Path) -> None:
    tally = corpus.Tally()
    findings, run_ = audit(corpus.write_pcap(tmp_path / "dense.pcap", corpus.dense_frames(200, tally)))
    assert run_.files[0].messages == tally.messages == tally.frames == 200
    assert _verdicts(findings) == {"hybrid-ml-kem": tally.hybrid, "classical-only": tally.classical}


def _verdicts(findings: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(finding["pqaudit"]["verdict"] for finding in findings))


def test_many_small_files_share_their_sas(tmp_path: Path) -> None:
    folder = corpus.write_many(tmp_path / "many", 12)
    findings, _ = audit(*sorted(folder.iterdir()))
    assert len(findings) == 12
    assert sum(len(f["pqaudit"]["capture"]["files"]) == 2 for f in findings) == 11


def test_the_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = _run(tmp_path, capsys, "start", "mixed", "vlan", "pcapng", "dense", "many", "memory")
    for name in ("pqaudit --help", "mixed pcap", "VLAN-tagged", "four interfaces", "us a message", "memory, 0.004 GB"):
        assert name in printed
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_is_missing_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    printed = _run(tmp_path, capsys, "mixed", "dissectors", "--markdown")
    assert "no tcpdump, no tshark, no pyshark" in printed
    assert "| mixed pcap | 1 |" in printed
    assert "MB mixed" not in printed


def _run(folder: Path, capsys: pytest.CaptureFixture[str], *names: str) -> str:
    arguments = [a for name in names for a in ((name,) if name.startswith("--") else ("--only", name))]
    sizes = ["--size", "1M", "--messages", "100", "--files", "5", "--runs", "1", "--huge", "--folder", str(folder)]
    run.main([*sizes, *arguments])
    return capsys.readouterr().out
