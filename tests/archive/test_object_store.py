"""An archive in an object store, a third of its SAs over two files, read by a cluster that loses a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import distributed
import pytest

from bench import corpus
from tests.archive.test_cluster import running_cluster, wait_for
from tests.conftest import REPOSITORY
from tests.objectstore.store import ObjectStore

FILES = 2000
FRAMES = 26
"""In a file. SAs have 8 or 11 packets here, one after the other, so that a third of them lie in two: (9.5 - 1) / 26."""
DEADLINE = 180.0
_RECORD_HEADER = 16


def records(capture: Path) -> Iterator[bytes]:
    """The packets of a pcap file as they stand there, with their headers."""
    octets = capture.read_bytes()
    at = len(corpus.PCAP_HEADER)
    while at < len(octets):
        end = at + _RECORD_HEADER + int.from_bytes(octets[at + 8 : at + 12], "little")
        yield octets[at:end]
        at = end


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One capture that holds all."""
    path = tmp_path_factory.mktemp("whole") / "whole.pcap"
    return corpus.write_pcap(path, islice(corpus.handshake_frames(FILES * FRAMES), FILES * FRAMES))


@pytest.fixture(scope="module")
def rotated(whole: Path, tmp_path_factory: pytest.TempPathFactory, object_store: ObjectStore) -> str:
    """The same packets in the object store, as a recorder leaves them that begins a new file every 26 packets."""
    folder = tmp_path_factory.mktemp("rotated")
    packets = list(records(whole))
    assert len(packets) == FILES * FRAMES
    for index in range(FILES):
        (folder / f"{index // 500:02}").mkdir(exist_ok=True)
        piece = packets[index * FRAMES : (index + 1) * FRAMES]
        (folder / f"{index // 500:02}" / f"span-{index:05}.pcap").write_bytes(corpus.PCAP_HEADER + b"".join(piece))
    bucket = object_store.bucket("rotated-archive")
    assert len(object_store.upload(folder, bucket)) == FILES
    return f"s3://{bucket}/"


def audited(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pqaudit", "audit", "--format", "json", "--sensor", "x", *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=dict(os.environ) | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_one_capture(value: Any) -> Any:
    """A finding of the rotated archive as it reads when all its packets lie in one file."""
    if isinstance(value, list):
        return [in_one_capture(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: in_one_capture(item) for key, item in value.items() if key != "record"}
    if "frame" in value and "file" in value:
        value["frame"] += FRAMES * place(value["file"])
        value["file"] = "whole"
    if "files" in value:
        files = value["files"]
        first = min(file["first_frame"] + FRAMES * place(file["name"]) for file in files)
        last = max(file["last_frame"] + FRAMES * place(file["name"]) for file in files)
        packets = sum(file["packets"] for file in files)
        value["files"] = [{"name": "whole", "packets": packets, "first_frame": first, "last_frame": last}]
    return value


def place(name: str) -> int:
    """Of a file in the archive, from its name."""
    return int(name.rpartition("-")[2].removesuffix(".pcap"))


def without_name(value: Any) -> Any:
    """A finding of the one capture, in the same form."""
    if isinstance(value, list):
        return [without_name(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: without_name(item) for key, item in value.items() if key != "record"}
    return {
        key: "whole" if key in ("file", "name") and str(item).endswith("whole.pcap") else item
        for key, item in kept.items()
    }


def finished(dask_scheduler: distributed.Scheduler) -> int:
    """How many of our tasks have a result on a worker."""
    return sum(str(key).startswith("pqaudit-") and task.state == "memory" for key, task in dask_scheduler.tasks.items())


def process_of(dask_worker: distributed.Worker) -> int:
    return os.getpid()


def test_the_archive_reads_as_one_capture(whole: Path, rotated: str, object_store: ObjectStore) -> None:
    one = audited(str(whole))
    expected, _ = one.communicate(timeout=DEADLINE)
    assert one.returncode == 0
    environment = object_store.environment
    with running_cluster(2, **environment) as (address, _), distributed.Client(address, set_as_default=False) as client:
        victim = sorted(client.run(process_of).values())[0]
        process = audited("--cluster", address, rotated, environment=environment)
        try:
            wait_for(lambda: client.run_on_scheduler(finished) >= 3)
            os.kill(victim, signal.SIGKILL)
            out, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
        assert victim not in client.run(process_of).values()
    assert (process.returncode, err) == (0, "")
    found, wanted = json.loads(out), json.loads(expected)
    assert [place(file["name"]) for file in found["files"]] == list(range(FILES))
    assert found["counts"] == wanted["counts"]
    assert [in_one_capture(finding) for finding in found["findings"]] == [
        without_name(finding) for finding in wanted["findings"]
    ]
    crossing = sum(len(finding["pqaudit"]["capture"]["files"]) > 1 for finding in found["findings"])
    assert 0.30 < crossing / len(found["findings"]) < 0.37
