"""``pqaudit sensor`` and who is at its ends: readers, terminals, files that are rotated, clients that hang up."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pqaudit.elastic.spool import Spool
from tests.conftest import REPOSITORY
from tests.sensor.link import Link
from tests.sensor.running import RunningSensor

HYBRID, CLASSICAL = "hybrid_x25519_mlkem768.pcap", "classical_x25519.pcap"


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.delete()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_clients_of_the_metrics_that_hang_up_end_nothing(link: Link, tmp_path: Path) -> None:
    port = free_port()
    with RunningSensor(tmp_path, link.watched, options=("--metrics", port)) as sensor:
        for _ in range(20):
            # The first part of the answer is refused by the client's kernel, and the next one is a broken pipe.
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            time.sleep(0.02)
        sensor.finding(link.send(HYBRID), verdict="hybrid-ml-kem")
        sensor.stop()
    for line in sensor.log.read_text().splitlines():
        json.loads(line)


def test_a_terminal_that_goes_is_an_orderly_end(link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched) as sensor:
        sensor.finding(link.send(HYBRID), verdict="hybrid-ml-kem")
        sensor.process.send_signal(signal.SIGHUP)
        assert sensor.process.wait(20) == 0
    assert json.loads(sensor.log.read_text().splitlines()[-1])["event"] == "stopped"


def test_a_reader_of_standard_output_that_goes_ends_the_sensor_and_loses_nothing(link: Link, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "pqaudit", "sensor", "-i", link.watched, "--state", str(tmp_path / "state")]
    log = tmp_path / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(command, stdout=writing, stderr=errors, cwd=REPOSITORY)
    os.close(writing)
    try:
        deadline = time.monotonic() + 20
        while '"started"' not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        os.close(reading)
        spi = link.send(HYBRID)
        assert process.wait(20) == 4
    finally:
        process.kill()
        process.wait()
    assert "who read - is gone; the sensor ends" in log.read_text()
    with RunningSensor(tmp_path, link.watched) as sensor:
        sensor.finding(spi)
        sensor.stop()


def test_a_file_that_is_rotated_is_made_anew(link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched) as sensor:
        first = link.send(HYBRID)
        sensor.finding(first, verdict="hybrid-ml-kem")
        sensor.out.rename(tmp_path / "findings.1")
        sensor.finding(link.send(CLASSICAL), verdict="classical-only")
        sensor.stop()
    (line,) = (tmp_path / "findings.1").read_text().splitlines()
    assert json.loads(line)["pqaudit"]["ike"]["initiator_spi"] == first


def test_a_line_that_was_cut_short_spoils_no_other(link: Link, tmp_path: Path) -> None:
    """As SIGKILL amid a writing leaves it."""
    (tmp_path / "findings.jsonl").write_text('{"@timestamp": "20')
    with RunningSensor(tmp_path, link.watched) as sensor:
        spi = link.send(HYBRID)
        sensor.until(lambda: spi in sensor.out.read_text(), "the finding")
        sensor.stop()
    _, whole = sensor.out.read_text().splitlines()
    assert json.loads(whole)["pqaudit"]["ike"]["initiator_spi"] == spi


@pytest.mark.parametrize(("closed", "code"), [((1,), 2), ((0, 2), 0)])
def test_standard_streams_that_are_closed(closed: tuple[int, ...], code: int, link: Link, tmp_path: Path) -> None:
    """Files that are opened later must not get their numbers, and the sensor works where it can."""
    state, out = tmp_path / "state", tmp_path / "findings.jsonl"
    output = () if 1 in closed else ("-o", str(out))
    command = [sys.executable, "-m", "pqaudit", "sensor", "-i", link.watched, "--state", str(state), *output]
    closing = " ".join(f"{number}>&-" if number else "0<&-" for number in closed)
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closing}', "sh", *command], stderr=subprocess.PIPE, cwd=REPOSITORY, text=True
    )
    try:
        if not code:
            deadline = time.monotonic() + 20
            while not (state / "sensor" / "sensor.sqlite3").exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.5)
            for number in range(3):
                target = os.readlink(f"/proc/{process.pid}/fd/{number}")
                assert target == "/dev/null" if number in closed else "sqlite" not in target
            process.terminate()
        _, said = process.communicate(timeout=20)
        assert process.returncode == code
        assert "Traceback" not in said
    finally:
        process.kill()
        process.wait()


def test_clients_of_the_metrics_that_are_silent_keep_nobody_from_asking(link: Link, tmp_path: Path) -> None:
    port = free_port()
    with RunningSensor(tmp_path, link.watched, options=("--metrics", port)) as sensor:
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=3) as answer:
            assert answer.status == 200
        silent[0].sendall(b"GET /" + b"a" * 70_000)  # more than is read: it is told so, and does not listen
        for each in silent:
            each.close()
        sensor.stop()
    for line in sensor.log.read_text().splitlines():
        json.loads(line)


def test_a_capturing_process_that_hangs_is_bad_health(link: Link, tmp_path: Path) -> None:
    port = free_port()

    def health() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
                return str(answer.read())
        except urllib.error.HTTPError as error:
            return str(error.read())

    with RunningSensor(tmp_path, link.watched, options=("--metrics", port)) as sensor:
        (child,) = Path(f"/proc/{sensor.process.pid}/task/{sensor.process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGSTOP)
        sensor.until(lambda: "the capturing process hangs" in sensor.log.read_text(), "the note that it hangs")
        assert "the capturing process hangs" in health()
        os.kill(int(child), signal.SIGCONT)
        sensor.until(lambda: '"ok": true' in health(), "good health")
        sensor.stop()
    assert "the capturing process goes on" in sensor.log.read_text()


@pytest.mark.parametrize("option", ["--idle", "--ring-age", "--spool-age"])
def test_what_is_no_number_is_refused(option: str) -> None:
    command = [sys.executable, "-m", "pqaudit", "sensor", "-i", "nosuch0", option, "nan"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 2
    assert "not a valid number" in done.stderr


@pytest.mark.parametrize(("kind", "shown"), [("dumb", b'"event": "started"'), ("xterm", b"Time (UTC)")])
def test_a_terminal_that_cannot_be_drawn_on_gets_the_log(kind: str, shown: bytes, link: Link, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "pqaudit", "sensor", "-i", link.watched, "--state", str(tmp_path / "state")]
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "out")],
        stderr=theirs,
        cwd=REPOSITORY,
        env={**os.environ, "TERM": kind, "COLUMNS": "120", "LINES": "40"},
    )
    os.close(theirs)
    try:
        said = b""
        while shown not in said:
            ready, _, _ = select.select([ours], [], [], 20)
            assert ready, said
            said += os.read(ours, 65536)
        # The terminal goes away; nobody reads what is still drawn.
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_a_server_that_answers_nothing_does_not_hold_up_the_end(link: Link, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with RunningSensor(tmp_path, link.watched, options=("--elasticsearch", url)) as sensor:
            sensor.finding(link.send(HYBRID), verdict="hybrid-ml-kem")
            began = time.monotonic()
            sensor.stop()
            assert time.monotonic() - began < 12
    with closing(Spool(tmp_path / "state" / "spool")) as spool:
        assert len(spool) == 1
