"""That the servers other tests rely on are real: what they acknowledge survives a crash, and their limits bite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.searchserver.fixtures import ELASTICSEARCH_8, wipe
from tests.searchserver.jars import ServerError, find_jdk, java_needed
from tests.searchserver.node import Node


def bulk(*documents: str, index: str = "pqaudit-test") -> str:
    """Text of a bulk request."""
    return "".join(f'{{"index": {{"_index": "{index}"}}}}\n{each}\n' for each in documents)


def test_answers(search_server: Node) -> None:
    status, answer = search_server.request("GET", "/")
    assert (status, answer["version"]["number"]) == (200, search_server.version)


def test_acknowledged_documents_survive_a_crash(search_server: Node) -> None:
    status, answer = search_server.request("POST", "/_bulk", bulk(*['{"a": 1}'] * 500))
    assert (status, answer["errors"]) == (200, False)
    before = search_server.port
    search_server.kill()
    with pytest.raises(ConnectionRefusedError):
        search_server.request("GET", "/")
    search_server.restart()
    assert search_server.port == before
    assert search_server.request("POST", "/pqaudit-test/_refresh")[0] == 200
    assert search_server.request("GET", "/pqaudit-test/_count")[1]["count"] == 500


def test_wipe_leaves_nothing(search_server: Node) -> None:
    mappings = {"properties": {"a": {"type": "keyword"}}}
    template = {"index_patterns": ["logs-pqaudit*"], "data_stream": {}, "composed_of": ["pqaudit"]}
    search_server.request("PUT", "/_component_template/pqaudit", {"template": {"mappings": mappings}})
    search_server.request("PUT", "/_index_template/pqaudit", template)
    document = {"@timestamp": "2025-01-01T00:00:00Z", "a": "x"}
    assert search_server.request("POST", "/logs-pqaudit-test/_doc", document)[0] == 201
    assert search_server.request("POST", "/logs-pqaudit-test/_rollover")[0] == 200
    wipe(search_server)
    assert search_server.request("GET", "/_settings?expand_wildcards=all") == (200, {})
    assert search_server.request("GET", "/_index_template") == (200, {"index_templates": []})
    assert search_server.request("GET", "/logs-pqaudit-test/_count")[0] == 404


def test_limits_of_a_server(tmp_path: Path) -> None:
    settings = {"indexing_pressure.memory.limit": "20kb", "http.max_content_length": "100kb"}
    with Node(data=tmp_path, settings=settings) as node:
        assert node.request("POST", "/_bulk", bulk('{"a": 1}'))[0] == 200
        status, answer = node.request("POST", "/_bulk", bulk(f'{{"a": "{"x" * 50_000}"}}'))
        assert (status, answer["error"]["type"]) == (429, "es_rejected_execution_exception")
        assert node.request("POST", "/_bulk", bulk(f'{{"a": "{"x" * 150_000}"}}'))[0] == 413


def test_says_why_it_did_not_start(tmp_path: Path) -> None:
    node = Node(data=tmp_path, settings={"no.such.setting": "1"})
    with pytest.raises(ServerError, match=r"ended with 1 at its start:[^$]*unknown setting \[no.such.setting\]"):
        node.start()
    assert node.pid is None


STARTER = """
import sys, time
from pathlib import Path
from tests.searchserver.node import Node
node = Node("elasticsearch", sys.argv[1], data=Path(sys.argv[2])).start()
print(node.pid, flush=True)
time.sleep(600)
"""


def test_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, ELASTICSEARCH_8, str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        assert runs(server)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while runs(server):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.05)


def runs(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_names_the_jdk_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jdk = tmp_path / "jdk-17"
    (jdk / "bin").mkdir(parents=True)
    for tool in ("java", "javac"):
        (jdk / "bin" / tool).touch(0o755)
    (jdk / "release").write_text('IMPLEMENTOR="Nobody"\nJAVA_VERSION="17.0.15"\n')
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(jdk / "bin"))
    assert find_jdk(java_needed("elasticsearch", ELASTICSEARCH_8), "this") == jdk
    with pytest.raises(ServerError, match=r"OpenSearch needs a JDK 21 or newer, only jdk-17 \(17\) found: install one"):
        find_jdk(21, "OpenSearch")
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ServerError, match="none found"):
        find_jdk(21, "OpenSearch")
