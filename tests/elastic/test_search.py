"""Real servers give the same answers as files, octet for octet."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pqaudit.elastic import snapshot as snapshot_module
from pqaudit.elastic.connection import Connection, Engine
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.indices import PATTERN, index_of
from pqaudit.elastic.search import ServerFindings
from pqaudit.elastic.server import Json, Server, connect
from pqaudit.elastic.setup import ensure_templates
from pqaudit.elastic.snapshot import Snapshot
from pqaudit.finding.answers import BY, By
from pqaudit.finding.document import Document
from pqaudit.finding.local import FileFindings
from pqaudit.finding.query import Query, peer_network
from pqaudit.finding.reading import Unread
from pqaudit.outputs.answers import write_json
from tests.conftest import rulebook_cached
from tests.finding.made import BYS, QUERIES, SPAN_ENDS, made_findings, sample_findings
from tests.searchserver.fixtures import SERVERS, wipe
from tests.searchserver.node import Node

MADE = made_findings(300)


def store(node: Node, findings: Sequence[Document]) -> Server:
    """Put findings where questions look for them."""
    server = connect(Connection(node.url))
    ensure_templates(server)
    lines = []
    for finding in findings:
        head = {"create": {"_index": index_of(finding), "_id": finding["event"]["id"]}}
        lines += [json.dumps(head).encode() + b"\n", json.dumps(finding).encode() + b"\n"]
    for start in range(0, len(lines), 4000):
        answer = server.request("POST", "/_bulk", params={"refresh": "true"}, body=lines[start : start + 4000])
        assert not answer["errors"]
    return server


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn, holding the made findings."""
    node: Node = request.getfixturevalue(request.param)
    wipe(node)
    return store(node, MADE)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("findings") / "made.jsonl"
    path.write_text("".join(json.dumps(finding) + "\n" for finding in MADE))
    return path


def answer(source: FileFindings | ServerFindings, query: Query, by: By | None, rows: int = 20) -> str:
    out = io.StringIO()
    if by is None:
        write_json(source.summary(query, rows).document(), out)
    else:
        write_json(source.groups(query, by).document(rulebook_cached().registry), out)
    return out.getvalue()


def both(server: Server, file: Path) -> tuple[ServerFindings, FileFindings]:
    def refuse(unread: Unread) -> None:
        raise AssertionError(unread)

    return ServerFindings(server, refuse), FileFindings([str(file)], refuse)


@pytest.mark.parametrize("by", [None, *BY])
def test_the_same_octets_from_server_and_file(server: Server, file: Path, by: By | None) -> None:
    remote, local = both(server, file)
    assert json.loads(answer(local, Query(), by))["sas"] == len(MADE)
    for query in (
        Query(),
        Query(peers=frozenset({"192.0.2.1"})),
        Query(networks=frozenset({peer_network("::/0")})),
        Query(networks=frozenset({peer_network("0.0.0.0/0")}), sensors=frozenset({"Ω"})),
        Query(methods=frozenset({36}), verdicts=frozenset({"hybrid-ml-kem"})),
        Query(since=SPAN_ENDS[1], until=SPAN_ENDS[2]),
        Query(vendors=frozenset({"nobody"})),
    ):
        assert answer(remote, query, by) == answer(local, query, by)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=QUERIES, by=BYS)
def test_the_same_octets_whatever_is_asked(server: Server, file: Path, query: Query, by: By | None) -> None:
    remote, local = both(server, file)
    assert answer(remote, query, by, rows=7) == answer(local, query, by, rows=7)


@pytest.mark.parametrize("by", [None, *BY])
def test_many_pages(server: Server, file: Path, by: By | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "_BUCKETS", 3)
    monkeypatch.setattr(snapshot_module, "_HITS", 7)
    remote, local = both(server, file)
    query = Query(until=SPAN_ENDS[2])
    assert answer(remote, query, by, rows=50) == answer(local, query, by, rows=50)


def test_all_that_match_in_order(server: Server, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_module, "_HITS", 7)  # pages end between findings of the same millisecond
    remote, local = both(server, file)
    query = Query(sensors=frozenset({"site-1"}))
    found = list(remote.matching(query))
    assert sorted(found, key=_id) == sorted(local.matching(query), key=_id)
    latest = remote.summary(query, len(MADE)).latest
    assert [_id(finding) for finding in reversed(latest)] == [_id(finding) for finding in found]


def _id(finding: Document) -> str:
    return str(finding["event"]["id"])


def test_an_index_that_keeps_nanoseconds_gives_the_same(search_server: Node, file: Path) -> None:
    findings = [finding for finding in MADE if finding["@timestamp"][:3] == "202"]
    store(search_server, [])
    _, found = search_server.request("GET", "/_index_template/pqaudit-sa*")
    theirs = found["index_templates"][0]["index_template"]
    body = {
        "index_patterns": theirs["index_patterns"],
        "composed_of": theirs["composed_of"],
        "priority": theirs["priority"] + 1,
        "template": {"mappings": {"properties": {"@timestamp": {"type": "date_nanos"}}}},
    }
    status, _ = search_server.request("PUT", "/_index_template/pqaudit-search-tests", body)
    assert status == 200
    server = store(search_server, findings)
    _, mapping = search_server.request("GET", f"/{index_of(findings[0])}/_mapping/field/@timestamp")
    assert "date_nanos" in json.dumps(mapping)
    remote, local = both(server, file)
    for by in (None, *BY):
        for since in SPAN_ENDS[:3]:
            query = Query(since=since, until="2026-12-01T00:00:00.000Z")
            assert answer(remote, query, by, 40) == answer(local, query, by, 40)


def test_more_values_than_a_server_gives_at_once(elasticsearch9: Node) -> None:
    """Exact where terms and cardinality would guess: every address occurs, one more often than all others."""
    wipe(elasticsearch9)
    hub, count = "10.255.0.1", 25_000
    findings: list[Document] = [
        {
            "@timestamp": "2026-11-25T10:00:00Z",
            "event": {"id": f"{number:040x}"},
            "source": {"ip": f"10.0.{number >> 8}.{number & 255}" if number % 2 else hub},
            "destination": {"ip": hub if number % 2 else f"10.0.{number >> 8}.{number & 255}"},
            "pqaudit": {"verdict": "classical-only"},
        }
        for number in range(count)
    ]
    groups = ServerFindings(store(elasticsearch9, findings), print).groups(Query(), "peer")
    rows = [(row["peer"], row["sas"]) for row in groups.rows(rulebook_cached().registry)]
    assert rows[0] == (hub, count)
    assert {number for _, number in rows[1:]} == {1}
    assert len(rows) == count + 1


def test_the_samples_are_found_as_their_daemons_logged_them(search_server: Node) -> None:
    manifest: dict[str, Any] = json.loads((Path(__file__).parents[2] / "samples" / "manifest.json").read_text())
    sas = [sa for entry in manifest["files"] for sa in entry["sas"] if sa.get("seen", True)]
    unique = {(sa["initiator_spi"], sa["responder_spi"]): sa for sa in sas}
    remote = ServerFindings(store(search_server, sample_findings()), print)
    whole = remote.summary(Query(), 0).document()
    assert (whole["sas"], whole["verdicts"]) == (
        manifest["whole_folder"]["ike_sas"],
        manifest["whole_folder"]["verdicts"],
    )
    assert whole["protections"] == Counter(sa["expected"]["protection"] for sa in unique.values())
    reasons = remote.groups(Query(), "reason").document(rulebook_cached().registry)
    assert {row["reason"]: row["sas"] for row in reasons["groups"]} == Counter(
        sa["expected"]["reason"] for sa in unique.values()
    )


def test_a_server_without_findings(search_server: Node) -> None:
    remote = ServerFindings(connect(Connection(search_server.url)), print)
    assert remote.summary(Query(), 20).document()["sas"] == 0
    assert list(remote.matching(Query())) == []
    assert remote.groups(Query(), "peer").document(rulebook_cached().registry)["groups"] == []


def test_what_is_stored_and_no_finding_is_named(search_server: Node) -> None:
    broken = json.loads(json.dumps(MADE[0]))
    del broken["pqaudit"]["evidence"]
    notes: list[Unread] = []
    remote = ServerFindings(store(search_server, [broken, MADE[1]]), notes.append)
    assert list(remote.matching(Query())) == [MADE[1]]
    assert [str(note) for note in notes] == [
        f"{index_of(broken)}/{_id(broken)}: no finding: pqaudit.evidence is missing or of the wrong kind"
    ]


def test_a_snapshot_does_not_see_what_comes_later(search_server: Node) -> None:
    server = store(search_server, MADE[:5])
    with Snapshot(server, PATTERN) as snapshot:
        store(search_server, MADE[5:10])
        assert sum(number for _, number in snapshot.count({"match_all": {}}, "pqaudit.verdict")) == 5


def test_a_snapshot_that_the_server_gave_up_is_one_sentence(search_server: Node) -> None:
    server = store(search_server, MADE[:5])
    with Snapshot(server, PATTERN) as snapshot:
        snapshot.__exit__(None, None, None)
        with pytest.raises(ServerError, match="gave up the search"):
            list(snapshot.count({"match_all": {}}, "pqaudit.verdict"))


class Scripted:
    """A server that gives these answers."""

    engine = Engine.ELASTICSEARCH
    version = "9.0.0"

    def __init__(self, *answers: Json) -> None:
        self.answers = list(answers)

    def request(self, method: str, path: str, *, params: object = None, body: object = None) -> Json:
        return self.answers.pop(0)

    def close(self) -> None:
        pass


OPENED = {"id": "x", "_shards": {"failed": 0}}


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([{"id": "x", "_shards": {"failed": 1}}], Problem.FAILED),
        ([OPENED, {"_shards": {"failed": 1}, "hits": {"hits": []}}, {}], Problem.FAILED),
        ([OPENED, {"_shards": {"failed": 0}, "timed_out": True, "hits": {"hits": []}}, {}], Problem.FAILED),
        ([OPENED, {"_shards": {"failed": 0}, "hits": []}, {}], Problem.WRONG_SERVER),
        ([[]], Problem.WRONG_SERVER),
    ],
)
def test_half_an_answer_is_none(answers: list[Json], problem: Problem) -> None:
    with pytest.raises(ServerError) as caught:
        list(ServerFindings(Scripted(*answers), print).matching(Query()))
    assert caught.value.problem is problem
