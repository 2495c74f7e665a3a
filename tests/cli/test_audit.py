"""``pqaudit audit`` as its users call it: whole processes, real files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import build as b

HYBRID = (*b.SUITE, (b.KE, 31), b.addke(1, 36))
CLASSICAL = (*b.SUITE, (b.KE, 31))


def run(*arguments: str | Path, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pqaudit", *map(str, arguments)],
        capture_output=True,
        input=None if stdin is None else stdin.decode("latin-1"),
        text=True,
        encoding="latin-1" if stdin is not None else "utf-8",
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.fixture
def hybrid(tmp_path: Path) -> Path:
    conversation = b.Conversation().send(b.init_request(HYBRID)).answer(b.init_response(HYBRID))
    return b.pcap(b.ran(conversation, 1).frames, tmp_path / "hybrid.pcap")


@pytest.fixture
def classical(tmp_path: Path) -> Path:
    conversation = b.Conversation()
    conversation.send(b.message(b.INIT, [b.sa(CLASSICAL), b.ke(31, 32), b.nonce()], spi_i=b"\x55" * 8))
    response = [b.sa(CLASSICAL), b.ke(31, 32), b.nonce()]
    conversation.answer(b.message(b.INIT, response, spi_i=b"\x55" * 8, spi_r=b"\x66" * 8, flags=b.RESPONSE))
    return b.pcap(conversation.frames, tmp_path / "classical.pcap")


def test_table_leads_with_totals_and_lists_the_worst_first(hybrid: Path, classical: Path) -> None:
    result = run("audit", hybrid, classical)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "2 IKE SAs in 2 files"
    assert lines[1].split()[:2] == ["1", "classical-only"]
    rows = [line for line in lines if " > " in line and "Initiator" not in line]
    assert rows[0].split()[:3] == ["classical-only", "not-offered", "x25519"]
    assert "x25519 + ml-kem-768" in rows[1]
    assert "\x1b[" not in result.stdout


def test_a_narrow_terminal_gets_two_lines_for_each_sa(hybrid: Path) -> None:
    lines = run("audit", hybrid, COLUMNS="80").stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("hybrid-ml-kem"))
    assert lines[at] == "hybrid-ml-kem  x25519 + ml-kem-768  draft-compliant, executed"
    assert lines[at + 1] == "    192.0.2.1:500 > 192.0.2.2:500  SPI 1111111111111111  hybrid.pcap #1"


def test_json_lines(hybrid: Path) -> None:
    result = run("audit", hybrid, "--format", "jsonl", "--sensor", "here")
    (line,) = result.stdout.splitlines()
    finding = json.loads(line)
    assert finding["@timestamp"] == "2023-11-14T22:13:20.000000Z"  # 1,700,000,000 s, microseconds
    assert finding["event"]["end"] == "2023-11-14T22:13:20.005000Z"
    assert finding["event"]["kind"] == "state"
    assert finding["source"] == {"ip": "192.0.2.1", "port": 500}
    assert finding["destination"] == {"ip": "192.0.2.2", "port": 500}
    assert finding["observer"]["name"] == "here"
    own = finding["pqaudit"]
    assert own["selected"]["encryption"] == {"id": 20, "name": "ENCR_AES_GCM_16", "key_bits": 256}
    assert own["selected"]["prf"] == {"id": 5, "name": "PRF_HMAC_SHA2_256"}
    assert own["selected"]["integrity"] is None
    assert own["selected"]["additional_key_exchanges"] == [{"slot": 1, "id": 36, "name": "ml-kem-768"}]
    assert {(e["file"], e["frame"]) for e in own["evidence"]} >= {(str(hybrid), 1), (str(hybrid), 2)}
    assert own["capture"]["packets"] == 6


def test_json_of_the_whole_run(hybrid: Path, classical: Path) -> None:
    document = json.loads(run("audit", hybrid, classical, "--format", "json").stdout)
    assert document["counts"]["sas"] == 2
    assert document["counts"]["by_verdict"]["classical-only"] == 1
    assert document["counts"]["by_verdict"]["hybrid-ml-kem"] == 1
    assert document["complete"] is True
    assert [f["name"] for f in document["files"]] == [str(hybrid), str(classical)]


def test_the_same_findings_in_any_order_of_files(hybrid: Path, classical: Path) -> None:
    forward = run("audit", hybrid, classical, "--format", "jsonl").stdout
    assert forward == run("audit", classical, hybrid, "--format", "jsonl").stdout


@pytest.mark.parametrize(
    ("verdict", "code"), [("classical-only", 0), ("undetermined", 0), ("ml-kem-only", 0), ("hybrid-ml-kem", 1)]
)
def test_fail_on_for_a_hybrid(hybrid: Path, verdict: str, code: int) -> None:
    assert run("audit", hybrid, "--fail-on", verdict).returncode == code


def test_fail_on_for_a_classical(classical: Path) -> None:
    assert run("audit", classical, "--fail-on", "classical-only").returncode == 1


def test_unreadable_input_is_named_and_the_rest_is_read(hybrid: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pcap"
    junk.write_bytes(b"this is no capture at all")
    missing = tmp_path / "missing.pcap"
    result = run("audit", junk, missing, hybrid, "--format", "jsonl")
    assert result.returncode == 3
    assert len(result.stdout.splitlines()) == 1
    assert str(junk) in result.stderr
    assert str(missing) in result.stderr


def test_usage_errors() -> None:
    assert run("audit").returncode == 2
    assert run("audit", "--fail-on", "nonsense", "x").returncode == 2
    assert run("nonsense").returncode == 2


def test_standard_input(hybrid: Path) -> None:
    result = run("audit", "-", "--format", "jsonl", stdin=hybrid.read_bytes())
    assert json.loads(result.stdout)["pqaudit"]["evidence"][0]["file"] == "-"


def test_output_file(hybrid: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    result = run("audit", hybrid, "--format", "jsonl", "-o", target)
    assert (result.returncode, result.stdout) == (0, "")
    assert len(target.read_text().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hybrid.pcap", "out.jsonl"]


def test_a_device_is_written_to_and_never_replaced(hybrid: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        assert run("audit", hybrid, "--format", "jsonl", "-o", pipe).returncode == 0
        out, _ = reader.communicate(timeout=30)
    assert pipe.is_fifo()
    assert json.loads(out)["pqaudit"]["verdict"] == "hybrid-ml-kem"


def test_a_reader_that_goes_away_is_no_traceback(hybrid: Path) -> None:
    command = f"{sys.executable} -m pqaudit audit --format jsonl {hybrid} | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in result.stderr


def test_an_ascii_terminal_is_no_traceback(hybrid: Path) -> None:
    result = run("audit", hybrid, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert "hybrid-ml-kem" in result.stdout


def test_output_that_cannot_be_written(hybrid: Path, tmp_path: Path) -> None:
    result = run("audit", hybrid, "-o", tmp_path / "no" / "such" / "folder")
    assert result.returncode == 2
    assert "cannot write" in result.stderr


def test_hostile_file_name_is_escaped(hybrid: Path, tmp_path: Path) -> None:
    name = tmp_path / "evil\x1b[31m\nname.pcap"
    hybrid.rename(name)
    result = run("audit", name)
    assert "\x1b" not in result.stdout
    assert "\\x1b[31m\\x0aname.pcap" in result.stdout


def test_no_color_and_no_terminal(hybrid: Path) -> None:
    assert "\x1b" not in run("audit", hybrid, NO_COLOR="1").stdout


def test_help_names_the_exit_codes() -> None:
    result = run("audit", "--help")
    assert result.returncode == 0
    assert "Exit codes: 0 done" in " ".join(result.stdout.split())


def test_interrupt_prints_what_was_found(hybrid: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pqaudit", "audit", "-", "--format", "jsonl"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(hybrid.read_bytes())
    process.stdin.flush()
    time.sleep(1.5)  # the pipe stays open: pqaudit waits for more
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"interrupted" in err
    assert json.loads(out)["pqaudit"]["verdict"] == "hybrid-ml-kem"


def test_explain_tells_the_story(hybrid: Path) -> None:
    result = run("explain", hybrid)
    assert result.returncode == 0
    for part in (
        "hybrid-ml-kem (draft-compliant)",
        "Selected: x25519 + ml-kem-768",
        "offers proposal 1: ENCR ENCR_AES_GCM_16-256, PRF PRF_HMAC_SHA2_256, KE curve25519, ADDKE1 ml-kem-768",
        "IKE_INTERMEDIATE request, message ID 1",
        "How far it was seen to run: executed",
    ):
        assert part in result.stdout


def test_explain_asks_which_sa(hybrid: Path, classical: Path) -> None:
    result = run("explain", hybrid, classical)
    assert result.returncode == 2
    assert "5555555555555555" in result.stderr
    assert "1111111111111111" in result.stderr
    chosen = run("explain", hybrid, classical, "--spi", "66:66")
    assert chosen.returncode == 0
    assert "classical-only (not-offered)" in chosen.stdout
    assert run("explain", hybrid, "--spi", "xyz").returncode == 2
    assert run("explain", hybrid, "--spi", "abcd").returncode == 2


def test_an_input_is_never_the_output(hybrid: Path) -> None:
    before = hybrid.read_bytes()
    result = run("audit", hybrid, "-o", hybrid)
    assert result.returncode == 2
    assert "one of the files that are read" in result.stderr
    assert hybrid.read_bytes() == before


def test_other_files_beside_the_output_stay(hybrid: Path, tmp_path: Path) -> None:
    other = tmp_path / "o.jsonl.part"
    other.write_text("precious")
    target = tmp_path / "target"
    (tmp_path / "o.jsonl").symlink_to(target)
    assert run("audit", hybrid, "--format", "jsonl", "-o", tmp_path / "o.jsonl").returncode == 0
    assert other.read_text() == "precious"
    assert (tmp_path / "o.jsonl").is_symlink()
    assert len(target.read_text().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hybrid.pcap", "o.jsonl", "o.jsonl.part", "target"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="optional: a device that is always full")
@pytest.mark.parametrize("arguments", [["--format", "jsonl"], []])
def test_a_full_disk_is_one_sentence(hybrid: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "pqaudit", "audit", str(hybrid), *arguments]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert result.returncode == 4
    assert "Traceback" not in result.stderr
    assert "could not be written" in result.stderr


def test_a_reader_that_goes_away_ends_the_command_as_other_filters_end(hybrid: Path) -> None:
    # Not 1, which says that findings failed the run.
    process = subprocess.Popen(
        [sys.executable, "-m", "pqaudit", "audit", "-", "--format", "jsonl"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.close()
    process.stdin.write(hybrid.read_bytes())
    process.stdin.close()
    assert process.wait(30) == -signal.SIGPIPE


def test_names_of_rule_files_are_escaped(hybrid: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "evil\x1b[31m.yaml").write_text("rules: 5\n")
    for result in (run("audit", hybrid, "--rules", folder), run("rules", "check", folder)):
        assert "\x1b" not in result.stderr
        assert "\\x1b[31m.yaml" in result.stderr
