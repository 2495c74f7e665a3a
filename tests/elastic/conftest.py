from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pqaudit.elastic.connection import Connection
from pqaudit.elastic.dead_letters import DeadLetters
from pqaudit.elastic.delivery import Delivery
from pqaudit.elastic.server import connect
from pqaudit.elastic.spool import Spool
from tests.elastic.findings import TEMPLATE, union
from tests.searchserver.node import Node

NewDelivery = Callable[..., Delivery]
_PAGE = 5000


@pytest.fixture
def new_delivery(tmp_path: Path) -> NewDelivery:
    """Makes a delivery to a URL, with a spool of its own in the test's folder unless one is named."""

    def make(url: str, *, patience: float | None = 20.0, timeout: float = 20.0, spool: str = "spool") -> Delivery:
        folder = tmp_path / spool
        connection = Connection(url, timeout=timeout)
        return Delivery(Spool(folder), lambda: connect(connection), union, DeadLetters(folder), patience)

    return make


def put_template(node: Node, **mappings: object) -> None:
    """The mapping that the tests' findings need."""
    body = {**TEMPLATE, "template": {**TEMPLATE["template"], **mappings}} if mappings else TEMPLATE
    status, answer = node.request("PUT", "/_index_template/pqaudit-tests", body)
    assert status == 200, answer


def stored(node: Node) -> dict[str, list[dict[str, object]]]:
    """Everything the server holds, by ``_id``; a list, so that a finding in two indices shows."""
    found: dict[str, list[dict[str, object]]] = {}
    for id_, source in documents(node):
        found.setdefault(id_, []).append(source)
    return found


def documents(node: Node) -> Iterator[tuple[str, dict[str, object]]]:
    """Everything the server holds, as ``_id`` and document, in the order of IDs."""
    node.request("POST", "/pqaudit-sa-*/_refresh")
    after: list[object] = []
    while True:
        query: dict[str, object] = {"size": _PAGE, "sort": [{"event.id": "asc"}], "query": {"match_all": {}}}
        if after:
            query["search_after"] = after
        status, answer = node.request("POST", "/pqaudit-sa-*/_search", query)
        assert status == 200, answer
        hits = answer["hits"]["hits"]
        yield from ((hit["_id"], hit["_source"]) for hit in hits)
        if len(hits) < _PAGE:
            return
        after = hits[-1]["sort"]


def count(node: Node) -> int:
    node.request("POST", "/pqaudit-sa-*/_refresh")
    return int(node.request("GET", "/pqaudit-sa-*/_count")[1]["count"])
