"""Readers of captures against files made by hand, scapy's writers, and tshark."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.capture.discover import find_captures
from pqaudit.capture.frame import Frame
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from tests.capture import build as c
from tests.conftest import SAMPLES, shared_folder

FRAMES = [b"first frame", b"second", bytes(range(200)), b""]


def read(octets: bytes) -> tuple[list[Frame], list[InputNote]]:
    """Through a pipe that is read as standard input."""
    notes: list[InputNote] = []
    return list(read_capture("-", note=notes.append, stream=io.BytesIO(octets))), notes


def records(*frames: bytes) -> list[c.Record]:
    return [(1_700_000_000 + n, 123_456 + n, data, len(data) + 5) for n, data in enumerate(frames)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "scale", "digits"), [(0xA1B2C3D4, 1000, 6), (0xA1B23C4D, 1, 9), (0xA1B2CD34, 1000, 6)]
)
def test_pcap(order: str, magic: int, scale: int, digits: int) -> None:
    frames, notes = read(c.pcap(records(*FRAMES), order=order, magic=magic, link=113))
    assert notes == []
    assert [f.data for f in frames] == FRAMES
    assert [f.number for f in frames] == [1, 2, 3, 4]
    assert [f.time for f in frames] == [(1_700_000_000 + n) * 10**9 + (123_456 + n) * scale for n in range(4)]
    assert {(f.digits, f.link_type, f.source) for f in frames} == {(digits, 113, "-")}
    assert [f.original_length for f in frames] == [len(data) + 5 for data in FRAMES]


def test_pcap_with_a_frame_check_sequence_flag_in_the_link_type() -> None:
    frames, notes = read(c.pcap(records(b"x"), link=0x14000001))
    assert [f.link_type for f in frames] == [1]
    assert notes == []


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_interfaces_sections_and_blocks(order: str) -> None:
    tick = 1_700_000_000_000_000
    octets = c.section(order) + c.interface(1, 96, order=order)
    octets += c.enhanced(0, tick, b"one", 1500, order)
    octets += c.block(0x0B0B, b"not known", order)
    octets += c.interface(113, 0, c.option(9, b"\x09", order) + c.option(0, b"", order), order)
    octets += c.enhanced(1, tick * 1000 + 7, b"two", order=order)
    octets += c.simple(b"three", order)
    octets += c.obsolete(0, tick + 1, b"four", order)
    octets += c.section(">" if order == "<" else "<")
    other = ">" if order == "<" else "<"
    # 2^-10 seconds a tick, and an offset of 100 seconds (options 9 and 14).
    clock = c.option(9, b"\x8a", other) + c.option(14, (100).to_bytes(8, "big" if other == ">" else "little"), other)
    octets += c.interface(101, 0, clock, other) + c.enhanced(0, 1024 * 5 + 512, b"five", order=other)
    frames, notes = read(octets)
    assert notes == []
    assert [(f.number, f.data, f.link_type) for f in frames] == [
        (1, b"one", 1),
        (2, b"two", 113),
        (3, b"three", 1),
        (4, b"four", 1),
        (5, b"five", 101),
    ]
    assert frames[0].original_length == 1500
    assert [f.time for f in frames[:2]] == [1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + 7]
    assert frames[3].time == 1_700_000_000 * 10**9 + 1000
    assert frames[4].time == 105 * 10**9 + 500_000_000
    assert [f.digits for f in frames] == [6, 9, frames[2].digits, 6, 9]


def test_times_and_lengths_as_tshark_reads_them(tmp_path: Path) -> None:
    tshark = _tshark()
    for name in ("nanosecond_timestamps.pcap", "span_vlan100_hybrid.pcap"):
        path = SAMPLES / name
        fields = ["-e", "frame.number", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len"]
        out = subprocess.run(
            [tshark, "-n", "-r", path, "-T", "fields", *fields], capture_output=True, text=True, check=True
        )
        expected = [line.split("\t") for line in out.stdout.splitlines()]
        notes: list[InputNote] = []
        frames = list(read_capture(str(path), note=notes.append))
        assert [
            [str(f.number), f"{f.time // 10**9}.{f.time % 10**9:09d}", str(f.original_length), str(len(f.data))]
            for f in frames
        ] == expected


def _tshark() -> str:
    path = shutil.which("tshark")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("tshark is not here")
        pytest.skip("tshark is not here")
    return path


def test_packets_as_the_manifest_counts_them() -> None:
    folder = shared_folder("strongswan")
    for entry in json.loads((folder / "manifest.json").read_text())["files"]:
        notes: list[InputNote] = []
        frames = list(read_capture(str(folder / entry["file"]), note=notes.append))
        assert (len(frames), notes) == (entry["packets"], [])


def test_files_of_scapys_writers(tmp_path: Path) -> None:
    from scapy.layers.l2 import Ether
    from scapy.utils import wrpcap, wrpcapng

    packets = [Ether(bytes(14) + bytes([n]) * n) for n in range(1, 60)]
    for write, name in ((wrpcap, "a.pcap"), (wrpcapng, "a.pcapng")):
        write(str(tmp_path / name), packets)
        notes: list[InputNote] = []
        frames = list(read_capture(str(tmp_path / name), note=notes.append))
        assert [f.data for f in frames] == [bytes(p) for p in packets]
        assert notes == []


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip-members": lambda octets: gzip.compress(octets[:50]) + gzip.compress(octets[50:]),
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "zstd-frames": lambda octets: zstandard.compress(octets[:50]) + zstandard.compress(octets[50:]),
    "lz4": lz4.frame.compress,
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_compressed_by_content_and_not_by_name(name: str, tmp_path: Path) -> None:
    whole = c.pcap(records(*FRAMES * 50))
    path = tmp_path / "no-suffix"
    path.write_bytes(COMPRESSORS[name](whole))
    notes: list[InputNote] = []
    taken: list[int] = []
    digest = sha256()
    frames = list(read_capture(str(path), note=notes.append, progress=taken.append, digest=digest))
    assert notes == []
    assert [f.data for f in frames] == FRAMES * 50
    assert sum(taken) == path.stat().st_size
    assert digest.hexdigest() == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd", "lz4"])
def test_a_cut_off_compressed_file_gives_what_is_there(name: str) -> None:
    whole = c.pcap(records(*[os.urandom(400) for _ in range(2000)]))
    octets = COMPRESSORS[name](whole)
    frames, notes = read(octets[: len(octets) // 2])
    assert 100 < len(frames) < 2000
    assert [(n.kind, n.fatal) for n in notes] == [("cut-off-record", False)]


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"", "empty"),
        (b"this is text, no capture", "not-a-capture"),
        (bz2.compress(b"x"), "not-a-capture"),
        (gzip.compress(b"text inside"), "not-a-capture"),
        (gzip.compress(gzip.compress(c.pcap([]))), "nested-compression"),
    ],
)
def test_what_cannot_be_read_is_named(octets: bytes, kind: str) -> None:
    frames, notes = read(octets)
    assert frames == []
    assert [(n.kind, n.fatal) for n in notes] == [(kind, True)]
    assert notes[0].message


def test_an_impossible_record_stops_the_file_and_loses_nothing_before_it() -> None:
    octets = c.pcap(records(b"one", b"two")) + b"\xff" * 64
    frames, notes = read(octets)
    assert [f.data for f in frames] == [b"one", b"two"]
    assert [(n.kind, n.frame, n.fatal) for n in notes] == [("damaged-record", 2, True)]


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_file_that_is_still_written(cut: int) -> None:
    octets = c.pcap(records(b"one", b"two" * 10))
    frames, notes = read(octets[:-cut])
    assert [f.data for f in frames] == [b"one"]
    assert [(n.kind, n.fatal) for n in notes] == [("cut-off-record", False)]


def test_damaged_pcapng_blocks() -> None:
    start = c.section() + c.interface() + c.enhanced(0, 1, b"one")
    for damage in (
        c.enhanced(0, 1, b"two")[:-4] + b"\x01\x00\x00\x00",
        b"\x06\x00\x00\x00\x04\x00\x00\x00" + bytes(40),
        b"\x06\x00\x00\x00\xf0\xff\xff\xff" + bytes(40),
    ):
        frames, notes = read(start + damage + c.enhanced(0, 2, b"three"))
        assert [f.data for f in frames] == [b"one"]
        assert any(n.fatal or n.kind == "cut-off-record" for n in notes)


def test_a_packet_of_an_undescribed_interface_is_numbered_and_skipped() -> None:
    frames, notes = read(c.section() + c.interface() + c.enhanced(7, 1, b"lost") + c.enhanced(0, 2, b"kept"))
    assert [(f.number, f.data) for f in frames] == [(2, b"kept")]
    assert [n.kind for n in notes] == ["undefined-interface"]


def test_many_options_are_read_once() -> None:
    # 65,536 comments on one packet: seconds where options are copied over and over.
    comments = c.option(1, b"x") * 65_536 + c.option(0, b"")
    frames, notes = read(c.section() + c.interface() + c.enhanced(0, 1, b"one", options=comments))
    assert [f.data for f in frames] == [b"one"]
    assert notes == []


class Dribble(io.RawIOBase):
    """A pipe that gives a few octets at a time."""

    def __init__(self, octets: bytes, sizes: list[int]) -> None:
        self._octets, self._sizes, self._at = octets, sizes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = self._sizes[self._at % len(self._sizes)] if self._sizes else 1
        self._at += 1
        piece = self._octets[: min(size, len(buffer))]
        self._octets = self._octets[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)


PCAPNG = c.section() + c.interface() + b"".join(c.enhanced(0, n, data) for n, data in enumerate(FRAMES))


@given(st.sampled_from([c.pcap(records(*FRAMES)), PCAPNG]), st.lists(st.integers(1, 70), max_size=9))
def test_pieces_of_a_pipe_do_not_matter(octets: bytes, sizes: list[int]) -> None:
    notes: list[InputNote] = []
    frames = list(read_capture("-", note=notes.append, stream=Dribble(octets, sizes)))  # type: ignore[arg-type]
    assert [f.data for f in frames] == FRAMES
    assert notes == []


@given(st.sampled_from([c.pcap(records(*FRAMES)), PCAPNG]), st.data())
def test_a_cut_capture_gives_the_first_of_its_frames(octets: bytes, data: st.DataObject) -> None:
    frames, _ = read(octets[: data.draw(st.integers(0, len(octets)))])
    assert [f.data for f in frames] == FRAMES[: len(frames)]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([b"", c.pcap([])[:24], c.section(), PCAPNG, c.pcap(records(*FRAMES))]), st.binary(max_size=300))
def test_any_octets(start: bytes, rest: bytes) -> None:
    read(start + rest)


@given(st.sampled_from([PCAPNG, c.pcap(records(*FRAMES)), gzip.compress(PCAPNG)]), st.data())
def test_any_octet_changed(octets: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(octets) - 1))
    read(octets[:at] + bytes([data.draw(st.integers(0, 255))]) + octets[at + 1 :])


def test_frames_of_a_live_pipe_come_at_once() -> None:
    reading, writing = os.pipe()
    seen = threading.Event()
    got: list[bytes] = []

    def reader() -> None:
        with os.fdopen(reading, "rb") as stream:
            for frame in read_capture("-", note=lambda _: None, stream=stream):
                got.append(frame.data)
                seen.set()

    thread = threading.Thread(target=reader)
    thread.start()
    os.write(writing, c.pcap(records(b"now")))
    assert seen.wait(10)
    assert got == [b"now"]
    os.close(writing)
    thread.join(10)


def test_rejected_frames_are_numbered_all_the_same() -> None:
    for octets in (
        c.pcap(records(b"aa", b"bb", b"cc")),
        c.section() + c.interface() + b"".join(c.enhanced(0, 1, d) for d in (b"aa", b"bb", b"cc")),
    ):
        notes: list[InputNote] = []
        frames = read_capture(
            "-",
            wanted=lambda link: lambda buffer, start, length: bytes(buffer[start : start + length]) != b"bb",
            note=notes.append,
            stream=io.BytesIO(octets),
        )
        assert [(f.number, f.data) for f in frames] == [(1, b"aa"), (3, b"cc")]


def test_finding_captures(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name, octets in (
        ("b", c.pcap([])),
        ("a.bin", gzip.compress(c.pcap([]))),
        ("deep/er/c.pcapng", c.section()),
        ("notes.txt", b"text"),
        ("deep/text.gz", gzip.compress(b"text")),
    ):
        (tmp_path / name).write_bytes(octets)
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    notes: list[InputNote] = []
    found = find_captures([str(tmp_path), str(tmp_path / "b"), "-", "-"], notes.append)
    assert [os.path.relpath(p, tmp_path) if p != "-" else p for p in found] == ["a.bin", "b", "deep/er/c.pcapng", "-"]
    assert [n.fatal for n in notes] == [False]


def test_nothing_found_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    notes: list[InputNote] = []
    assert find_captures([str(tmp_path / "empty"), str(tmp_path / "missing")], notes.append) == []
    assert [n.fatal for n in notes] == [True, True]
