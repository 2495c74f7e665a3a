"""What travels between the counting process and the sensor, without a capture."""

from __future__ import annotations

import contextlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.capture.privileges import Account
from pqaudit.exposure.table import Exposure, ExposureTable
from pqaudit.sensor.capture_wire import Kind, Unpacker
from pqaudit.sensor.exposure_wire import (
    ExposureOptions,
    pack_exposure,
    pack_exposure_options,
    unpack_exposure,
    unpack_exposure_options,
)

ADDRESSES = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
COUNTS = st.integers(0, 2**63)
TABLES = st.dictionaries(
    st.tuples(ADDRESSES, ADDRESSES), st.builds(Exposure, COUNTS, COUNTS, COUNTS, COUNTS), max_size=5
)


@given(TABLES, st.dictionaries(st.text(max_size=5), COUNTS, max_size=2))
def test_a_table_arrives_as_it_was(pairs: dict[tuple[bytes, bytes], Exposure], counters: dict[str, int]) -> None:
    table = ExposureTable(pairs, Counter(counters))
    ((kind, octets),) = Unpacker().feed(pack_exposure(table))
    assert kind is Kind.EXPOSURE
    assert unpack_exposure(octets) == table


@given(
    st.binary(max_size=100) | st.from_regex(rb'\{"pairs": ?\[\[.{0,40}\], ?"counters": ?\{.{0,9}\}\}', fullmatch=True)
)
def test_no_octets_do_more_than_fail(octets: bytes) -> None:
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        unpack_exposure(octets)


def test_an_address_of_no_length() -> None:
    with pytest.raises(ValueError, match="4 or 16"):
        unpack_exposure(b'{"pairs": [["c00002", "c0000202", 1, 2, 3, 4]], "counters": {}}')


@pytest.mark.parametrize(
    "options",
    [ExposureOptions(("b0",)), ExposureOptions(("b0", "b1"), 1, False, Account("nobody", 65534, 65534, (65534, 7)))],
)
def test_options_arrive_as_they_were(options: ExposureOptions) -> None:
    assert unpack_exposure_options(pack_exposure_options(options)) == options


def test_what_cannot_be_sampled() -> None:
    with pytest.raises(ValueError, match="power of two"):
        ExposureOptions(("b0",), 3)
