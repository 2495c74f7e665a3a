"""The fixture of two hosts of the tests' own, joined by a cable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.capture.network import Network


@pytest.fixture
def network() -> Iterator[Network]:
    """Made for one test."""
    made = Network()
    try:
        yield made
    finally:
        made.close()
