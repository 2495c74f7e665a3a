"""The octets of a remote input from beginning to end, with little of it in memory and none of it on disk."""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from pqaudit.capture.faults import InputFault
from pqaudit.capture.remote import HTTP, located
from pqaudit.capture.remote_faults import may_succeed, remote_fault
from pqaudit.capture.shown import scheme_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Measured with 25 ms for each request: 8 MiB with one block fetched ahead reads twice as fast as 5 MiB, or as one block
# at a time. At most three blocks are held.
_BLOCK = 8 * 1024 * 1024
_BLOCKS_HELD = 3
_SFTP_BLOCK = 4 * 1024 * 1024
_TRIES = 4
_FIRST_PAUSE_SECONDS = 0.5


class _Part(NamedTuple):
    """An input opened at some offset. Parts with the same ``mark`` are of the same content; None tells nothing."""

    read: Callable[[int], bytes]
    close: Callable[[], None]
    mark: object


class RemoteStream(io.RawIOBase):
    """A remote input, read forwards.

    When the network or the server fails over HTTP and SFTP, reading goes on from the same offset a few times, if the
    input can be shown to be the same. The libraries of object stores do that themselves. What an HTTP server sent just
    before it broke off for good may be lost, 128 KiB at most, as its library keeps it.
    """

    def __init__(self, source: str, at: tuple[AbstractFileSystem, str] | None = None, most: int | None = None) -> None:
        """``at`` is where it was located already; ``most`` is how much will be read. Raises InputFault."""
        self._source = source
        self._most = most
        self._offset = 0
        self._resumable = scheme_of(source) in ("http", "https", "sftp", "ssh")
        try:
            self._part = self._opened(at or located(source))
        except Exception as error:
            raise remote_fault(error, source) from error

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, target: Any) -> int:
        """Put the next octets into ``target``; 0 at the end. Raises InputFault."""
        wanted = len(target)
        octets = self._read(wanted)
        target[: len(octets)] = octets
        self._offset += len(octets)
        return len(octets)

    def close(self) -> None:
        """Close the connection or give it back."""
        part: _Part | None = self.__dict__.pop("_part", None)
        super().close()
        if part is not None:
            with suppress(Exception):  # what was to be read was read
                part.close()
            del part
            # The libraries leave cycles that hold blocks, and an audit runs without the collector.
            if not gc.isenabled():
                gc.collect(0)

    def _read(self, wanted: int) -> bytes:
        try:
            return self._part.read(wanted)
        except Exception as error:
            failed = error
        pause = _FIRST_PAUSE_SECONDS
        for _ in range(_TRIES - 1):
            if not self._resumable or self._part.mark is None or not may_succeed(failed):
                break
            time.sleep(pause)
            pause *= 2
            try:
                self._resume()
                return self._part.read(wanted)
            except InputFault:
                continue  # the server cannot be reached yet; why it was lost is what is told
            except Exception as error:
                failed = error
        raise remote_fault(failed, self._source, begun=True) from failed

    def _resume(self) -> None:
        filesystem, path = located(self._source)
        if scheme_of(self._source) in ("sftp", "ssh"):
            type(filesystem).clear_instance_cache()  # the connection is lost
            filesystem, path = located(self._source)
        part = self._opened((filesystem, path))
        if part.mark != self._part.mark:
            part.close()
            raise _ChangedError("it was changed meanwhile")
        broken, self._part = self._part, part
        with suppress(Exception):
            broken.close()

    def _opened(self, at: tuple[AbstractFileSystem, str]) -> _Part:
        filesystem, path = at
        scheme = scheme_of(self._source)
        if scheme in HTTP:
            return _http(filesystem, path, self._offset, self._most)
        if scheme in ("sftp", "ssh"):
            return _sftp(filesystem, path, self._offset)
        file = filesystem.open(
            path, "rb", block_size=_BLOCK, cache_type="background", cache_options={"maxblocks": _BLOCKS_HELD}
        )
        return _Part(file.read, file.close, None)


class _ChangedError(ValueError):
    """A ValueError, so that nothing is tried again."""


def _http(filesystem: AbstractFileSystem, path: str, offset: int, most: int | None) -> _Part:
    """One answer, taken as it comes: that needs neither ranges nor a length, and the socket reads ahead."""
    headers = dict(filesystem.kwargs.get("headers", {})) | {"Accept-Encoding": "identity"}
    if offset or most:
        headers["Range"] = f"bytes={offset}-{offset + most - 1 if most else ''}"
    # Some size is given, since without one the server is asked for it first.
    file = filesystem.open(path, "rb", block_size=0, size=1, headers=headers)
    answer = file.r
    partial = answer.status == 206  # Partial Content
    if offset and not (partial and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")):
        file.close()
        raise _ChangedError("the server broke off and does not continue where it ended")
    mark = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        mark = None  # offsets are those of other octets
    return _Part(file.read, file.close, mark)


def _sftp(filesystem: AbstractFileSystem, path: str, offset: int) -> _Part:
    """Blocks for which all requests are sent at once; a request for each 32 KiB in turn would wait for each answer."""
    file = filesystem.open(path, "rb")
    found = file.stat()
    held = b""
    given = 0

    def read(wanted: int) -> bytes:
        nonlocal held, given, offset
        if given == len(held):
            ask = min(_SFTP_BLOCK, found.st_size - offset)
            held, given = b"".join(file.readv([(offset, ask)])) if ask > 0 else b"", 0
            offset += len(held)
        octets = held[given : given + wanted]
        given += len(octets)
        return octets

    return _Part(read, file.close, (found.st_size, found.st_mtime))
