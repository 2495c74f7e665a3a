"""Encrypted traffic by pair of peers, against what tshark sees of the same capture."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import corpus
from pqaudit.capture.frame import Frame
from pqaudit.capture.reader import read_capture
from pqaudit.decode.esp import EspPacket, esp_in
from pqaudit.exposure.table import PAIRS_FORGOTTEN, PAIRS_NOT_COUNTED, ExposureTable
from tests.capture.network import require
from tests.conftest import REPOSITORY, SAMPLES

A, B = ipaddress.ip_address("192.0.2.1").packed, ipaddress.ip_address("192.0.2.2").packed


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """IKE, ESP in UDP and other traffic, two megabytes."""
    return corpus.write_pcap(tmp_path_factory.mktemp("mixed") / "mixed.pcap", corpus.mixed_frames(2_000_000))


def by_tshark(path: Path) -> dict[tuple[str, ...], tuple[int, int]]:
    """Packets, and octets of the IP payload, by pair of addresses."""
    fields = [part for name in ("ip.src", "ip.dst", "ip.len", "ip.hdr_len") for part in ("-e", name)]
    command = [require("tshark"), "-n", "-r", str(path), "-Y", "esp", "-T", "fields", *fields]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[tuple[str, ...], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for line in printed.splitlines():
        source, destination, length, header = line.split("\t")
        packets, octets = found[tuple(sorted((source, destination)))]
        found[tuple(sorted((source, destination)))] = (packets + 1, octets + int(length) - int(header))
    return dict(found)


def test_as_many_as_tshark_counts(mixed: Path) -> None:
    table = ExposureTable()
    for frame in read_capture(str(mixed), wanted=None, note=lambda note: None):
        packet = esp_in(frame)
        if packet is not None:
            table.add(packet, frame.time)
    found = {pair: (each["esp_packets"], each["esp_octets"]) for pair, each in table.documents().items()}
    assert found == by_tshark(mixed)
    assert found


def test_tunnels_are_ranked_by_it(mixed: Path) -> None:
    command = [sys.executable, "-m", "pqaudit", "audit", str(mixed), "--group-by", "tunnel", "--exposure"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    tunnels = json.loads(done.stdout)
    expected = by_tshark(mixed)
    found = {tuple(each["tunnel"]): each["exposure"]["esp_octets"] for each in tunnels if each["exposure"]}
    assert found == {pair: octets for pair, (_, octets) in expected.items()}
    for verdict in {each["verdict"] for each in tunnels}:
        octets = [
            (each["exposure"] or {"esp_octets": 0})["esp_octets"] for each in tunnels if each["verdict"] == verdict
        ]
        assert octets == sorted(octets, reverse=True)
    table = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True).stdout
    assert "ESP octets" in table


def test_it_changes_no_answer(mixed: Path) -> None:
    command = [sys.executable, "-m", "pqaudit", "audit", str(SAMPLES), "--group-by", "tunnel", "--format", "json"]
    plain = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True).stdout
    exposed = subprocess.run(
        [*command, "--exposure"], capture_output=True, text=True, cwd=REPOSITORY, check=True
    ).stdout
    # A pair that sends ESP and showed no IKE is there for its traffic alone.
    seen = [each for each in json.loads(exposed) if each["sas"]]
    without = [{name: value for name, value in each.items() if name != "exposure"} for each in seen]
    assert sorted(map(str, without)) == sorted(map(str, json.loads(plain)))


def test_it_needs_tunnels() -> None:
    command = [sys.executable, "-m", "pqaudit", "audit", str(SAMPLES), "--exposure"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert done.returncode == 2
    assert "--group-by tunnel" in done.stderr


@given(st.binary(max_size=200), st.sampled_from([1, 101, 113, 276, 0, 9]))
def test_no_octets_make_it_fail(data: bytes, link_type: int) -> None:
    packet = esp_in(Frame(0, 6, link_type, data, len(data), "x", 1))
    assert packet is None or packet.octets >= 0


def test_pairs_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqaudit.exposure.table.MOST_PAIRS", 2)
    table = ExposureTable()
    for last in range(5):
        table.add(EspPacket(A, bytes([10, 0, 0, last]), 100), 1)
    table.add(EspPacket(bytes([10, 0, 0, 0]), A, 50), 2)
    assert len(table.pairs) == 2
    assert table.counters[PAIRS_NOT_COUNTED] == 3
    assert table.documents()[("10.0.0.0", "192.0.2.1")]["esp_octets"] == 150


def test_a_sample_stands_for_more() -> None:
    counted, table = ExposureTable(), ExposureTable()
    counted.add(EspPacket(A, B, 100), 5)
    counted.add(EspPacket(B, A, 50), 7)
    table.merge(counted, times=64)
    assert table.documents(64) == {
        ("192.0.2.1", "192.0.2.2"): {
            "esp_packets": 128,
            "esp_octets": 9600,
            "first": "1970-01-01T00:00:00.000000Z",
            "last": "1970-01-01T00:00:00.000000Z",
            "sampled": 64,
        }
    }


def test_the_pairs_with_the_least_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pqaudit.exposure.table.MOST_PAIRS", 20)
    table = ExposureTable()
    for last in range(20):
        table.add(EspPacket(A, bytes([10, 0, 0, last]), 1000 - last), 1)
    table.make_room(0)
    assert len(table.pairs) == 20
    table.make_room(1)
    assert {pair[0][3] for pair in table.pairs} == set(range(18))
    table.make_room(7)
    assert {pair[0][3] for pair in table.pairs} == set(range(13))
    assert table.counters[PAIRS_FORGOTTEN] == 7
    table.make_room(1000)
    assert not table.pairs
