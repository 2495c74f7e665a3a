"""``pqaudit sensor --exposure`` with real packets; what the audit of the same frames as a file counts is right."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pqaudit.capture.reader import read_capture
from pqaudit.decode.esp import esp_in
from tests.capture import build
from tests.capture.network import run
from tests.conftest import REPOSITORY, SAMPLES, audit
from tests.exposure.esp_frames import UDP, esp, frame, ipv4, ipv6, udp
from tests.sensor.link import Link
from tests.sensor.running import RunningSensor, hand_over

Tunnels = dict[tuple[str, ...], dict[str, Any]]

IPV4, IPV6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")
IKE = udp(bytes(4) + bytes(range(1, 90)))
KEEPALIVE = udp(b"\xff")


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.delete()


def sensor(folder: Path, link: Link, sample: int = 1, *options: object) -> RunningSensor:
    return RunningSensor(folder, link.watched, options=("--exposure", "--exposure-sample", sample, *options))


def tunnels(folder: Path) -> Tunnels:
    """What the file in the state folder says."""
    path = folder / "state" / "sensor" / "exposure.jsonl"
    return {tuple(each["tunnel"]): each for each in map(json.loads, path.read_text().splitlines())}


def traffic(found: Tunnels) -> dict[tuple[str, ...], tuple[int, int]]:
    return {
        ends: (each["exposure"]["esp_packets"], each["exposure"]["esp_octets"])
        for ends, each in found.items()
        if each["exposure"] is not None
    }


def audited(folder: Path, frames: list[bytes]) -> Tunnels:
    """What ``audit`` says of the same frames."""
    path = folder / "frames.pcap"
    path.write_bytes(build.pcap([(1, 0, data, len(data)) for data in frames]))
    command = [sys.executable, "-m", "pqaudit", "audit", str(path), "--group-by", "tunnel", "--exposure"]
    done = subprocess.run([*command, "--format", "jsonl"], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    return {tuple(each["tunnel"]): each for each in map(json.loads, done.stdout.splitlines())}


def children(running: RunningSensor) -> list[int]:
    pid = running.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def counting(running: RunningSensor) -> int:
    """The counting process."""
    (found,) = (pid for pid in children(running) if b"exposure_child" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return found


def mixture() -> list[bytes]:
    """ESP in every way that is counted, of different lengths, and what lies on port 4500 beside it."""
    frames = []
    for number in range(1, 41):
        length = 60 + 20 * number
        frames += [
            frame(ipv4(esp(number, length))),
            frame(ipv4(esp(number, 80), a="192.0.2.2", b="192.0.2.1", options=bytes(8))),
            frame(ipv6(esp(number, length))),
            frame(ipv4(udp(esp(number, length)), UDP, "198.51.100.1")),
            frame(ipv6(udp(esp(number, length)), UDP, "2001:db8::3")),
            frame(ipv4(IKE, UDP, "198.51.100.1")),
            frame(ipv4(KEEPALIVE, UDP, "198.51.100.1")),
            frame(ipv6(KEEPALIVE, UDP, "2001:db8::3")),
            frame(ipv4(esp(number, length), a="203.0.113.1"), 0x8100),
            frame(ipv6(udp(esp(number, length)), UDP, "2001:db8::4"), 0x88A8, 0x8100),
        ]
    return frames


def test_every_packet_is_counted_as_in_a_file(link: Link, tmp_path: Path) -> None:
    frames = mixture()
    expected = audited(tmp_path, frames)
    with sensor(tmp_path, link) as running:
        link.send_raw(*frames)
        running.stop()
    found = tunnels(tmp_path)
    assert traffic(found) == traffic(expected)
    assert len(traffic(found)) == 6
    for ends, each in found.items():
        exposure = each.pop("exposure")
        other = expected[ends].pop("exposure")
        assert exposure.keys() == {*other, "sampled"}
        assert exposure["sampled"] == 1
        assert each == expected[ends]


def test_one_in_four_times_four(link: Link, tmp_path: Path) -> None:
    with sensor(tmp_path, link, 4) as running:
        link.send_raw(*(frame(ipv4(esp(number, 200))) for number in range(1, 101)))
        link.send_raw(*(frame(ipv6(udp(esp(number, 200)), UDP)) for number in range(1, 42)))
        running.stop()
    # 41 packets hold ten whole fours, and the second of the next four did not come.
    assert traffic(tunnels(tmp_path)) == {IPV4: (100, 20_000), IPV6: (40, 40 * 208)}
    assert {each["exposure"]["sampled"] for each in tunnels(tmp_path).values()} == {4}
    last = [json.loads(line) for line in running.log.read_text().splitlines()][-2]
    assert last["event"] == "exposure"
    assert last["esp_packets"] == {"no-ike-seen": 140}
    assert last["interfaces"] == [{"name": link.watched, "received": 35, "dropped": 0}]


def negotiate(link: Link, name: str) -> tuple[str, tuple[str, ...]]:
    """Play a sample without the ESP in it; the initiator SPI of its one SA, and the peers."""
    frames = read_capture(str(SAMPLES / name), wanted=None, note=lambda note: None)
    link.send_raw(*(each.data for each in frames if esp_in(each) is None))
    (finding,), _ = audit(SAMPLES / name)
    ends = tuple(sorted((finding["source"]["ip"], finding["destination"]["ip"])))
    return finding["pqaudit"]["ike"]["initiator_spi"], ends


def between(ends: tuple[str, ...], numbers: range) -> list[bytes]:
    """ESP with 500 octets each."""
    return [frame(ipv4(esp(number, 500), a=ends[0], b=ends[1])) for number in numbers]


def test_tunnels_are_ranked_and_outlive_a_restart(link: Link, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def metrics() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    with sensor(tmp_path, link, 1, "--metrics", port) as running:
        spi, ends = negotiate(link, "classical_x25519.pcap")
        running.finding(spi, verdict="classical-only")
        link.send_raw(*between(ends, range(1, 11)), frame(ipv6(esp(1, 1400))))
        running.until(lambda: 'pqaudit_esp_packets_total{verdict="classical-only"} 10.0' in metrics(), "ten packets")
        text = metrics()
        assert 'pqaudit_esp_octets_total{verdict="classical-only"} 5000.0' in text
        assert 'pqaudit_esp_octets_total{verdict="no-ike-seen"} 1400.0' in text
        assert f'pqaudit_esp_kernel_dropped_packets_total{{interface="{link.watched}"}} 0.0' in text
        assert "pqaudit_esp_running 1.0" in text
        esp_lines = [line for line in text.splitlines() if line.startswith("pqaudit_esp")]
        assert not [line for line in esp_lines if ends[0] in line or "2001" in line]
        running.stop()
    before = tunnels(tmp_path)
    assert list(before) == [ends, IPV6]
    assert before[ends]["verdict"] == "classical-only"
    assert before[ends]["sas"] == 1
    with sensor(tmp_path, link, 1, "--metrics", port) as running:
        assert 'pqaudit_esp_octets_total{verdict="classical-only"} 5000.0' in metrics()
        link.send_raw(*between(ends, range(11, 12)), frame(ipv6(esp(2, 1400))))
        running.stop()
    after = tunnels(tmp_path)
    assert traffic(after) == {ends: (11, 5500), IPV6: (2, 2800)}
    for each in (before, after):
        for tunnel in each.values():
            del tunnel["exposure"]
    assert after == before


def test_a_verdict_outlives_sigkill(link: Link, tmp_path: Path) -> None:
    path = tmp_path / "state" / "sensor" / "exposure.jsonl"
    with sensor(tmp_path, link) as running:
        spi, ends = negotiate(link, "hybrid_x25519_mlkem768.pcap")
        link.send_raw(*between(ends, range(1, 3)))
        running.finding(spi, verdict="hybrid-ml-kem")
        running.until(lambda: path.exists() and traffic(tunnels(tmp_path)) == {ends: (2, 1000)}, "the file")
        assert tunnels(tmp_path)[ends]["verdict"] == "hybrid-ml-kem"
        running.kill()
    with sensor(tmp_path, link) as running:
        link.send_raw(*between(ends, range(3, 4)))
        running.stop()
    found = tunnels(tmp_path)
    assert found[ends]["verdict"] == "hybrid-ml-kem"
    assert traffic(found) == {ends: (3, 1500)}


def test_a_file_that_is_damaged_is_set_aside(link: Link, tmp_path: Path) -> None:
    state = tmp_path / "state" / "sensor"
    state.mkdir(parents=True)
    (state / "exposure.jsonl").write_text('{"tunnel": ["192.0.2.1"\n')
    with sensor(tmp_path, link) as running:
        link.send_raw(frame(ipv4(esp(1))))
        running.stop()
    assert "damaged" in running.log.read_text()
    assert traffic(tunnels(tmp_path)) == {IPV4: (1, 100)}
    (aside,) = state.glob("exposure.jsonl.damaged-*")
    assert aside.read_text() == '{"tunnel": ["192.0.2.1"\n'


def test_it_is_off_by_default(link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched) as running:
        assert len(children(running)) == 1
        link.send_raw(frame(ipv4(esp(1))))
        running.stop()
    assert not (tmp_path / "state" / "sensor" / "exposure.jsonl").exists()
    assert "exposure" not in running.log.read_text()


def test_a_counting_process_that_dies_is_started_again(link: Link, tmp_path: Path) -> None:
    with sensor(tmp_path, link) as running:
        before = counting(running)
        os.kill(before, 9)
        running.until(lambda: "SIGKILL" in running.log.read_text(), "the note that it died")
        running.finding(link.send("hybrid_x25519_mlkem768.pcap"), verdict="hybrid-ml-kem")
        running.until(lambda: "runs again" in running.log.read_text(), "the note that it counts again")
        assert counting(running) != before
        link.send_raw(frame(ipv4(esp(1))))
        running.stop()
    assert traffic(tunnels(tmp_path)) == {IPV4: (1, 100)}


def test_an_interface_goes_down_and_comes_back(link: Link, tmp_path: Path) -> None:
    def said(what: str) -> bool:
        return f"Counting ESP: {what}" in running.log.read_text()

    with sensor(tmp_path, link) as running:
        link.send_raw(frame(ipv4(esp(1))))
        run("ip", "link", "set", link.watched, "down")
        running.until(lambda: said(f"The interface {link.watched} is down"), "the note that it is down")
        run("ip", "link", "set", link.watched, "up")
        running.until(lambda: said(f"Capturing from {link.watched} again"), "the note that it is back")
        link.send_raw(frame(ipv4(esp(2))))
        running.stop()
    assert traffic(tunnels(tmp_path)) == {IPV4: (2, 200)}


def test_root_is_given_up(link: Link, tmp_path: Path) -> None:
    account = hand_over(tmp_path, "nobody")
    with sensor(tmp_path, link, 1, "--user", "nobody") as running:
        status = Path(f"/proc/{counting(running)}/status").read_text()
        assert f"Uid:\t{account.pw_uid}\t{account.pw_uid}\t{account.pw_uid}" in status
        link.send_raw(frame(ipv4(esp(1))))
        spi, _ = negotiate(link, "classical_x25519.pcap")
        running.finding(spi, verdict="classical-only")
        file = tmp_path / "state" / "sensor" / "exposure.jsonl"
        running.until(lambda: file.exists() and traffic(tunnels(tmp_path)), "the packet in the file")
        # One that comes later may not capture, or not even be started: that is said, and the sensor goes on.
        os.kill(counting(running), 9)
        running.until(lambda: running.log.read_text().count("ESP is not counted") == 2, "the note that it may not")
        spi, _ = negotiate(link, "hybrid_x25519_mlkem768.pcap")
        running.finding(spi, verdict="hybrid-ml-kem")
        running.stop()
    assert traffic(tunnels(tmp_path)) == {IPV4: (1, 100)}


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--exposure-sample", 4), "needs --exposure"), (("--exposure", "--exposure-sample", 6), "power of two")],
)
def test_wrong_usage(options: tuple[object, ...], words: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pqaudit", "sensor", "-i", "lo", "--state", str(tmp_path), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=REPOSITORY, check=False)
    assert done.returncode == 2
    assert words in done.stderr
