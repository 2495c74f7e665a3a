"""Captures behind SSH: a real sshd on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pqaudit.capture.discover import find_captures
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.capture.stamp import size, stamp
from tests.capture.build import pcap
from tests.capture.remote import NAMES, audited, command, fill, notes_of, same_but_names, zero_record
from tests.capture.sshserver import SshServer, new_public_key
from tests.conftest import SAMPLES

CLASSICAL = SAMPLES / "classical_x25519.pcap"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("captures"))


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    with SshServer(tmp_path / "ssh") as server:
        monkeypatch.setenv("HOME", str(server.home))
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        yield server


def test_a_folder_gives_what_it_gives_here(ssh: SshServer, folder: Path) -> None:
    same_but_names(folder, f"{ssh.url}{folder}")
    source = f"{ssh.url}{folder}/{NAMES[0]}"
    found = (folder / NAMES[0]).stat()
    assert size(source) == found.st_size
    assert "mtime" in (stamp(source) or "")


def test_names_and_links(ssh: SshServer, tmp_path: Path) -> None:
    top = tmp_path / "names"
    names = ["a?b", "a#b", "p%41", "new\nline", "[x]*", "sp  ace ", "ümläut", "d/e"]
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLASSICAL, top / name)
    (top / "d" / "up").symlink_to(top)
    (top / "d" / "nowhere").symlink_to(tmp_path / "nothing")
    (top / "zlink").symlink_to(CLASSICAL)
    _, run = audited(f"{ssh.url}{top}/")
    assert run.notes == []
    assert sorted(file.name for file in run.files) == sorted(f"{ssh.url}{top}/{name}" for name in [*names, "zlink"])
    assert len({file.sha256 for file in run.files}) == 1
    notes: list[InputNote] = []
    assert find_captures([f"{ssh.url}{top}/[x]*", f"{ssh.url}{top}/**/e"], notes.append) == [
        f"{ssh.url}{top}/[x]*",
        f"{ssh.url}{top}/d/e",
    ]
    assert notes == []


def test_only_known_servers(ssh: SshServer, tmp_path: Path, folder: Path) -> None:
    known = ssh.known_hosts.read_text()
    ssh.known_hosts.write_text("")
    (note,) = notes_of(f"{ssh.url}{folder}/")
    assert (note.kind, note.fatal) == ("unreadable", True)
    assert "not in known_hosts" in note.message
    ssh.known_hosts.write_text(ssh.host_line(new_public_key(tmp_path / "other")))
    (note,) = notes_of(f"{ssh.url}{folder}/")
    assert "not the one in known_hosts" in note.message
    ssh.known_hosts.write_text(known)
    assert len(find_captures([f"{ssh.url}{folder}/*.pcap"], lambda note: None)) == 3


def test_refusals(ssh: SshServer, folder: Path) -> None:
    wrong = "sftp://nobody:geh%2Feim@" + ssh.url.rpartition("@")[2]
    done = command(
        "audit", "--format", "jsonl", f"{wrong}{folder}/", f"{ssh.url}/nothing", f"{ssh.url}{folder}/{NAMES[0]}",
        "sftp://user:geh/eim@host/a", "sftp:///a", "sftp://127.0.0.1:9/a",
    )  # fmt: skip
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 1)
    assert len(done.stderr.splitlines()) == 5
    assert b"eim" not in done.stderr
    assert b"check the credentials" in done.stderr


def test_a_server_that_goes_away(ssh: SshServer, tmp_path: Path) -> None:
    """Reading goes on when the server is there again, and is given up when it stays away; what was read is kept."""
    whole = 400
    (tmp_path / "large.pcap").write_bytes(pcap([]) + zero_record(bytes(60_000)) * whole)
    notes: list[InputNote] = []
    frames = read_capture(f"{ssh.url}{tmp_path}/large.pcap", note=notes.append)
    read = sum(1 for _ in zip(range(100), frames, strict=False))
    ssh.stop()
    ssh.start()
    assert read + sum(1 for _ in frames) == whole
    assert notes == []

    frames = read_capture(f"{ssh.url}{tmp_path}/large.pcap", note=notes.append)
    read = sum(1 for _ in zip(range(100), frames, strict=False))
    ssh.stop()
    read += sum(1 for _ in frames)
    assert [(note.kind, note.frame) for note in notes] == [("read-error", read)]
    assert 100 <= read < whole
