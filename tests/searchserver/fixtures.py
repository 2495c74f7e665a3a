"""Fixtures of running search servers: each starts when first asked for and serves the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.searchserver.node import Node

ELASTICSEARCH_8 = "8.19.21"
SERVERS = ("elasticsearch9", "elasticsearch8", "opensearch")


@pytest.fixture(scope="session")
def elasticsearch9(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Elasticsearch 9; shared, so wipe() it before use."""
    with Node("elasticsearch", data=tmp_path_factory.mktemp("elasticsearch9")) as node:
        yield node


@pytest.fixture(scope="session")
def elasticsearch8(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Elasticsearch 8; shared, so wipe() it before use."""
    with Node("elasticsearch", ELASTICSEARCH_8, data=tmp_path_factory.mktemp("elasticsearch8")) as node:
        yield node


@pytest.fixture(scope="session")
def opensearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """OpenSearch; shared, so wipe() it before use."""
    with Node("opensearch", data=tmp_path_factory.mktemp("opensearch")) as node:
        yield node


@pytest.fixture(params=SERVERS)
def search_server(request: pytest.FixtureRequest) -> Node:
    """Each of the three in turn, empty."""
    node: Node = request.getfixturevalue(request.param)
    wipe(node)
    return node


def wipe(node: Node) -> None:
    """Remove what tests have left on a server: data streams, indices, templates and settings of the cluster."""
    # First, as a setting may forbid the rest.
    _expect(node, "PUT", "/_cluster/settings", {"persistent": {"*": None}, "transient": {"*": None}})
    streams = "/_data_stream/*" if node.engine == "opensearch" else "/_test/data_stream/*"
    _expect(node, "DELETE", streams)
    # By name: a wildcard may be forbidden, and leaves hidden indices out.
    _, indices = node.request("GET", "/_settings?expand_wildcards=all")
    for index in indices:
        _expect(node, "DELETE", f"/{index}")
    # Templates for indices first: they hold on to the component templates.
    _, found = node.request("GET", "/_index_template")
    for template in found["index_templates"]:
        _expect(node, "DELETE", f"/_index_template/{template['name']}")
    _, found = node.request("GET", "/_component_template")
    for template in found["component_templates"]:
        _expect(node, "DELETE", f"/_component_template/{template['name']}")
    _, found = node.request("GET", "/_template")
    for name in found:
        _expect(node, "DELETE", f"/_template/{name}")


def _expect(node: Node, method: str, path: str, body: object = None) -> None:
    status, answer = node.request(method, path, body)
    assert status == 200, f"{method} {path}: {status} {answer}"
