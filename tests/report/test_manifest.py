"""The manifest of a report: the same for the same, and read without harm wherever it comes from."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.report import verifying
from pqaudit.report.manifest import MOST_OCTETS, ListedFile, ManifestError, manifest_of, read_manifest
from pqaudit.report.verifying import Outcome, check_elsewhere, check_report
from tests.finding.made import sample_findings
from tests.report.make import chosen, lines, reported
from tests.report.test_forms import HOSTILE, hostile_findings

DIGEST = sha256(b"content").hexdigest()
FILE = ListedFile("report", "report.md", 7, DIGEST)


def good() -> dict[str, Any]:
    with reported(lines(sample_findings())) as report:
        found: dict[str, Any] = json.loads(manifest_of(report, [FILE]))
    return found


GOOD = good()


def changed(path: list[str | int], value: object) -> bytes:
    found = json.loads(json.dumps(GOOD))
    place = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(found).encode()


def test_it_is_canonical_and_says_what_the_report_rests_on() -> None:
    policies = chosen("cnsa-2.0", "uk-ncsc")
    with reported(lines(sample_findings()), policies=policies) as report:
        octets = manifest_of(report, [ListedFile("report", "b", 1, DIGEST), ListedFile("report", "a", 2, DIGEST)])
    found = json.loads(octets)
    assert octets.isascii()
    assert octets == json.dumps(found, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert [file["name"] for file in found["reports"]] == ["a", "b"]
    assert [(p["id"], p["sha256"]) for p in found["policies"]] == [
        (policy.id, sha256(Path(policy.file).read_bytes()).hexdigest()) for policy in policies
    ]
    (findings,) = found["inputs"]
    assert findings["sha256"] == sha256(lines(sample_findings())).hexdigest()
    read = read_manifest(octets)
    assert [(file.kind, file.name, file.octets) for file in read.reports] == [("report", "a", 2), ("report", "b", 1)]
    assert len(read.captures) == len(report.header.captures)


def test_hostile_names_of_captures_are_kept() -> None:
    with reported(lines(hostile_findings())) as report:
        read = read_manifest(manifest_of(report, [FILE]))
    assert {capture.name for capture in read.captures} == set(HOSTILE)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 1_000_000, "too deeply"),
        (b'{"a":' * 100_000, "too deeply"),
        (b"[]", "no manifest"),
        (b"1e999", "no size"),
        (b"NaN", "no size"),
        (b"9" * 10_000, "no size"),
        (b'{"kind":"pqaudit-report"}', "no manifest"),
        (b'{"kind":"pqaudit-manifest","kind":"pqaudit-manifest"}', "twice"),
        (changed(["schema_version"], 2), "version 1"),
        (changed(["schema_version"], True), "fields|something else"),
        (changed(["more"], 1), "fields"),
        (changed(["tool"], {"name": 1, "version": "", "rules": ""}), "its tool"),
        (changed(["complete"], 1), "complete"),
        (changed(["reports"], {}), "reports"),
        (changed(["reports"], [1]), "reports"),
        (changed(["reports"], [{"name": "a"}]), "reports"),
        (changed(["reports"], [GOOD["reports"][0]] * 2), "twice"),
        *(
            (changed(["reports", 0, "name"], name), "plain file name")
            for name in ("", ".", "..", "/etc/passwd", "../a")
        ),
        (changed(["reports", 0, "name"], "a\0b"), "plain file name"),
        (changed(["reports", 0, "name"], None), "no name"),
        *((changed(["reports", 0, "octets"], size), "size") for size in (-1, 1 << 63, True, "1", None)),
        *((changed(["reports", 0, "sha256"], text), "SHA-256") for text in ("", "0" * 63, "g" * 64, DIGEST.upper(), 1)),
        (changed(["captures", 0, "sha256"], [DIGEST]), "captures"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_sentence(octets: bytes, why: str) -> None:
    with pytest.raises(ManifestError, match=why) as found:
        read_manifest(octets)
    assert "\n" not in str(found.value)


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(ManifestError, match="octets"):
        read_manifest(b" " * (MOST_OCTETS + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "name", "octets"]), inner),
    max_leaves=10,
)


def read_or_refused(octets: bytes) -> None:
    try:
        read = read_manifest(octets)
    except ManifestError:
        return
    for file in read.reports:
        assert os.path.basename(file.name) == file.name not in ("", ".", "..")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(GOOD)), JSON)
def test_any_value_in_any_field_is_read_or_refused(field: str, value: object) -> None:
    read_or_refused(changed([field], value))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["reports", "inputs", "captures"]), st.sampled_from(["name", "octets", "sha256", "kind"]), JSON)
def test_any_value_in_any_entry_is_read_or_refused(part: str, field: str, value: object) -> None:
    read_or_refused(changed([part, 0, field], value))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    octets = bytearray(json.dumps(GOOD).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    read_or_refused(bytes(octets[: data.draw(st.integers(0, len(octets)))]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file that is right, beside one that nothing may be read of."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "report.md").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"content")
    return inside


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where descriptors that were compared led to."""
    found: list[str] = []
    compare = verifying._compared

    def seen(file: ListedFile, descriptor: int, progress: Any) -> Any:
        found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        return compare(file, descriptor, progress)

    monkeypatch.setattr(verifying, "_compared", seen)
    return found


def test_a_report_is_right_changed_or_missing(folder: Path) -> None:
    path = folder / "report.md"
    assert check_report(FILE, folder).outcome is Outcome.OK
    path.write_bytes(b"Content")
    assert check_report(FILE, folder).outcome is Outcome.CHANGED
    path.write_bytes(b"content and more")
    check = check_report(FILE, folder)
    assert (check.outcome, check.detail) == (Outcome.CHANGED, "it has 16 octets and not 7")
    path.unlink()
    assert check_report(FILE, folder).outcome is Outcome.MISSING


def test_nothing_but_plain_files_is_read(folder: Path, opened: list[str]) -> None:
    path = folder / "report.md"
    path.unlink()
    for target in (folder.parent / "secret", Path("/dev/zero"), folder):
        path.symlink_to(target)
        assert check_report(FILE, folder).outcome is Outcome.UNREADABLE
        path.unlink()
    assert opened == []
    os.mkfifo(path)
    assert check_report(FILE, folder).outcome is Outcome.UNREADABLE
    path.unlink()
    path.mkdir()
    assert check_report(FILE, folder).outcome is Outcome.UNREADABLE


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "../../secret",
        "x/../../secret",
        "{parent}/secret",
        "link/secret",
        "inside/../../secret",
        "..",
        "",
        "a\0b",
        "a" * 5000,
        "a/" * 5000,
    ],
)
def test_no_name_leads_out_of_a_folder(folder: Path, opened: list[str], name: str) -> None:
    (folder / "link").symlink_to(folder.parent)
    listed = ListedFile("capture", name.format(parent=folder.parent), 7, DIGEST)
    assert check_elsewhere(listed, [folder], "--captures").outcome is Outcome.MISSING
    assert all(path.startswith(f"{folder}/") or path == str(folder) for path in opened)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "link", "secret", "inside", "report.md", "\udcff", "\ud800"])))
def test_no_name_at_all_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    outside = tmp_path_factory.getbasetemp() / "names"
    inside = outside / "inside"
    if not inside.exists():
        inside.mkdir(parents=True)
        (outside / "secret").write_bytes(b"content")
        (inside / "link").symlink_to(outside)
    check = check_elsewhere(ListedFile("capture", "/".join(parts), 7, DIGEST), [inside], "--captures")
    assert check.outcome is not Outcome.OK


@pytest.mark.parametrize("name", ["a.pcap", "site/a.pcap", "/data/site/a.pcap", "./site//a.pcap", "../site/a.pcap"])
def test_the_last_parts_of_a_name_are_looked_for(tmp_path: Path, name: str) -> None:
    listed = ListedFile("capture", name, 7, DIGEST)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.pcap").write_bytes(b"content")
    (tmp_path / "a.pcap").write_bytes(b"another")
    right = Outcome.CHANGED if name == "a.pcap" else Outcome.OK
    assert check_elsewhere(listed, [tmp_path], "--captures").outcome is right
    assert check_elsewhere(listed, [tmp_path, tmp_path / "site"], "--captures").outcome is Outcome.OK


def test_what_cannot_be_checked_is_not_said_to_be_right(folder: Path) -> None:
    unknown = ListedFile("capture", "report.md", None, None)
    assert check_elsewhere(unknown, [folder], "--captures").outcome is Outcome.NOT_CHECKED
    assert check_elsewhere(FILE, [], "--captures").outcome is Outcome.NOT_CHECKED
