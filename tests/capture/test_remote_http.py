"""Captures on HTTP servers: with ranges and without, that break off, that refuse, and with secrets in the URL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from pqaudit.capture import remote_page
from pqaudit.capture.discover import find_captures
from pqaudit.capture.note import InputNote
from pqaudit.capture.stamp import size, stamp
from tests.capture.build import pcap
from tests.capture.remote import NAMES, NO_PROXY, audited, command, fill, kinds, notes_of, renamed
from tests.capture.webserver import PASSWORD, USER, WebServer
from tests.conftest import SAMPLES

CLASSICAL = SAMPLES / "classical_x25519.pcap"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("captures"))


@pytest.fixture
def web(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    for name, value in NO_PROXY.items():
        monkeypatch.setenv(name, value)
    with WebServer(folder) as server:
        yield server


@pytest.mark.parametrize("way", ["ranges", "plain", "breaks"])
def test_findings_of_a_file(web: WebServer, folder: Path, way: str) -> None:
    expected, local = audited(str(folder / NAMES[0]))
    findings, run = audited(f"{web.url}/{way}/{NAMES[0]}")
    assert run.notes == []
    assert findings == renamed(expected, f"{folder}/", f"{web.url}/{way}/")
    assert run.files[0].sha256 == local.files[0].sha256


@pytest.mark.parametrize("way", ["ranges", "plain"])
def test_a_page_of_links_is_a_folder(web: WebServer, folder: Path, way: str) -> None:
    expected, _ = audited(f"{folder}/")
    findings, run = audited(f"{web.url}/{way}/")
    assert kinds(run) == ["skipped-files"]
    assert [(f.octets, f.sha256) for f in run.files] == [(f.octets, f.sha256) for f in audited(f"{folder}/")[1].files]
    quoted = renamed(expected, "site a/", "site%20a/")
    assert findings == renamed(quoted, f"{folder}/", f"{web.url}/{way}/")
    # One request for each page; for each file one for its beginning and one for all of it, and of two files more.
    assert web.requests[f"GET {way}"] < 3 + 2 * 13 + 4


def test_patterns(web: WebServer) -> None:
    notes: list[InputNote] = []
    found = find_captures([f"{web.url}/ranges/**/[hi]*.pcap", f"{web.url}/ranges/*.zst"], notes.append)
    assert found == [f"{web.url}/ranges/{name}" for name in (*NAMES[1:], "noisy.pcap.zst")]
    assert notes == []


def test_it_goes_on_where_the_server_broke_off(web: WebServer, folder: Path) -> None:
    findings, run = audited(f"{web.url}/breaks/{NAMES[1]}")
    assert (len(findings), run.notes) == (1, [])
    assert web.requests["GET breaks"] == 2


def test_a_server_that_always_breaks_off(web: WebServer, tmp_path: Path) -> None:
    """What it sent is read, and so are the other inputs."""
    web.folder = tmp_path
    frames = [(0, 0, bytes(10_000), 10_000)] * 400
    (tmp_path / "large.pcap").write_bytes(CLASSICAL.read_bytes() + pcap(frames)[24:])
    findings, run = audited(f"{web.url}/cut/large.pcap", str(SAMPLES / NAMES[1]))
    (note,) = run.notes
    assert (note.source, note.kind, note.fatal) == (f"{web.url}/cut/large.pcap", "read-error", True)
    assert note.frame is not None
    # Half of it was sent; what had come and was not taken yet is lost with the connection.
    assert 0 < note.frame < 220
    assert len(findings) == 2


def test_statuses(web: WebServer) -> None:
    statuses = {401: "unreadable", 403: "unreadable", 404: "missing", 410: "missing", 429: "unreadable"}
    statuses |= {500: "unreadable", 503: "unreadable"}
    notes = notes_of(*(f"{web.url}/status/{status}" for status in statuses), "http://127.0.0.1:9/a")
    assert [note.kind for note in notes] == [*statuses.values(), "unreadable"]
    assert all(note.fatal for note in notes)
    assert "credentials" in notes[0].message
    assert "429" in notes[4].message


def test_no_secret_is_shown(web: WebServer) -> None:
    login = f"http://{USER}:{PASSWORD}@{web.host}"
    arguments = [
        f"{login}/private/{NAMES[0]}",
        f"{login}/private/site%20a/",
        f"{login}/private/h*",
        f"http://{USER}:{PASSWORD}x@{web.host}/private/{NAMES[1]}",
        f"{web.url}/signed/{NAMES[2]}?X-Amz-Signature=c0ffee",
        f"{web.url}/signed/{NAMES[2]}?X-Amz-Signature=c0ffee&X-Amz-Date=1",
        f"{web.url}/status/403?token=c0ffee",
        f"{login}/cut/{NAMES[0]}?token=c0ffee",
        f"http://{USER}:{PASSWORD}@127.0.0.1:9/?c0ffee",
        f"http://{USER}:{PASSWORD}@[/?c0ffee",
    ]
    done = command("audit", "--format", "json", "--workers", "2", *arguments)
    said = done.stdout + done.stderr
    assert done.returncode == 3
    for secret in (PASSWORD, USER, "c0ffee", "Traceback"):
        assert secret.encode() not in said
    assert f"{web.url}/private/{NAMES[0]}".encode() in done.stdout
    assert [file["name"] for file in json.loads(done.stdout)["files"]].count(f"{web.url}/signed/{NAMES[2]}") == 1


def test_one_name_for_two_files_is_told(web: WebServer) -> None:
    """Without ETag nobody knows whether two queries mean one file."""
    notes: list[InputNote] = []
    one, other = (f"{web.url}/plain/{NAMES[0]}?id={index}" for index in (1, 2))
    assert find_captures([one, other, one], notes.append) == [one]
    assert [(note.kind, note.fatal) for note in notes] == [("same-name", True)]
    assert find_captures([one.replace("plain", "ranges"), other.replace("plain", "ranges")], notes.append) != []
    assert len(notes) == 1


def test_stamps_and_sizes(web: WebServer, folder: Path) -> None:
    known = stamp(f"{web.url}/ranges/{NAMES[0]}")
    assert known is not None
    assert "ETag" in known
    assert size(f"{web.url}/ranges/{NAMES[0]}") == (folder / NAMES[0]).stat().st_size
    for source in (f"{web.url}/plain/{NAMES[0]}", f"{web.url}/status/404", "http://127.0.0.1:9/a"):
        assert (stamp(source), size(source)) == (None, None)


def test_little_is_held_of_what_has_no_length(web: WebServer) -> None:
    """A process that reads 200 MB grows by less than a tenth of it, above what one needs that reads little."""
    web.head = pcap([])
    web.flood = pcap([(0, 0, bytes(65000), 65000)])[24:] * 16

    def most(floods: int) -> int:
        web.floods = floods
        program = (
            "import resource, sys; from pqaudit.capture.reader import read_capture\n"
            "notes = []; print(sum(1 for _ in read_capture(sys.argv[1], note=notes.append)), len(notes))\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, f"{web.url}/endless/"], capture_output=True, text=True, check=True
        )
        frames, notes, octets = done.stdout.split()
        assert (int(frames), int(notes)) == (16 * floods, 0)
        return int(octets) * 1024

    assert most(200) - most(1) < 20_000_000


def test_names_and_links_of_pages(web: WebServer, tmp_path: Path) -> None:
    web.folder = tmp_path
    names = ["a&b.pcap", "sp ace", "ümläut", "q?x", "h#y", "p%41", "<b>", '"', "d/e"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(CLASSICAL.read_bytes())
    _, run = audited(f"{web.url}/ranges/")
    assert run.notes == []
    assert sorted(unquote(file.name) for file in run.files) == sorted(f"{web.url}/ranges/{name}" for name in names)
    assert len({file.sha256 for file in run.files}) == 1


def test_a_page_without_end(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_page, "MOST_PAGE_OCTETS", 1 << 20)
    web.head, web.flood, web.floods = b"<html>", b'<a href="http://[">x</a>' * 10_000, 100_000
    assert [note.kind for note in notes_of(f"{web.url}/endless/")] == ["unreadable"]


def test_access_by_netrc(web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert notes_of(f"{web.url}/private/{NAMES[0]}") == []
