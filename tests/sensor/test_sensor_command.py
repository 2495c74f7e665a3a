"""``pqaudit sensor`` on a link of the test's own: what goes wrong with interfaces, users, disks and processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.capture.network import run
from tests.conftest import REPOSITORY
from tests.sensor.link import Link
from tests.sensor.running import RunningSensor, hand_over


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.delete()


def sensor_fails(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pqaudit", "sensor", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=REPOSITORY, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_an_interface_that_is_not_there(tmp_path: Path) -> None:
    done = sensor_fails("-i", "nothere0", "--state", tmp_path)
    assert done.returncode == 3
    assert "nothere0" in done.stderr


def test_a_user_that_is_not_there(link: Link, tmp_path: Path) -> None:
    done = sensor_fails("-i", link.watched, "--state", tmp_path, "--user", "nobody-of-that-name")
    assert done.returncode == 2
    assert "nobody-of-that-name" in done.stderr


def test_all_interfaces_and_one_of_them() -> None:
    done = sensor_fails("-i", "any", "-i", "lo")
    assert done.returncode == 2
    assert "name it alone" in done.stderr


def test_an_interface_goes_and_comes_back(link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched) as sensor:
        sensor.finding(link.send("hybrid_x25519_mlkem768.pcap"), verdict="hybrid-ml-kem")
        link.delete()
        sensor.until(lambda: "waiting for it" in sensor.log.read_text(), "the note that it is gone")
        link.make()
        sensor.until(lambda: "again" in sensor.log.read_text(), "the note that it is back")
        found = sensor.finding(link.send("classical_x25519.pcap"), verdict="classical-only")
        sensor.stop()
    # Nothing was captured for a while just before this SA, and it says so.
    assert "not-captured" in [each["id"] for each in found["pqaudit"]["anomalies"]]


def test_root_is_given_up(link: Link, tmp_path: Path) -> None:
    account = hand_over(tmp_path, "nobody")
    with RunningSensor(tmp_path, link.watched, options=("--user", "nobody")) as sensor:
        sensor.finding(link.send("hybrid_x25519_mlkem768.pcap"), verdict="hybrid-ml-kem")
        children = Path(f"/proc/{sensor.process.pid}/task/{sensor.process.pid}/children").read_text().split()
        for pid in (sensor.process.pid, *children):
            status = Path(f"/proc/{pid}/status").read_text()
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"resource_tracker" not in name:
                assert f"Uid:\t{account.pw_uid}\t{account.pw_uid}\t{account.pw_uid}" in status, name
        sensor.stop()


def test_a_capturing_process_that_dies_ends_the_sensor(link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched) as sensor:
        children = Path(f"/proc/{sensor.process.pid}/task/{sensor.process.pid}/children").read_text().split()
        (child,) = children
        os.kill(int(child), 9)
        assert sensor.process.wait(20) == 3
        assert "Error: " in sensor.log.read_text()


def test_a_sensor_that_is_killed_takes_the_capture_with_it(link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched) as sensor:
        children = Path(f"/proc/{sensor.process.pid}/task/{sensor.process.pid}/children").read_text().split()
        sensor.kill()
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}/cmdline").exists() for pid in children):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_metrics_and_health(link: Link, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with RunningSensor(tmp_path, link.watched, options=("--metrics", port)) as sensor:
        sensor.finding(link.send("hybrid_x25519_mlkem768.pcap"), verdict="hybrid-ml-kem")

        def ask(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        status, text = ask("/metrics")
        assert status == 200
        assert 'pqaudit_findings_total{verdict="hybrid-ml-kem"} 1.0' in text
        assert f'pqaudit_kernel_dropped_packets_total{{interface="{link.watched}"}} 0.0' in text
        assert ask("/healthz") == (200, json.dumps({"ok": True, "reason": None}) + "\n")
        run("ip", "link", "set", link.watched, "down")
        sensor.until(lambda: ask("/healthz")[0] == 503, "bad health")
        assert "no interface is up" in ask("/healthz")[1]
        assert ask("/other")[0] == 404
        sensor.stop()


def test_packets_are_kept_no_longer_than_was_said(link: Link, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    with RunningSensor(tmp_path, link.watched, options=("--write-ring", ring, "--ring-age", 4 / 3600)) as sensor:
        sensor.finding(link.send("hybrid_x25519_mlkem768.pcap"), verdict="hybrid-ml-kem")
        assert len(list(ring.iterdir())) == 1
        time.sleep(5)  # the ring looks every second
        assert list(ring.iterdir()) == []
        sensor.stop()


def test_a_disk_that_is_full_stops_nothing(link: Link, tmp_path: Path) -> None:
    """Findings go to a device that is always full, and to a spool whose server is away: the spool has them."""
    spool = tmp_path / "spool"
    options = ("-o", "/dev/full", "--elasticsearch", "http://127.0.0.1:9", "--spool", spool)
    with RunningSensor(tmp_path, link.watched, options=options) as sensor:
        link.send("hybrid_x25519_mlkem768.pcap")
        sensor.until(lambda: "cannot be kept" in sensor.log.read_text(), "the note that findings cannot be kept")
        time.sleep(1)
        sensor.process.terminate()
        assert sensor.process.wait(20) == 4  # some output is missing
    from pqaudit.elastic.spool import Spool

    assert len(Spool(spool)) == 1
