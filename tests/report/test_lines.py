"""Whatever stands in a file: what is a finding counts, and what is none is told with its line, as `search` does."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.finding import reading
from pqaudit.finding.document import Document
from pqaudit.finding.reading import findings_in
from pqaudit.report import gathering
from tests.finding.made import made_findings
from tests.report.make import as_json, last_of_each, lines, reported
from tests.report.test_answers import check

GOOD = made_findings(3)
TEXT = json.dumps(GOOD[0], separators=(",", ":"))
PATHS = [
    path
    for path in (
        *(("event", name) for name in GOOD[0]["event"]),
        *((name,) for name in GOOD[0]),
        *(("pqaudit", name) for name in GOOD[0]["pqaudit"]),
        *((side, name) for side in ("source", "destination") for name in ("ip", "port")),
        *(("pqaudit", "selected", name) for name in GOOD[0]["pqaudit"]["selected"]),
        *(("pqaudit", "observed", name) for name in GOOD[0]["pqaudit"]["observed"]),
        *(("pqaudit", "capture", name) for name in GOOD[0]["pqaudit"]["capture"]),
        ("observer", "name"),
        ("rule", "version"),
        ("pqaudit", "ike", "version"),
        ("pqaudit", "ike", "initiator_spi"),
    )
    if path != ("pqaudit", "record")
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(
        ["2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z", "192.0.2.1%eth0", "1.0", "\ud800", "é", "\x00", "x" * 600]
    ),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "name", "what", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def seen(octets: bytes) -> tuple[set[str], list[str]]:
    """What `search` reads."""
    notes: list[str] = []
    found = {
        finding["event"]["id"] for finding in findings_in(io.BytesIO(octets), "file-0", lambda u: notes.append(str(u)))
    }
    return found, notes


def compare(octets: bytes) -> None:
    unread: list[str] = []
    with reported(octets, unread=unread) as report:
        assert ({sa.id for sa in report.sas}, unread) == seen(octets)
        assert report.complete == (not unread)
        as_json(report)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PATHS), st.none() | VALUES), min_size=5, max_size=30), st.booleans())
def test_values_of_any_kind(changes: list[tuple[tuple[str, ...], Any]], as_text: bool) -> None:
    found: list[Document] = []
    for number, (path, value) in enumerate(changes):
        finding = json.loads(TEXT)
        finding["event"]["id"] = str(number)
        place = finding
        for name in path[:-1]:
            place = place[name]
        if value is None:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value
        found.append(finding)
    octets = "".join(json.dumps(f, ensure_ascii=not as_text, separators=(",", ":")) + "\n" for f in found)
    compare(octets.encode("utf-8", "surrogatepass"))
    if not seen(octets.encode("utf-8", "surrogatepass"))[1]:
        check(octets.encode("utf-8", "surrogatepass"))


STRANGE = [
    TEXT.replace('"verdict":', '"verdict":"hybrid-ml-kem","verdict":'),
    TEXT.replace('"verdict":', '"v\\u0065rdict":"hybrid-ml-kem","verdict":'),
    TEXT[:-1] + ',"pqaudit":{}}',
    TEXT[:-1] + ',"event":{"id":"z"}}',
    TEXT.replace('"id":', '"id":"first","id":', 1),
    TEXT.replace('{"ip":', '{"ip":"203.0.113.1","ip":', 1),
    TEXT.replace('"IKE_AUTH":', '"IKE_AUTH":7,"IKE_AUTH":'),
    TEXT.replace('"severity":', '"severity":NaN,"x":'),
    TEXT.replace('"severity":', '"severity":1e2,"x":'),
    TEXT.replace('"port":500', '"port":500.0', 1),
    TEXT.replace('"port":500', '"port":-0', 1),
    TEXT.replace('"deviations":[', '"deviations":[,'),
    TEXT.replace("]", ",]"),
    TEXT.replace("}", ",}", 1),
    TEXT.replace(",", " ,\t"),
    "  " + TEXT + "  \r",
    TEXT + TEXT,
    TEXT + "x",
    TEXT[: len(TEXT) // 2],
    "",
    "   ",
    "\x0b",
    "null",
    "[]",
    "{}",
    "nonsense",
    "\x00",
    "{" * 3000,
    '{"a":' * 3000,
    TEXT.replace('"advice":[', '"advice":[' + "[" * 3000 + "]" * 3000 + ",") if '"advice":[]' not in TEXT else TEXT,
    TEXT.replace('"what":"', '"what":"\\ud800'),
    TEXT.replace('"what":"', '"what":"\\u0000\\" | =1+1\\n'),
    TEXT.replace('"ppk":', '"new":{"in":[1.5]},"ppk":'),
    "\ufeff" + TEXT,
    TEXT.replace('"schema_version":1', '"schema_version":2'),
    TEXT.replace('"schema_version":1', '"schema_version":true'),
]
OCTETS = [text.encode("utf-8", "surrogatepass") for text in STRANGE] + [
    TEXT.encode() + b"\xff",
    TEXT.replace('"what":"', '"what":"%').encode().replace(b"%", b"\xe9"),
    b"\xff\xfe",
    "é".encode("utf-16"),
]


def test_strange_lines() -> None:
    compare(lines(GOOD[1:2]) + b"\n".join(OCTETS) + b"\n" + lines(GOOD[2:]))


@pytest.mark.parametrize("line", OCTETS[::3], ids=range(0, len(OCTETS), 3))
def test_a_strange_line_alone(line: bytes) -> None:
    compare(line)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(OCTETS) | st.binary(max_size=20), max_size=12), st.booleans(), st.integers(1, 9000))
def test_any_lines_in_any_parts(some: list[bytes], ended: bool, part: int) -> None:
    octets = b"\n".join([*some, TEXT.encode()]) + (b"\n" if ended else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "_PART", part)
        compare(octets)


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("before", [b"", TEXT.encode() + b"\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\n" + lines(GOOD[1:2])])
def test_lines_that_are_too_long(extra: int, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, gathering):
        monkeypatch.setattr(module, "LONGEST_LINE", 20_000)
    monkeypatch.setattr(gathering, "_PART", 9000)
    compare(before + b" " * (20_000 + extra) + after)


def test_run_documents_count_as_their_findings() -> None:
    run = b'{"schema_version":1,"files":[{"name":"a","octets":1,"sha256":"aa"},{"name":7}],"findings":['
    run += b",\n".join(lines([finding]) for finding in GOOD) + b'],"complete":false}'
    unread: list[str] = []
    with reported(run, unread=unread) as report:
        assert len(report.sas) == len(GOOD)
        assert not report.complete
        captures = {capture.name: capture for capture in report.header.captures}
        assert (captures["a"].octets, captures["a"].sha256, captures["a"].sas) == (1, "aa", 0)
    check(run)
    cut = run[:-30]
    with reported(cut, unread=unread) as report:
        assert len(report.sas) == len(last_of_each(cut)) >= 2
    assert unread[0].startswith("file-0, line ")
