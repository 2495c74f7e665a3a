"""Local inputs by pattern and by file:// URL."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pqaudit.capture import discover
from pqaudit.capture.discover import find_captures
from pqaudit.capture.note import InputNote
from tests.capture.remote import command, notes_of
from tests.conftest import REPOSITORY, SAMPLES

CLASSICAL = SAMPLES / "classical_x25519.pcap"


def _found(*arguments: str) -> list[str]:
    notes: list[InputNote] = []
    found = find_captures(arguments, notes.append)
    assert notes == []
    return found


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.pcap", "a.pcap", "d/c.pcap", "d/.hidden.pcap", "d/e/f.pcap", "[x].pcap", "d.e/g.pcap"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLASSICAL, tmp_path / name)
    (tmp_path / "d" / "up").symlink_to(tmp_path)
    (tmp_path / "d" / "e" / "up").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_patterns(tree: Path) -> None:
    assert _found("[ab].pcap") == ["a.pcap", "b.pcap"]
    assert _found("?.pcap", "b.pcap") == ["a.pcap", "b.pcap"]
    assert _found("d/*.pcap") == ["d/.hidden.pcap", "d/c.pcap"]
    assert _found(f"{tree}/d/?/f*") == [f"{tree}/d/e/f.pcap"]
    # As arguments that a shell made of the pattern: folders are searched.
    assert _found("d.?") == ["d.e/g.pcap"]


def test_any_number_of_folders(tree: Path) -> None:
    everything = ["[x].pcap", "a.pcap", "b.pcap", "d/.hidden.pcap", "d/c.pcap", "d/e/f.pcap", "d.e/g.pcap"]
    assert _found("**/*.pcap") == everything
    assert _found(f"{tree}/**/*.pcap") == [f"{tree}/{name}" for name in everything]
    assert _found("d/**/f.pcap") == ["d/e/f.pcap"]
    assert _found("d.*/**") == ["d.e/g.pcap"]
    # Links are followed, and each file is given once, however many ways lead to it.
    assert len(_found("d*/**")) == len(everything)


def test_a_name_that_looks_like_a_pattern(tree: Path) -> None:
    assert _found("[x].pcap") == ["[x].pcap"]
    (tree / "a*").mkdir()
    shutil.copy(CLASSICAL, tree / "a*" / "in.pcap")
    assert _found("a*") == ["a*/in.pcap"]


def test_what_a_pattern_matches_is_taken_as_named(tree: Path) -> None:
    (tree / "notes.txt").write_text("no capture")
    assert _found("n*.txt") == ["notes.txt"]


def test_nothing_matches(tree: Path) -> None:
    assert [(note.source, note.kind, note.fatal) for note in notes_of("z*", "**/z", "a**z/**b[")] == [
        ("z*", "missing", True),
        ("**/z", "missing", True),
        ("a**z/**b[", "missing", True),
    ]


def test_file_urls(tree: Path) -> None:
    (tree / "a b").mkdir()
    shutil.copy(CLASSICAL, tree / "a b" / "%41.pcap")
    assert _found((tree / "a b").as_uri()) == [f"{tree}/a b/%41.pcap"]
    assert _found((tree / "a b" / "%41.pcap").as_uri(), f"file://localhost{tree}/a.pcap", "a.pcap") == [
        f"{tree}/a b/%41.pcap",
        f"{tree}/a.pcap",
    ]


def test_notes_are_bounded(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "MOST_NOTES", 5)
    notes = notes_of(*(f"missing{index}" for index in range(12)))
    assert len(notes) == 6
    assert " 7 inputs" in notes[-1].message
    assert notes[-1].fatal


def test_local_audits_load_no_fsspec() -> None:
    for arguments in (["--help"], ["audit", "--help"], ["audit", str(CLASSICAL)]):
        done = command(*arguments, environment={"PYTHONPROFILEIMPORTTIME": "1"})
        assert done.returncode == 0
        assert b"pqaudit.cli" in done.stderr
        assert b"fsspec" not in done.stderr
        assert b"aiohttp" not in done.stderr


@pytest.mark.parametrize(("pattern", "found"), [("d/*", 0), ("[d]/*/*", 0), ("d*/*.pcap", 1), ("d/**", 0)])
def test_a_folder_that_cannot_be_read_is_named(pattern: str, found: int, tree: Path) -> None:
    (tree / "d").chmod(0)
    user = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        done = subprocess.run(
            [*user, sys.executable, "-m", "pqaudit", "audit", "--format", "json", pattern],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        (tree / "d").chmod(0o755)
    assert done.returncode == 3
    assert re.search(r"^pqaudit: error: d/?: It cannot be opened: Permission denied\.$", done.stderr, re.MULTILINE)
    assert "Nothing matches" not in done.stderr
    assert len(json.loads(done.stdout)["files"]) == found
