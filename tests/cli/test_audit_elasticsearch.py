"""``pqaudit audit --elasticsearch``: what it sends, and what it says of everything that can be wrong with a server."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests import build as b
from tests.cli.user import PASSWORD, SECRET, User, complaint, count, wait_until
from tests.conftest import REPOSITORY, SAMPLES
from tests.searchserver.certificates import Authority
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.searchserver.proxy import Answer, Forbid, Proxy, Stall, first

SAMPLE = SAMPLES / "hybrid_x25519_mlkem768.pcap"
OTHER = SAMPLES / "classical_x25519.pcap"
CLIENT_9 = REPOSITORY / ".venv" / "client9"
ENGINES = ("elasticsearch9", "opensearch")


@pytest.fixture(params=ENGINES)
def either(request: pytest.FixtureRequest) -> Node:
    """A server of either engine, empty."""
    node: Node = request.getfixturevalue(request.param)
    wipe(node)
    return node


def refused(user: User, *arguments: object, code: int = 6, **more: str) -> str:
    """What an audit complains of that a server refuses: its answer is there all the same, and its finding safe."""
    done = user.run("audit", SAMPLE, *arguments, "--patience", "0.5", **more)
    assert done.returncode == code, done.stderr
    assert "hybrid-ml-kem" in done.stdout
    assert user.waiting == 1
    assert "1 findings are safe in" in done.stderr
    return complaint(done)


def test_audit_sends_what_it_prints(search_server: Node, user: User) -> None:
    done = user.run("audit", SAMPLES, "--format", "jsonl", "--elasticsearch", search_server.url)
    assert done.returncode == 0, done.stderr
    printed = {each["event"]["id"]: each for each in map(json.loads, done.stdout.splitlines())}
    search_server.request("POST", "/pqaudit-sa-*/_refresh")
    hits = search_server.request("GET", "/pqaudit-sa-*/_search?size=1000")[1]["hits"]["hits"]
    assert {hit["_id"]: hit["_source"] for hit in hits} == printed
    assert user.waiting == 0
    assert done.stderr.splitlines()[-1] == (
        f"pqaudit: {len(printed)} findings delivered to {search_server.url}: {len(printed)} new, 0 merged with what "
        "was known, 0 known already"
    )
    assert "findings wait" not in done.stderr  # nothing went wrong on the way


def test_parts_of_one_sa_in_two_captures_become_one_document(either: Node, user: User, tmp_path: Path) -> None:
    whole = SAMPLE.read_bytes()
    # Records of a pcap file: a header of 16 octets whose third number is the length that follows.
    cuts, at = [24], 24
    while at < len(whole):
        at += 16 + int.from_bytes(whole[at + 8 : at + 12], "little")
        cuts.append(at)
    half = cuts[len(cuts) // 2]
    (tmp_path / "a.pcap").write_bytes(whole[:half])
    (tmp_path / "b.pcap").write_bytes(whole[:24] + whole[half:])
    for name in ("b.pcap", "a.pcap", "b.pcap"):
        assert user.run("audit", tmp_path / name, "--elasticsearch", either.url).returncode == 0
    assert count(either) == 1
    (hit,) = either.request("GET", "/pqaudit-sa-*/_search")[1]["hits"]["hits"]
    own = hit["_source"]["pqaudit"]
    # The daemon's log of this capture: x25519 with ML-KEM-768, established.
    assert (own["verdict"], own["assurance"]) == ("hybrid-ml-kem", "executed")
    assert [each["name"] for each in own["capture"]["files"]] == [str(tmp_path / "a.pcap"), str(tmp_path / "b.pcap")]


def test_the_exit_code_of_findings_gives_way_to_that_of_delivery(empty9: Node, user: User) -> None:
    away = ("--elasticsearch", "http://127.0.0.1:9", "--patience", "0.2")
    assert user.run("audit", OTHER, "--fail-on", "classical-only", *away).returncode == 5
    fine = ("--elasticsearch", empty9.url, "--adopt")
    assert user.run("audit", OTHER, "--fail-on", "classical-only", *fine).returncode == 1
    assert user.run("audit", OTHER, user.home / "none.pcap", "--fail-on", "classical-only", *away).returncode == 3


def test_an_output_that_fails_keeps_no_finding_from_the_server(empty9: Node, user: User, tmp_path: Path) -> None:
    number = 500
    messages = [
        b.message(b.INIT, [b.sa((*b.SUITE, (b.KE, 31))), b.ke(31, 32), b.nonce()], spi_i=(1 + n).to_bytes(8, "big"))
        for n in range(number)
    ]
    capture = b.pcap([b.udp_frame(octets) for octets in messages], tmp_path / "many.pcap")
    url = ("--elasticsearch", empty9.url)
    done = user.run("audit", capture, "--format", "jsonl", "-o", "/dev/full", *url)
    assert done.returncode == 4
    assert "could not be written to the end" in complaint(done)
    assert user.run("ship", *url).returncode == 0
    assert (user.waiting, count(empty9)) == (0, number)
    process = user.start("audit", SAMPLES, "--format", "jsonl", *url)
    assert process.stdout is not None
    process.stdout.close()  # as head does
    process.stdout = None
    assert user.end(process).returncode == 4
    assert user.run("ship", *url).returncode == 0
    total = len(user.run("audit", SAMPLES, "--format", "jsonl").stdout.splitlines())
    assert (user.waiting, count(empty9)) == (0, number + total)


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[str]:
    """A web server that is no search server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class _Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if self.path == "/json/" else "text/html")
        self.end_headers()
        self.wfile.write(b'["hello"]' if self.path == "/json/" else b"<html>hello</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("options", [(), ("--engine", "opensearch"), ("--engine", "elasticsearch")], ids=str)
@pytest.mark.parametrize("path", ["", "/json"])
def test_a_web_server_is_no_search_server(path: str, options: tuple[str, ...], web: str, user: User) -> None:
    assert "check the URL" in refused(user, "--elasticsearch", web + path, *options)


@pytest.mark.parametrize("options", [(), ("--engine", "opensearch")], ids=str)
def test_nobody_there(options: tuple[str, ...], user: User) -> None:
    said = refused(user, "--elasticsearch", "http://127.0.0.1:9", *options, code=5)
    assert said == "pqaudit: error: http://127.0.0.1:9 cannot be reached: check the URL and that the server runs"


@pytest.mark.parametrize("options", [(), ("--engine", "opensearch")], ids=str)
def test_a_name_that_cannot_be_resolved(options: tuple[str, ...], user: User) -> None:
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("no-such-host.invalid", 9200)  # RFC 6761: .invalid never resolves
    said = refused(user, "--elasticsearch", "http://no-such-host.invalid:9200", *options, code=5)
    assert "its name cannot be resolved" in said


@pytest.mark.parametrize("url", ["search.example:9200", "ftp://search.example", "https://", "https://a:b"])
def test_no_url(url: str, user: User) -> None:
    done = user.run("audit", SAMPLE, "--elasticsearch", url)
    assert done.returncode == 2
    assert "looks like https://host:9200" in complaint(done)
    assert not user.spool.exists()


def test_credentials_in_the_url_are_refused(user: User) -> None:
    done = user.run("audit", SAMPLE, "--elasticsearch", f"http://auditor:{SECRET}@127.0.0.1:9200")
    assert done.returncode == 2
    assert "environment or file" in complaint(done)


def test_a_server_that_is_slow(empty9: Node, user: User) -> None:
    with Proxy(empty9, faults=lambda request: Stall(3.0)) as proxy:
        said = refused(user, "--elasticsearch", proxy.url, "--timeout", "0.5", code=5)
    assert "did not answer in time" in said
    assert "--timeout" in said


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_stays_overloaded(status: int, either: Node, user: User) -> None:
    with Proxy(either, faults=first(10_000, Answer(status), path=".*/_bulk")) as proxy:
        said = refused(user, "--elasticsearch", proxy.url, code=5)
    assert "is overloaded or not ready" in said
    assert user.run("ship", "--adopt", "--elasticsearch", either.url).returncode == 0
    assert (user.waiting, count(either)) == (0, 1)


def test_trouble_that_passes_is_told_and_hints_for_programmers_are_not(either: Node, user: User) -> None:
    hint = ("Warning", '299 Search-1.0-abc "this interface is deprecated"')
    kind = ("content-type", "application/json")
    with Proxy(either, faults=first(2, Answer(503, "{}", [hint, kind]), path=".*/_bulk")) as proxy:
        done = user.run("audit", SAMPLE, "--elasticsearch", proxy.url)
    assert done.returncode == 0
    begins, ends, result = done.stderr.splitlines()
    assert "overloaded or not ready" in begins
    assert begins.endswith("findings wait in the spool")
    assert ends == "pqaudit: note: the server takes findings again"
    assert "1 new" in result


# -- TLS --------------------------------------------------------------------------------------------------------------


def shown_fingerprint(proxy: Proxy) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", proxy.port)))).hexdigest()


def by_name(node: Node) -> tuple[str, str]:
    """So that the engine's own client meets TLS first."""
    return ("--engine", node.engine)


def test_tls_that_is_not_trusted_then_is(either: Node, user: User, authority: Authority) -> None:
    with Proxy(either, tls=authority.server()) as proxy:
        said = refused(user, "--elasticsearch", proxy.url, *by_name(either))
        assert "its certificate is not trusted; give its authority with --ca-file, or --fingerprint" in said
        done = user.run("ship", "--elasticsearch", proxy.url, "--ca-file", authority.file)
        assert done.returncode == 0, done.stderr
        assert (user.waiting, count(either)) == (0, 1)
        file = str(authority.file)
        assert user.run("ship", "--elasticsearch", proxy.url, PQAUDIT_ELASTICSEARCH_CA_FILE=file).returncode == 0


def test_tls_by_fingerprint(either: Node, user: User, authority: Authority) -> None:
    with Proxy(either, tls=authority.server("elsewhere.example")) as proxy:
        url = ("--elasticsearch", proxy.url)
        said = refused(user, *url, *by_name(either), "--fingerprint", "00" * 32)
        assert "its certificate is not the one of the fingerprint" in said
        right = shown_fingerprint(proxy)
        assert user.run("ship", *url, "--fingerprint", right).returncode == 0
        with_colons = ":".join(right[at : at + 2].upper() for at in range(0, 64, 2))
        assert user.run("ship", *url, *by_name(either), PQAUDIT_ELASTICSEARCH_FINGERPRINT=with_colons).returncode == 0
    assert (user.waiting, count(either)) == (0, 1)


@pytest.mark.parametrize(
    ("host", "expired", "words"), [("elsewhere.example", False, "for another name"), ("127.0.0.1", True, "expired")]
)
def test_tls_with_a_wrong_certificate(
    host: str, expired: bool, words: str, either: Node, user: User, authority: Authority
) -> None:
    with Proxy(either, tls=authority.server(host, expired=expired)) as proxy:
        options = ("--elasticsearch", proxy.url, *by_name(either), "--ca-file", authority.file)
        assert words in refused(user, *options)


def test_https_to_a_server_without_tls(either: Node, user: User) -> None:
    url = either.url.replace("http:", "https:")
    assert "does not speak TLS; does the URL begin with http://?" in refused(user, "--elasticsearch", url)
    assert "does not speak TLS" in complaint(user.run("ship", "--elasticsearch", url, *by_name(either)))


def test_http_to_a_server_with_tls(either: Node, user: User, authority: Authority) -> None:
    with Proxy(either, tls=authority.server()) as proxy:
        url = proxy.url.replace("https:", "http:")
        # It hangs up like one that restarts does.
        assert "check the URL" in refused(user, "--elasticsearch", url, *by_name(either), code=5)


@pytest.mark.parametrize(
    "content", ["no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_without_certificates(
    content: str, either: Node, user: User, authority: Authority, tmp_path: Path
) -> None:
    file = tmp_path / "wrong.pem"
    file.write_text(content)
    with Proxy(either, tls=authority.server()) as proxy:
        said = refused(user, "--elasticsearch", proxy.url, *by_name(either), "--ca-file", file)
    assert "TLS" in said


# -- accounts ---------------------------------------------------------------------------------------------------------


def test_wrong_credentials_then_right_ones(either: Node, user: User, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET + "\n")
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    with Proxy(either, users={"auditor": PASSWORD}, api_keys={SECRET}) as proxy:
        url = ("--elasticsearch", proxy.url)
        assert "refuses the credentials; check the API key, or the user and password" in refused(user, *url)
        for wrong in (
            {"PQAUDIT_ELASTICSEARCH_API_KEY": "bm90OnRoaXM="},
            {"PQAUDIT_ELASTICSEARCH_USER": "auditor", "PQAUDIT_ELASTICSEARCH_PASSWORD": "wrong"},
        ):
            done = user.run("ship", *url, **wrong)
            assert done.returncode == 6
            assert "refuses the credentials" in complaint(done)
        for environment, *options in (
            ({"PQAUDIT_ELASTICSEARCH_API_KEY": SECRET},),
            ({"PQAUDIT_ELASTICSEARCH_USER": "auditor", "PQAUDIT_ELASTICSEARCH_PASSWORD": PASSWORD},),
            ({}, "--api-key-file", key),
            ({}, "--elasticsearch-user", "auditor", "--password-file", password),
        ):
            done = user.run("audit", SAMPLE, *url, *options, **environment)
            assert done.returncode == 0, done.stderr
    assert (user.waiting, count(either)) == (0, 1)


@pytest.mark.parametrize(
    ("path", "action"),
    [
        (".*/_bulk", "indices:data/write/bulk"),
        (".*/_refresh", "indices:admin/refresh"),
        (".*/_mget", "indices:data/read/mget"),
        (".*/_mapping", "indices:admin/mappings/get"),
    ],
)
def test_missing_privileges(path: str, action: str, either: Node, user: User) -> None:
    assert user.run("audit", SAMPLE, "--elasticsearch", either.url).returncode == 0
    with Proxy(either, forbidden=[Forbid(".*", path, action)]) as proxy:
        done = user.run("audit", SAMPLE, OTHER, "--elasticsearch", proxy.url)
    assert done.returncode == 6
    assert f"does not allow this to the user or API key ({'action [' if either.engine != 'opensearch' else ''}" in (
        complaint(done)
    )
    assert action in complaint(done)
    assert "docs/elasticsearch.md" in complaint(done)
    assert user.waiting >= 1
    assert user.run("ship", "--elasticsearch", either.url, "--adopt").returncode == 0
    assert (user.waiting, count(either)) == (0, 2)


def test_without_privileges_for_templates_it_sends_all_the_same(either: Node, user: User) -> None:
    nothing = [Forbid(".*", f"/{kind}/.*", "cluster:admin") for kind in ("_component_template", "_index_template")]
    assert user.run("elasticsearch", "setup", "--url", either.url).returncode == 0
    with Proxy(either, forbidden=nothing) as proxy:
        assert user.run("audit", SAMPLE, "--elasticsearch", proxy.url).returncode == 0
    assert count(either) == 1


def test_without_them_an_index_of_other_making_is_not_written_to(either: Node, user: User) -> None:
    nothing = [Forbid("PUT", "/_component_template/.*", "cluster:admin/component_template/put")]
    either.request("PUT", "/pqaudit-sa-2026.11")
    with Proxy(either, forbidden=nothing) as proxy:
        assert "run `pqaudit elasticsearch setup`" in refused(user, "--elasticsearch", proxy.url)


@pytest.mark.parametrize("given", ["file", "environment"])
def test_secrets_are_in_no_process_list(given: str, empty9: Node, user: User, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET)
    options = ("--api-key-file", key) if given == "file" else ()
    environment = {} if given == "file" else {"PQAUDIT_ELASTICSEARCH_API_KEY": SECRET}
    with Proxy(empty9, api_keys={SECRET}, faults=lambda request: Stall(1.0)) as proxy:
        process = user.start("audit", SAMPLE, "--elasticsearch", proxy.url, *options, **environment)
        wait_until(lambda: proxy.records and user.spool.exists())
        family = [process.pid, *(int(pid) for pid in children(process.pid))]
        assert len([pid for pid in family if SECRET.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]) == 0
        process.kill()
        user.end(process)  # which looks into the spool


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_ctrl_c_while_the_server_is_slow(empty9: Node, user: User) -> None:
    with Proxy(empty9, faults=lambda request: Stall(2.0)) as proxy:
        process = user.start("audit", SAMPLE, "--elasticsearch", proxy.url)
        wait_until(lambda: proxy.records and user.spool.exists() and user.waiting)
        process.send_signal(signal.SIGINT)
        done = user.end(process)
    assert done.returncode == 130
    assert f"1 findings are safe in {user.spool}" in done.stderr
    assert done.stderr.splitlines()[-1] == "pqaudit: interrupted"
    assert user.waiting == 1
    assert user.run("ship", "--elasticsearch", empty9.url, "--adopt").returncode == 0
    assert (user.waiting, count(empty9)) == (0, 1)


# -- kinds of server and versions of the client -----------------------------------------------------------------------


def test_opensearch_by_itself_and_by_name(opensearch: Node, user: User) -> None:
    wipe(opensearch)
    for options in ((), ("--engine", "opensearch")):
        done = user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, *options)
        assert done.returncode == 0
        assert len(done.stderr.splitlines()) == 1  # the result and no trouble
    assert count(opensearch) == 1
    wrong = user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, "--engine", "elasticsearch")
    assert wrong.returncode == 6
    assert "no Elasticsearch" in complaint(wrong)


def test_elasticsearch_called_opensearch(empty9: Node, user: User) -> None:
    said = refused(user, "--elasticsearch", empty9.url, "--engine", "opensearch")
    assert "is elasticsearch and not opensearch; check --engine" in said


def test_opensearch_without_its_client(opensearch: Node, empty9: Node, user: User, tmp_path: Path) -> None:
    (tmp_path / "opensearchpy.py").write_text("raise ImportError('as on a machine that has not got it')")
    environment = {"PYTHONPATH": str(tmp_path)}
    assert "pqaudit[opensearch]" in refused(user, "--elasticsearch", opensearch.url, **environment)
    assert user.run("ship", "--adopt", "--elasticsearch", empty9.url, **environment).returncode == 0


@pytest.fixture
def client_9() -> dict[str, str]:
    """The environment in which the client of major version 9 is found first; `make test` installs it."""
    assert (CLIENT_9 / "elasticsearch").is_dir(), "the client of version 9 is not installed; run make test"
    return {"PYTHONPATH": str(CLIENT_9)}


def test_client_9_with_server_9(empty9: Node, user: User, client_9: dict[str, str]) -> None:
    for merged in (0, 1):
        done = user.run("audit", SAMPLE, "--elasticsearch", empty9.url, **client_9)
        assert done.returncode == 0
        assert f"{merged} known already" in done.stderr
    assert count(empty9) == 1


def test_client_9_is_refused_by_server_8(elasticsearch8: Node, user: User, client_9: dict[str, str]) -> None:
    wipe(elasticsearch8)
    said = refused(user, "--elasticsearch", elasticsearch8.url, **client_9)
    assert "does not speak with the installed elasticsearch client 9" in said
    assert "'elasticsearch>=8.19,<9'" in said
    assert user.run("ship", "--elasticsearch", elasticsearch8.url).returncode == 0
    assert (user.waiting, count(elasticsearch8)) == (0, 1)


def test_client_9_leaves_opensearch_to_its_own(opensearch: Node, user: User, client_9: dict[str, str]) -> None:
    wipe(opensearch)
    assert user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, **client_9).returncode == 0
    assert count(opensearch) == 1
