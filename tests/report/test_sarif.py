"""SARIF 2.1.0: what the specification asks of a log, and the same numbers as the report as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from pqaudit.report import sarif
from pqaudit.report.sarif import capture_uri, message_text
from tests.finding.made import made_findings, sample_findings
from tests.report.make import as_json, lines, reported, written
from tests.report.test_forms import hostile

LEVELS = {"fails-now": "error", "will-fail": "warning", "not-assessable": "note"}
URI = re.compile(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+")


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """An object with these properties and no others."""
    kind = {"type": "object", "additionalProperties": False}
    return {**kind, "properties": {**properties, "properties": {"type": "object"}}, "required": list(required)}


def array(items: dict[str, Any], least: int = 0, unique: bool = False) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "uniqueItems": unique}


# Of the specification, what it says of the properties that are used, by section; others of it are not let through, so
# that what begins to be used is looked up.
STRING: dict[str, Any] = {"type": "string"}
LEVEL = {"enum": ["none", "note", "warning", "error"]}  # 3.27.10, 3.58.6
MESSAGE = closed({"text": STRING}, "text")  # 3.11
LOCATION = closed(  # 3.28
    {
        "physicalLocation": closed(
            {"artifactLocation": closed({"uri": STRING}, "uri")}, "artifactLocation"
        ),  # 3.29, 3.4
        "logicalLocations": array(
            closed({"name": STRING, "fullyQualifiedName": STRING, "kind": STRING}), 0, True
        ),  # 3.33
        "message": MESSAGE,
    }
)
RULE = closed({"id": STRING, "shortDescription": MESSAGE, "fullDescription": MESSAGE}, "id")  # 3.49, 3.12
DRIVER = closed({"name": STRING, "version": STRING, "rules": array(RULE, 0, True)}, "name")  # 3.19
NOTIFICATION = closed({"level": LEVEL, "message": MESSAGE}, "message")  # 3.58
INVOCATION = closed(  # 3.20
    {"executionSuccessful": {"type": "boolean"}, "toolExecutionNotifications": array(NOTIFICATION)},
    "executionSuccessful",
)
RESULT = closed(  # 3.27
    {
        "ruleId": STRING,
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": LEVEL,
        "message": MESSAGE,
        "locations": array(LOCATION),
        "partialFingerprints": {"type": "object", "additionalProperties": STRING},
    },
    "message",
)
RUN = closed(  # 3.14
    {
        "tool": closed({"driver": DRIVER}, "driver"),  # 3.18
        "invocations": array(INVOCATION),
        "results": array(RESULT),
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},  # 3.14.17
    },
    "tool",
)
LOG = closed({"$schema": STRING, "version": {"const": "2.1.0"}, "runs": array(RUN)}, "version", "runs")  # 3.13


def checked(octets: bytes) -> Any:
    """The only run, of a log that keeps to the specification (sections by number)."""
    assert octets.isascii()
    log = json.loads(octets)
    jsonschema.Draft7Validator.check_schema(LOG)
    jsonschema.Draft7Validator(LOG).validate(log)
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "pqaudit"  # 3.19.8
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(ids) == len(set(ids))  # 3.19.23
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]  # 3.27.6
        text = result["message"]["text"]  # 3.11.5: no placeholder, no embedded link
        assert not re.search(r"[{}]", text.replace("{{", "").replace("}}", ""))
        assert not re.search(r"(?<!\\)[\[\]]", text.replace("\\\\", ""))
        assert result["locations"]
        for location in result["locations"]:
            uri = location["physicalLocation"]["artifactLocation"]["uri"]  # 3.4.3
            assert URI.fullmatch(uri)
            assert not uri.startswith("/")
            assert not {".", "..", ""} & set(uri.split("/"))
            assert location["logicalLocations"][0]["name"] == f"frame {location['properties']['frame']}"
    return run


def test_one_result_for_each_tunnel_and_policy_that_is_not_met() -> None:
    with reported(lines(made_findings(150))) as report:
        run, answer = checked(written(report, "sarif")), as_json(report)
    wanted = sorted(
        (*(peer["address"] for peer in tunnel["peers"]), state["policy"], LEVELS[state["status"]])
        for tunnel in answer["tunnels"]
        for state in tunnel["states"]
        if state["status"] in LEVELS
    )
    found = [(*r["properties"]["peers"], r["properties"]["policy"], r["level"]) for r in run["results"]]
    assert sorted(found) == wanted
    assert wanted
    levels = [r["level"] for r in run["results"]]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    prints = [r["partialFingerprints"]["tunnelAndPolicy/v1"] for r in run["results"]]
    assert len(prints) == len(set(prints))
    assert run["properties"]["resultsLeftOut"] == 0


def test_same_findings_same_octets() -> None:
    findings = list(made_findings(50))
    with reported(lines(findings)) as one, reported(lines(findings)) as other:
        assert written(one, "sarif") == written(other, "sarif")


def test_hostile_text_is_data() -> None:
    run = checked(hostile("sarif"))
    assert run["results"]


def test_results_are_bounded_worst_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with reported(lines(made_findings(150))) as report:
        everything = checked(written(report, "sarif"))["results"]
        monkeypatch.setattr(sarif, "MOST_RESULTS", 7)
        run = checked(written(report, "sarif"))
    assert run["results"] == everything[:7]
    left_out = len(everything) - 7
    assert run["properties"]["resultsLeftOut"] == left_out
    assert any(
        f"{left_out} further results" in note["message"]["text"]
        for note in run["invocations"][0]["toolExecutionNotifications"]
    )


def test_nothing_found_is_a_log_too() -> None:
    with reported(b"") as report:
        assert checked(written(report, "sarif"))["results"] == []


def test_where_the_evidence_is() -> None:
    with reported(lines(sample_findings())) as report:
        run, answer = checked(written(report, "sarif")), as_json(report)
    evidence = {sa["id"]: sa["evidence"][0] for sa in answer["sas"]}
    for result in run["results"]:
        first = evidence[result["properties"]["sa"]]
        location = result["locations"][0]
        assert location["properties"]["frame"] == first["frame"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == capture_uri(first["file"])


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("a.pcap", "a.pcap"),
        ("site one/a#1.pcap", "site%20one/a%231.pcap"),
        ("c:\\x.pcap", "c%3A%5Cx.pcap"),
        ("../../x", "..%2F..%2Fx"),
        ("//host/x", "%2F%2Fhost%2Fx"),
        ("..", "_"),
        ("\udcff", "%ED%B3%BF"),
    ],
)
def test_names_of_captures(file: str, uri: str) -> None:
    assert capture_uri(file) == uri


def test_messages_hold_no_links_and_no_placeholders() -> None:
    assert message_text("[a](b) {0} \\ \x1b") == "\\[a\\](b) {{0}} \\\\ \\\\x1b"
