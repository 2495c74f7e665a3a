"""``pqaudit audit --journal`` as its users call it: whole processes that are killed, interrupted, and short of room."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import build as b
from tests.archive.nights import aged, archive, conversation, swapped
from tests.cli.user import User, complaint, wait_until
from tests.conftest import REPOSITORY

FORMATS = ("json", "jsonl", "table")
JOURNAL_LINE = re.compile(r"pqaudit: journal: (\d+) captures? known, (\d+) read, (\d+) of them again")


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "home")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "archive.journal"


def counts(said: str) -> tuple[int, ...]:
    """Known, read, and read again, as the run says."""
    match = JOURNAL_LINE.search(said)
    assert match is not None, said
    return tuple(map(int, match.groups()))


def finished(journal: Path) -> list[Path]:
    """The captures that are whole in a journal nobody uses, asked of the file itself."""
    if not journal.exists() or not journal.stat().st_size:
        return []
    database = sqlite3.connect(journal)
    try:
        return [Path(os.fsdecode(row[0])) for row in database.execute("SELECT place FROM inputs")]
    except sqlite3.OperationalError:  # no table yet
        return []
    finally:
        database.close()


def test_all_formats_are_those_of_a_run_without(user: User, journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    frames = conversation(1)
    archive(folder, [frames[:5], conversation(2), frames[5:]])
    for index, form in enumerate(FORMATS):
        fresh = user.run("audit", "--format", form, folder)
        found = user.run("audit", "--format", form, "--journal", journal, folder)
        assert (found.returncode, found.stdout) == (fresh.returncode, fresh.stdout)
        assert counts(found.stderr) == ((0, 3, 0) if not index else (3, 0, 0))
    grouped = ("--group-by", "tunnel", "--exposure", "--fail-on", "hybrid-ml-kem", folder)
    fresh = user.run("audit", *grouped)
    found = user.run("audit", "--journal", journal, *grouped)
    assert (found.returncode, found.stdout) == (1, fresh.stdout)


def test_killed_at_any_moment_a_run_goes_on_where_it_was(user: User, journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    frames = [conversation(number) for number in range(1, 61)]
    # Every SA has its last packets in the next capture.
    parts = [[*frames[index - 1][6:], *frames[index][:6]] * 8 for index in range(60)]
    paths = archive(folder, parts)
    fresh = user.run("audit", "--format", "json", folder).stdout
    arguments = ("audit", "--format", "json", "--journal", journal, "--workers", "1", folder)
    rng = random.Random(20261125)
    spoiled: set[Path] = set()
    written = journal.with_name(journal.name + "-wal")
    for kill in range(6):
        process = user.start(*arguments)
        # The log of what was written tells how far it is; the moment within a capture is left to chance.
        before, much = len(spoiled), rng.randrange(40_000) if kill else 0
        wait_until(lambda: process.poll() is not None or (written.exists() and written.stat().st_size > much))  # noqa: B023
        time.sleep(rng.random() * 0.02)
        process.kill()
        process.communicate()
        done = finished(journal)
        assert len(done) >= before
        for path in set(done) - spoiled:
            swapped(path, bytes(path.stat().st_size))  # whoever opens it again finds no capture
            spoiled.add(path)
        if len(done) == len(paths):
            break
    last = user.run(*arguments)
    assert counts(last.stderr) == (len(spoiled), len(paths) - len(spoiled), 0)
    assert (last.returncode, last.stdout) == (0, fresh)
    assert spoiled


def test_an_interrupt_keeps_what_was_read(user: User, journal: Path, tmp_path: Path) -> None:
    (one,) = archive(tmp_path / "archive", [conversation(1)])
    pipe = tmp_path / "pipe.pcap"
    os.mkfifo(pipe)
    process = user.start("audit", "--format", "jsonl", "--journal", journal, one, pipe)
    wait_until(lambda: journal.with_name(journal.name + "-wal").exists())
    second = user.run("audit", "--journal", journal, one)
    assert second.returncode == 4
    assert (
        complaint(second) == f"Error: the journal {journal} is in use by another run; wait for it, or name another file"
    )
    with pipe.open("wb"):  # now it reads from the pipe, which gives nothing
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        done = user.end(process)
    assert done.returncode == 130
    assert done.stdout == user.run("audit", "--format", "jsonl", one).stdout
    assert finished(journal) == [one]
    assert counts(user.run("audit", "--journal", journal, one).stderr) == (1, 0, 0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a small journal only."""
    if os.geteuid() != 0:
        pytest.skip("optional: mounting a small disk needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_on_a_full_disk_what_was_read_is_kept(user: User, small_disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    parts = [
        [frame.replace(b"\x11\x00", bytes((0x11, copy))).replace(b"\x22\x00", bytes((0x22, copy)))
         for copy in range(1, 31) for frame in conversation(number)]
        for number in range(1, 17)
    ]  # fmt: skip
    archive(folder, parts)
    journal = small_disk / "journal"
    full = user.run("audit", "--journal", journal, folder)
    assert full.returncode == 4
    assert re.search(r"cannot be used: .*; what was read before is kept, and the same command goes on", complaint(full))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    kept = len(finished(journal))
    assert 0 < kept < len(parts)
    found = user.run("audit", "--format", "json", "--journal", journal, folder)
    assert counts(found.stderr) == (kept, len(parts) - kept, 0)
    assert (found.returncode, found.stdout) == (0, user.run("audit", "--format", "json", folder).stdout)


def test_with_earlier_and_changed_only(user: User, journal: Path, tmp_path: Path) -> None:
    frames = conversation(1)
    folder = tmp_path / "archive"
    one, two = archive(folder, [[*frames[:5], *conversation(2)], frames[5:]])
    changed = ("audit", "--format", "jsonl", "--journal", journal, "--with-earlier", "--changed-only")
    assert len(user.run(*changed, one).stdout.splitlines()) == 2
    arguments = (*changed, two)
    assert user.run(*arguments, "-o", "/dev/full").returncode == 4  # nobody was told
    found = user.run(*arguments)
    (joined,) = map(json.loads, found.stdout.splitlines())
    assert joined["pqaudit"]["capture"]["packets"] == len(frames)
    assert "; 1 earlier one counts too" in found.stderr
    assert user.run(*arguments).stdout == ""


def test_reading_again_is_told(user: User, journal: Path, tmp_path: Path) -> None:
    one, two = archive(tmp_path / "archive", [conversation(1), conversation(2)])
    user.run("audit", "--journal", journal, one, two)
    aged(two, seconds=1800)
    assert counts(user.run("audit", "--journal", journal, one, two).stderr) == (1, 1, 1)
    other = user.run("audit", "--journal", journal, "--port", "4000", one, two)
    assert counts(other.stderr) == (0, 2, 2)
    assert "2 captures were read with other options or by an earlier pqaudit, and are read again" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--with-earlier", "{capture}"], "--with-earlier and --changed-only need --journal"),
        (["--changed-only", "{capture}"], "--with-earlier and --changed-only need --journal"),
        (["--journal", "{journal}", "-"], "standard input for one, cannot be used with --journal"),
        (["--journal", "{journal}", "/dev/stdin"], "standard input for one, cannot be used with --journal"),
        (["--journal", "{journal}", "--keys", "{capture}", "{capture}"], "--keys cannot be used with --journal"),
        (["--journal", "{journal}", "--changed-only", "--group-by", "peer", "{capture}"], "--group-by needs"),
        (["--journal", "{capture}", "{capture}"], "is no journal of pqaudit"),
        (["--journal", "{journal}/in/no/folder", "{capture}"], "there is no folder {journal}/in/no; make it first"),
        (["--journal", "{journal}", "-o", "{journal}", "{capture}"], "write to another file"),
        (["--journal", "{journal}", "-o", "{journal}-wal", "{capture}"], "write to another file"),
        (["--journal", "{capture}", "--files-from", "{capture}"], "is the journal and no list of inputs"),
        (["--journal", "{journal}", "--journal-keep", "nan", "{capture}"], "is not a valid number"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], sentence: str, user: User, tmp_path: Path) -> None:
    capture = b.pcap(conversation(1), tmp_path / "a.pcap")
    before = capture.read_bytes()
    places = {"capture": capture, "journal": tmp_path / "journal"}
    done = user.run("audit", *(argument.format(**places) for argument in arguments))
    assert done.returncode in (2, 4)
    assert sentence.format(**places) in complaint(done)
    assert (done.stdout, capture.read_bytes()) == ("", before)


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_a_journal_inside_the_archive_is_no_input_and_stays_locked(
    link: Callable[[Path, Path], None] | None, user: User, tmp_path: Path
) -> None:
    folder = tmp_path / "archive"
    (one,) = archive(folder, [conversation(1)])
    fresh = user.run("audit", "--format", "json", folder).stdout
    journal = (folder if link is None else tmp_path) / "journal"
    user.run("audit", "--journal", journal, one)
    if link is not None:
        link(journal, folder / "name")
    pipe = tmp_path / "pipe.pcap"
    os.mkfifo(pipe)
    process = user.start("audit", "--format", "json", "--journal", journal, folder, folder / "[jn]*", pipe)
    with pipe.open("wb"):  # opened on both sides: folders were searched by then
        second = user.run("audit", "--journal", journal, one)
    first = user.end(process)
    assert (second.returncode, first.returncode) == (4, 3)
    assert "in use by another run" in complaint(second)
    assert "This run writes to it; name only captures." in first.stderr
    assert user.run("audit", "--format", "json", "--journal", journal, folder).stdout == fresh


def test_an_interrupted_run_has_told_nothing(user: User, journal: Path, tmp_path: Path) -> None:
    (one,) = archive(tmp_path / "archive", [conversation(1)])
    pipe = tmp_path / "pipe.pcap"
    os.mkfifo(pipe)
    changed = ("audit", "--format", "jsonl", "--journal", journal, "--changed-only", one)
    process = user.start(*changed, pipe)
    with pipe.open("wb"):
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        interrupted = user.end(process)
    assert interrupted.returncode == 130
    told = user.run(*changed)
    assert told.stdout == interrupted.stdout != ""
    assert user.run(*changed).stdout == ""


@pytest.mark.parametrize(("folder_mode", "mode"), [(0o555, None), (0o555, 0o644), (0o755, 0o444), (0o755, 0)])
def test_a_journal_without_permission_says_what_it_needs(
    folder_mode: int, mode: int | None, user: User, tmp_path: Path
) -> None:
    capture = b.pcap(conversation(1), tmp_path / "a.pcap")
    folder = tmp_path / "closed"
    folder.mkdir()
    journal = folder / "journal"
    if mode is not None:
        user.run("audit", "--journal", journal, capture)
        journal.chmod(mode)
    folder.chmod(folder_mode)
    bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    command = [*bound, sys.executable, "-m", "pqaudit", "audit", "--journal", str(journal), str(capture)]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False
        )
    finally:
        folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (4, "")
    needs = "cannot be written to; it needs a file, and a folder, that this user may write to"
    assert (
        done.stderr == f"Error: the journal {journal} {needs if mode != 0 else 'cannot be used: Permission denied'}\n"
    )
