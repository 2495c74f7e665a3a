"""``pqaudit search`` as its users call it: whole processes, files, pipes and real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pqaudit.finding.document import Document
from tests.cli.test_audit import run
from tests.conftest import SAMPLES
from tests.elastic.test_search import store
from tests.finding.made import made_findings, sample_findings
from tests.searchserver.node import Node

MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())


def write(path: Path, findings: list[Document] | tuple[Document, ...]) -> Path:
    path.write_text("".join(json.dumps(finding) + "\n" for finding in findings))
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return write(tmp_path / "samples.jsonl", sample_findings())


def search(*arguments: str | Path, url: str = "", columns: str | None = None) -> subprocess.CompletedProcess[str]:
    if columns is None:
        return run("search", *arguments, PQAUDIT_ELASTICSEARCH_URL=url)
    return run("search", *arguments, PQAUDIT_ELASTICSEARCH_URL=url, COLUMNS=columns)


def test_table(samples: Path) -> None:
    result = search(samples, "--rows", "2")
    lines = result.stdout.splitlines()
    assert (result.returncode, result.stderr) == (0, "")
    assert lines[0] == f"{MANIFEST['whole_folder']['ike_sas']} IKE SAs"
    for verdict, count in MANIFEST["whole_folder"]["verdicts"].items():
        assert [str(count), verdict] in [line.split() for line in lines]
    assert lines[-1] == "27 earlier SAs are not shown; --rows shows more, --format jsonl all."
    narrow = search(samples, "--method", "X25519", "--method", "36", columns="80").stdout
    assert "hybrid-ml-kem  x25519 + ml-kem-768  draft-compliant" in narrow


def test_counts_in_a_table(samples: Path) -> None:
    lines = search(samples, "--by", "verdict").stdout.splitlines()
    found = {line.split()[1]: int(line.split()[0]) for line in lines[4:] if line.strip()}
    assert found == MANIFEST["whole_folder"]["verdicts"]
    peers = search(samples, "--by", "peer", "--rows", "1").stdout
    assert peers.splitlines()[0] == "29 IKE SAs, 6 peers"
    assert "5 more are not shown" in peers


def test_json_lines_give_back_the_findings(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert search(samples, "--format", "jsonl", "-o", out, "--verdict", "hybrid-ml-kem").returncode == 0
    expected = [f for f in sample_findings() if f["pqaudit"]["verdict"] == "hybrid-ml-kem"]
    assert len(expected) == MANIFEST["whole_folder"]["verdicts"]["hybrid-ml-kem"]
    assert [json.loads(line) for line in out.read_text().splitlines()] == expected
    counts = [json.loads(line) for line in search(out, "--format", "jsonl", "--by", "month").stdout.splitlines()]
    assert counts == [{"month": "2026-11", "sas": 13, "verdicts": {"hybrid-ml-kem": 13}}]


def test_what_audit_writes_is_read_from_a_pipe_and_as_a_run(tmp_path: Path) -> None:
    audited = run("audit", SAMPLES, "--format", "json").stdout
    (tmp_path / "run.json").write_text(audited)
    from_file = search(tmp_path / "run.json", "--format", "json")
    command = [sys.executable, "-m", "pqaudit", "search", "-", "--format", "json"]
    piped = subprocess.run(command, input=audited, capture_output=True, text=True, timeout=60, check=True).stdout
    assert from_file.stdout == piped
    assert json.loads(piped)["verdicts"] == MANIFEST["whole_folder"]["verdicts"]
    # The same run once more, from both at once, changes nothing.
    command = [sys.executable, "-m", "pqaudit", "search", str(tmp_path / "run.json"), "-", "--format", "json"]
    again = subprocess.run(command, input=audited, capture_output=True, text=True, timeout=60, check=True).stdout
    assert again == piped


def test_bad_lines_are_named_and_the_rest_counts(samples: Path) -> None:
    with samples.open("a") as file:
        file.write('{"@timestamp":"20\n\x1b[31m\n')
    result = search(samples, samples.with_name("none"), "--format", "json")
    assert result.returncode == 3
    assert json.loads(result.stdout)["sas"] == len(sample_findings())
    assert result.stderr.splitlines() == [
        f"pqaudit: error: {samples}, line 30: no JSON; it may be cut off",
        f"pqaudit: error: {samples}, line 31: no JSON",
        f"pqaudit: error: {samples.with_name('none')}: cannot be read: No such file or directory",
    ]
    samples.write_text("x\n" * 1000)
    result = search(samples)
    assert (result.returncode, len(result.stderr.splitlines())) == (3, 21)
    assert result.stderr.endswith("pqaudit: error: 1,000 in all could not be read\n")


def test_nothing_found_is_said_and_no_failure(samples: Path) -> None:
    result = search(samples, "--peer", "203.0.113.1")
    assert (result.returncode, result.stdout, result.stderr) == (0, "No finding matches.\n", "")
    result = search(samples, "--peer", "203.0.113.1", "--by", "peer")
    assert (result.returncode, result.stdout) == (0, "No finding matches.\n")
    result = search(samples, "--peer", "203.0.113.1", "--format", "jsonl")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "pqaudit: no finding matches\n")


def test_times(samples: Path) -> None:
    def found(*arguments: str) -> int:
        return int(json.loads(search(samples, "--format", "json", *arguments).stdout)["sas"])

    first = min(finding["@timestamp"] for finding in sample_findings())
    assert found("--since", first) == len(sample_findings())
    assert found("--until", first) == 0
    assert found("--since", "2026-11-25", "--until", "2026-11-26") == len(sample_findings())
    assert found("--until", "2026-11-25T05:28:52.072+01:00") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--peer", "192.0.2.0/24"], "is no IP address; --network takes networks"),
        (["--network", "here"], "is no network"),
        (["--since", "soon"], "is no time"),
        (["--until", ""], "is no time"),
        (["--since", "2026-02-02", "--until", "2026-02-01"], "nothing can match"),
        (["--method", "rot13"], "no key exchange method is named 'rot13'"),
        (["--verdict", "good"], "is not one of"),
        (["--elasticsearch", "http://127.0.0.1:1"], "give files or --elasticsearch with its options, not both"),
    ],
)
def test_wrong_usage_is_one_sentence(samples: Path, arguments: list[str], sentence: str) -> None:
    result = search(samples, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_neither_files_nor_server() -> None:
    result = search("--by", "peer")
    assert result.returncode == 2
    assert "give files of findings, or a server with --elasticsearch" in result.stderr


def test_no_text_of_a_finding_steers_the_terminal(tmp_path: Path) -> None:
    finding = json.loads(json.dumps(sample_findings()[0]))
    nasty = "\x1b]0;owned\x07\u202e\n"
    own = finding["pqaudit"]
    own.update(verdict=nasty, reason=nasty, protection=nasty)
    own["ike"]["initiator_spi"] = own["selected"]["key_exchange"]["name"] = finding["observer"]["name"] = nasty
    own["fingerprint"]["initiator"] = [{"vendor_id": "", "name": nasty, "vendor": nasty, "version": nasty}]
    path = write(tmp_path / "nasty.jsonl", [finding])
    for arguments in ([], ["--by", "verdict"], ["--by", "vendor"], ["--by", "sensor"], ["--by", "reason"]):
        for columns in ("80", "200"):
            result = search(path, *arguments, columns=columns)
            assert result.returncode == 0
            assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout + result.stderr)


def test_who_reads_may_go_away(samples: Path, search_server: Node) -> None:
    url = store_url(search_server, sample_findings())
    for arguments in ([samples], ["--elasticsearch", url]):
        with subprocess.Popen(
            [sys.executable, "-m", "pqaudit", "search", *arguments, "--format", "jsonl"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode < 0  # SIGPIPE, as any other filter


def store_url(node: Node, findings: list[Document] | tuple[Document, ...]) -> str:
    store(node, findings)
    return node.url


COMBINATIONS: list[list[str]] = [
    [],
    ["--by", "method", "--verdict", "hybrid-ml-kem", "--verdict", "ml-kem-only", "--network", "::/0"],
    ["--peer", "::ffff:192.0.2.1", "--protection", "none", "--rows", "3"],
    ["--since", "2026-01-01", "--until", "2026-02-01T00:00:00.001Z", "--by", "vendor"],
    ["--vendor", "STRONGSWAN", "--sensor", "Ω", "--deviation", "one", "--reason", "ikev1"],
]


def test_a_server_answers_as_a_file(search_server: Node, tmp_path: Path) -> None:
    findings = [*made_findings(120, seed=2)]
    findings[0]["pqaudit"]["record"] = {"opaque": "AA=="}
    path = write(tmp_path / "made.jsonl", findings)
    url = store_url(search_server, findings)
    for arguments in COMBINATIONS:
        local = search(path, "--format", "json", *arguments)
        remote = search("--format", "json", *arguments, url=url)
        assert (remote.returncode, remote.stderr) == (local.returncode, local.stderr) == (0, local.stderr)
        assert remote.stdout == local.stdout
        assert "opaque" not in local.stdout
    assert search("--by", "peer", "--elasticsearch", url).stdout == search(path, "--by", "peer").stdout
    lines = search("--format", "jsonl", url=url).stdout.splitlines()
    assert Counter(lines) == Counter(search(path, "--format", "jsonl").stdout.splitlines())
    assert len(lines) == len(findings)


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    result = search("--elasticsearch", "http://127.0.0.1:1")
    assert (result.returncode, result.stdout) == (5, "")
    assert len(result.stderr.splitlines()) == 1
    assert "cannot be reached" in result.stderr


def test_a_server_without_findings(search_server: Node) -> None:
    for arguments in ([], ["--by", "peer"], ["--format", "jsonl"], ["--by", "vendor"]):
        result = search(*arguments, url=search_server.url)
        assert result.returncode == 0
        assert result.stdout in ("", "No finding matches.\n")
        assert result.stderr in ("", "pqaudit: no finding matches\n")
