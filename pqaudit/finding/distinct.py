"""Findings of files in which an SA may stand several times, as runs that were put together hold it."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from hashlib import sha256
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

from pqaudit.finding.document import Document
from pqaudit.finding.reading import Note, Unread, findings_in

_ID_OCTETS = 20


class DistinctFindings(AbstractContextManager["DistinctFindings"]):
    """Reads files of findings so that of several findings of one SA the last counts.

    Which one is the last shows at the end, so files are read twice where an SA stands twice. What can be read only
    once, a pipe for one, goes through a temporary file. Of every SA the identifier alone is kept in memory.

    Args:
        paths: files; ``-`` is standard input.
        note: takes what could not be read, once.
    """

    def __init__(self, paths: Sequence[str], note: Note) -> None:
        self._paths = paths
        self._note = note
        self._kept: dict[int, IO[bytes]] = {}
        self._open = ExitStack()
        self._seen: set[bytes] = set()
        self._last: dict[bytes, int] = {}
        self._total = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def repeated(self) -> bool:
        """Whether an SA was seen several times by ``every``."""
        return bool(self._last)

    def every(self) -> Iterator[Document]:
        """All findings, those that are superseded later among them; to be read to the end, once."""
        for finding in self._read(self._note):
            key = _key(finding)
            if key in self._seen:
                self._last[key] = self._total
            else:
                self._seen.add(key)
            self._total += 1
            yield finding
        self._seen.clear()

    def last(self) -> Iterator[Document]:
        """The last finding of each SA, after ``every``."""
        for number, finding in enumerate(self._read(lambda unread: None)):
            if number == self._total:
                return  # a file that grew in between
            if not self._last or self._last.get(_key(finding), number) == number:
                yield finding

    def _read(self, note: Note) -> Iterator[Document]:
        for index, path in enumerate(self._paths):
            try:
                with ExitStack() as stack:
                    yield from findings_in(self._opened(index, path, stack), path, note)
            except OSError as error:
                note(Unread(path, None, f"cannot be read: {error.strerror or error}"))

    def _opened(self, index: int, path: str, stack: ExitStack) -> IO[bytes]:
        kept = self._kept.get(index)
        if kept is None and path != "-" and stat.S_ISREG(os.stat(path).st_mode):
            return stack.enter_context(open(path, "rb", buffering=1 << 20))
        if kept is None:
            kept = self._kept[index] = self._open.enter_context(TemporaryFile())  # noqa: SIM115
            source = nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb")  # noqa: SIM115
            try:
                shutil.copyfileobj(stack.enter_context(source), kept)
            except OSError:
                kept.truncate(0)  # so that a second reading gives nothing either
                raise
        kept.seek(0)
        return kept


def _key(finding: Document) -> bytes:
    return sha256(finding["event"]["id"].encode("utf-8", "surrogatepass")).digest()[:_ID_OCTETS]
