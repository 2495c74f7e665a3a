"""Setting up by accounts that may do little: through a proxy that has accounts, before real servers."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest

from pqaudit.elastic.connection import Connection
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.server import Server, connect
from pqaudit.elastic.setup import ensure_templates, set_up
from tests.cli.test_elasticsearch_command import run
from tests.searchserver.certificates import Authority
from tests.searchserver.node import Node
from tests.searchserver.proxy import Forbid, Proxy

KEY = "bmFtZTpzZWNyZXQtb2YtdGhlLWtleQ=="
NO_TEMPLATES = [
    Forbid(".*", "/_component_template/.*", "cluster:admin/component_template/get"),
    Forbid(".*", "/_index_template/.*", "indices:admin/index_template/get"),
]


@pytest.fixture
def administrator(search_server: Node) -> Server:
    return connect(Connection(search_server.url))


def test_a_sender_goes_on_where_it_may_not_see_templates(search_server: Node, administrator: Server) -> None:
    with Proxy(search_server, api_keys=[KEY], forbidden=NO_TEMPLATES) as proxy:
        sender = connect(Connection(proxy.url, api_key=KEY))
        ensure_templates(sender)  # no index yet: nothing tells
        list(set_up(administrator))
        administrator.request("PUT", "/pqaudit-sa-2026.11")
        ensure_templates(sender)
        assert {record.method for record in proxy.records} == {"GET"}


def test_a_sender_stops_at_an_index_made_without_templates(search_server: Node, administrator: Server) -> None:
    administrator.request("PUT", "/pqaudit-sa-2026.11")
    with Proxy(search_server, api_keys=[KEY], forbidden=NO_TEMPLATES) as proxy:
        sender = connect(Connection(proxy.url, api_key=KEY))
        with pytest.raises(ServerError, match="pqaudit elasticsearch setup") as caught:
            ensure_templates(sender)
    assert caught.value.problem is Problem.PRIVILEGES


def test_a_sender_that_may_makes_them(search_server: Node, administrator: Server) -> None:
    ensure_templates(administrator)
    assert search_server.request("GET", "/_index_template/pqaudit-sa")[0] == 200


def test_setup_without_privileges_ends_with_a_sentence(search_server: Node) -> None:
    with Proxy(search_server, api_keys=[KEY], forbidden=NO_TEMPLATES) as proxy:
        done = run("setup", "--url", proxy.url, PQAUDIT_ELASTICSEARCH_API_KEY=KEY)
    assert done.returncode == 6
    assert "does not allow this" in done.stderr
    assert "docs/elasticsearch.md" in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_setup_with_wrong_credentials(search_server: Node, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("wrong-password\n")
    with Proxy(search_server, users={"admin": "right"}) as proxy:
        done = run("setup", "--url", proxy.url, "--elasticsearch-user", "admin", "--password-file", secret)
        assert done.returncode == 6
        assert "refuses the credentials" in done.stderr
        assert "wrong-password" not in done.stderr
        secret.write_text("right\n")
        assert (
            run("setup", "--url", proxy.url, "--elasticsearch-user", "admin", "--password-file", secret).returncode == 0
        )


def test_setup_over_tls(search_server: Node, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Proxy(search_server, tls=authority.server(), api_keys=[KEY]) as proxy:
        key = tmp_path / "key"
        key.write_text(KEY + "\n")
        common = ("setup", "--url", proxy.url, "--api-key-file", key)
        done = run(*common)
        assert done.returncode == 6
        assert "certificate is not trusted" in done.stderr
        assert run(*common, PQAUDIT_ELASTICSEARCH_CA_FILE=str(authority.file)).returncode == 0
        certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", proxy.port)))
        assert run(*common, "--fingerprint", hashlib.sha256(certificate).hexdigest()).returncode == 0
        wrong = run(*common, "--fingerprint", "00" * 32)
        assert wrong.returncode == 6
        assert "is not the one of the fingerprint" in wrong.stderr
