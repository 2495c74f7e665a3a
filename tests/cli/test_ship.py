"""``pqaudit ship`` and ``audit --elasticsearch`` as their users meet them, before real servers."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import pytest

from pqaudit.elastic.spool import Spool
from tests.conftest import REPOSITORY, SAMPLES
from tests.searchserver.certificates import Authority
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.searchserver.proxy import Forbid, Proxy, Stall

SAMPLE = SAMPLES / "hybrid_x25519_mlkem768.pcap"
SECRET = "dGhpcyBpczphIHNlY3JldA=="
PASSWORD = "correct horse battery staple"
CLIENT_9 = REPOSITORY / ".venv" / "client9"


class User:
    """Runs pqaudit with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.spool = home / "spool"

    def environment(self, **more: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PQAUDIT_")}
        return {**clean, "XDG_STATE_HOME": str(self.home / "state"), "PQAUDIT_SPOOL": str(self.spool), **more}

    def run(self, *arguments: object, text: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pqaudit", *map(str, arguments)],
            capture_output=True, text=True, input=text, timeout=120, check=False, cwd=REPOSITORY,
            env=self.environment(**more),
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        for secret in (SECRET, PASSWORD):
            assert secret not in done.stdout + done.stderr
        return done

    @property
    def waiting(self) -> int:
        return len(Spool(self.spool))


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture
def node(elasticsearch9: Node) -> Node:
    wipe(elasticsearch9)
    return elasticsearch9


def count(node: Node) -> int:
    node.request("POST", "/pqaudit-sa-*/_refresh")
    return int(node.request("GET", "/pqaudit-sa-*/_count")[1]["count"])


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that says what is wrong."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(("pqaudit: error:", "Error:"))]
    return line


def test_audit_sends_what_it_prints(search_server: Node, user: User) -> None:
    done = user.run("audit", SAMPLES, "--format", "jsonl", "--elasticsearch", search_server.url)
    assert done.returncode == 0, done.stderr
    printed = {each["event"]["id"]: each for each in map(json.loads, done.stdout.splitlines())}
    search_server.request("POST", "/pqaudit-sa-*/_refresh")
    hits = search_server.request("GET", "/pqaudit-sa-*/_search?size=1000")[1]["hits"]["hits"]
    assert {hit["_id"]: hit["_source"] for hit in hits} == printed
    assert user.waiting == 0
    assert f"{len(printed)} new" in done.stderr


def test_a_file_made_earlier_and_a_pipe(node: Node, user: User, tmp_path: Path) -> None:
    made = user.run("audit", SAMPLES, "--format", "jsonl").stdout
    file = tmp_path / "findings.jsonl"
    file.write_text(made)
    assert user.run("ship", file, "--elasticsearch", node.url).returncode == 0
    assert count(node) == len(made.splitlines())
    again = user.run("ship", "-", text=made, PQAUDIT_ELASTICSEARCH_URL=node.url)
    assert again.returncode == 0
    assert "0 new, 0 merged" in again.stderr
    assert count(node) == len(made.splitlines())


def test_parts_of_one_sa_in_two_captures_become_one_document(node: Node, user: User, tmp_path: Path) -> None:
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
        assert user.run("audit", tmp_path / name, "--elasticsearch", node.url).returncode == 0
    assert count(node) == 1
    (hit,) = node.request("GET", "/pqaudit-sa-*/_search")[1]["hits"]["hits"]
    own = hit["_source"]["pqaudit"]
    # The daemon's log of this capture: x25519 with ML-KEM-768, established.
    assert (own["verdict"], own["assurance"]) == ("hybrid-ml-kem", "executed")
    assert [each["name"] for each in own["capture"]["files"]] == [str(tmp_path / "a.pcap"), str(tmp_path / "b.pcap")]


def test_what_waits_is_shown_and_sent_later(node: Node, user: User) -> None:
    away = user.run("audit", SAMPLE, "--elasticsearch", "http://127.0.0.1:9", "--patience", "0.2")
    assert away.returncode == 5
    assert "cannot be reached" in complaint(away)
    assert "hybrid-ml-kem" in away.stdout
    assert user.waiting == 1
    assert "1 findings" in user.run("ship", "--status").stdout
    other = user.run("ship", "--elasticsearch", node.url)
    assert other.returncode == 2
    assert "--adopt" in complaint(other)
    assert user.run("ship", "--elasticsearch", node.url, "--adopt").returncode == 0
    assert (user.waiting, count(node)) == (0, 1)


def test_lines_that_are_no_findings_are_named_and_the_rest_is_sent(node: Node, user: User) -> None:
    good = user.run("audit", SAMPLE, "--format", "jsonl").stdout
    done = user.run("ship", "-", "--elasticsearch", node.url, text="{broken\n" + good + '{"a": 1}\n')
    assert done.returncode == 3
    assert "line 1" in done.stderr
    assert "line 3" in done.stderr
    assert count(node) == 1


def test_a_refused_finding_is_kept_with_the_reason(node: Node, user: User) -> None:
    made = user.run("audit", SAMPLE, "--format", "jsonl").stdout
    # Somebody's own template, which comes first, takes a field of ours for a number.
    mapping = {"mappings": {"properties": {"pqaudit": {"properties": {"verdict": {"type": "integer"}}}}}}
    own = {"index_patterns": ["pqaudit-sa-2026.11"], "priority": 1000, "template": mapping}
    assert node.request("PUT", "/_index_template/own", own)[0] == 200
    done = user.run("ship", "-", "--elasticsearch", node.url, text=made)
    assert done.returncode == 7, done.stderr
    letter = json.loads((user.spool / "dead-letters.jsonl").read_text())
    assert (letter["status"], letter["finding"]) == (400, json.loads(made))
    assert "hybrid-ml-kem" in letter["reason"]
    assert user.waiting == 0


# -- what can be wrong with a server ----------------------------------------------------------------------------------


def refused(user: User, *arguments: object, code: int = 6, **more: str) -> str:
    done = user.run("audit", SAMPLE, *arguments, "--patience", "0.5", **more)
    assert done.returncode == code, done.stderr
    assert "hybrid-ml-kem" in done.stdout  # the answer is there all the same
    assert user.waiting == 1
    return complaint(done)


def test_a_web_server_is_no_search_server(user: User) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        said = refused(user, "--elasticsearch", f"http://127.0.0.1:{web.server_address[1]}")
        web.shutdown()
    assert "check the URL" in said


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


def test_tls_that_is_not_trusted(node: Node, user: User, authority: Authority) -> None:
    with Proxy(node, tls=authority.server()) as proxy:
        assert "not trusted" in refused(user, "--elasticsearch", proxy.url)
        done = user.run("ship", "--elasticsearch", proxy.url, "--ca-file", authority.file)
        assert done.returncode == 0, done.stderr
    assert (user.waiting, count(node)) == (0, 1)


def test_tls_by_fingerprint(node: Node, user: User, authority: Authority) -> None:
    with Proxy(node, tls=authority.server("elsewhere.example")) as proxy:
        shown = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", proxy.port)))
        right = sha256(shown).hexdigest()
        assert "fingerprint" in refused(user, "--elasticsearch", proxy.url, "--fingerprint", "00" * 32)
        assert user.run("ship", "--elasticsearch", proxy.url, "--fingerprint", right).returncode == 0
    assert count(node) == 1


@pytest.mark.parametrize(
    ("host", "expired", "words"), [("elsewhere.example", False, "for another name"), ("127.0.0.1", True, "expired")]
)
def test_tls_with_a_wrong_certificate(
    host: str, expired: bool, words: str, node: Node, user: User, authority: Authority
) -> None:
    with Proxy(node, tls=authority.server(host, expired=expired)) as proxy:
        assert words in refused(user, "--elasticsearch", proxy.url, "--ca-file", authority.file)


def test_tls_against_a_server_without_and_the_other_way_round(node: Node, user: User, authority: Authority) -> None:
    assert "does not speak TLS" in refused(user, "--elasticsearch", node.url.replace("http:", "https:"))
    with Proxy(node, tls=authority.server()) as proxy:
        done = user.run("ship", "--adopt", "--elasticsearch", proxy.url.replace("https:", "http:"), "--patience", "0.5")
        assert done.returncode in (5, 6)
        assert "check the URL" in complaint(done)


def test_wrong_credentials_then_right_ones(node: Node, user: User, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET + "\n")
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    with Proxy(node, users={"auditor": PASSWORD}, api_keys={SECRET}) as proxy:
        url = ("--elasticsearch", proxy.url)
        assert "credentials" in refused(user, *url)
        for wrong in (
            {"PQAUDIT_ELASTICSEARCH_API_KEY": "bm90OnRoaXM="},
            {"PQAUDIT_ELASTICSEARCH_USER": "auditor", "PQAUDIT_ELASTICSEARCH_PASSWORD": "wrong"},
        ):
            done = user.run("ship", *url, **wrong)
            assert done.returncode == 6
            assert "refuses the credentials" in complaint(done)
        for right in (
            [{"PQAUDIT_ELASTICSEARCH_API_KEY": SECRET}],
            [{"PQAUDIT_ELASTICSEARCH_USER": "auditor", "PQAUDIT_ELASTICSEARCH_PASSWORD": PASSWORD}],
            [{}, "--api-key-file", key],
            [{}, "--elasticsearch-user", "auditor", "--password-file", password],
        ):
            environment, *options = right
            assert isinstance(environment, dict)
            done = user.run("audit", SAMPLE, *url, *options, **environment)
            assert done.returncode == 0, done.stderr
    assert (user.waiting, count(node)) == (0, 1)


@pytest.mark.parametrize("path", [".*/_bulk", ".*/_alias", ".*/_mget"])
def test_missing_privileges(path: str, node: Node, user: User) -> None:
    assert user.run("audit", SAMPLE, "--elasticsearch", node.url).returncode == 0
    first = SAMPLES / "classical_x25519.pcap"
    with Proxy(node, forbidden=[Forbid(".*", path)]) as proxy:
        done = user.run("audit", SAMPLE, first, "--elasticsearch", proxy.url)
    assert done.returncode == 6
    assert "does not allow" in complaint(done)
    assert user.waiting >= 1
    assert user.run("ship", "--elasticsearch", node.url, "--adopt").returncode == 0
    assert (user.waiting, count(node)) == (0, 2)


def test_secrets_are_in_no_process_list_and_not_in_the_spool(node: Node, user: User, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET)
    with Proxy(node, api_keys={SECRET}, faults=lambda request: Stall(3.0)) as proxy:
        command = [sys.executable, "-m", "pqaudit", "audit", str(SAMPLE), "--elasticsearch", proxy.url]
        process = subprocess.Popen(
            [*command, "--api-key-file", str(key)], cwd=REPOSITORY, env=user.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(1.5)
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        process.kill()
        process.wait()
    assert SECRET.encode() not in shown
    assert all(SECRET.encode() not in file.read_bytes() for file in user.spool.iterdir())


def test_credentials_in_the_url_are_refused(user: User) -> None:
    done = user.run("audit", SAMPLE, "--elasticsearch", f"http://auditor:{SECRET}@127.0.0.1:9200")
    assert done.returncode == 2
    assert "environment or file" in complaint(done)


def test_ctrl_c_while_the_server_is_slow(node: Node, user: User) -> None:
    with Proxy(node, faults=lambda request: Stall(5.0)) as proxy:
        command = [sys.executable, "-m", "pqaudit", "audit", str(SAMPLE), "--elasticsearch", proxy.url]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=user.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert user.waiting == 1


# -- kinds of server and versions of the client -----------------------------------------------------------------------


def test_opensearch_by_itself_and_by_name(opensearch: Node, user: User) -> None:
    wipe(opensearch)
    assert user.run("audit", SAMPLE, "--elasticsearch", opensearch.url).returncode == 0
    assert user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, "--engine", "opensearch").returncode == 0
    assert count(opensearch) == 1
    wrong = user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, "--engine", "elasticsearch")
    assert wrong.returncode == 6
    assert "no Elasticsearch" in complaint(wrong)


def test_elasticsearch_called_opensearch(node: Node, user: User) -> None:
    done = user.run("audit", SAMPLE, "--elasticsearch", node.url, "--engine", "opensearch")
    assert done.returncode == 6
    assert "--engine" in complaint(done)


def test_opensearch_without_its_client(opensearch: Node, user: User, tmp_path: Path) -> None:
    (tmp_path / "opensearchpy.py").write_text("raise ImportError('as on a machine that has not got it')")
    done = user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, PYTHONPATH=str(tmp_path))
    assert done.returncode == 6
    assert "pqaudit[opensearch]" in complaint(done)


@pytest.fixture
def client_9() -> dict[str, str]:
    """The environment in which the client of major version 9 is found first; `make test` installs it."""
    assert (CLIENT_9 / "elasticsearch").is_dir(), "the client of version 9 is not installed; run make test"
    return {"PYTHONPATH": str(CLIENT_9)}


def test_client_9_with_server_9(node: Node, user: User, client_9: dict[str, str]) -> None:
    assert user.run("audit", SAMPLE, "--elasticsearch", node.url, **client_9).returncode == 0
    assert count(node) == 1


def test_client_9_is_refused_by_server_8(elasticsearch8: Node, user: User, client_9: dict[str, str]) -> None:
    done = user.run("audit", SAMPLE, "--elasticsearch", elasticsearch8.url, **client_9)
    assert done.returncode == 6
    assert "elasticsearch>=8.19,<9" in complaint(done)
    assert user.waiting == 1
    assert user.run("ship", "--elasticsearch", elasticsearch8.url).returncode == 0


def test_client_9_leaves_opensearch_to_its_own(opensearch: Node, user: User, client_9: dict[str, str]) -> None:
    wipe(opensearch)
    assert user.run("audit", SAMPLE, "--elasticsearch", opensearch.url, **client_9).returncode == 0
    assert count(opensearch) == 1


def test_a_name_that_cannot_be_resolved(user: User) -> None:
    with pytest.raises(OSError, match=r".*"):
        socket.getaddrinfo("no-such-host.invalid", 9200)  # RFC 6761: .invalid never resolves
    said = refused(user, "--elasticsearch", "http://no-such-host.invalid:9200", code=5)
    assert "cannot be resolved" in said
