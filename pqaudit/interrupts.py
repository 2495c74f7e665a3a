"""Ctrl-C as a flag, for work that must not be torn in the middle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PATIENCE = 2


@contextmanager
def held_interrupts() -> Iterator[Callable[[], int]]:
    """Inside, SIGINT raises nothing; what is given says how often it came. The third one raises: it is meant.

    Outside of the main thread signals do not arrive, and the answer stays 0.
    """
    came = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came > _PATIENCE:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)
