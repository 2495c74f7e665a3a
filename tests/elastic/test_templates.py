"""The layout of indices against real servers: nothing is refused, and no field appears that is not in the layout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.elastic.connection import Connection
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.server import Server, connect
from pqaudit.elastic.setup import ensure_templates, set_up
from pqaudit.elastic.step import Done, Step
from pqaudit.elastic.templates import TEMPLATE, Layout, load_layout
from pqaudit.finding.document import Document
from tests.conftest import REPOSITORY, SAMPLES, audit, rulebook_cached
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node

INDEX = "pqaudit-sa-2026.11"


@pytest.fixture
def server(search_server: Node) -> Iterator[Server]:
    server = connect(Connection(search_server.url))
    yield server
    server.close()


@pytest.fixture(scope="module")
def findings() -> list[Document]:
    found, _ = audit(*sorted(SAMPLES.glob("*.pcap")))
    assert len(found) > 25
    return found


def index(server: Server, documents: list[Document], name: str = INDEX) -> list[Any]:
    """Index documents; what the server says against any of them."""
    lines = [line for document in documents for line in (b'{"index":{}}\n', json.dumps(document).encode() + b"\n")]
    answer = server.request("POST", f"/{name}/_bulk", params={"refresh": "true"}, body=lines)
    assert len(answer["items"]) == len(documents)
    return [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]


def mapping_of(server: Server, name: str = INDEX) -> Any:
    return server.request("GET", f"/{name}/_mapping")[name]["mappings"]


def count(server: Server, query: object) -> int:
    return int(server.request("POST", f"/{INDEX}/_count", body={"query": query})["count"])


def steps(server: Server, layout: Layout | None = None) -> list[Step]:
    return list(set_up(server, layout))


def leaves(document: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each value that is no object, with its full name; lists are of no matter, as for a server."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from leaves(value, f"{path}.{key}" if path else key)
    elif isinstance(document, list) and document:
        for value in document:
            yield from leaves(value, path)
    else:
        yield path, document


def all_fields(layout: Layout) -> dict[str, str]:
    return {name: kind for fields in layout.fields.values() for name, kind in fields.items()}


def test_every_field_of_findings_is_laid_out(findings: list[Document]) -> None:
    fields = all_fields(load_layout())
    opaque = tuple(f"{name}." for name, kind in fields.items() if kind == "opaque")
    parents = {name.rpartition(".")[0] for name in fields}
    for finding in findings:
        for name, value in leaves(finding):
            if name.startswith(opaque) or name.startswith("pqaudit.observed.exchanges."):
                continue  # exchanges that IKEv1 or a number without a name has
            # Of an object that may be missing, null or an empty list is all that is left.
            empty = value is None or value == []
            assert name in fields or (empty and any(p == name or p.startswith(f"{name}.") for p in parents)), name


def test_every_field_of_the_documentation_is_laid_out() -> None:
    text = (REPOSITORY / "docs" / "finding.md").read_text()
    fields = all_fields(load_layout())
    named = [
        name
        for line in text.splitlines()
        if line.startswith("| `")
        for name in line.split("|")[1].replace("`", "").replace(",", " ").split()
        if name.startswith(("@", "event.", "source.", "destination.", "network.", "observer.", "rule.", "pqaudit."))
    ]
    assert len(named) > 50
    for name in named:
        assert any(field == name or field.startswith(f"{name}.") for field in fields), name


def test_every_capability_is_laid_out() -> None:
    laid_out = {name.rpartition(".")[2] for name in all_fields(load_layout()) if ".capabilities." in name}
    assert laid_out == {capability.id for capability in rulebook_cached().capabilities}


def test_findings_of_all_samples(server: Server, findings: list[Document]) -> None:
    assert [step.done for step in steps(server)] == [Done.CREATED] * 4
    server.request("PUT", f"/{INDEX}")
    before = mapping_of(server)
    assert before == mapping_with_text(load_layout().mapping)
    assert index(server, findings) == []
    assert mapping_of(server) == before
    assert count(server, {"match_all": {}}) == len(findings)
    assert count(server, {"exists": {"field": "_ignored"}}) == 0
    for finding in findings[:3]:
        assert count(server, {"term": {"source.ip": finding["source"]["ip"]}})
        assert count(server, {"term": {"pqaudit.verdict": finding["pqaudit"]["verdict"]}})
        assert count(server, {"range": {"@timestamp": {"gte": finding["@timestamp"], "lte": finding["@timestamp"]}}})


def mapping_with_text(mapping: Any) -> Any:
    """As servers give it back: ``dynamic`` is text there, and objects have no type."""
    text = json.dumps(mapping).replace('"dynamic": false', '"dynamic": "false"')
    return json.loads(text)


def test_slot_and_method_are_searched_as_a_pair(server: Server, findings: list[Document]) -> None:
    steps(server)
    index(server, findings)
    path = "pqaudit.selected.additional_key_exchanges"

    def both(slot: int, name: str) -> Any:
        return {"bool": {"filter": [{"term": {f"{path}.slot": slot}}, {"term": {f"{path}.name": name}}]}}

    def expected(slot: int, name: str) -> int:
        lists = (f["pqaudit"]["selected"]["additional_key_exchanges"] for f in findings)
        return sum(any((e["slot"], e["name"]) == (slot, name) for e in each) for each in lists)

    pairs = {
        (entry["slot"], entry["name"])
        for finding in findings
        for entry in finding["pqaudit"]["selected"]["additional_key_exchanges"]
    }
    assert len(pairs) > 6
    for slot, name in {*pairs, (2, "ml-kem-768"), (7, "ml-kem-512")}:
        assert count(server, {"nested": {"path": path, "query": both(slot, name)}}) == expected(slot, name)
    # Without pairing it is found too, where nested queries cannot be asked.
    assert count(server, {"term": {f"{path}.name": "ml-kem-768"}})


# What can stand in a finding, of each kind that it holds; servers have limits and reserved words for all of them.
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(["", ".", "\0", "x" * 40_000, "\u20ac" * 40_000, "9" * 400, "_id", "a.b..c", "true", "now"]),
)
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.sampled_from([2**63, 2**64, -1, 0, 65_536]))
TIMES = st.sampled_from(
    ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "1969-12-31T23:59:59.123456Z", "2262-04-12T00:00:00Z"]
)
ADDRESSES = st.one_of(st.ip_addresses().map(str), st.sampled_from(["::ffff:10.0.0.1", "::", "255.255.255.255"]))


def hostile(value: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Values of the same kind as the one in a finding; lists of any length, and what may be missing missing."""
    if isinstance(value, dict):
        return st.fixed_dictionaries({key: hostile(each, key) for key, each in value.items()})
    if isinstance(value, list):
        each = hostile(value[0], name) if value else st.nothing()
        return st.lists(each, max_size=4) if value else st.just([])
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return NUMBERS
    if name in ("@timestamp", "start", "end"):
        return st.one_of(TIMES, st.just(value))
    if name == "ip":
        return ADDRESSES
    return st.one_of(TEXTS, st.just(value)) if isinstance(value, str) else st.one_of(st.none(), st.just(value))


def with_record(finding: Document) -> Document:
    """The finding with evidence of any form and with fields of a later version."""
    strange = {"_source": {"": [{"a.b": [1, "x", {"c": None}], ".": 1.5}]}, "type": "nested"}
    own = {**finding["pqaudit"], "record": strange, "later": {"version": {"of": ["it", 1, None]}}}
    return {**finding, "pqaudit": own, "labels": {"site": "x"}, "tags": ["a", 1]}


@pytest.mark.parametrize("node", ["elasticsearch9", "elasticsearch8", "opensearch"])
def test_hostile_values(node: str, request: pytest.FixtureRequest, findings: list[Document]) -> None:
    running: Node = request.getfixturevalue(node)
    wipe(running)
    server = connect(Connection(running.url))
    list(set_up(server))
    server.request("PUT", f"/{INDEX}")
    before = mapping_of(server)

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(findings).flatmap(hostile).map(with_record), min_size=1, max_size=8))
    def check(documents: list[Document]) -> None:
        assert index(server, documents) == []

    check()
    assert mapping_of(server) == before
    server.close()


def test_lists_as_long_as_the_wire_makes_them(server: Server, findings: list[Document]) -> None:
    steps(server)
    length = 12_000  # nested, it would be refused
    finding = json.loads(json.dumps(findings[0]))
    own = finding["pqaudit"]
    own["offered"]["key_exchanges"] = [{"id": n, "name": f"private-use-{n}"} for n in range(length)]
    own["offered"]["additional_key_exchanges"] = [{"slot": n % 7, "id": n, "name": str(n)} for n in range(length)]
    own["fingerprint"]["initiator"] = [
        {"vendor_id": f"{n:x}" * 40, "name": None, "vendor": None, "version": None} for n in range(length // 10)
    ]
    own["anomalies"] = [{"id": "odd", "frames": [{"file": "f", "frame": n} for n in range(length)]}]
    own["evidence"] = own["anomalies"][0]["frames"]
    assert index(server, [finding]) == []


def revised(layout: Layout, **fields: str) -> Layout:
    """A later layout with more fields."""
    own = {**layout.fields["pqaudit-sa-1"], **fields}
    return dataclasses.replace(layout, revision=layout.revision + 1, fields={**layout.fields, "pqaudit-sa-1": own})


def test_twice_changes_nothing(server: Server) -> None:
    assert {step.done for step in steps(server)} == {Done.CREATED}
    server.request("PUT", f"/{INDEX}")
    before = server.request("GET", "/_cluster/state/metadata")["metadata"]
    again = steps(server)
    assert [step.done for step in again] == [Done.SAME] * 5
    after = server.request("GET", "/_cluster/state/metadata")["metadata"]
    assert after["templates"] == before["templates"]
    assert after["indices"][INDEX]["mapping_version"] == before["indices"][INDEX]["mapping_version"]


def test_a_later_revision_reaches_existing_indices(server: Server, findings: list[Document]) -> None:
    steps(server)
    index(server, findings)
    later = revised(load_layout(), **{"pqaudit.added": "keyword", "pqaudit.capture.added": "long"})
    done = steps(server, later)
    assert [step.done for step in done] == [Done.UPDATED] * 5
    assert done[-1].detail == "from revision 1 to 2"
    assert mapping_of(server) == mapping_with_text(later.mapping)
    assert count(server, {"match_all": {}}) == len(findings)
    own = {**findings[0]["pqaudit"], "added": "x"}
    assert index(server, [{**findings[0], "pqaudit": own}]) == []
    assert count(server, {"term": {"pqaudit.added": "x"}}) == 1
    # And an older pqaudit does not take it back.
    assert {step.done for step in steps(server)} == {Done.LATER}
    assert mapping_of(server) == mapping_with_text(later.mapping)
    assert {step.done for step in steps(server, later)} == {Done.SAME}


def test_an_index_made_without_templates_is_named_and_kept(server: Server, findings: list[Document]) -> None:
    # The record alone, mixed as it is, has no mapping that a server can guess.
    own = {key: value for key, value in findings[0]["pqaudit"].items() if key != "record"}
    assert index(server, [{**findings[0], "pqaudit": own}]) == []
    assert mapping_of(server)["properties"]["pqaudit"]["properties"]["verdict"]["type"] == "text"
    before = mapping_of(server)
    done = steps(server)
    assert [step.done for step in done[:-1]] == [Done.CREATED] * 4
    assert done[-1].done is Done.FAILED
    assert INDEX in done[-1].what
    assert mapping_of(server) == before
    with pytest.raises(ServerError) as caught:
        ensure_templates(server)
    assert caught.value.problem is Problem.REFUSED


def test_a_template_of_the_user_composed_of_ours(server: Server, findings: list[Document]) -> None:
    steps(server)
    own = {
        "index_patterns": ["pqaudit-sa-*"],
        "priority": 500,
        "composed_of": list(load_layout().components),
        "template": {"settings": {"index": {"refresh_interval": "7s"}}},
    }
    server.request("PUT", "/_index_template/own", body=own)
    assert index(server, findings) == []
    assert mapping_of(server) == mapping_with_text(load_layout().mapping)
    settings_there = server.request("GET", f"/{INDEX}/_settings")[INDEX]["settings"]["index"]
    assert settings_there["refresh_interval"] == "7s"
    assert settings_there["auto_expand_replicas"] == "0-1"
    assert {step.done for step in steps(server)} == {Done.SAME}


def test_a_template_of_ours_that_lost_its_version_is_put_right(server: Server) -> None:
    steps(server)
    body = {**load_layout().index_template}
    del body["version"]
    server.request("PUT", f"/_index_template/{TEMPLATE}", body=body)
    assert [step.done for step in steps(server)] == [Done.SAME] * 3 + [Done.UPDATED]
    assert [step.done for step in steps(server)] == [Done.SAME] * 4
