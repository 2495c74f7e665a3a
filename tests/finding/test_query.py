"""Questions about findings in files; what the samples must answer comes from their manifest."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.finding.answers import By
from pqaudit.finding.document import Document
from pqaudit.finding.facets import in_milliseconds, moment
from pqaudit.finding.local import FileFindings
from pqaudit.finding.query import Query, peer_address, peer_network
from pqaudit.finding.reading import Unread
from pqaudit.finding.when import when
from tests.conftest import SAMPLES, rulebook_cached
from tests.finding.made import QUERIES, made_findings, sample_findings

MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())
# Of two captures of one SA the first counts: the one before the NAT, where its packets passed earlier.
SAS = {
    (sa["initiator_spi"], sa["responder_spi"]): sa
    for entry in reversed(MANIFEST["files"])
    for sa in entry["sas"]
    if sa.get("seen", True)
}
NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, UTC)
Sa = dict[str, Any]


def write(path: Path, findings: Iterable[Document]) -> str:
    path.write_text("".join(json.dumps(finding) + "\n" for finding in findings))
    return str(path)


def refuse(unread: Unread) -> None:
    raise AssertionError(unread)


@pytest.fixture
def samples(tmp_path: Path) -> FileFindings:
    return FileFindings([write(tmp_path / "samples.jsonl", sample_findings())], refuse)


def counted(source: FileFindings, by: By, query: Query | None = None) -> dict[Any, int]:
    rows = source.groups(query or Query(), by).document(rulebook_cached().registry)["groups"]
    return {tuple(row[by]) if by == "tunnel" else row[by]: row["sas"] for row in rows}


def test_the_samples_as_their_daemons_logged_them(samples: FileFindings) -> None:
    answer = samples.summary(Query(), 5).document()
    assert answer["verdicts"] == MANIFEST["whole_folder"]["verdicts"]
    assert answer["sas"] == MANIFEST["whole_folder"]["ike_sas"] == len(SAS)
    assert answer["protections"] == Counter(sa["expected"]["protection"] for sa in SAS.values())
    assert counted(samples, "reason") == Counter(sa["expected"]["reason"] for sa in SAS.values())
    assert counted(samples, "verdict") == MANIFEST["whole_folder"]["verdicts"]
    assert counted(samples, "sensor") == {"test": len(SAS)}
    pairs = Counter(frozenset((sa["initiator"], sa["responder"])) for sa in SAS.values())
    assert {frozenset(tunnel): count for tunnel, count in counted(samples, "tunnel").items()} == pairs
    assert counted(samples, "peer") == Counter(end for pair in pairs.elements() for end in pair)
    assert (answer["peers"], answer["tunnels"]) == (len({end for pair in pairs for end in pair}), len(pairs))


WANTED: dict[str, tuple[Query, Callable[[Sa], bool]]] = {
    "verdict": (Query(verdicts=frozenset({"ml-kem-only"})), lambda sa: sa["expected"]["verdict"] == "ml-kem-only"),
    "ppk": (Query(protections=frozenset({"ppk"})), lambda sa: sa["expected"]["protection"] == "ppk"),
    "reason": (Query(reasons=frozenset({"ikev1"})), lambda sa: sa["expected"]["reason"] == "ikev1"),
    "peer": (Query(peers=frozenset({"10.9.0.1"})), lambda sa: "10.9.0.1" in (sa["initiator"], sa["responder"])),
    "network": (Query(networks=frozenset({peer_network("fd00:1::/64")})), lambda sa: sa["initiator"][:4] == "fd00"),
    "method": (
        Query(methods=frozenset({36})),
        lambda sa: sa["expected"]["verdict"] != "undetermined" and 36 in _ids(sa),
    ),
    "all of it": (
        Query(methods=frozenset({20, 37}), verdicts=frozenset({"hybrid-ml-kem"}), peers=frozenset({"10.1.0.2"})),
        lambda sa: (
            sa["expected"]["verdict"] == "hybrid-ml-kem"
            and bool({20, 37} & _ids(sa))
            and "10.1.0.2" in (sa["initiator"], sa["responder"])
        ),
    ),
    "nothing": (Query(sensors=frozenset({"elsewhere"})), lambda sa: False),
}


def _ids(sa: Sa) -> set[int]:
    log = sa["log"]
    return {log["key_exchange"]["id"], *(entry["id"] for entry in log["additional_key_exchanges"])}


@pytest.mark.parametrize("name", WANTED)
def test_filters_find_the_samples_that_the_manifest_says(samples: FileFindings, name: str) -> None:
    query, wanted = WANTED[name]
    found = {_spis(finding) for finding in samples.matching(query)}
    assert found == {key for key, sa in SAS.items() if wanted(sa)}
    assert samples.summary(query, 0).document()["sas"] == len(found)


def _spis(finding: Document) -> tuple[str, str]:
    ike = finding["pqaudit"]["ike"]
    return ike["initiator_spi"], ike["responder_spi"]


def test_the_latest_come_first(samples: FileFindings) -> None:
    everything = sorted(sample_findings(), key=lambda f: (moment(f), f["event"]["id"]), reverse=True)
    for rows in (0, 1, 3, 100):
        assert samples.summary(Query(), rows).latest == everything[:rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00.000Z"),
        ("2026-11-25t10:00:00.9999999999z", "2026-11-25T10:00:00.999Z"),
        ("2026-11-25T10:00:00.5+05:30", "2026-11-25T04:30:00.500Z"),
        ("2026-11-25 10:00:00-01:00", "2026-11-25T11:00:00.000Z"),
        ("2026-11-25", "2026-11-25T00:00:00.000Z"),
        ("7d", "2026-11-18T12:00:00.123Z"),
        ("12h", "2026-11-25T00:00:00.123Z"),
        ("90m", "2026-11-25T10:30:00.123Z"),
        ("2w", "2026-11-11T12:00:00.123Z"),
        ("999999999w", "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert when(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7y",
        "-7d",
        "yesterday",
        "2026-02-30",
        "2026-11-25T10:00:00",
        "2026-11-25T25:00:00Z",
        "\u0667d",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        when(text, NOW)


def test_milliseconds() -> None:
    assert in_milliseconds("2026-01-01T00:00:00Z") == "2026-01-01T00:00:00.000Z"
    assert in_milliseconds("2026-01-01T00:00:00.9Z") == "2026-01-01T00:00:00.900Z"
    assert in_milliseconds("2026-01-01T00:00:00.123999999Z") == "2026-01-01T00:00:00.123Z"


def test_a_span_holds_its_beginning_and_not_its_end() -> None:
    finding = {**sample_findings()[0], "@timestamp": "2026-02-01T00:00:00.000999Z"}
    at, after = "2026-02-01T00:00:00.000Z", "2026-02-01T00:00:00.001Z"
    assert Query(since=at, until=after).matches(finding)
    assert not Query(since=after).matches(finding)
    assert not Query(until=at).matches(finding)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("192.0.2.77/24", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.3.1", "2001:db8::1"]),
        ("::ffff:192.0.2.0/120", ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.3.1", "::"]),
        ("::/0", ["2001:db8::1", "::"], ["192.0.2.1", "::ffff:192.0.2.1"]),
        ("0.0.0.0/0", ["192.0.2.1", "::ffff:192.0.2.1"], ["2001:db8::1", "::"]),
        ("2001:DB8::/32", ["2001:db8:0::1"], ["2001:db9::1"]),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.2"]),
    ],
)
def test_networks(network: str, inside: list[str], outside: list[str]) -> None:
    query = Query(networks=frozenset({peer_network(network)}))
    finding = sample_findings()[0]
    for text in outside:
        end = {"ip": text, "port": 1}
        assert not query.matches({**finding, "source": end, "destination": end})
    for text in inside:
        out = {"ip": outside[0], "port": 1}
        assert query.matches({**finding, "source": {"ip": text, "port": 1}, "destination": out})
        assert query.matches({**finding, "source": out, "destination": {"ip": text, "port": 1}})


def test_peers_in_any_notation() -> None:
    assert peer_address(" [2001:DB8:0:0::1] ") == "2001:db8::1"
    assert peer_address("::ffff:192.0.2.1") == "192.0.2.1"
    for text in ("192.0.2.0/24", "host", "fe80::1%eth0", "1.2.3", ""):
        with pytest.raises(ValueError, match="is no IP address"):
            peer_address(text)
    for text in ("192.0.2.0/33", "fe80::1%eth0/64", "net"):
        with pytest.raises(ValueError, match="is no network"):
            peer_network(text)


def test_an_sa_with_itself_counts_once_as_a_peer(tmp_path: Path) -> None:
    end = {"ip": "::ffff:192.0.2.1", "port": 500}
    finding = {**sample_findings()[0], "source": end, "destination": {"ip": "192.0.2.1", "port": 500}}
    source = FileFindings([write(tmp_path / "one", [finding])], refuse)
    assert counted(source, "peer") == {"192.0.2.1": 1}
    assert counted(source, "tunnel") == {("192.0.2.1", "192.0.2.1"): 1}


def test_of_findings_of_one_sa_the_last_counts(tmp_path: Path) -> None:
    early, late, other = made_findings(3)
    late["event"]["id"] = early["event"]["id"]
    early["observer"]["name"], late["observer"]["name"], other["observer"]["name"] = "early", "late", "other"
    first = write(tmp_path / "first", [early, other, early])
    second = write(tmp_path / "second", [early, late])
    source = FileFindings([first, second], refuse)
    assert counted(source, "sensor") == {"late": 1, "other": 1}
    assert list(source.matching(Query())) == [other, late]
    # What superseded it does not match: the SA does not either.
    assert list(source.matching(Query(sensors=frozenset({"early"})))) == []
    assert source.summary(Query(sensors=frozenset({"early"})), 5).document()["sas"] == 0


@given(QUERIES, st.lists(st.integers(0, 39), max_size=60))
def test_counts_are_those_of_the_findings_that_match(
    tmp_path_factory: pytest.TempPathFactory, query: Query, picked: list[int]
) -> None:
    """Duplicates in any order, against the plainest way to count."""
    made = made_findings(40)
    path = write(tmp_path_factory.getbasetemp() / "picked.jsonl", (made[number] for number in picked))
    source = FileFindings([path], refuse)
    kept = [made[number] for number in dict.fromkeys(picked)]
    found = list(source.matching(query))
    assert sorted(found, key=str) == sorted((finding for finding in kept if query.matches(finding)), key=str)
    peers = Counter(
        str(address) for finding in found for address in {_plain(finding["source"]), _plain(finding["destination"])}
    )
    assert counted(source, "peer", query) == peers
    assert source.summary(query, 3).document()["peers"] == len(peers)


def _plain(end: Document) -> object:
    address = ip_address(end["ip"])
    return getattr(address, "ipv4_mapped", None) or address


def test_memory_does_not_hold_findings(tmp_path: Path) -> None:
    finding = json.dumps({**sample_findings()[0], "padding": "x" * 50_000})
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        for number in range(500):
            file.write(finding.replace(sample_findings()[0]["event"]["id"], f"{number:040x}") + "\n")
    source = FileFindings([str(path), str(path)], refuse)
    tracemalloc.start()
    try:
        assert source.summary(Query(), 10).document()["sas"] == 500
        assert tracemalloc.get_traced_memory()[1] < 8_000_000  # of 50 MB that are read twice
    finally:
        tracemalloc.stop()
