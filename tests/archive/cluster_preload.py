"""Loaded by every worker of the tests' clusters: captures with certain names kill it, or hold it up.

Each start of reading such a capture is a line in a file beside it, written by one call, so that none is lost.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pqaudit.archive import cluster_tasks

_read = cluster_tasks.read_inputs


def _read_or_die(sources: Sequence[str], *arguments: Any, **options: Any) -> None:
    for source in sources:
        name = Path(source).name
        if "deadly" in name:
            note_start(source)
            os.kill(os.getpid(), signal.SIGKILL)
        if "held" in name:
            note_start(source)
            while not Path(source).with_suffix(".go").exists():
                time.sleep(0.02)
    _read(sources, *arguments, **options)


def note_start(source: str) -> None:
    file = os.open(Path(source).with_suffix(".starts"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{os.getpid()}\n".encode())
    os.close(file)


cluster_tasks.read_inputs = _read_or_die  # type: ignore[assignment]
