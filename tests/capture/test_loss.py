"""What is remembered of losses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.capture.live import Statistics
from pqaudit.capture.loss import Loss, LossLog

SECOND = 1_000_000_000


def test_intervals_come_from_statistics() -> None:
    log = LossLog()
    assert log.observe(0, Statistics(5, 2, 1)) is None
    assert log.observe(SECOND, Statistics(50, 2, 1)) is None
    assert log.observe(2 * SECOND, Statistics(90, 12, 1)) == Loss(SECOND, 2 * SECOND, 10, 0)
    assert log.observe(3 * SECOND, Statistics(91, 12, 4)) == Loss(2 * SECOND, 3 * SECOND, 0, 3)
    assert log.observe(4 * SECOND, Statistics(92, 12, 4)) is None
    assert list(log) == [Loss(SECOND, 2 * SECOND, 10, 0), Loss(2 * SECOND, 3 * SECOND, 0, 3)]


def test_a_clock_that_was_set_back() -> None:
    log = LossLog()
    log.observe(10 * SECOND, Statistics())
    assert log.observe(4 * SECOND, Statistics(1, 1, 0)) == Loss(4 * SECOND, 10 * SECOND, 1, 0)
    log.blind_from(9 * SECOND)
    assert log.blind_until(8 * SECOND) == Loss(8 * SECOND, 9 * SECOND, 0, 0, blind=True)


def test_what_was_open_while_packets_were_lost() -> None:
    log = LossLog()
    log.add(Loss(10, 20, 3, 0))
    log.add(Loss(30, 40, 4, 1))
    assert log.between(0, 9) is None
    assert log.between(21, 29) is None
    assert log.between(0, 10) == Loss(10, 20, 3, 0)
    assert log.between(15, 16) == Loss(10, 20, 3, 0)
    assert log.between(20, 100) == Loss(10, 40, 7, 1)


def test_time_without_any_capture() -> None:
    log = LossLog()
    assert log.blind_until(5) is None
    log.blind_from(10)
    log.blind_from(12)
    assert log.between(0, 9) is None
    assert log.between(0, 11) == Loss(10, 11, 0, 0, blind=True)
    assert log.blind_until(30) == Loss(10, 30, 0, 0, blind=True)
    assert log.between(31, 40) is None
    log.add(Loss(28, 32, 5, 0))
    assert log.between(29, 29) == Loss(10, 32, 5, 0, blind=True)


def test_the_nearest_neighbours_become_one() -> None:
    log = LossLog(3)
    for start, end in ((0, 1), (10, 11), (13, 14), (30, 31)):
        log.add(Loss(start, end, 1, 2))
    assert list(log) == [Loss(0, 1, 1, 2), Loss(10, 14, 2, 4), Loss(30, 31, 1, 2)]
    with pytest.raises(ValueError, match="At least one"):
        LossLog(0)


SPANS = st.tuples(st.integers(0, 1000), st.integers(0, 50), st.integers(0, 9), st.integers(0, 9), st.booleans())


@given(st.lists(SPANS, max_size=60), st.integers(1, 8), st.integers(0, 1100), st.integers(0, 100))
def test_the_list_is_bounded_and_forgets_nothing(
    spans: list[tuple[int, int, int, int, bool]], most: int, start: int, length: int
) -> None:
    log = LossLog(most)
    exact = LossLog(1000)
    for begin, lasting, dropped, interface_dropped, blind in spans:
        loss = Loss(begin, begin + lasting, dropped, interface_dropped, blind)
        log.add(loss)
        exact.add(loss)
        assert len(log) <= most
    assert sum(loss.dropped for loss in log) == sum(span[2] for span in spans)
    assert sum(loss.interface_dropped for loss in log) == sum(span[3] for span in spans)
    found, expected = log.between(start, start + length), exact.between(start, start + length)
    if expected is not None:
        assert found is not None
        assert found.start <= expected.start
        assert found.end >= expected.end
        assert found.dropped >= expected.dropped
        assert found.blind >= expected.blind
