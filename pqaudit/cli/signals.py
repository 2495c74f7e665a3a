"""Ends of a process that leave nothing behind: no other process, no temporary folder."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Signals that would end this process at once end it in order, as an exception does."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class ReaderGoneError(Exception):
    """Who reads standard output went away. No ``OSError``, so that nobody takes it for a full disk."""


@contextmanager
def quiet_when_reader_goes() -> Iterator[None]:
    """End as other filters do, quietly, when `ReaderGoneError` comes; what is inside has been cleaned up by then."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN) if hasattr(signal, "SIGPIPE") else None
    try:
        yield
    except ReaderGoneError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    finally:
        if before is not None:
            signal.signal(signal.SIGPIPE, before)
