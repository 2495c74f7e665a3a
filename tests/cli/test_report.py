"""``pqaudit report`` as its users call it: whole processes, files, pipes and a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pqaudit.finding.document import Document
from pqaudit.outputs.jsonl import write_lines
from pqaudit.report.formats import FORMATS
from tests.cli.test_audit import run
from tests.conftest import SAMPLES
from tests.elastic.test_search import store
from tests.finding.made import made_findings, sample_findings
from tests.report.test_forms import hostile_findings
from tests.searchserver.node import Node

MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())
DAY = "2026-11-25"
OWN_FORMS = ("markdown", "json", "csv", "csv-sas", "cyclonedx", "sarif", "html")


def report(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run("report", *arguments, PQAUDIT_ELASTICSEARCH_URL=environment.pop("url", ""), **environment)


def write(path: Path, findings: list[Document] | tuple[Document, ...]) -> Path:
    with path.open("w") as file:
        write_lines(findings, file)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    return write(tmp_path / "samples.jsonl", sample_findings())


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.json"
    assert run("audit", SAMPLES, "--format", "json", "-o", path).returncode == 0
    return path


def as_json(*arguments: str | Path, **environment: str) -> Any:
    result = report(*arguments, "--format", "json", "--as-of", DAY, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_a_run_carries_the_hashes_of_its_captures(audited: Path) -> None:
    answer = as_json(audited)
    wanted = {f"{SAMPLES}/{file['file']}": (file["sha256"], file["bytes"]) for file in MANIFEST["files"]}
    assert {c["name"]: (c["sha256"], c["octets"]) for c in answer["captures"]} == wanted
    (findings,) = answer["inputs"]
    assert findings == {
        "kind": "findings",
        "name": "run.json",
        "octets": audited.stat().st_size,
        "sha256": sha256(audited.read_bytes()).hexdigest(),
        "findings": MANIFEST["whole_folder"]["ike_sas"],
    }
    assert answer["counts"]["verdicts"] == MANIFEST["whole_folder"]["verdicts"]
    assert answer["complete"]


def test_markdown_is_for_people(audited: Path) -> None:
    result = report(audited, "--as-of", DAY, "--policy", "uk-ncsc", "--policy", "cnsa-2.0")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("# ")
    assert lines[4].startswith("As of **2026-11-25**: 4 tunnels between 6 peers, 29 SAs")
    assert "| uk-ncsc | 75.0 % | 0 | 0 | 1 | 3 | unknown 1 | by 2028-12-31, in 767 days |" in lines
    assert MANIFEST["files"][0]["sha256"] in result.stdout


def test_without_a_policy_those_in_force_are_reported_on(samples: Path) -> None:
    ids = [policy["id"] for policy in as_json(samples)["policies"]]
    assert {"cnsa-2.0", "uk-ncsc", "ietf-ml-kem"} <= set(ids)
    # The last of these asks for curves that who follows CNSA 2.0 with another one breaks; its successor is in the list.
    assert not {"japan", "cnsa-2.0-ipsec-profile", "eo-14144-14306", "cnsa-1.0-rfc9206"} & set(ids)
    everything = [policy["id"] for policy in as_json(samples, "--policy", "all")["policies"]]
    listed = [line.split()[1] for line in run("rules", "list").stdout.splitlines() if line.startswith("policy")]
    assert everything == sorted(listed)


def test_policies_of_the_user(samples: Path, tmp_path: Path) -> None:
    (tmp_path / "rules" / "policies").mkdir(parents=True)
    (tmp_path / "rules" / "policies" / "own.yaml").write_text(
        "{schema: 1, id: own, issuer: '<us>', title: '`t|`', scope: s, requirement: r, source: s, requirements: "
        "[{id: v, what: w, ike_version: {allowed: ['2.0']}}]}"
    )
    answer = as_json(samples, "--policy", "own", "--rules", tmp_path / "rules")
    assert answer["policies"][0]["tunnels"]["meets"] == 4


@pytest.mark.parametrize("form", OWN_FORMS)
def test_the_same_octets_whatever_surrounds_them(form: str, tmp_path: Path) -> None:
    """Another zone, locale, hash seed, home, folder and name of the path, and a clock that has moved on."""
    findings = [*made_findings(150), *hostile_findings(), *sample_findings()]
    path = write(tmp_path / "findings.jsonl", findings)
    assets = tmp_path / "assets.csv"
    assets.write_text("network,owner\n192.0.2.0/24,us\n10.0.0.0/8,them\n")
    outputs = []
    for seed, zone, language, folder in (
        ("1", "UTC", "C", tmp_path),
        ("2", "Pacific/Kiritimati", "tr_TR.UTF-8", Path("/")),
    ):
        environment = {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": language, "LANG": language, "HOME": str(tmp_path)}
        relative = [os.path.relpath(file, folder) for file in (path, assets)]
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "pqaudit",
                "report",
                relative[0],
                "--as-of",
                DAY,
                "--format",
                form,
                "--assets",
                relative[1],
            ],
            capture_output=True,
            env={**os.environ, **environment, "PYTHONPATH": str(SAMPLES.parent)},
            cwd=folder,
            timeout=60,
            check=True,
        )
        outputs.append(result.stdout)
    assert outputs[0] == outputs[1]
    assert str(tmp_path).encode() not in outputs[0]
    assert len(outputs[0]) > 3000


def test_several_formats_into_a_folder(samples: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "report"
    chosen = [argument for form in OWN_FORMS for argument in ("--format", form)]
    result = report(samples, "--as-of", DAY, *chosen, "-o", folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    for form in OWN_FORMS:
        alone = run("report", samples, "--as-of", DAY, "--format", form, "-o", tmp_path / "alone")
        assert alone.returncode == 0
        assert (folder / FORMATS[form].file).read_bytes() == (tmp_path / "alone").read_bytes()
    assert {path.name for path in folder.iterdir()} == {FORMATS[form].file for form in OWN_FORMS}


def test_fail_on(samples: Path, tmp_path: Path) -> None:
    def code(path: Path, status: str, policy: str) -> int:
        return report(path, "--as-of", DAY, "--policy", policy, "--fail-on", status, "-o", os.devnull).returncode

    assert code(samples, "fails-now", "cnsa-2.0") == 1
    assert code(samples, "will-fail", "uk-ncsc") == 0
    assert code(samples, "not-assessable", "uk-ncsc") == 1
    classical = [finding for finding in sample_findings() if finding["pqaudit"]["verdict"] == "classical-only"]
    path = write(tmp_path / "classical.jsonl", classical[:1])
    assert [code(path, status, "eo-14412") for status in ("fails-now", "will-fail", "not-assessable")] == [0, 1, 1]
    late = report(path, "--policy", "eo-14412", "--as-of", "2031-01-01", "--fail-on", "fails-now")
    assert late.returncode == 1
    group = ("--policy", "uk-ncsc", "--as-of", "2032-01-01", "--fail-on", "fails-now")
    assert report(path, *group).returncode == 0
    assert report(path, *group, "--group", "high-priority").returncode == 1


def test_what_cannot_be_read_is_told_and_ends_with_3(samples: Path, tmp_path: Path) -> None:
    with samples.open("a") as file:
        file.write('nonsense\n{"cut')
    result = report(samples, tmp_path / "missing", "--as-of", DAY, "--format", "json", "--fail-on", "not-assessable")
    assert result.returncode == 3
    assert result.stderr.splitlines() == [
        f"pqaudit: error: {samples}, line 30: no JSON",
        f"pqaudit: error: {samples}, line 31: no JSON; it may be cut off",
        f"pqaudit: error: {tmp_path}/missing: cannot be read: No such file or directory",
    ]
    answer = json.loads(result.stdout)
    assert answer["counts"]["sas"] == 29
    assert not answer["complete"]
    assert "3 lines or files could not be read" in answer["notes"][0]


def test_standard_input_and_several_files(samples: Path, audited: Path) -> None:
    piped = run("report", "-", "--as-of", DAY, "--format", "json", stdin=samples.read_bytes())
    answer = json.loads(piped.stdout)
    assert (answer["inputs"][0]["name"], answer["counts"]["sas"]) == ("standard input", 29)
    assert answer["inputs"][0]["sha256"] == sha256(samples.read_bytes()).hexdigest()
    both = as_json(samples, audited)
    assert [entry["findings"] for entry in both["inputs"]] == [29, 29]
    assert both["counts"] == answer["counts"]


def test_assets_and_baseline(samples: Path, tmp_path: Path) -> None:
    assets = tmp_path / "assets.yml"
    assets.write_text("- {network: 10.1.0.0/16, owner: lab}\n- {address: 'fd00:1::1', name: six}\n")
    before = tmp_path / "before.json"
    policy = ("--policy", "uk-ncsc")
    assert report(samples, *policy, "--as-of", "2026-01-01", "--format", "json", "-o", before).returncode == 0
    answer = as_json(samples, *policy, "--assets", assets, "--baseline", before)
    assert [(entry["kind"], entry["name"]) for entry in answer["inputs"]] == [
        ("findings", "samples.jsonl"),
        ("assets", "assets.yml"),
        ("baseline", "before.json"),
    ]
    assert answer["inputs"][2]["sha256"] == sha256(before.read_bytes()).hexdigest()
    assert [owner["owner"] for owner in answer["owners"]] == ["lab", None]
    assert answer["comparison"]["as_of"] == "2026-01-01"
    assert answer["comparison"]["changes"]["uk-ncsc"]["same"] == 4
    text = report(samples, *policy, "--as-of", DAY, "--baseline", before).stdout
    assert "## Since the report of 2026-01-01" in text


def test_filters_are_said(samples: Path) -> None:
    answer = as_json(samples, "--network", "fd00::/16", "--since", "2026-11-25", "--peer", "fd00:1::1")
    assert answer["counts"]["tunnels"] == 1
    assert answer["filters"] == ["--since 2026-11-25T00:00:00.000Z", "--peer fd00:1::1", "--network fd00::/16"]
    assert "--network fd00::/16" in report(samples, "--network", "fd00::/16").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give files of findings, or a server"),
        (["SAMPLES/classical_x25519.pcap"], "is a capture, and a report is made of findings: pqaudit audit"),
        (["SAMPLES"], "is a folder"),
        (["-", "-"], "standard input can be read once"),
        (["F", "--policy", "cnsa"], "there is no policy 'cnsa'; did you mean cnsa-2.0?"),
        (["F", "--policy", "zzzz"], "`pqaudit rules list` shows all"),
        (["F", "--as-of", "soon"], "--as-of takes a day such as 2026-11-25"),
        (["F", "--as-of", "2026-11-25T00:00:00Z"], "--as-of takes a day"),
        (["F", "--as-of", "0001-01-01"], "--as-of takes a day"),
        (["F", "--format", "json", "--format", "csv"], "several formats need a folder: give -o DIR"),
        (["F", "-o", "F"], "is one of the files that are read"),
        (["F", "-o", "no/such/folder"], "cannot write"),
        (["F", "--assets", "no-such-file"], "no-such-file cannot be read: No such file"),
        (["F", "--assets", "F"], "samples.jsonl:1: this is not CSV"),
        (["F", "--baseline", "F"], "it is no report that pqaudit wrote as JSON"),
        (["F", "--baseline", "no-such-file"], "no-such-file cannot be read"),
        (["F", "--peer", "x"], "'x' is no IP address"),
        (["F", "--since", "2026-02-01", "--until", "2026-01-01"], "--since is not before --until"),
        (["F", "--elasticsearch", "http://127.0.0.1:1"], "give files or --elasticsearch"),
        (["F", "--ca-file", "x"], "give files or --elasticsearch"),
        (["F", "--fail-on", "meets"], "'meets' is not one of"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], said: str, samples: Path, tmp_path: Path) -> None:
    words = [word.replace("SAMPLES", str(SAMPLES)) if word != "F" else str(samples) for word in arguments]
    result = report(*words)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_help_says_the_exit_codes() -> None:
    text = " ".join(report("--help").stdout.split())
    assert "Exit codes: 0 done, 1 a tunnel has the status of --fail-on or a worse one, 2 usage" in text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk(samples: Path) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "pqaudit", "report", samples, "--format", "json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 4
    assert "standard output could not be written to the end" in result.stderr
    assert report(samples, "--format", "json", "-o", "/dev/full").returncode == 4


@pytest.mark.parametrize("command", ["report", "audit", "search"])
def test_a_standard_output_that_is_closed(command: str, samples: Path) -> None:
    source = SAMPLES if command == "audit" else samples
    arguments = [sys.executable, "-m", "pqaudit", command, source, "--format", "json"]
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *map(str, arguments)]
    result = subprocess.run(closed, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 4
    assert result.stderr.endswith("Error: standard output could not be written to the end: Bad file descriptor\n")


def test_pipes_and_devices_are_written_to(samples: Path, tmp_path: Path) -> None:
    """Also those that have no path of their own, as a pipe behind /dev/stdout."""
    told = report(samples, "--format", "csv", "--as-of", DAY).stdout
    assert report(samples, "--format", "csv", "--as-of", DAY, "-o", "/dev/stdout").stdout == told
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        assert report(samples, "--format", "csv", "--as-of", DAY, "-o", pipe).returncode == 0
        assert reader.communicate(timeout=60)[0] == told.replace("\r\n", "\n")
    assert pipe.is_fifo()


def report_process(path: Path, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pqaudit", "report", path, "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def test_nothing_is_left_behind(samples: Path, tmp_path: Path) -> None:
    """Neither at the end, nor when who reads goes away, nor after a signal."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    assert report(samples, TMPDIR=str(folder)).returncode == 0
    assert not list(folder.iterdir())
    many = write(tmp_path / "many.jsonl", made_findings(1500))
    process = report_process(many, folder)
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(timeout=30) == -signal.SIGPIPE
    assert not list(folder.iterdir())
    for number in (signal.SIGTERM, signal.SIGINT):
        process = report_process(many, folder)
        while not list(folder.iterdir()):
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
        assert not list(folder.iterdir())


def test_a_server_says_what_a_file_says(search_server: Node, tmp_path: Path) -> None:
    findings = made_findings(120, seed=3)
    path = write(tmp_path / "made.jsonl", findings)
    store(search_server, findings)
    for arguments in ([], ["--network", "192.0.2.0/24", "--since", "2026-01-01"], ["--sensor", "Ω"]):
        local, remote = as_json(path, *arguments), as_json(*arguments, url=search_server.url)
        (source,) = remote.pop("inputs")
        assert (source["kind"], source["sha256"]) == ("server", None)
        assert search_server.url.removeprefix("http://") in source["name"]
        local.pop("inputs")
        assert remote == local


def test_a_server_that_is_not_there() -> None:
    result = report(url="http://127.0.0.1:1")
    assert (result.returncode, result.stdout) == (5, "")
    assert len(result.stderr.splitlines()) == 1
