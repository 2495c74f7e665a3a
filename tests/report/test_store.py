"""The database of a report."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from threading import Timer

import pytest

from pqaudit.report import gathering, parts, store
from pqaudit.report.store import Store, StoreError
from tests.finding.made import made_findings
from tests.policy.make import registry
from tests.report.make import lines, reported


def test_it_goes_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Store(registry()):
        (folder,) = tmp_path.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())


def test_what_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_MEMORY", "1MB")
    with pytest.raises(StoreError) as error, reported(lines(made_findings(200))):
        pass
    assert str(error.value).startswith("the database of the report, in a temporary folder, failed: ")
    assert "\n" not in str(error.value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(StoreError, match="No such file"):
        Store(registry())


def test_threads_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small parts at once, each with what none before it had."""
    monkeypatch.setattr(parts, "PART", 1)
    monkeypatch.setattr(gathering, "_MOST_WORKERS", 8)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for seed in range(2):
        with reported(lines(made_findings(120, seed))) as report:
            assert len({sa.id for sa in report.sas}) == len(report.sas) == 120


def test_an_interrupt_while_a_query_runs_is_one() -> None:
    """The database makes an error of its own of it, which would pass for a fault of ours."""
    with Store(registry()) as store:
        timer = Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt), store.cursor() as cursor:
            cursor.execute("SELECT sum(a.range * b.range) FROM range(10000000) a, range(100) b")
        timer.join()
