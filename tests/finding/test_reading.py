"""Findings read back from files, whole and damaged."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.finding.document import Document
from pqaudit.finding.reading import LONGEST_LINE, Unread, findings_in, read_findings
from pqaudit.finding.shape import finding_fault
from tests.finding.made import sample_findings


def read(octets: bytes) -> tuple[list[Document], list[Unread]]:
    notes: list[Unread] = []
    return list(findings_in(io.BytesIO(octets), "made", notes.append)), notes


def lines(findings: Any) -> bytes:
    return b"".join(json.dumps(f).encode() + b"\n" for f in findings)


def run_documents() -> Iterator[bytes]:
    run = {"schema_version": 1, "files": [{"name": "a\nb"}], "findings": list(sample_findings()), "complete": True}
    yield json.dumps(run).encode()
    yield json.dumps(run, indent=2).encode()
    yield json.dumps(run, sort_keys=True, ensure_ascii=False).encode()
    yield b"\xef\xbb\xbf" + json.dumps(run, separators=(",", ":")).replace("}", "}\n").encode()


def test_json_lines() -> None:
    assert read(lines(sample_findings())) == (list(sample_findings()), [])
    assert read(b"\xef\xbb\xbf" + lines(sample_findings())[:-1].replace(b"\n", b"\r\n\r\n"))[1] == []
    assert read(b"") == read(b"\n \n") == ([], [])


@pytest.mark.parametrize("octets", list(run_documents()), ids=("compact", "indented", "sorted", "broken into lines"))
def test_run_documents_however_laid_out(octets: bytes) -> None:
    assert read(octets) == (list(sample_findings()), [])
    assert read(octets + b"\n" + octets.removeprefix(b"\xef\xbb\xbf")) == (list(sample_findings() * 2), [])


def test_bad_lines_are_named_and_the_rest_is_read() -> None:
    good = lines(sample_findings()[:1])
    other = lines([{**sample_findings()[0], "source": {"ip": "10.0.0.1%eth0", "port": 1}}])
    bad = [
        b"{\n",
        good[:200] + b"\n",
        b"[1]\n",
        b'{"a":NaN}\n',
        b'"\xff"\n',
        b"[" * 100_000 + b"\n",
        b'{"a":1}\n',
        other,
    ]
    found, notes = read(b"".join(line + good for line in bad))
    assert found == [sample_findings()[0]] * len(bad)
    assert [note.line for note in notes] == [1, 3, 5, 7, 9, 11, 13, 15]
    assert str(notes[-1]) == "made, line 15: no finding: source.ip is missing or of the wrong kind"


def test_a_run_that_is_cut_off_gives_what_stands_before() -> None:
    octets = next(run_documents())
    whole = list(sample_findings())
    for end in range(0, len(octets), 997):
        found, notes = read(octets[:end])
        assert found == whole[: len(found)]
        assert end < 20 or len(notes) == 1
    assert read(octets[:-1])[0] == whole
    assert (read(octets + b"\xff")[0], len(read(octets + b"\xff")[1])) == (whole, 1)


@pytest.mark.parametrize("findings", [{}, {"findings": None}, {"findings": {"0": {}}}])
def test_a_document_without_findings_is_no_run_that_saw_nothing(findings: dict[str, Any]) -> None:
    document = json.dumps({"schema_version": 1, "kind": "pqaudit-report", **findings, "tunnels": [], "sas": []})
    found, notes = read(document.encode() + b"\n" + next(run_documents()))
    assert found == list(sample_findings())
    assert ["no list of findings" in note.message for note in notes] == [True]


def test_another_schema_version_is_refused() -> None:
    own = {**sample_findings()[0]["pqaudit"], "schema_version": 2}
    assert finding_fault({**sample_findings()[0], "pqaudit": own}) == "schema version 2, this pqaudit reads 1"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    notes: list[Unread] = []
    assert list(read_findings(str(tmp_path / "none"), notes.append)) == []
    assert list(read_findings(str(tmp_path), notes.append)) == []
    assert [n.message for n in notes] == ["cannot be read: No such file or directory", "cannot be read: Is a directory"]


class Endless(io.RawIOBase):
    """Many octets without a line end, after a beginning."""

    def __init__(self, begun: bytes, left: int) -> None:
        self.begun, self.left = begun, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        octets = self.begun[: len(buffer)] or b"[" * min(len(buffer), self.left)
        self.begun, self.left = self.begun[len(octets) :], self.left - len(octets)
        buffer[: len(octets)] = octets
        return len(octets)


@pytest.mark.parametrize("begun", [b'{"@timestamp":"', b'{"schema_version":1,"findings":["'])
def test_memory_is_bounded_without_line_ends(begun: bytes) -> None:
    notes: list[Unread] = []
    tracemalloc.start()
    try:
        endless = io.BufferedReader(Endless(begun, 20 * LONGEST_LINE))
        assert list(findings_in(endless, "made", notes.append)) == []
        assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST_LINE
    finally:
        tracemalloc.stop()
    assert len(notes) == 1


@given(st.binary(max_size=300), st.integers(0, 20_000), st.integers(0, 300), st.booleans())
def test_no_octets_raise(junk: bytes, at: int, taken: int, as_run: bool) -> None:
    octets = next(run_documents()) if as_run else lines(sample_findings()[:5])
    read(octets[:at] + junk + octets[at + taken :])
    read(junk)


@given(st.data())
def test_what_passes_has_every_field(data: st.DataObject) -> None:
    """Any one value replaced: the shape either refuses it, or the value is one that others can use."""
    finding = json.loads(json.dumps(data.draw(st.sampled_from(sample_findings()))))
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            places.append((value, key))
            if isinstance(inner, dict | list):
                walk(inner)

    walk(finding)
    container, key = data.draw(st.sampled_from(places))
    container[key] = data.draw(
        st.sampled_from([None, True, 1.5, -1, 2**70, "", "\ud800", [], {}, [None], [[]], {"id": 1}])
    )
    if finding_fault(finding) is None:
        assert finding["@timestamp"] < "9999-12-31T23:59:59.9z"
        assert all(entry["id"] is not None for entry in finding["pqaudit"]["deviations"])
        assert isinstance(finding["pqaudit"]["selected"]["additional_key_exchanges"], list)
