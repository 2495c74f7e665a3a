"""The octets of one input as they come from the file or pipe, counted and hashed on the way."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Protocol

from pqaudit.capture.faults import InputFault
from pqaudit.capture.shown import scheme_of

if TYPE_CHECKING:
    from hashlib import _Hash

STANDARD_INPUT = "-"


def only_here(source: str) -> bool:
    """True for what no other process can open by this name: the standard input, and descriptors as in ``<(zcat a.gz)``.

    Another one would find its own, or nothing.
    """
    if source == STANDARD_INPUT:
        return True
    if scheme_of(source) is not None:
        return False
    folders = ("/dev/fd/", "/proc/self/", "/proc/thread-self/", f"/proc/{os.getpid()}/")
    path = os.path.abspath(source)
    return path == "/dev/stdin" or path.startswith(folders)


class OctetSource(Protocol):
    """Anything that octets can be taken from, piece by piece."""

    def readinto(self, target: memoryview) -> int:
        """Put the next octets, at least one, into ``target`` and return their number; 0 at the end.

        Returns as soon as there is something, so that a pipe gives its frames without delay. Raises InputFault.
        """
        ...


class RawOctets:
    """A file or pipe. What is taken from it is reported to ``progress`` and added to ``digest``."""

    def __init__(
        self,
        stream: BinaryIO | io.RawIOBase,
        *,
        progress: Callable[[int], None] | None = None,
        digest: _Hash | None = None,
    ) -> None:
        self._read = _at_most_one_read(stream)
        self._progress = progress
        self._digest = digest

    def readinto(self, target: memoryview) -> int:
        """See ``OctetSource``. An error of the operating system becomes an InputFault."""
        try:
            count = self._read(target)
            if count is None:
                raise BlockingIOError("the stream is non-blocking and has nothing to give")
        except (OSError, ValueError) as error:
            raise InputFault("read-error", f"Reading failed: {reason(error)}; everything before was read.") from error
        if count:
            if self._digest is not None:
                self._digest.update(target[:count])
            if self._progress is not None:
                self._progress(count)
        return count


def _at_most_one_read(stream: BinaryIO | io.RawIOBase) -> Callable[[memoryview], int | None]:
    """The method of ``stream`` that returns what is there instead of waiting until the target is full."""
    if isinstance(stream, io.BufferedIOBase):
        return stream.readinto1
    if isinstance(stream, io.RawIOBase):
        return stream.readinto

    def read(target: memoryview) -> int | None:
        piece: bytes | None = stream.read(len(target))
        if piece is None:
            return None
        target[: len(piece)] = piece
        return len(piece)

    return read


@contextmanager
def opened(source: str, stream: BinaryIO | None) -> Iterator[BinaryIO | io.RawIOBase]:
    """The stream of a path or URL, unbuffered; closed at the end unless it is the standard input. Raises InputFault."""
    if source == STANDARD_INPUT:
        standard = stream if stream is not None else getattr(sys.stdin, "buffer", None)
        if standard is None:
            raise InputFault("unreadable", "There is no standard input to read from.")
        yield standard
        return
    if scheme_of(source) is not None:
        # Imported here: most captures are local, and the command line should start fast.
        from pqaudit.capture.remote_stream import RemoteStream

        with RemoteStream(source) as remote:
            yield remote
        return
    try:
        # The readers keep a buffer of their own; a second one would only copy.
        file = open(source, "rb", buffering=0)  # noqa: SIM115 - closed below; only the opening may be caught here
    except (OSError, ValueError) as error:
        raise cannot_open(error) from error
    with file:
        yield file


def cannot_open(error: Exception) -> InputFault:
    """The fault for an error met while opening a file or listing a directory."""
    if isinstance(error, FileNotFoundError):
        return InputFault("missing", "There is no such file or directory.")
    return InputFault("unreadable", f"It cannot be opened: {reason(error)}.")


def reason(error: Exception) -> str:
    """The operating system's own words for ``error``, without number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
