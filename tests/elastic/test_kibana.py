"""The saved objects for Kibana, as far as they can be checked without one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pqaudit.elastic.kibana import export_lines
from pqaudit.elastic.templates import load_layout
from pqaudit.policy.load import load_policies
from tests.cli.test_elasticsearch_command import run
from tests.conftest import SAMPLES, audit
from tests.searchserver.node import Node

# What Kibana's schema of a dashboard allows; it refuses anything else.
DASHBOARD_ATTRIBUTES = {
    "title",
    "description",
    "kibanaSavedObjectMeta",
    "timeRestore",
    "timeFrom",
    "timeTo",
    "refreshInterval",
    "controlGroupInput",
    "panelsJSON",
    "optionsJSON",
    "hits",
    "version",
}


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_lines(load_policies().values())]


@pytest.fixture(scope="module")
def objects(lines: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["type"], each["id"]): each for each in lines[:-1]}


def embedded(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every JSON text within an object, parsed, and what is in there in turn."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from embedded(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from embedded(each, name)
    elif name in ("visState", "fields", "fieldAttrs", "spec") or name.endswith(("JSON", "Map", "Filters")):
        inner = json.loads(value)
        yield name, inner
        yield from embedded(inner)


def fields_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("field"), str):
            yield value["field"]
        for each in value.values():
            yield from fields_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from fields_in(each)


def states(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        id_: json.loads(each["attributes"]["visState"])
        for (kind, id_), each in objects.items()
        if kind == "visualization"
    }


def query_of(each: dict[str, Any]) -> str:
    return str(json.loads(each["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])["query"]["query"])


def test_form_of_an_export(lines: list[dict[str, Any]], objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert len(objects) == len(lines) - 1
    assert lines[-1] == {
        "excludedObjects": [],
        "excludedObjectsCount": 0,
        "exportedCount": len(objects),
        "missingRefCount": 0,
        "missingReferences": [],
    }
    for each in objects.values():
        assert set(each) == {
            "type",
            "id",
            "attributes",
            "references",
            "managed",
            "coreMigrationVersion",
            "typeMigrationVersion",
        }
        assert each["attributes"]["title"]
    assert sorted(kind for kind, _ in objects) == ["dashboard", "index-pattern", *["visualization"] * 5]


def test_references(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    used = set()
    for each in objects.values():
        names = [reference["name"] for reference in each["references"]]
        assert len(names) == len(set(names))
        for reference in each["references"]:
            assert (reference["type"], reference["id"]) in objects
            used.add((reference["type"], reference["id"]))
        # Each place that names a reference has it, and each reference has a place.
        places = set()
        for name, inner in embedded(each):
            if name == "searchSourceJSON" and "indexRefName" in inner:
                places.add(inner["indexRefName"])
            if name == "panelsJSON":
                places |= {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in inner}
        assert places == set(names)
    assert {key for key in objects if key not in used} == {("dashboard", "pqaudit-overview")}


def test_it_is_the_same_every_time(lines: list[dict[str, Any]]) -> None:
    assert [json.loads(line) for line in export_lines(load_policies().values())] == lines


def test_dashboard(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    attributes = objects["dashboard", "pqaudit-overview"]["attributes"]
    assert set(attributes) <= DASHBOARD_ATTRIBUTES
    panels = json.loads(attributes["panelsJSON"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridData"]
        assert grid["i"] == panel["panelIndex"]
        assert grid["x"] + grid["w"] <= 48
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken
        taken |= cells
    # No hole.
    assert len(taken) == 48 * (1 + max(y for _, y in taken))


def test_every_field_is_in_the_mapping(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    kinds = {name: kind for fields in load_layout().fields.values() for name, kind in fields.items()}
    data_view = objects["index-pattern", "pqaudit-sa"]["attributes"]
    assert data_view["title"] == "pqaudit-sa-*"
    assert kinds[data_view["timeFieldName"]] == "date"
    searched = 0
    for id_, state in states(objects).items():
        assert state["type"] in ("markdown", "vega", "histogram", "pie", "table")
        for field in fields_in(state["aggs"]):
            assert kinds[field] in ("keyword", "ip", "date", "long"), field
            searched += 1
        for field in re.findall(r"([\w.@]+) *:", query_of(objects["visualization", id_])):
            assert kinds[field] == "keyword"
    assert searched == 7


def test_servers_answer_what_panels_ask(search_server: Node, objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Each aggregation of each panel over the findings of all samples, on the mapping that setup makes."""
    assert run("setup", "--url", search_server.url).returncode == 0
    findings, _ = audit(*sorted(SAMPLES.glob("*.pcap")))
    body = "".join(f'{{"index":{{}}}}\n{json.dumps(finding)}\n' for finding in findings)
    status, answer = search_server.request("POST", "/pqaudit-sa-2026.11/_bulk?refresh=true", body)
    assert (status, answer["errors"]) == (200, False)
    asked = 0
    for id_, state in states(objects).items():
        query: Any = {"match_all": {}}
        expected = len(findings)
        if words := query_of(objects["visualization", id_]):
            field, value = re.fullmatch(r'([\w.]+) : "([^"]+)"', words).groups()  # type: ignore[union-attr]
            query = {"term": {field: value}}
            expected = sum(finding["pqaudit"]["verdict"] == value for finding in findings)
        for agg in state["aggs"]:
            if agg["type"] == "count":
                continue
            inner = {"field": agg["params"]["field"]}
            if agg["type"] == "date_histogram":
                inner["calendar_interval"] = "month"
            if agg["type"] == "terms":
                inner["size"] = agg["params"]["size"]
            request = {"size": 0, "query": query, "aggs": {"a": {agg["type"]: inner}}}
            status, answer = search_server.request("POST", "/pqaudit-sa-*/_search", request)
            assert status == 200, answer
            found = answer["aggregations"]["a"]
            if agg["type"] == "max":
                assert found["value"]
            else:
                assert sum(bucket["doc_count"] for bucket in found["buckets"]) == expected
            asked += 1
    assert asked == 7


def test_deadlines_are_those_of_the_policies(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    spec = json.loads(states(objects)["pqaudit-deadlines"]["params"]["spec"])
    rows = {row["name"]: row for row in spec["data"]["values"]}
    policies = load_policies()
    assert {name.split(":")[0] for name in rows} <= set(policies)
    for policy in policies.values():
        for requirement in policy.requirements:
            for deadline in requirement.deadlines:
                if deadline.level == "plan":
                    continue
                row = rows[f"{policy.id}: {deadline.id}"]
                assert date(row["year"], row["month"], row["day"]) == deadline.begins
    # Every name that the chart uses is a column or one that it makes.
    columns = {*spec["data"]["values"][0], *(made["as"] for made in spec["transform"])}
    assert set(fields_in(spec)) <= columns
    assert set(re.findall(r"datum\.(\w+)", json.dumps(spec))) <= columns


def test_command(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    file = tmp_path / "pqaudit.ndjson"
    done = run("kibana", "-o", file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines
    assert run("kibana").stdout == file.read_text()
    assert run("kibana", "-o", tmp_path / "none" / "x").returncode == 2
