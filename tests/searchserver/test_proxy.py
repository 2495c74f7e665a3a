"""That the proxy passes on what it should, and that its accounts, certificates and faults are what clients meet."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.searchserver.certificates import Authority
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.searchserver.proxy import Answer, Forbid, Proxy, Reset, Stall, first

DOCUMENT = '{"index": {"_index": "pqaudit-test"}}\n{"a": 1}\n'


@pytest.fixture
def node(elasticsearch9: Node) -> Node:
    wipe(elasticsearch9)
    return elasticsearch9


def ask(
    proxy: Proxy,
    method: str = "GET",
    path: str = "/",
    body: str | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    trust: Path | None = None,
    seconds: float = 20,
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, answer and headers of one request through a proxy."""
    connection = (
        http.client.HTTPSConnection(
            "127.0.0.1", proxy.port, timeout=seconds, context=ssl.create_default_context(cafile=trust)
        )
        if proxy.tls
        else http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=seconds)
    )
    kind = {"Content-Type": "application/x-ndjson"} if body else {}
    with contextlib.closing(connection):
        connection.request(method, path, body, {**kind, **(headers or {})})
        answer = connection.getresponse()
        content = answer.read()
    return answer.status, json.loads(content or "null"), answer.headers


def count(node: Node) -> int:
    """Documents that reached the server."""
    node.request("POST", "/_refresh")
    status, answer = node.request("GET", "/pqaudit-test/_count")
    return int(answer["count"]) if status == 200 else 0


def test_passes_on_and_records(node: Node) -> None:
    with Proxy(node) as proxy:
        status, answer, headers = ask(proxy, "POST", "/_bulk?refresh=true", DOCUMENT)
        assert (status, answer["errors"], headers["x-elastic-product"]) == (200, False, "Elasticsearch")
        assert ask(proxy, "HEAD", "/pqaudit-test")[0] == 200
        assert ask(proxy, "GET", "/nothing")[0] == 404
        # Many requests on one connection, one of them in chunks.
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as connection:
            for body in (DOCUMENT, iter([DOCUMENT[:9].encode(), DOCUMENT[9:].encode()])):
                connection.request("POST", "/_bulk", body, {"Content-Type": "application/x-ndjson"})
                assert json.loads(connection.getresponse().read())["errors"] is False
    assert count(node) == 3
    seen = [(each.method, each.path, each.status, each.size) for each in proxy.records]
    assert seen == [
        ("POST", "/_bulk?refresh=true", 200, len(DOCUMENT)),
        ("HEAD", "/pqaudit-test", 200, 0),
        ("GET", "/nothing", 404, 0),
        ("POST", "/_bulk", 200, len(DOCUMENT)),
        ("POST", "/_bulk", 200, len(DOCUMENT)),
    ]


def test_half_a_request_reaches_nobody(node: Node) -> None:
    with Proxy(node) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            head = "POST /_bulk HTTP/1.1\r\nContent-Type: application/x-ndjson\r\nContent-Length: 500\r\n\r\n"
            client.sendall((head + DOCUMENT).encode())
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        assert proxy.records == []
    assert count(node) == 0


def test_tls(node: Node, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Proxy(node, tls=authority.server()) as proxy:
        assert proxy.url.startswith("https:")
        assert ask(proxy, trust=authority.file)[1]["version"]["number"] == node.version
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate in certificate chain"):
            ask(proxy)
    with (
        Proxy(node, tls=authority.server(expired=True)) as proxy,
        pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"),
    ):
        ask(proxy, trust=authority.file)
    with (
        Proxy(node, tls=authority.server("search.example")) as proxy,
        pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"),
    ):
        ask(proxy, trust=authority.file)
    assert proxy.records == []


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_accounts(node: Node) -> None:
    key = base64.b64encode(b"some-id:secret").decode()
    with Proxy(node, users={"writer": "right"}, api_keys=[key]) as proxy:
        assert ask(proxy, headers=basic("writer:right"))[0] == 200
        assert ask(proxy, headers={"Authorization": f"ApiKey {key}"})[0] == 200
        for headers, reason in (
            ({}, "missing authentication credentials for REST request [/]"),
            (basic("writer:wrong"), "unable to authenticate user [writer] for REST request [/]"),
            (
                {"Authorization": "ApiKey wrong"},
                "unable to authenticate with provided credentials and anonymous access is not allowed for this request",
            ),
        ):
            status, answer, got = ask(proxy, headers=headers)
            assert (status, answer["status"], answer["error"]["type"]) == (401, 401, "security_exception")
            assert answer["error"]["reason"] == answer["error"]["root_cause"][0]["reason"] == reason
            assert got.get_all("www-authenticate") == answer["error"]["header"]["WWW-Authenticate"]
            assert got["x-elastic-product"] == "Elasticsearch"


def test_forbidden(node: Node) -> None:
    forbidden = [Forbid("PUT", "/_index_template/.*", "indices:admin/index_template/put")]
    with Proxy(node, users={"writer": "right"}, forbidden=forbidden) as proxy:
        status, answer, _ = ask(proxy, "PUT", "/_index_template/x?a=b", "{}", headers=basic("writer:right"))
        assert (status, answer["error"]["type"]) == (403, "security_exception")
        assert answer["error"]["reason"].startswith(
            "action [indices:admin/index_template/put] is unauthorized for user [writer]"
        )
        assert ask(proxy, "POST", "/_bulk", DOCUMENT, headers=basic("writer:right"))[0] == 200


def test_answers_in_place_of_the_server(node: Node) -> None:
    with Proxy(node) as proxy:
        for status, kind in ((429, "es_rejected_execution_exception"), (503, "cluster_block_exception")):
            proxy.faults = first(2, Answer(status, headers=[("Retry-After", "1")]), path="/_bulk")
            assert ask(proxy)[0] == 200
            for _ in range(2):
                got, answer, headers = ask(proxy, "POST", "/_bulk", DOCUMENT)
                assert (got, answer["error"]["type"], headers["retry-after"]) == (status, kind, "1")
            assert ask(proxy, "POST", "/_bulk", DOCUMENT)[0] == 200
        proxy.faults = first(1, Answer(413))
        assert ask(proxy, "POST", "/_bulk", DOCUMENT)[:2] == (413, None)
    assert count(node) == 2
    assert [each.status for each in proxy.records] == [200, 429, 429, 200, 200, 503, 503, 200, 413]


def test_reset(node: Node) -> None:
    with Proxy(node) as proxy:
        proxy.faults = first(1, Reset(delivered=False))
        with pytest.raises(ConnectionResetError):
            ask(proxy, "POST", "/_bulk", DOCUMENT)
        assert count(node) == 0
        for after in (None, 0, 10):
            wipe(node)
            proxy.faults = first(1, Reset(after))
            with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
                ask(proxy, "POST", "/_bulk", DOCUMENT)
            assert count(node) == 1  # done, though the client cannot know
        assert ask(proxy)[0] == 200
    assert [each.status for each in proxy.records] == [None, 200, 200, 200, 200]


def test_reset_within_tls(node: Node, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Proxy(node, tls=authority.server(), faults=first(1, Reset(10))) as proxy:
        with pytest.raises((OSError, http.client.IncompleteRead)):
            ask(proxy, "POST", "/_bulk", DOCUMENT, trust=authority.file)
        assert ask(proxy, trust=authority.file)[0] == 200


def test_stall(node: Node) -> None:
    with Proxy(node) as proxy:
        proxy.faults = first(1, Stall(0.2, after=10))
        began = time.monotonic()
        assert ask(proxy)[0] == 200
        assert time.monotonic() - began >= 0.2
        for after in (None, 10):
            proxy.faults = first(1, Stall(60, after))
            with pytest.raises(TimeoutError):
                ask(proxy, seconds=0.2)


def test_refuse_and_accept(node: Node) -> None:
    with Proxy(node) as proxy, contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as connection:
        connection.request("GET", "/")
        connection.getresponse().read()
        proxy.refuse()
        assert connection.sock.recv(1) == b""  # what was connected is cut too
        with pytest.raises(ConnectionRefusedError):
            ask(proxy)
        proxy.accept()
        assert ask(proxy)[0] == 200


def test_no_answer_without_the_server(tmp_path: Path) -> None:
    with Proxy(Node(data=tmp_path, port=1)) as proxy, pytest.raises(ConnectionResetError):
        ask(proxy)
    assert [each.status for each in proxy.records] == [None]


def test_shapes_of_opensearch(opensearch: Node) -> None:
    forbidden = [Forbid("PUT", ".*", "indices:admin/create")]
    with Proxy(opensearch, users={"writer": "right"}, forbidden=forbidden) as proxy:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.port)) as connection:
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (401, b"Unauthorized")
            assert "x-elastic-product" not in answer.headers
        status, body, _ = ask(proxy, "PUT", "/pqaudit-test", headers=basic("writer:right"))
        assert status == 403
        assert body["error"]["reason"].startswith("no permissions for [indices:admin/create] and User [name=writer,")
