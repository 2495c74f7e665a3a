"""Ctrl-C is held twice, and the third time it ends what is going on."""

from __future__ import annotations

import signal
import threading

import pytest

from pqaudit.interrupts import held_interrupts


def test_two_are_held_and_counted_and_a_third_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    with held_interrupts() as came:
        assert came() == 0
        for count in (1, 2):
            signal.raise_signal(signal.SIGINT)
            assert came() == count
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_left_alone() -> None:
    found: list[int] = []

    def work() -> None:
        with held_interrupts() as came:
            found.append(came())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [0]
