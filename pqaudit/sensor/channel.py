"""Frames and reports from the capturing process to the one that analyses, over a pair of sockets.

A message is a kind, a length and that many octets. They come from our own child only, so that marshal, which is several
times as fast as pickle here, may be used for frames.
"""

from __future__ import annotations

import marshal
import pickle
import socket
from collections import deque
from struct import Struct
from typing import Final

from pqaudit.capture.frame import Frame
from pqaudit.sensor.source import CaptureReport

FRAMES: Final = 1
REPORT: Final = 2
READY: Final = 3
FAILED: Final = 4  # a sentence

_HEAD = Struct("!BI")
_READ_OCTETS = 1 << 20


def pack_frames(frames: list[Frame]) -> bytes:
    """A message of frames."""
    rows = [(f.time, f.digits, f.link_type, f.data, f.original_length, f.source, f.number) for f in frames]
    return _message(FRAMES, marshal.dumps(rows))


def unpack_frames(body: bytes) -> list[Frame]:
    """The frames of a message."""
    return [Frame(*row) for row in marshal.loads(body)]


def pack_report(report: CaptureReport) -> bytes:
    """A message of a report."""
    return _message(REPORT, pickle.dumps(report))


def unpack_report(body: bytes) -> CaptureReport:
    """The report of a message."""
    report = pickle.loads(body)
    assert isinstance(report, CaptureReport)
    return report


def pack_ready() -> bytes:
    """The message that all interfaces are open."""
    return _message(READY, b"")


def pack_failure(sentence: str) -> bytes:
    """The message that it cannot begin or go on."""
    return _message(FAILED, sentence.encode("utf-8", "replace"))


def _message(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(kind, len(body)) + body


class Sender:
    """The end that never waits: what the other side does not take yet is kept, up to a bound for frames.

    Args:
        end: a non-blocking socket.
        most_octets: of frames that are kept.
    """

    def __init__(self, end: socket.socket, most_octets: int) -> None:
        self._end = end
        self._most = most_octets
        self._waiting: deque[memoryview] = deque()
        self.octets = 0

    def offer(self, message: bytes) -> bool:
        """Keep a message for sending; False when there is no room for it."""
        if self.octets and self.octets + len(message) > self._most:
            return False
        self.put(message)
        return True

    def put(self, message: bytes) -> None:
        """Keep a message that must arrive whatever the bound, a report for one."""
        self._waiting.append(memoryview(message))
        self.octets += len(message)

    def flush(self) -> None:
        """Send as much as the other side takes now.

        Raises:
            OSError: it is gone.
        """
        while self._waiting:
            first = self._waiting[0]
            try:
                sent = self._end.send(first)
            except BlockingIOError:
                return
            self.octets -= sent
            if sent == len(first):
                self._waiting.popleft()
            else:
                self._waiting[0] = first[sent:]


class Receiver:
    """The end that reads messages as they come; the socket is non-blocking."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._buffer = bytearray()
        self.ended = False

    def fill(self, most: int) -> None:
        """Read what is there, about ``most`` octets."""
        while len(self._buffer) < most and not self.ended:
            try:
                octets = self._end.recv(_READ_OCTETS)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if octets:
                self._buffer += octets
            else:
                self.ended = True

    def next(self) -> tuple[int, bytes] | None:
        """The next whole message as kind and body, or None."""
        if len(self._buffer) < _HEAD.size:
            return None
        kind, length = _HEAD.unpack_from(self._buffer)
        end = _HEAD.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(memoryview(self._buffer)[_HEAD.size : end])
        del self._buffer[:end]
        return kind, body
