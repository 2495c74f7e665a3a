"""``pqaudit ship``, and what waits in the spool, before real servers."""

from __future__ import annotations

import json
import signal
import stat
from pathlib import Path

import pytest

from tests.cli.user import User, complaint, count, wait_until
from tests.conftest import SAMPLES
from tests.searchserver.node import Node
from tests.searchserver.proxy import Proxy, Stall

SAMPLE = SAMPLES / "hybrid_x25519_mlkem768.pcap"
AWAY = ("--elasticsearch", "http://127.0.0.1:9", "--patience", "0.2")  # the discard port, which nothing serves


@pytest.fixture
def made(user: User) -> str:
    """Findings of all samples as JSON lines."""
    return user.run("audit", SAMPLES, "--format", "jsonl").stdout


def test_a_file_made_earlier_and_a_pipe(empty9: Node, user: User, made: str, tmp_path: Path) -> None:
    lines = made.splitlines()
    file = tmp_path / "findings.jsonl"
    file.write_text(made)
    done = user.run("ship", file, "--elasticsearch", empty9.url)
    assert (done.returncode, done.stdout) == (0, "")
    assert count(empty9) == len(lines)
    again = user.run("ship", "-", text=made, PQAUDIT_ELASTICSEARCH_URL=empty9.url)
    assert again.returncode == 0
    assert f"0 new, 0 merged with what was known, {len(lines)} known already" in again.stderr
    assert count(empty9) == len(lines)


def test_the_document_of_a_whole_run_and_several_files(empty9: Node, user: User, made: str, tmp_path: Path) -> None:
    run, one = tmp_path / "run.json", tmp_path / "one.jsonl"
    run.write_text(user.run("audit", SAMPLE, "--format", "json").stdout)
    one.write_text(made)
    assert user.run("ship", run, one, "--elasticsearch", empty9.url).returncode == 0
    assert count(empty9) == len(made.splitlines())


def test_without_a_file_what_waits_is_sent(empty9: Node, user: User) -> None:
    done = user.run("audit", SAMPLE, *AWAY)
    assert done.returncode == 5
    assert "hybrid-ml-kem" in done.stdout
    assert "cannot be reached" in complaint(done)
    assert "1 findings are safe in" in done.stderr
    assert user.run("ship", *AWAY).returncode == 5
    assert user.waiting == 1
    done = user.run("ship", "--elasticsearch", empty9.url, "--adopt")
    assert done.returncode == 0
    assert "1 findings delivered" in done.stderr
    assert (user.waiting, count(empty9)) == (0, 1)
    assert user.run("ship", "--elasticsearch", empty9.url).returncode == 0  # with nothing to do


def test_status(empty9: Node, user: User) -> None:
    assert "waiting      0 findings" in user.run("ship", "--status").stdout
    user.run("audit", SAMPLE, *AWAY)
    done = user.run("ship", "--status")
    assert (done.returncode, done.stderr) == (0, "")
    shown = {line[:12].strip(): line[12:].strip() for line in done.stdout.splitlines()}
    assert shown["spool"] == str(user.spool)
    assert shown["for"] == "http://127.0.0.1:9"
    assert shown["waiting"].startswith("1 findings")
    assert shown["oldest"] == "0.0 hours"
    assert shown["added"] == "1"
    user.run("ship", "--elasticsearch", empty9.url, "--adopt")
    shown = {line[:12].strip(): line[12:].strip() for line in user.run("ship", "--status").stdout.splitlines()}
    assert (shown["for"], shown["added"], shown["delivered"]) == (empty9.url, "1", "1")
    assert shown["waiting"].startswith("0 findings")


def test_what_waits_for_one_server_is_not_sent_to_another(empty9: Node, user: User, made: str) -> None:
    user.run("audit", SAMPLE, *AWAY)
    for command in (["ship"], ["ship", "-"], ["audit", SAMPLE]):
        done = user.run(*command, "--elasticsearch", empty9.url, text=made)
        assert done.returncode == 2
        assert "1 findings in the spool" in complaint(done)
        assert "http://127.0.0.1:9" in complaint(done)
        assert "--adopt" in complaint(done)
    assert (user.waiting, count(empty9)) == (1, 0)


def test_without_a_server(user: User) -> None:
    done = user.run("ship")
    assert done.returncode == 2
    assert "give --elasticsearch URL or PQAUDIT_ELASTICSEARCH_URL" in complaint(done)


def test_a_file_that_is_not_there(empty9: Node, user: User, tmp_path: Path) -> None:
    done = user.run("ship", tmp_path / "none.jsonl", "--elasticsearch", empty9.url)
    assert done.returncode == 3
    assert "No such file" in complaint(done)


def test_lines_that_are_no_findings_are_named_and_the_rest_is_sent(empty9: Node, user: User) -> None:
    good = user.run("audit", SAMPLE, "--format", "jsonl").stdout
    done = user.run("ship", "-", "--elasticsearch", empty9.url, text="{broken\n" + good + '{"a": 1}\n' + good[:500])
    assert done.returncode == 3
    wrong = [line for line in done.stderr.splitlines() if line.startswith("pqaudit: error: ")]
    assert [line.split(":")[2] for line in wrong] == [" -, line 1", " -, line 3", " -, line 4"]
    assert count(empty9) == 1


def test_a_refused_finding_is_kept_with_the_reason(empty9: Node, user: User) -> None:
    made = user.run("audit", SAMPLE, "--format", "jsonl").stdout
    # Somebody's own template, which comes first, takes a field of ours for a number.
    mapping = {"mappings": {"properties": {"pqaudit": {"properties": {"verdict": {"type": "integer"}}}}}}
    own = {"index_patterns": [f"pqaudit-sa-{made[15:22].replace('-', '.')}"], "priority": 1000, "template": mapping}
    assert empty9.request("PUT", "/_index_template/own", own)[0] == 200
    done = user.run("ship", "-", "--elasticsearch", empty9.url, text=made)
    assert done.returncode == 7, done.stderr
    file = user.spool / "dead-letters.jsonl"
    assert f"1 findings were refused and are kept with the reason in {file}" in done.stderr
    letter = json.loads(file.read_text())
    assert (letter["status"], letter["finding"]) == (400, json.loads(made))
    assert "hybrid-ml-kem" in letter["reason"]
    assert user.waiting == 0
    # Mended, and sent again as the documentation says.
    assert empty9.request("DELETE", "/pqaudit-sa-*")[0] in (200, 400)
    for index in empty9.request("GET", "/pqaudit-sa-*/_alias")[1]:
        empty9.request("DELETE", f"/{index}")
    empty9.request("DELETE", "/_index_template/own")
    assert user.run("ship", "-", "--elasticsearch", empty9.url, text=json.dumps(letter["finding"])).returncode == 0
    assert count(empty9) == 1


def test_ctrl_c_while_the_server_is_slow(empty9: Node, user: User, made: str) -> None:
    with Proxy(empty9, faults=lambda request: Stall(3.0) if "_bulk" in request.path else None) as proxy:
        process = user.start("ship", "-", "--elasticsearch", proxy.url)
        assert process.stdin is not None
        process.stdin.write(made)
        process.stdin.close()
        process.stdin = None
        wait_until(lambda: any("_bulk" in record.path for record in proxy.records))
        process.send_signal(signal.SIGINT)
        done = user.end(process)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "pqaudit: interrupted"
    lines = made.splitlines()
    assert user.waiting + count(empty9) >= len(lines)
    if user.waiting:
        assert f"{user.waiting} findings are safe in {user.spool}" in done.stderr
    assert user.run("ship", "--elasticsearch", empty9.url, "--adopt").returncode == 0
    assert (user.waiting, count(empty9)) == (0, len(lines))


def test_a_spool_that_cannot_be_made(empty9: Node, user: User, tmp_path: Path, made: str) -> None:
    (tmp_path / "file").write_text("")
    done = user.run("ship", "-", "--elasticsearch", empty9.url, "--spool", tmp_path / "file" / "spool", text=made)
    assert done.returncode == 4
    assert "choose another with --spool" in complaint(done)


def test_a_damaged_spool_is_kept_aside(empty9: Node, user: User, made: str) -> None:
    user.run("ship", "--status")
    (user.spool / "spool.sqlite3").write_bytes(b"this is no database" * 1000)
    done = user.run("ship", "-", "--elasticsearch", empty9.url, text=made)
    assert done.returncode == 0
    assert "the spool was damaged and is kept as" in done.stderr
    assert count(empty9) == len(made.splitlines())


def test_only_the_owner_reads_the_spool(user: User) -> None:
    user.run("audit", SAMPLE, *AWAY)
    assert stat.S_IMODE(user.spool.stat().st_mode) == 0o700
    for file in user.spool.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
