"""What the readers say of made and merged captures, against what Wireshark's own tools say of them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from tests.capture import build as c
from tests.conftest import SAMPLES

TICK = 1_700_000_000_123_456
JOURNAL = b"__CURSOR=a\n__REALTIME_TIMESTAMP=1700000000000000\nMESSAGE=hello\n"
EVENT = struct.pack("<HQQIHI", 0, 1_700_000_000 * 10**9, 5, 22, 1, 0)


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not here")
        pytest.skip(f"{name} is not here")
    return path


def as_tshark(path: Path) -> dict[int, tuple[Decimal | None, int, int]]:
    """Frame number to time, original length and captured length."""
    fields = ["-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len"]
    command = [tool("tshark"), "-n", "-r", str(path), "-T", "fields", *fields]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split("\t") for line in out.splitlines()]
    return {int(n): (Decimal(time) if time.strip() else None, int(length), int(cap)) for n, time, length, cap in rows}


def as_read(path: Path) -> dict[int, tuple[Decimal | None, int, int]]:
    notes: list[InputNote] = []
    frames = list(read_capture(str(path), note=notes.append))
    assert notes == []
    return {f.number: (Decimal(f.time).scaleb(-9), f.original_length, len(f.data)) for f in frames}


RESOLUTIONS = {
    "seconds": (0, 1_700_000_000),
    "milliseconds": (3, TICK // 1000),
    "microseconds": (6, TICK),
    "hundred nanoseconds": (7, TICK * 10 + 7),
    "nanoseconds": (9, TICK * 1000 + 789),
    # Wireshark 4.0 multiplies the fraction by 10^9 in 64 bits, so a larger one would overflow there.
    "picoseconds": (12, 1_000_000 * 10**12 + 12_345_678_987),
    "2^-10": (0x8A, 1_700_000_000 << 10 | 513),
    "2^-20": (0x94, 1_700_000_000 << 20 | 1),
    "2^-30": (0x9E, 1_700_000_000 << 30 | 3),
    "2^-32": (0xA0, 1_700_000_000 << 32 | 0xFFFFFFFF),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", RESOLUTIONS)
@pytest.mark.parametrize("seconds", [0, 3600, -3600])
def test_time_of_every_resolution(order: str, name: str, seconds: int, tmp_path: Path) -> None:
    resolution, ticks = RESOLUTIONS[name]
    options = c.option(1, b"a comment first", order) + c.option(9, bytes([resolution]), order)
    if seconds:
        options += c.option(14, struct.pack(f"{order}q", seconds), order)
    options += c.option(0, b"", order)
    path = tmp_path / "a.pcapng"
    octets = c.section(order) + c.interface(1, 0, options, order) + c.enhanced(0, ticks, bytes(60), 90, order)
    path.write_bytes(octets)
    assert as_read(path) == as_tshark(path)


def test_blocks_are_numbered_as_wireshark_numbers_them(tmp_path: Path) -> None:
    packet = c.enhanced(0, TICK, bytes(60))
    others = [
        c.block(9, JOURNAL),
        c.block(0x0BAD, struct.pack("<I", 32473) + b"abcd"),
        c.block(0x40000BAD, struct.pack("<I", 32473) + b"abcd"),
        c.block(0x204, EVENT + bytes(24)),
        c.block(0x208, EVENT + bytes(24)),
        c.block(0x216, EVENT + bytes(24)),
        c.block(0x217, EVENT + bytes(24)),
        c.block(0x221, EVENT + bytes(24)),
        c.block(0x222, EVENT + bytes(24)),
        c.block(4, bytes(4)),
        c.block(5, bytes(12)),
        c.block(10, struct.pack("<II", 0x544C534B, 4) + b"abcd"),
        c.block(0x101, bytes(32)),
        c.block(0x7777, bytes(32)),
        c.simple(bytes(60)),
        c.obsolete(0, TICK, bytes(60)),
    ]
    for number, other in enumerate(others):
        path = tmp_path / f"{number}.pcapng"
        path.write_bytes(c.section() + c.interface() + packet + other + packet)
        assert max(as_read(path)) == max(as_tshark(path)), other.hex()


def test_a_total_length_without_the_padding(tmp_path: Path) -> None:
    data = bytes(61)
    body = struct.pack("<IIIII", 0, TICK >> 32, TICK & 0xFFFFFFFF, len(data), len(data)) + data
    total = 12 + len(body)
    unpadded = struct.pack("<II", 6, total) + body + bytes(-len(body) % 4) + struct.pack("<I", total)
    path = tmp_path / "a.pcapng"
    path.write_bytes(c.section() + c.interface() + unpadded + c.enhanced(0, TICK + 1, bytes(60)))
    assert as_read(path) == as_tshark(path)
    assert len(as_read(path)) == 2


def test_simple_packets_are_cut_by_the_snapshot_length(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    cut = c.block(3, struct.pack("<I", 1500) + bytes(96))
    path.write_bytes(c.section() + c.interface(1, 96) + cut + c.simple(bytes(60)))
    assert [row[1:] for row in as_read(path).values()] == [row[1:] for row in as_tshark(path).values()]


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "nsecpcap", "modpcap"])
def test_converted_and_merged_files(kind: str, tmp_path: Path) -> None:
    one, two = SAMPLES / "nanosecond_timestamps.pcap", SAMPLES / "span_vlan100_hybrid.pcap"
    path = tmp_path / "converted"
    subprocess.run([tool("editcap"), "-F", kind, "-s", "200", one, path], check=True, capture_output=True)
    assert as_read(path) == as_tshark(path)
    merged = tmp_path / "merged"
    subprocess.run([tool("mergecap"), "-F", kind, "-w", merged, one, two], check=True, capture_output=True)
    assert as_read(merged) == as_tshark(merged)
    assert len(as_read(merged)) == len(as_read(one)) + len(as_read(two))


def test_merged_link_types(tmp_path: Path) -> None:
    paths = []
    for link in (1, 101, 113, 276):
        path = tmp_path / f"{link}.pcap"
        path.write_bytes(c.pcap([(1_700_000_000 + n, link, bytes(80), 80) for n in range(5)], link=link))
        paths.append(path)
    merged = tmp_path / "merged.pcapng"
    subprocess.run([tool("mergecap"), "-F", "pcapng", "-w", merged, *paths], check=True, capture_output=True)
    assert as_read(merged) == as_tshark(merged)
    frames = list(read_capture(str(merged), note=lambda _: None))
    # The fraction of each time says which file it came from.
    assert all(f.link_type == f.time // 1000 % 1_000_000 for f in frames)
    assert len(frames) == 20
