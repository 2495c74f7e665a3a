from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.user import User
from tests.searchserver.certificates import Authority
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture
def empty9(elasticsearch9: Node) -> Node:
    """Elasticsearch 9, empty."""
    wipe(elasticsearch9)
    return elasticsearch9


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)
