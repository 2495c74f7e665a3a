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
from pqaudit.report import parts
from tests.finding.made import made_findings
from tests.report.make import as_json, lines, reported
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
def test_any_lines_in_any_parts(some: list[bytes], ended: bool, size: int) -> None:
    octets = b"\n".join([*some, TEXT.encode()]) + (b"\n" if ended else b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART", size)
        compare(octets)


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("before", [b"", TEXT.encode() + b"\n"])
@pytest.mark.parametrize("after", [b"", b"\n", b"\n" + lines(GOOD[1:2])])
def test_lines_that_are_too_long(extra: int, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (reading, parts):
        monkeypatch.setattr(module, "LONGEST_LINE", 20_000)
    monkeypatch.setattr(parts, "PART", 9000)
    compare(before + b" " * (20_000 + extra) + after)


def run_document(findings: list[Document], tail: bytes = b'],"counts":{},"complete":true}\n') -> bytes:
    """As ``audit --format json`` writes it."""
    head = b'{"schema_version":1,"files":[{"name":"a","octets":1,"sha256":"aa"},{"name":7}],"findings":['
    return head + b",".join(b"\n" + lines([finding])[:-1] for finding in findings) + b"\n" + tail


RUNS = {
    "whole": run_document(GOOD),
    "without findings": run_document([]),
    "without an end of line": run_document(GOOD)[:-1],
    "nothing after findings": run_document(GOOD, b"]}"),
    "several": run_document(GOOD[:1]) + run_document(GOOD[1:]) + run_document([]),
    "laid out anew": json.dumps(json.loads(run_document(GOOD)), indent=1).encode(),
    "in one line": json.dumps(json.loads(run_document(GOOD))).encode(),
    "with a mark": b"\xef\xbb\xbf" + run_document(GOOD),
    "no UTF-8 after it": run_document(GOOD) + b"\xff",
    "something after it": run_document(GOOD) + b"nonsense\n",
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("size", [1, 5000, 1 << 20])
def test_run_documents_count_as_their_findings(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", size)
    unread: list[str] = []
    with reported(RUNS[name], unread=unread) as report:
        ids, notes = seen(RUNS[name])
        assert {sa.id for sa in report.sas} == ids
        assert bool(unread) == bool(notes)
        captures = {capture.name: capture for capture in report.header.captures}
        assert (captures["a"].octets, captures["a"].sha256, captures["a"].sas) == (1, "aa", 0)


def test_a_run_that_was_not_complete() -> None:
    with reported(run_document(GOOD, b'],"complete":false}\n')) as report:
        assert not report.complete
        assert report.notes == ("A run that made findings did not read all of its captures, or was interrupted.",)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_run_documents_that_were_cut_off_or_damaged(data: st.DataObject) -> None:
    octets = run_document(GOOD)
    at = data.draw(st.integers(1, len(octets) - 3))
    damaged = data.draw(
        st.sampled_from([octets[:at], octets[:at] + b"\x00" + octets[at:], octets[:at] + octets[at + 1 :]])
    )
    unread: list[str] = []
    with reported(damaged, unread=unread) as report:
        ids, notes = seen(damaged)
        # More than `search` reads, which stops where it is damaged.
        assert {sa.id for sa in report.sas} >= ids
        assert unread or not notes
        assert all(line.startswith("file-0") for line in unread)


@pytest.mark.parametrize(
    "octets",
    [
        run_document(GOOD).replace(b",\n", b"\n", 1),
        run_document(GOOD).replace(b"\n]", b",\n]"),
        run_document(GOOD, b'],"a":}\n'),
        run_document(GOOD, b""),
        run_document(GOOD, b"]\n"),
    ],
)
def test_a_run_document_that_is_none_is_told(octets: bytes) -> None:
    assert seen(octets)[1]
    unread: list[str] = []
    with reported(octets, unread=unread) as report:
        assert {sa.id for sa in report.sas} == {finding["event"]["id"] for finding in GOOD}
    assert len(unread) == 1


def test_a_run_is_left_to_the_database_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> Any:
        raise AssertionError("the run went through Python")

    monkeypatch.setattr("pqaudit.report.gathering.parts_of_findings", lambda findings: [refuse() for _ in findings])
    check(RUNS["whole"])
