"""Files that list inputs: separators, comments, bounds, and files that are no lists."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

import pytest

from pqaudit.capture import input_list
from pqaudit.capture.input_list import read_list
from pqaudit.capture.note import InputNote
from tests.capture.remote import command
from tests.conftest import SAMPLES

CLASSICAL = str(SAMPLES / "classical_x25519.pcap")


def _read(tmp_path: Path, octets: bytes, *, null: bool = False) -> tuple[list[str], list[InputNote]]:
    (tmp_path / "list").write_bytes(octets)
    notes: list[InputNote] = []
    return read_list(str(tmp_path / "list"), notes.append, null=null), notes


@pytest.mark.parametrize(
    ("octets", "entries"),
    [
        (b"a\nb c\n\n  \n# no\n #yes\nlast", ["a", "b c", " #yes", "last"]),
        (b"\xef\xbb\xbfa\r\ns3://b/*.pcap\r\n", ["a", "s3://b/*.pcap"]),
        (b"a\0b\nc\0#d\0 \0\0", ["a", "b\nc", "#d", " "]),
        (b"-\n../up\n\xff\n", ["./-", "../up", os.fsdecode(b"\xff")]),
        (b"tab\there\n", ["tab\there"]),
        (b"", []),
        (b"\n", []),
    ],
)
def test_entries(tmp_path: Path, octets: bytes, entries: list[str]) -> None:
    assert _read(tmp_path, octets) == (entries, [])


def test_nul_by_option(tmp_path: Path) -> None:
    assert _read(tmp_path, b"a\nb", null=True) == (["a\nb"], [])


def test_long_entries_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    most = input_list.MOST_ENTRY_OCTETS
    octets = b"a\n" + b"x" * (most + 1) + b"\n" + b"y" * most + b"\n" + b"z" * 500_000 + b"\nb\n" + b"w" * 100_000
    entries, notes = _read(tmp_path, octets)
    assert entries == ["a", "y" * most, "b"]
    assert [(note.kind, note.fatal) for note in notes] == [("list-entry-too-long", True)]
    assert ": 3." in notes[0].message


def test_bounds_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_list, "MOST_ENTRIES", 3)
    entries, notes = _read(tmp_path, b"a\n" * 5)
    assert (entries, [note.kind for note in notes]) == (["a"] * 3, ["list-too-long"])
    assert _read(tmp_path, b"a\n" * 3)[1] == []
    monkeypatch.setattr(input_list, "MOST_ENTRIES", 10**6)
    monkeypatch.setattr(input_list, "MOST_OCTETS", 1 << 17)
    entries, notes = _read(tmp_path, b"a\n" * (1 << 17))
    assert (len(entries), [note.kind for note in notes]) == (1 << 16, ["list-too-long"])


def test_an_endless_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_list, "MOST_OCTETS", 1 << 22)
    os.mkfifo(tmp_path / "list")

    def write() -> None:
        with (tmp_path / "list").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 65536)
            except BrokenPipeError:
                pass

    writer = threading.Thread(target=write)
    writer.start()
    notes: list[InputNote] = []
    assert read_list(str(tmp_path / "list"), notes.append) == []
    writer.join(20)
    assert [note.kind for note in notes] == ["list-too-long"]


def test_what_is_no_list(tmp_path: Path) -> None:
    notes: list[InputNote] = []
    assert read_list(CLASSICAL, notes.append) == []
    assert read_list(str(tmp_path / "nothing"), notes.append) == []
    assert read_list(str(tmp_path), notes.append) == []
    assert [note.kind for note in notes] == ["not-a-list", "missing", "unreadable"]
    entries, notes = _read(tmp_path, b"good\n\x01\x02\x1b[2J\n\x7f\n")
    assert entries == ["good"]
    assert [(note.kind, ": 2." in note.message) for note in notes] == [("list-entry-strange", True)]


def test_junk_does_not_flood(tmp_path: Path) -> None:
    # Always the same junk, without what leads anywhere: a line that is "/" by chance would have the machine read whole.
    junk = random.Random(1).randbytes(400_000).translate(None, b"/.*?[~")
    (tmp_path / "junk").write_bytes(b"\n" + junk + b"\n" + CLASSICAL.encode() + b"\n")
    done = command(
        "audit",
        "--format",
        "jsonl",
        "--files-from",
        str(tmp_path / "junk"),
        "--files-from",
        "-",
        stdin=f"# here\n{CLASSICAL}\n".encode(),
    )
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) < 2100  # a thousand of each kind: what is missing, and names that are too long
    assert b"Traceback" not in done.stderr
    assert b"\x1b" not in done.stderr


def test_lists_of_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(CLASSICAL.encode() + b"\0")
    done = command("audit", "--format", "jsonl", "-0", "--files-from", str(tmp_path / "list"), CLASSICAL)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    for arguments in ([], ["--files-from", "-", "-"], ["--files-from", "-", "--files-from", "-"], ["-0", "x"]):
        assert command("audit", *arguments).returncode == 2
    assert command("explain", "--files-from", str(tmp_path / "list")).returncode == 0
