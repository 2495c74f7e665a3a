"""That the servers the other tests rely on are real: what they acknowledge survives a crash, and their limits bite."""

from __future__ import annotations

from tests.searchserver.node import Node


def test_answers(search_server: Node) -> None:
    status, answer = search_server.request("GET", "/")
    assert (status, answer["version"]["number"]) == (200, search_server.version)
