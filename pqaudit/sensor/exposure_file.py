"""Tunnels by their traffic as JSON lines, in a file that is replaced as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pqaudit.finding.document import Document
from pqaudit.outputs.jsonl import line_of

FILE_NAME = "exposure.jsonl"


def write_exposure(path: Path, documents: Iterable[Document]) -> None:
    """Replace the file: after any end it holds all lines of this time, or of the time before. Raises OSError."""
    part = path.with_name(f".{path.name}.new")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        for document in documents:
            file.write(line_of(document))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_exposure(path: Path) -> Iterator[Document]:
    """What the file holds; nothing when there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it does not hold JSON.
    """
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def set_aside(path: Path) -> Path:
    """Rename a file that is damaged; it is never deleted. Where it is then. Raises OSError."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.rename(aside)
    return aside
