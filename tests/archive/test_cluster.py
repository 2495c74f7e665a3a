"""Reading on a Dask cluster gives, octet for octet, what reading on one machine gives, also when workers die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import distributed
import pytest

import pqaudit
from bench import corpus
from pqaudit.archive import cluster as on_cluster
from pqaudit.archive.cluster_errors import ClusterAwayError, ClusterSetupError
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from tests import build as b
from tests.conftest import REPOSITORY, SAMPLES

DEADLINE = 120.0
FILES = 40


@contextmanager
def running_cluster(workers: int, **settings: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of a cluster whose workers load the preload of the tests."""
    environment = dict(os.environ) | {
        "PYTHONPATH": str(REPOSITORY),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "tests.archive.cluster_preload",
        "DASK_LOGGING__DISTRIBUTED": "critical",
        # A local cluster gives up a worker that is not back in time, however busy this machine is.
        "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1h",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.archive.cluster_process", str(workers)],
        cwd=tempfile.gettempdir(),  # the workers are not where the captures are
        env=environment | settings,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield address, process
    finally:
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with running_cluster(2) as (address, _):
        yield address


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAs over two files each, captures that are damaged, no captures at all, and full of what is not IKE."""
    folder = corpus.write_many(tmp_path_factory.mktemp("archive"), FILES)
    whole = (SAMPLES / "hybrid_x25519_mlkem768.pcap").read_bytes()
    (folder / "00003-cut.pcap").write_bytes(whole[:-20])
    (folder / "00007-text.pcap").write_text("no capture at all")
    fault = b.udp_frame(b.message(b.INIT, [], spi_i=bytes(8)))
    for number in (5, 15, 25):
        b.pcap([fault] * (100 * number), folder / f"{number:05d}-faults.pcap")
    return folder


@pytest.fixture
def copy(archive: Path, tmp_path: Path) -> Path:
    """A copy of the archive, for tests that add to it."""
    return Path(shutil.copytree(archive, tmp_path / "archive"))


def audit(*arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    with started(*arguments, **settings) as process:
        out, err = process.communicate(timeout=DEADLINE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def started(*arguments: str | Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "pqaudit", "audit", "--format", "json", "--sensor", "x", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=dict(os.environ) | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def every(folder: Path) -> list[Path]:
    """All captures of a folder, named, and one that is missing."""
    return [*sorted(folder.glob("*.pcap")), folder / "missing.pcap"]


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def starts(capture: Path) -> list[int]:
    """Process IDs of the workers that began to read it."""
    file = capture.with_suffix(".starts")
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def test_the_result_is_that_of_one_machine(cluster: str, archive: Path) -> None:
    captures = every(archive)
    expected = audit("--workers", "1", *captures)
    found = audit("--cluster", cluster, *captures)
    assert found.stdout == expected.stdout
    assert (found.returncode, found.stderr) == (expected.returncode, expected.stderr)
    assert expected.returncode == 3
    document = json.loads(found.stdout)
    assert len(document["files"]) == len(captures) - 1  # one is missing
    assert document["counts"]["sas"] > FILES // 2
    assert len(document["anomalies"]) == 1000
    assert document["counters"]["anomalies-not-listed"] > 1000
    crossing = [f for f in document["findings"] if len(f["pqaudit"]["capture"]["files"]) > 1]
    assert len(crossing) > FILES // 2


def test_samples(cluster: str) -> None:
    folder = SAMPLES.relative_to(REPOSITORY)
    expected = audit("--workers", "1", folder)
    found = audit("--cluster", cluster, folder)
    assert found.stdout == expected.stdout
    assert found.returncode == expected.returncode == 0


def test_a_worker_that_is_killed_is_replaced_and_its_captures_are_read_again(cluster: str, copy: Path) -> None:
    held = copy / "00010-held.pcap"
    held.write_bytes((SAMPLES / "hybrid_x25519_mlkem768.pcap").read_bytes())
    expected = audit("--workers", "1", *every(copy))
    with started("--cluster", cluster, *every(copy)) as process:
        wait_for(lambda: len(starts(held)) == 1)
        os.kill(starts(held)[0], signal.SIGKILL)
        held.with_suffix(".go").touch()
        out, err = process.communicate(timeout=DEADLINE)
    assert out == expected.stdout
    assert (process.returncode, err) == (expected.returncode, expected.stderr)
    first, second = starts(held)
    assert first != second


def test_captures_that_kill_workers_are_set_aside_after_three_tries(cluster: str, copy: Path) -> None:
    expected = json.loads(audit("--workers", "1", *every(copy)).stdout)
    deadly = [copy / "00010-deadly.pcap", copy / "00030-deadly.pcap"]
    for capture in deadly:
        capture.write_bytes((SAMPLES / "hybrid_x25519_mlkem768.pcap").read_bytes())
    found = audit("--cluster", cluster, *every(copy))
    assert found.returncode == 3
    assert [len(starts(capture)) for capture in deadly] == [3, 3]
    for capture in deadly:
        assert f"pqaudit: error: {capture}: The process that read it died 3 times; nothing of it is in" in found.stderr
    document = json.loads(found.stdout)
    set_aside = [note for note in document["notes"] if note["id"] == "reader-died"]
    assert [note["file"] for note in set_aside] == [str(capture) for capture in deadly]
    document["notes"] = [note for note in document["notes"] if note not in set_aside]
    assert document == expected


def test_a_scheduler_that_gives_up_at_once_sets_no_innocent_capture_aside(copy: Path) -> None:
    expected = json.loads(audit("--workers", "1", copy).stdout)
    deadly = copy / "00020-deadly.pcap"
    deadly.write_bytes((SAMPLES / "hybrid_x25519_mlkem768.pcap").read_bytes())
    with running_cluster(1, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as (address, process):
        found = audit("--cluster", address, copy)
        assert len(starts(deadly)) == 3
        document = json.loads(found.stdout)
        assert [note["file"] for note in document["notes"] if note["id"] == "reader-died"] == [str(deadly)]
        assert document["findings"] == expected["findings"]
        assert document["files"] == expected["files"]
        # The same cluster loses its scheduler in the middle of a run.
        held = copy / "00010-held.pcap"
        held.write_bytes(deadly.read_bytes())
        with started("--cluster", address, held) as audited:
            wait_for(lambda: bool(starts(held)))
            os.killpg(process.pid, signal.SIGKILL)
            out, err = audited.communicate(timeout=DEADLINE)
    assert (audited.returncode, out) == (5, "")
    assert err.startswith("Error: The scheduler of the cluster went away")
    assert err.count("\n") == 1


def test_an_interrupt_prints_what_was_read_and_leaves_the_work_of_others(cluster: str, copy: Path) -> None:
    held = copy / "00010-held.pcap"
    held.write_bytes((SAMPLES / "hybrid_x25519_mlkem768.pcap").read_bytes())
    with distributed.Client(cluster, set_as_default=False) as client:
        with started("--cluster", cluster, *every(copy)) as process:
            wait_for(lambda: bool(starts(held)))
            theirs = client.submit(pow, 7, 2, key="theirs")
            assert theirs.result(timeout=DEADLINE) == 49
            wait_for(lambda: len(client.scheduler_info()["workers"]) == 2)
            time.sleep(1)  # the other worker reads the rest meanwhile
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=DEADLINE)
        held.with_suffix(".go").touch()
        assert process.returncode == 130
        assert "interrupted; this is what was found so far" in err
        document = json.loads(out)
        assert not document["complete"]
        assert 0 < len(document["files"]) < len(every(copy))
        assert str(held) not in [file["name"] for file in document["files"]]
        assert theirs.status == "finished"
        wait_for(lambda: not [key for key in client.run_on_scheduler(_keys) if str(key).startswith("pqaudit-")])


def _keys(dask_scheduler: distributed.Scheduler) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks]


def test_a_worker_with_another_version_is_named(cluster: str) -> None:
    with distributed.Client(cluster, set_as_default=False) as client:
        worker = sorted(client.nthreads())[0]
        client.run(_pretend, "0.0.1", workers=[worker])
        try:
            found = audit("--cluster", cluster, SAMPLES)
        finally:
            client.run(_pretend, pqaudit.__version__, workers=[worker])
    assert (found.returncode, found.stdout) == (2, "")
    assert f"Error: Workers do not have pqaudit {pqaudit.__version__}" in found.stderr
    assert f"{worker} (0.0.1); install it there." in found.stderr


def test_a_worker_with_another_version_that_comes_later_is_named(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_cluster, "_check_editions", lambda client: None)
    with distributed.Client(cluster, set_as_default=False) as client:
        client.run(_pretend, "0.0.1")
        try:
            with pytest.raises(ClusterSetupError, match=r"^The worker tcp://\S+ has pqaudit 0\.0\.1 and this machine"):
                on_cluster.read_on_cluster([str(SAMPLES)], AuditRun(), ReadOptions(), cluster, tell=print)
        finally:
            client.run(_pretend, pqaudit.__version__)


def test_a_worker_without_pqaudit_is_named(cluster: str) -> None:
    with distributed.Client(cluster, set_as_default=False) as client:
        worker = sorted(client.nthreads())[0]
        client.run(_hide, workers=[worker])
        try:
            found = audit("--cluster", cluster, SAMPLES)
        finally:
            client.run(_show, workers=[worker])
    assert (found.returncode, found.stdout) == (2, "")
    assert f"{worker} (without pqaudit" in found.stderr


def _hide() -> None:
    """An entry of None stands for a module that cannot be imported."""
    for name in [name for name in sys.modules if name == "pqaudit" or name.startswith("pqaudit.")]:
        sys.modules[f"hidden {name}"] = sys.modules.pop(name)
    sys.modules["pqaudit"] = None  # type: ignore[assignment]


def _show() -> None:
    del sys.modules["pqaudit"]
    for name in [name for name in sys.modules if name.startswith("hidden ")]:
        sys.modules[name.removeprefix("hidden ")] = sys.modules.pop(name)


def _pretend(version: str) -> None:
    pqaudit.__version__ = version


def test_tls_with_the_certificates_of_dasks_configuration(tmp_path: Path) -> None:
    made = distributed.Security.temporary()
    parts = {"ca-file": made.tls_ca_file}
    for role in ("client", "scheduler", "worker"):
        parts |= {f"{role}.cert": getattr(made, f"tls_{role}_cert"), f"{role}.key": getattr(made, f"tls_{role}_key")}
    settings = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    for name, text in parts.items():
        file = tmp_path / f"{name}.pem"
        file.write_text(text)
        setting = name.upper().replace("-", "_").replace(".", "__")
        settings[f"DASK_DISTRIBUTED__COMM__TLS__{setting}"] = str(file)
    with running_cluster(1, **settings) as (address, _):
        assert address.startswith("tls://")
        found = audit("--cluster", address, SAMPLES, **settings)
        without = audit("--cluster", address, SAMPLES)
    assert found.returncode == 0
    assert found.stdout == audit("--workers", "1", SAMPLES).stdout
    assert (without.returncode, without.stdout) == (2, "")
    assert without.stderr.splitlines()[-1] == "Error: " + TLS_NEEDED


TLS_NEEDED = "tls:// needs certificates in Dask's settings: distributed.comm.tls.ca-file, client.cert and client.key"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tls://127.0.0.1:8786", f"^{TLS_NEEDED}$"),
        ("127.0.0.1", "^127.0.0.1 is no address of a scheduler; give tcp://host:8786 or tls://host:8786$"),
        ("ucx://127.0.0.1:8786", "is no address of a scheduler"),
        ("missing.json", "^missing.json cannot be read: No such file or directory$"),
    ],
)
def test_addresses_that_cannot_be_one(address: str, sentence: str) -> None:
    with pytest.raises(ClusterSetupError, match=sentence):
        on_cluster.read_on_cluster([], AuditRun(), ReadOptions(), address, tell=print)


def test_workers_that_cannot_be_reached_are_told_and_the_scheduler_brings_what_they_found(
    cluster: str, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reaches(client: distributed.Client) -> bool:
        return False

    monkeypatch.setattr(on_cluster, "_reaches_workers", reaches)
    told: list[str] = []
    run = AuditRun()
    sources = [str(path) for path in every(archive)]
    on_cluster.read_on_cluster(sources, run, ReadOptions(), cluster, tell=told.append)
    expected = AuditRun()
    read_inputs(sources, expected, ReadOptions())
    assert list(run.table.associations()) == list(expected.table.associations())
    assert (run.files, run.notes, run.anomalies) == (expected.files, expected.notes, expected.anomalies)
    assert [text.partition(" from here")[0] for text in told] == ["the workers cannot be reached"]


def test_an_address_where_nothing_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        run = AuditRun()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(on_cluster, "CONNECT_SECONDS", 1.0)
            with pytest.raises(ClusterAwayError, match="No scheduler can be reached at tcp"):
                on_cluster.read_on_cluster([], run, ReadOptions(), address, tell=print)


def test_no_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(on_cluster, "WORKERS_SECONDS", 1.0)
    told: list[str] = []
    with running_cluster(0) as (address, _):
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": address}))
        with pytest.raises(ClusterAwayError, match="has no workers"):
            on_cluster.read_on_cluster([], AuditRun(), ReadOptions(), str(file), tell=told.append)
    assert told == ["the cluster has no workers; waiting up to 1 seconds for the first"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-",), "standard input for one, cannot be used with --cluster"),
        (("/dev/fd/0",), "standard input for one, cannot be used with --cluster"),
        (("--keys", "keys", "samples"), "--keys cannot be used with --cluster"),
        (("--workers", "2", "samples"), "--workers is for reading on this machine"),
    ],
)
def test_what_does_not_go_with_a_cluster(arguments: tuple[str, ...], sentence: str) -> None:
    found = audit("--cluster", "tcp://127.0.0.1:8786", *arguments)
    assert found.returncode == 2
    assert sentence in found.stderr


def test_a_journal_is_filled_by_a_cluster(cluster: str, archive: Path, tmp_path: Path) -> None:
    captures = every(archive)
    expected = audit("--workers", "1", *captures)
    first = audit("--cluster", cluster, "--journal", tmp_path / "journal", *captures)
    assert first.stdout == expected.stdout
    again = audit("--journal", tmp_path / "journal", *captures[:-1])
    assert "0 read" in again.stderr
