"""The fixture of a running S3 server: it starts when first asked for and serves the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.objectstore.store import ObjectStore


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """Shared, so use a bucket of your own."""
    with ObjectStore() as store:
        yield store
