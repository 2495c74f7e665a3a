"""Hostile and faulty inputs: what they may cost, and what is said about them."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import lz4.frame  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.capture.discover import find_captures
from pqaudit.capture.frame import Frame
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.capture.window import Window
from tests.capture import build as c

MEGABYTE = 1 << 20


class Pieces(io.RawIOBase):
    """A pipe that gives the pieces of an iterator, and raises what it finds among them."""

    def __init__(self, pieces: Iterator[bytes | OSError]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        if not self._rest:
            piece = next(self._pieces, b"")
            if isinstance(piece, OSError):
                raise piece
            self._rest = piece
        given = self._rest[: len(target)]
        self._rest = self._rest[len(given) :]
        target[: len(given)] = given
        return len(given)


def read(*pieces: bytes | OSError) -> tuple[list[Frame], list[InputNote]]:
    return read_pieces(iter(pieces))


def read_pieces(pieces: Iterator[bytes | OSError]) -> tuple[list[Frame], list[InputNote]]:
    notes: list[InputNote] = []
    return list(read_capture("-", note=notes.append, stream=Pieces(pieces))), notes  # type: ignore[arg-type]


def kinds(notes: list[InputNote]) -> list[tuple[str, bool]]:
    return [(n.kind, n.fatal) for n in notes]


def peak(work: Callable[[], object]) -> int:
    """Most octets that Python held at once during ``work``."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [256 * 1024, 3 * MEGABYTE])
def test_records_longer_than_the_buffer(length: int) -> None:
    data = os.urandom(length)
    for octets in (
        c.pcap([(1, 0, data, length), (2, 0, b"next", 4)], snaplen=4 * MEGABYTE),
        c.section() + c.interface() + c.enhanced(0, 1, data) + c.enhanced(0, 2, b"next"),
    ):
        frames, notes = read(octets)
        assert [f.data for f in frames] == [data, b"next"]
        assert notes == []


@pytest.mark.parametrize(
    ("snaplen", "length", "sound"),
    [
        (0, 256 * 1024, True),
        (0, 256 * 1024 + 1, False),
        (96, 256 * 1024, True),
        (MEGABYTE, MEGABYTE, True),
        (MEGABYTE, MEGABYTE + 1, False),
        (0xFFFFFFFF, 64 * MEGABYTE + 1, False),
    ],
)
def test_how_long_a_record_may_be(snaplen: int, length: int, sound: bool) -> None:
    frames, notes = read(c.pcap([(1, 0, b"first", 5), (1, 0, bytes(length), length)], snaplen=snaplen))
    assert len(frames) == (2 if sound else 1)
    assert kinds(notes) == ([] if sound else [("damaged-record", True)])


def test_a_length_that_is_only_claimed_takes_no_memory() -> None:
    head = c.pcap([], snaplen=0xFFFFFFFF) + struct.pack("<IIII", 1, 0, 60 * MEGABYTE, 60 * MEGABYTE)
    block = c.section() + c.interface() + struct.pack("<II", 6, 60 * MEGABYTE)
    for octets in (head, block):
        assert peak(lambda octets=octets: read(octets + bytes(100))) < 4 * MEGABYTE  # type: ignore[misc]


class Counted(bytearray):
    """A buffer that counts the octets moved within it."""

    moved = 0

    def __setitem__(self, key: slice, value: bytes) -> None:  # type: ignore[override]
        Counted.moved += len(value)
        super().__setitem__(key, value)


def test_short_reads_move_octets_no_more_than_a_few_times() -> None:
    Counted.moved = 0
    total = 0

    class Source:
        def readinto(self, target: memoryview) -> int:
            nonlocal total
            count = min(len(target), 100)
            total += count
            return count

    window = Window(Source(), capacity=70_000)
    window.buffer = Counted(window.buffer)
    for _ in range(300):
        assert window.fill(60_000)
        window.start += 60_000
    assert total >= 300 * 60_000
    assert Counted.moved <= 2 * total


def test_a_long_block_of_unknown_kind_is_passed_over_without_being_held() -> None:
    total = 12 + 200 * MEGABYTE

    def pieces() -> Iterator[bytes | OSError]:
        yield c.section() + c.interface() + c.enhanced(0, 1, b"before") + struct.pack("<II", 0x7777, total)
        for _ in range(200):
            yield bytes(MEGABYTE)
        yield struct.pack("<I", total) + c.enhanced(0, 2, b"behind")

    found: list[bytes] = []

    def work() -> None:
        frames, notes = read_pieces(pieces())
        found.extend(f.data for f in frames)
        assert notes == []

    assert peak(work) < 6 * MEGABYTE
    assert found == [b"before", b"behind"]


def test_a_length_that_swallows_the_rest_of_the_file_is_damage_and_not_a_file_being_written() -> None:
    start = c.section() + c.interface() + c.enhanced(0, 1, b"one")
    assert kinds(read(start + struct.pack("<II", 0x7777, 0xFFFFFFF0) + bytes(5000))[1]) == [("damaged-block", True)]
    assert kinds(read(start + struct.pack("<II", 0x7777, 6000) + bytes(5000))[1]) == [("cut-off-record", False)]


@pytest.mark.parametrize(
    "block",
    [
        struct.pack("<III", 6, 28, 0) + bytes(12) + struct.pack("<I", 28),
        struct.pack("<III", 0x7777, 8, 8),
        struct.pack("<III", 1, 16, 0) + struct.pack("<I", 16),
        struct.pack("<III", 3, 12, 12),
        c.block(0x0A0D0D0A, struct.pack("<IHHq", 0x12345678, 1, 0, -1)),
        struct.pack("<IIIHHI", 0x0A0D0D0A, 20, 0x1A2B3C4D, 1, 0, 20),
        c.block(0x7777, b"")[:-4] + struct.pack("<I", 16),
    ],
)
def test_blocks_that_cannot_be(block: bytes) -> None:
    frames, notes = read(c.section() + c.interface() + c.enhanced(0, 1, b"one") + block + bytes(100))
    assert [f.data for f in frames] == [b"one"]
    assert kinds(notes) == [("damaged-block", True)]
    assert notes[0].frame == 1


def test_versions_not_known() -> None:
    assert kinds(read(struct.pack("<IHHIIII", 0xA1B2C3D4, 3, 0, 0, 0, 0, 1))[1]) == [("unsupported-version", True)]
    later = c.block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1))
    assert kinds(read(later)[1]) == [("unsupported-version", True)]


def test_packets_that_claim_more_than_their_block_are_counted() -> None:
    claims = c.block(6, struct.pack("<IIIII", 0, 0, 1, 100, 100) + bytes(40))
    frames, notes = read(c.section() + c.interface() + claims * 3 + c.enhanced(0, 1, b"kept"))
    assert [(f.number, f.data) for f in frames] == [(4, b"kept")]
    assert kinds(notes) == [("damaged-packet", True)]
    assert "3" in notes[0].message


def test_interfaces_are_bounded() -> None:
    octets = c.section() + c.interface() * 65_540 + c.enhanced(65_535, 1, b"kept") + c.enhanced(65_536, 1, b"lost")
    frames, notes = read(octets)
    assert [f.data for f in frames] == [b"kept"]
    assert sorted(kinds(notes)) == [("too-many-interfaces", True), ("undefined-interface", True)]


def test_a_clock_behind_many_comments_is_found() -> None:
    options = c.option(1, b"comment") * 65_536 + c.option(9, b"\x09") + c.option(9, b"\x00") + c.option(0, b"")
    frames, notes = read(c.section() + c.interface(options=options) + c.enhanced(0, 12_345, b"x"))
    assert [(f.time, f.digits) for f in frames] == [(12_345, 9)]
    assert notes == []


def test_options_that_do_not_fit() -> None:
    frames, notes = read(c.section() + c.interface(options=struct.pack("<HH", 9, 999)) + c.enhanced(0, 1_000_000, b"x"))
    assert [f.time for f in frames] == [10**9]
    assert kinds(notes) == [("damaged-options", False)]


@pytest.mark.parametrize(
    ("options", "ticks", "time"),
    [
        (c.option(14, struct.pack("<q", -(2**63))), 0, 0),
        (c.option(9, b"\x00"), 2**64 - 1, 253_402_300_800 * 10**9 - 1),
    ],
)
def test_times_that_cannot_be(options: bytes, ticks: int, time: int) -> None:
    frames, notes = read(c.section() + c.interface(options=options) + c.enhanced(0, ticks, b"x"))
    assert [f.time for f in frames] == [time]
    assert kinds(notes) == [("impossible-time", False)]


def test_extreme_resolutions() -> None:
    for resolution in (0x7F, 0xFF):
        frames, _ = read(c.section() + c.interface(options=c.option(9, bytes([resolution]))) + c.enhanced(0, 1, b"x"))
        assert [(f.time, f.digits) for f in frames] == [(0, 9)]


def test_a_simple_packet_has_the_time_of_the_packet_before_it_even_if_that_was_rejected() -> None:
    octets = c.section() + c.interface() + c.simple(b"early") + c.enhanced(0, 5, b"no") + c.simple(b"later")
    frames = read_capture(
        "-",
        wanted=lambda link: lambda buffer, start, length: bytes(buffer[start : start + length]) != b"no",
        note=lambda _: None,
        stream=io.BytesIO(octets),
    )
    assert [(f.number, f.data, f.time) for f in frames] == [(1, b"early", 0), (3, b"later", 5000)]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), BlockingIOError()])
def test_an_error_while_reading_keeps_what_was_read(error: OSError) -> None:
    frames, notes = read(c.pcap([(1, 0, b"one", 3)]), error)
    assert [f.data for f in frames] == [b"one"]
    assert kinds(notes) == [("read-error", True)]
    assert notes[0].frame == 1


def test_an_interrupt_passes_through() -> None:
    def pieces() -> Iterator[bytes | OSError]:
        yield c.pcap([(1, 0, b"one", 3)])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_pieces(pieces())


def test_what_the_caller_raises_is_not_taken_for_a_fault_of_the_input() -> None:
    def progress(taken: int) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        list(read_capture("-", note=lambda _: None, progress=progress, stream=io.BytesIO(c.pcap([]))))


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "lz4": lambda octets: lz4.frame.compress(octets, content_checksum=True),
}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_bomb_is_read_in_bounded_memory(name: str) -> None:
    # 128 MiB of a block that is passed over, which compress to a few kilobytes.
    total = 12 + 128 * MEGABYTE
    bomb = COMPRESSORS[name](
        c.section() + c.interface() + struct.pack("<II", 0x7777, total) + bytes(total - 12) + struct.pack("<I", total)
    )
    notes: list[InputNote] = []

    def work() -> None:
        assert list(read_capture("-", note=notes.append, stream=io.BytesIO(bomb))) == []

    assert peak(work) < 48 * MEGABYTE
    assert notes == []


CAPTURE = c.pcap([(n, 0, bytes([n]) * n, n) for n in range(1, 100)])
RANDOM = c.pcap([(n, 0, Random(n).randbytes(300), 300) for n in range(100)])


@pytest.mark.parametrize("name", COMPRESSORS)
@given(st.data())
@settings(max_examples=60)
def test_a_cut_or_slow_compressed_capture_gives_the_first_of_its_frames(name: str, data: st.DataObject) -> None:
    # Two members, each in pieces of any size.
    octets = COMPRESSORS[name](CAPTURE[:1000]) + COMPRESSORS[name](CAPTURE[1000:])
    cut = data.draw(st.integers(1, len(octets)))
    size = data.draw(st.integers(1, 200))
    frames, notes = read(*(octets[at : min(at + size, cut)] for at in range(0, cut, size)))
    assert [f.data for f in frames] == [bytes([n]) * n for n in range(1, len(frames) + 1)]
    assert not any(n.fatal for n in notes)
    assert cut < len(octets) or len(frames) == 99


@pytest.mark.parametrize("name", COMPRESSORS)
def test_damage_and_rubbish_behind_a_member(name: str) -> None:
    octets = COMPRESSORS[name](CAPTURE)
    damaged = octets[:-30] + bytes([octets[-30] ^ 0xFF]) + octets[-29:]
    assert ("damaged-compression", True) in kinds(read(damaged)[1])
    frames, notes = read(octets + bytes(512))
    assert (len(frames), notes) == (99, [])
    frames, notes = read(octets + b"rubbish behind the end")
    assert len(frames) == 99
    assert kinds(notes) == [("damaged-compression", True)]


@pytest.mark.parametrize("name", COMPRESSORS)
@given(st.data())
@settings(max_examples=60)
def test_damage_gives_the_same_frames_however_short_the_reads_are(name: str, data: st.DataObject) -> None:
    octets = bytearray(COMPRESSORS[name](RANDOM))
    octets[data.draw(st.integers(20, len(octets) - 1))] ^= data.draw(st.integers(1, 255))
    size = data.draw(st.integers(1, 20_000))
    frames, notes = read(*(bytes(octets[at : at + size]) for at in range(0, len(octets), size)))
    assert (frames, notes) == read(bytes(octets))


def test_an_error_while_reading_compressed_octets_keeps_what_was_read() -> None:
    frames, notes = read(gzip.compress(CAPTURE)[:-20], OSError(errno.EIO, "Input/output error"))
    assert len(frames) > 50
    assert kinds(notes) == [("read-error", True)]
    frames, notes = read(gzip.compress(CAPTURE), OSError(errno.EIO, "Input/output error"))
    assert len(frames) == 99
    assert kinds(notes) == [("read-error", True)]


def test_a_skippable_frame_before_and_between_those_of_zstd() -> None:
    skippable = b"\x5a\x2a\x4d\x18" + struct.pack("<I", 4) + b"abcd"
    half = zstandard.compress(CAPTURE[:1000]), zstandard.compress(CAPTURE[1000:])
    frames, notes = read(skippable + half[0] + skippable + half[1] + skippable)
    assert (len(frames), notes) == (99, [])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    octets = zstandard.compress(CAPTURE)
    frames, notes = read(octets)
    assert frames == []
    assert kinds(notes) == [("missing-library", True)]
    assert "pip install zstandard" in notes[0].message
    (tmp_path / "a").write_bytes(octets)
    assert find_captures([str(tmp_path)], notes.append) == [str(tmp_path / "a")]


@pytest.mark.parametrize(
    "octets", [b"\n\r\r\nand then text that goes on", b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4e"]
)
def test_line_ends_are_no_section(octets: bytes) -> None:
    assert kinds(read(octets)[1]) == [("not-a-capture", True)]


def test_what_a_path_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CAPTURE)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "nowhere").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes(b"text")
    notes: list[InputNote] = []
    # Opening the pipe inside the directory would wait forever.
    assert find_captures([str(tmp_path)], notes.append) == [str(tmp_path / "file")]
    assert [(n.kind, n.fatal) for n in notes] == [("skipped-files", False)]
    notes.clear()
    named = [str(tmp_path / name) for name in ("link", "file", "pipe", "text")]
    assert find_captures(named, notes.append) == [named[0], named[2], named[3]]
    assert notes == []
    strange = [str(tmp_path / "nowhere"), str(tmp_path / "file" / "below"), "a\0b"]
    assert find_captures(strange, notes.append) == []
    assert [(n.source, n.kind, n.fatal) for n in notes] == [
        (strange[0], "missing", True),
        (strange[1], "unreadable", True),
        (strange[2], "unreadable", True),
    ]


def test_a_file_that_vanished_after_it_was_found(tmp_path: Path) -> None:
    notes: list[InputNote] = []
    assert list(read_capture(str(tmp_path / "gone"), note=notes.append)) == []
    assert kinds(notes) == [("missing", True)]
    assert list(read_capture(str(tmp_path), note=notes.append)) == []
    assert notes[1].fatal
