"""What the tests of the crosscheck share: a real tshark, children of this process, and a tshark that misbehaves."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_tshark() -> None:
    """Skips a test where there is no tshark."""
    if shutil.which("tshark") is None:
        pytest.skip("optional: tshark is not here")


def children() -> set[int]:
    """Processes below this one, those that have ended and were not waited for among them."""
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        parent = waiting.pop()
        for entry in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                own = {int(each) for each in entry.read_text().split()}
            except OSError:  # a thread or process that has ended meanwhile
                continue
            waiting += own - found
            found |= own
    return found


@pytest.fixture
def no_child_left() -> object:
    """Fails a test that leaves a process behind."""
    before = children()
    yield
    deadline = time.monotonic() + 5
    while children() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children() - before


@pytest.fixture
def broken_tshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a tshark on PATH that tells a version and then does what a line of shell says."""

    def make(line: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "tshark"
        script.write_text(
            "#!/bin/sh\n"
            f'case "$1" in -v|--version) echo "TShark (Wireshark) 4.0.17."; exit 0;; esac\n'
            f"echo $$ >'{tmp_path}/pid'\n{line}\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return tmp_path / "pid"

    return make
