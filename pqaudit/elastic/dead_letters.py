"""Findings that a server refused for good, kept aside with its reason."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pqaudit.elastic.spool import Entry

FILE_NAME = "dead-letters.jsonl"
DEFAULT_OCTETS = 256 << 20


class Refusal(NamedTuple):
    """A finding and why it was refused: HTTP status (0 when it was not the server), error type, words."""

    entry: Entry
    status: int
    type: str
    reason: str


class DeadLetters:
    """A file of JSON lines, each a finding under ``finding`` with the server's reason; bounded in size.

    Args:
        folder: where the file lies, that of the spool.
        most_octets: size at which nothing more is written; what is then left out is counted in ``left_out``.
    """

    def __init__(self, folder: Path, most_octets: int = DEFAULT_OCTETS) -> None:
        self.path = folder / FILE_NAME
        self._most_octets = most_octets
        self.left_out = 0

    def keep(self, refusals: Sequence[Refusal]) -> None:
        """Write refusals to disk before the spool lets go of them.

        Raises:
            OSError: they could not be written; they then stay in the spool.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            octets = file.tell()
            for refusal in refusals:
                line = json.dumps(
                    {
                        "time": now,
                        "status": refusal.status,
                        "type": refusal.type,
                        "reason": refusal.reason,
                        "finding": json.loads(refusal.entry.body),
                    },
                    ensure_ascii=False,
                ).encode()
                octets += len(line) + 1
                if octets > self._most_octets:
                    self.left_out += 1
                    continue
                file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
