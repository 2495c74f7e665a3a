"""Files that are hashed while they are read, so that what is hashed is what was read."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from pqaudit.finding.json_text import Octets

Progress = Callable[[int], None]


class HashedOctets:
    """A file of which everything that is read is hashed.

    Args:
        progress: takes how many octets were read.

    Attributes:
        octets: how many were read so far.
    """

    def __init__(self, file: Octets, progress: Progress | None = None) -> None:
        self._file = file
        self._progress = progress
        self.octets = 0
        self._digest = sha256()

    @property
    def sha256(self) -> str:
        """Of all that was read so far."""
        return self._digest.hexdigest()

    def read(self, size: int = -1, /) -> bytes:
        """As of a file."""
        return self._seen(self._file.read(size))

    def readline(self, size: int = -1, /) -> bytes:
        """As of a file."""
        return self._seen(self._file.readline(size))

    def _seen(self, octets: bytes) -> bytes:
        self.octets += len(octets)
        self._digest.update(octets)
        if self._progress is not None:
            self._progress(len(octets))
        return octets

    def read_rest(self) -> None:
        """Read to the end."""
        while self.read(1 << 20):
            pass
