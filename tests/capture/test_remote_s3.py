"""Captures in an object store: a real S3 server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from pqaudit.capture.discover import find_captures
from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import opened
from pqaudit.capture.reader import read_capture
from pqaudit.capture.stamp import size, stamp
from tests.capture.remote import NAMES, audited, command, fill, notes_of, same_but_names, zero_record
from tests.conftest import SAMPLES
from tests.objectstore.store import ObjectStore

CLASSICAL = SAMPLES / "classical_x25519.pcap"
MEBI = 1024 * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("captures"))


@pytest.fixture(scope="module")
def store(object_store: ObjectStore, folder: Path) -> Iterator[ObjectStore]:
    object_store.bucket("archive")
    object_store.upload(folder, "archive", "all/")
    object_store.put("archive", "all/site a/", b"")  # as consoles mark folders
    with object_store.in_this_process():
        yield object_store


def test_a_prefix_gives_what_the_folder_gives(store: ObjectStore, folder: Path) -> None:
    same_but_names(folder, "s3://archive/all")


def test_without_a_slash_and_twice_it_is_the_same(store: ObjectStore) -> None:
    notes: list[InputNote] = []
    once = find_captures(["s3://archive/all/"], notes.append)
    again = find_captures(["s3://archive/all", "s3://archive/all/", f"s3://archive/all/{NAMES[0]}"], notes.append)
    assert again == once
    assert len(once) == 9


def test_patterns(store: ObjectStore) -> None:
    notes: list[InputNote] = []

    def found(pattern: str) -> list[str]:
        return [name.removeprefix("s3://archive/all/") for name in find_captures([pattern], notes.append)]

    assert found("s3://archive/all/*.pcap") == list(NAMES)
    assert found("s3://archive/all/**/x.pcap.*z*") == [
        "site a/deep/x.pcap.lz4", "site a/x.pcap.gz", "site a/x.pcap.xz", "site a/x.pcap.zst"
    ]  # fmt: skip
    assert found("s3://archive/a?l/[ch]*.pcap") == list(NAMES[:2])
    assert found("s3://archive/all/READ*") == ["README"]  # as named
    assert notes == []
    assert len(found("s3://archive/all/site*")) == 5  # a folder among the matches is searched
    assert [note.kind for note in notes] == ["skipped-files"]
    assert [(note.kind, note.fatal) for note in notes_of("s3://archive/none*")] == [("missing", True)]
    assert [note.kind for note in notes_of("s3://archive/**b")] == ["unreadable"]


def test_names_of_all_kinds(store: ObjectStore) -> None:
    octets = CLASSICAL.read_bytes()
    keys = [
        "a::b",
        "a?b",
        "a#b",
        "p%41%2F",
        "sp  ace ",
        "st*r[1]",
        "ümläut€",
        "x/../y",
        "//z",
        "\u202egnp",
    ]
    store.bucket("names")
    for key in keys:
        store.put("names", "k/" + key, octets)
    _, run = audited("s3://names/k/")
    assert run.notes == []
    assert sorted(file.name for file in run.files) == sorted("s3://names/k/" + key for key in keys)
    assert all(file.octets == len(octets) for file in run.files)
    _, run = audited("s3://names/k/st*r[1]", "s3://names/k/a?b", "s3://names/k/x/../y")
    assert len(run.files) == 3


def test_stamps_come_from_the_listing() -> None:
    with ObjectStore() as other:
        other.bucket("stamps")
        other.put("stamps", "a/one.pcap", CLASSICAL.read_bytes())
        with other.in_this_process():
            (source,) = find_captures(["s3://stamps/a/"], lambda note: None)
    # The server is gone.
    listed = stamp(source)
    assert listed is not None
    assert "ETag" in listed
    assert size(source) == CLASSICAL.stat().st_size


def test_stamps_change_with_the_object(store: ObjectStore) -> None:
    def asked() -> str:
        program = "import sys; from pqaudit.capture.stamp import stamp; print(stamp(sys.argv[1]))"
        return subprocess.run(
            [sys.executable, "-c", program, "s3://archive/changing"],
            env=os.environ | store.environment, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    store.put("archive", "changing", b"one")
    before = asked()
    assert asked() == before != "None\n"
    store.put("archive", "changing", b"two")
    assert asked() != before


def test_missing_objects_and_buckets(store: ObjectStore) -> None:
    notes = notes_of("s3://archive/nothing", "s3://nobucket/", "s3://nobucket/a", "s3://", "s3://archive/all/empty")
    assert [note.kind for note in notes] == ["missing", "missing", "missing", "unreadable"]
    assert [note.kind for note in notes_of("s3://archive/nothing/")] == ["no-captures"]


def test_an_object_that_goes_away_after_the_listing(store: ObjectStore) -> None:
    store.put("archive", "going/a.pcap", CLASSICAL.read_bytes())
    (source,) = find_captures(["s3://archive/going/"], lambda note: None)
    store.client.delete_object(Bucket="archive", Key="going/a.pcap")
    notes: list[InputNote] = []
    assert list(read_capture(source, note=notes.append)) == []
    assert [(note.kind, note.fatal) for note in notes] == [("read-error", True)]


def test_no_credentials(store: ObjectStore, tmp_path: Path) -> None:
    environment = {name: "" for name in store.environment if name.endswith(("KEY_ID", "KEY"))}
    environment |= {"HOME": str(tmp_path), "FSSPEC_S3_ENDPOINT_URL": store.url, "AWS_EC2_METADATA_DISABLED": "true"}
    done = command("audit", "--format", "jsonl", "s3://archive/all/", str(CLASSICAL), environment=environment)
    assert done.returncode == 3
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stderr.splitlines()) == 1
    assert b"check the credentials" in done.stderr


def test_no_server(store: ObjectStore) -> None:
    environment = store.environment | {"FSSPEC_S3_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = command("audit", "--format", "jsonl", "s3://archive/all/", str(CLASSICAL), environment=environment)
    assert (done.returncode, len(done.stdout.splitlines()), len(done.stderr.splitlines())) == (3, 1, 1)
    assert b"Could not connect" in done.stderr


def test_by_several_processes(store: ObjectStore, folder: Path, tmp_path: Path) -> None:
    for copy in range(2):  # enough of them for processes to be started
        store.upload(folder, "archive", f"many/{copy}/")
    arguments = ["audit", "--format", "json", "--workers", "2", "--sensor", "test"]
    done = command(*arguments, "s3://archive/many/", environment=store.environment)
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    assert [file["name"] for file in run["files"]] == sorted(
        (file["name"] for file in run["files"]), key=lambda name: name.split("/")
    )
    assert len(run["files"]) == 18
    expected, _ = audited("s3://archive/many/")
    assert run["findings"] == json.loads(json.dumps(expected))


def test_little_is_held(store: ObjectStore) -> None:
    """Of 64 MiB three blocks of 8 MiB are kept, and one or two more are on their way."""
    head, record = CLASSICAL.read_bytes()[:24], zero_record(bytes(65535))
    store.put("archive", "large.pcap", head + record * (64 * MEBI // len(record)))
    tracemalloc.start()
    try:
        with opened("s3://archive/large.pcap", None) as stream:
            target = bytearray(MEBI // 2)
            taken = 0
            while count := stream.readinto(target):  # type: ignore[union-attr]
                taken += count
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken > 63 * MEBI
    assert most < 48 * MEBI


def test_an_object_that_is_replaced_while_it_is_read(store: ObjectStore) -> None:
    head, record = CLASSICAL.read_bytes()[:24], zero_record(bytes(65535))
    many = 40 * MEBI // len(record)
    store.put("archive", "replaced.pcap", head + record * many)
    notes: list[InputNote] = []
    frames = read_capture("s3://archive/replaced.pcap", note=notes.append)
    next(frames)
    store.put("archive", "replaced.pcap", head + zero_record(b"\1" * 65535) * many)
    read = 1 + sum(1 for _ in frames)
    (note,) = notes
    assert (note.kind, note.frame) == ("read-error", read)
    assert 0 < read < many


def test_crosscheck_wants_local_files(store: ObjectStore) -> None:
    done = command("crosscheck", "s3://archive/all/", environment=store.environment)
    assert done.returncode == 2
    assert b"tshark reads local files" in done.stderr
