"""Two IKE daemons for the whole session, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemons.peers import Peers


@pytest.fixture(scope="session")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """Two strongSwan daemons with ML-KEM, and an interface on which all between them can be seen."""
    with Peers(tmp_path_factory.mktemp("daemons")) as both:
        yield both
