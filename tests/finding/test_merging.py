"""Findings of parts of an SA merge into the finding of all of it, in any order, and twice the same changes nothing."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, reduce
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.decode.datagram import Datagram
from pqaudit.finding.carried import read_carried
from pqaudit.finding.custom_rules import CustomRules
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.identity import first_month
from pqaudit.finding.merging import Merger
from pqaudit.finding.stream import drain_findings
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs, read_message
from pqaudit.rules.custom import CustomRule
from pqaudit.sa.bounds import MOST_INIT_MESSAGES, MOST_MESSAGE_ID_BLOCKS
from pqaudit.sa.record import LaterRecordError
from pqaudit.sa.table import SaTable
from tests import build as b
from tests.conftest import SAMPLES, rulebook_cached
from tests.sa.make import OTHER_I, X, answered, refusal, request, response, sent

MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())
MERGER = Merger(rulebook_cached())
INSIDE = "nat_hybrid_x25519_mlkem768_inside.pcap"
OUTSIDE = "nat_hybrid_x25519_mlkem768_outside.pcap"
REKEY = "rekey_hybrid_ike_and_child.pcap"
HYBRID = "hybrid_x25519_mlkem768.pcap"


@cache
def messages(*names: str) -> tuple[Datagram, ...]:
    found: list[Datagram] = []
    sources = [str(SAMPLES / name) for name in names] or [str(path) for path in sorted(SAMPLES.glob("*.pcap"))]
    read_inputs(sources, AuditRun(), ReadOptions(), on_message=lambda datagram, _: found.append(datagram))
    return tuple(found)


def findings(datagrams: Iterable[Datagram], observer: str = "test") -> list[Document]:
    table = SaTable()
    for datagram in datagrams:
        table.add(datagram, read_message(datagram))
    return list(drain_findings(table, rulebook_cached(), Observer(observer)))


def by_id(documents: Iterable[Document]) -> dict[str, Document]:
    return {document["event"]["id"]: document for document in documents}


def only(datagrams: Iterable[Datagram], observer: str = "test") -> Document:
    (found,) = findings(datagrams, observer)
    return found


def merged_in_every_order(documents: list[Document], merge: Callable[[Document, Document], Document]) -> Document:
    """What comes out, which is the same in all orders, with any grouping, and with each taken twice."""
    before = copy.deepcopy(documents)
    result = reduce(merge, documents, documents[0])
    for order in permutations(documents):
        assert reduce(merge, order) == result
        if len(order) > 2:
            assert merge(order[0], reduce(merge, order[1:])) == result
    assert merge(result, result) == result
    for document in documents:
        assert merge(result, document) == merge(document, result) == result
        assert merge(document, document) == document
    assert documents == before
    assert json.loads(json.dumps(result)) == result  # what a server gives back is equal too
    return result


# -- parts of real captures --------------------------------------------------------------------------------------------


def in_file(datagram: Datagram, part: int, skew: int = 0) -> Datagram:
    return replace(datagram, file=f"part-{part}", time=datagram.time + skew)


def initiators(documents: Iterable[Document]) -> dict[str, set[str]]:
    """Identities by initiator SPI."""
    found: dict[str, set[str]] = {}
    for document in documents:
        found.setdefault(document["pqaudit"]["ike"]["initiator_spi"], set()).add(document["event"]["id"])
    return found


def without_origin(document: Document) -> Document:
    """Where an SA came from only a run can tell that saw the SA before it, too."""
    own = {name: value for name, value in document["pqaudit"].items() if name != "related"}
    own["record"] = {**own["record"], "origins": []}
    return {**document, "pqaudit": own}


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 3), st.booleans())
def test_random_parts_give_the_whole(rng: random.Random, count: int, overlapping: bool) -> None:
    parts: list[list[Datagram]] = [[] for _ in range(count)]
    skews = [rng.choice([0, -3_000_000, 5_000_000]) for _ in range(count)]
    for datagram in messages():
        chosen = [n for n in range(count) if rng.random() < 0.5] if overlapping else []
        for n in chosen or [rng.randrange(count)]:
            parts[n].append(in_file(datagram, n, skews[n]))
    found = [findings(part) for part in parts]
    together: dict[str, list[Document]] = {}
    for document in (d for part in found for d in part):
        together.setdefault(document["event"]["id"], []).append(document)
    whole = findings([datagram for part in parts for datagram in part])
    expected_initiators = initiators(whole)
    parts_initiators = initiators(d for part in found for d in part)
    compared = 0
    for document in whole:
        identity = document["event"]["id"]
        if identity not in together:
            continue
        merged = merged_in_every_order(together[identity], MERGER.merge)
        # A part with requests alone cannot know which SA they led to: it stands for itself.
        initiator = document["pqaudit"]["ike"]["initiator_spi"]
        if parts_initiators[initiator] == expected_initiators[initiator] and len(expected_initiators[initiator]) == 1:
            assert without_origin(merged) == without_origin(document)
            compared += 1
    assert compared > len(whole) // 3


def expected_of(name: str) -> dict[str, Any]:
    (entry,) = [entry for entry in MANIFEST["files"] if entry["file"] == name]
    found: dict[str, Any] = next(sa for sa in entry["sas"] if sa.get("seen", True))
    return found


TWO_WAYS = [
    entry["file"]
    for entry in MANIFEST["files"]
    if len(entry["sas"]) == 1
    and entry["sas"][0]["version"] == "2.0"
    and entry["sas"][0].get("ike_intermediate")
    and entry["sas"][0]["expected"]["verdict"] != "undetermined"
]


@pytest.mark.parametrize("name", TWO_WAYS)
def test_two_directions_give_what_the_daemons_logged(name: str) -> None:
    """One sensor sees what the initiator sends, another what the responder sends; right is what the manifest says."""
    expected = expected_of(name)
    ends = {d.source for d in messages(name)}
    halves = [[d for d in messages(name) if d.source == end] for end in sorted(ends)]
    assert len(halves) == 2
    parts = [only([in_file(d, n) for d in half], f"sensor-{n}") for n, half in enumerate(halves)]
    assert all(part["pqaudit"]["ike"]["responder_spi"] == expected["responder_spi"] for part in parts)
    assert any(part["pqaudit"]["verdict"] == "undetermined" for part in parts)
    merged = merged_in_every_order(parts, MERGER.merge)
    own = merged["pqaudit"]
    assert {field: own[field] for field in expected["expected"]} == expected["expected"]
    assert own["selected"]["key_exchange"]["id"] == expected["log"]["key_exchange"]["id"]
    additional = [(each["slot"], each["id"]) for each in own["selected"]["additional_key_exchanges"]]
    assert additional == [(each["slot"], each["id"]) for each in expected["log"]["additional_key_exchanges"]]
    assert own["observed"]["exchanges"]["IKE_INTERMEDIATE"] == expected["ike_intermediate"]
    assert own["capture"]["observers"] == ["sensor-0", "sensor-1"]
    assert merged["observer"]["name"] == "sensor-0"


def test_there_are_samples_for_it() -> None:
    assert len(TWO_WAYS) > 5


def test_two_sides_of_a_nat_give_one_finding() -> None:
    inside, outside = only(messages(INSIDE), "inside"), only(messages(OUTSIDE), "outside")
    assert inside["source"]["ip"] != outside["source"]["ip"]
    merged = merged_in_every_order([outside, inside], MERGER.merge)
    both = only([*messages(INSIDE), *messages(OUTSIDE)])
    assert merged["pqaudit"]["capture"]["observers"] == ["inside", "outside"]
    assert merged["pqaudit"]["capture"]["packets"] == both["pqaudit"]["capture"]["packets"] == 18  # by the manifest
    for field in ("verdict", "reason", "selected", "evidence", "observed", "anomalies"):
        assert merged["pqaudit"][field] == both["pqaudit"][field]


def test_a_capture_that_went_on_replaces_its_beginning() -> None:
    so_far, all_of_it = only(messages(HYBRID)[:5]), only(messages(HYBRID))
    assert merged_in_every_order([so_far, all_of_it], MERGER.merge) == all_of_it


# -- what is not in the evidence of the SA alone -----------------------------------------------------------------------


def rekeyed(skew: int = 0) -> tuple[dict[str, Document], list[Document]]:
    """Findings of the rekey sample, and of runs that saw only one of the IKE SAs that were made inside others."""
    (entry,) = [entry for entry in MANIFEST["files"] if entry["file"] == REKEY]
    spis = [bytes.fromhex(sa["initiator_spi"]) for sa in entry["sas"] if sa["created_by"] != "IKE_SA_INIT"]
    assert spis
    alone = [only([in_file(d, 1, skew) for d in messages(REKEY) if d.payload[:8] == spi]) for spi in spis]
    return by_id(findings(messages(REKEY))), alone


def test_the_origin_is_kept_by_runs_that_did_not_see_it() -> None:
    whole, alone = rekeyed()
    for document in alone:
        assert document["pqaudit"]["related"]["probably_rekeyed_from"] is None
        full = whole[document["event"]["id"]]
        expected = full["pqaudit"]["related"]["probably_rekeyed_from"]
        assert expected is not None
        merged = merged_in_every_order([document, full], MERGER.merge)
        assert merged["pqaudit"]["related"]["probably_rekeyed_from"] == expected


def test_an_origin_after_the_first_packet_is_none() -> None:
    whole, alone = rekeyed(skew=-3_600_000_000_000)
    for document in alone:
        merged = merged_in_every_order([document, whole[document["event"]["id"]]], MERGER.merge)
        assert merged["pqaudit"]["related"]["probably_rekeyed_from"] is None


def test_of_two_origins_the_latest_that_fits_counts() -> None:
    """Three runs, of which the one that saw the SA first saw neither origin: any order must say the same."""

    def run(first: int, exchange: int | None, old: bytes, file: str) -> Document:
        new = sent(b.encrypted(b.INFO, 0, spi_i=b"\x71" * 8, spi_r=b"\x72" * 8), first, file=file)
        made = []
        if exchange is not None:
            made = [sent(b.encrypted(b.CHILD, 5, spi_i=old, spi_r=X), exchange, file=file)]
        return next(d for d in findings([*made, new]) if d["pqaudit"]["ike"]["initiator_spi"] == "71" * 8)

    late, early = b"\xe1" * 8, b"\xe2" * 8
    documents = [run(400, 300, late, "a"), run(410, 100, early, "b"), run(200, None, late, "c")]
    origins = [d["pqaudit"]["related"]["probably_rekeyed_from"] for d in documents]
    assert [o and o["initiator_spi"] for o in origins] == ["e1" * 8, "e2" * 8, None]
    merged = merged_in_every_order(documents, MERGER.merge)
    assert merged["pqaudit"]["related"]["probably_rekeyed_from"]["initiator_spi"] == "e2" * 8
    without = merged_in_every_order(documents[:2], MERGER.merge)
    assert without["pqaudit"]["related"]["probably_rekeyed_from"]["initiator_spi"] == "e1" * 8


def test_an_sa_with_its_negotiation_has_no_origin() -> None:
    spi_i, spi_r = b"\x71" * 8, b"\x72" * 8
    traffic = sent(b.encrypted(b.INFO, 2, spi_i=spi_i, spi_r=spi_r), 400)
    made = sent(b.encrypted(b.CHILD, 5, spi_i=b"\xe1" * 8, spi_r=X), 300)
    rekeyed_sa = next(d for d in findings([made, traffic]) if d["pqaudit"]["ike"]["initiator_spi"] == "71" * 8)
    assert rekeyed_sa["pqaudit"]["related"]["probably_rekeyed_from"] is not None
    negotiated = only([answered(response(spi_r, spi_i=spi_i), 350, file="g")])
    merged = merged_in_every_order([rekeyed_sa, negotiated], MERGER.merge)
    assert merged["pqaudit"]["related"]["probably_rekeyed_from"] is None


def test_responses_that_conflict_across_runs() -> None:
    """Each run saw one response; only both together show that there are two. A third saw one of them earlier."""
    one, other = response(X), response(X, fill=10, method=19)
    runs = [
        [sent(request(), 0, file="a"), answered(one, 50, file="a")],
        [sent(request(), 0, file="b"), answered(other, 60, file="b")],
        [answered(one, 30, file="c")],
        [answered(one, 55, file="d"), answered(other, 57, file="d")],
    ]
    documents = [only(run) for run in runs]
    merged = merged_in_every_order(documents, MERGER.merge)
    assert merged == only([datagram for run in runs for datagram in run])
    (conflict,) = [a for a in merged["pqaudit"]["anomalies"] if a["id"] == "conflicting-responses"]
    assert [frame["file"] for frame in conflict["frames"]] == ["c", "d"]


def test_bounds_that_only_all_parts_reach_are_named() -> None:
    half = MOST_MESSAGE_ID_BLOCKS // 2 + 20
    runs = [
        [sent(b.encrypted(b.INFO, 1024 * n, spi_r=X), n, file=f"f{start}") for n in range(start, start + half)]
        for start in (1, 1 + half)
    ]
    documents = [only(run) for run in runs]
    assert all("limit-message-ids" not in [a["id"] for a in d["pqaudit"]["anomalies"]] for d in documents)
    merged = merged_in_every_order(documents, MERGER.merge)
    assert "limit-message-ids" in [a["id"] for a in merged["pqaudit"]["anomalies"]]
    assert merged == only([datagram for run in runs for datagram in run])


def test_many_requests_in_parts_keep_to_the_bound() -> None:
    runs = [
        [sent(request(fill=n), 100 * n, file=f"f{part}") for n in range(part, 2 * MOST_INIT_MESSAGES, 3)]
        for part in range(3)
    ]
    for run in runs:
        run.append(answered(response(X), 10_000, file=run[0].file))
    merged = merged_in_every_order([only(run) for run in runs], MERGER.merge)
    assert merged == only([datagram for run in runs for datagram in run])
    assert "limit-init-messages" in [a["id"] for a in merged["pqaudit"]["anomalies"]]


# -- identity while the responder's SPI is unknown ---------------------------------------------------------------------


def test_attempts_merge_under_their_identity() -> None:
    runs = [
        [sent(request(fill=1), 0, file="a"), answered(refusal(16390, b"c"), 5, file="a")],
        [sent(request(fill=2), 10, file="b"), answered(refusal(14), 15, file="b")],
    ]
    merged = merged_in_every_order([only(run) for run in runs], MERGER.merge)
    assert merged == only([datagram for run in runs for datagram in run])
    assert merged["pqaudit"]["reason"] == "no-proposal-chosen"


def test_the_identity_stays_where_another_request_becomes_the_last() -> None:
    """Behind a NAT the same request was seen twice: which request is the last one changes with what a run saw."""
    runs = [
        [sent(request(fill=1), 80, source=OTHER_I, file="a"), sent(request(fill=2), 100, file="a")],
        [sent(request(fill=2), 50, file="b")],
    ]
    documents = [only(run) for run in runs]
    identity = documents[0]["event"]["id"]
    assert documents[1]["event"]["id"] == identity
    assert only([datagram for run in runs for datagram in run])["event"]["id"] != identity
    merged = merged_in_every_order(documents, MERGER.merge)
    assert merged["event"]["id"] == identity
    assert merged["source"]["ip"] == "198.51.100.1"


# -- rules of the user, and what keys opened ---------------------------------------------------------------------------


def rule(name: str, condition: Callable[[Any], bool], title: str = "") -> CustomRule:
    return CustomRule(name, title, 5, "test", "", condition, (), "rules.yaml", 1)  # type: ignore[arg-type]


def test_rules_of_the_user_are_applied_anew() -> None:
    custom = CustomRules(
        [
            rule("unseen", lambda sa: sa["verdict"] == "undetermined"),
            rule("hybrid", lambda sa: sa["verdict"] == "hybrid-ml-kem"),
        ]
    )
    ends = sorted({d.source for d in messages(HYBRID)})
    halves = [only([d for d in messages(HYBRID) if d.source == end]) for end in ends]
    halves = list(custom.apply(halves))
    merged = merged_in_every_order(halves, Merger(rulebook_cached(), custom).merge)
    assert [each["id"] for each in merged["pqaudit"]["rules"]] == ["hybrid"]
    kept = merged_in_every_order(halves, MERGER.merge)
    assert {each["id"] for each in kept["pqaudit"]["rules"]} == {"hybrid", "unseen"}
    plain = only(messages(HYBRID))
    assert "rules" not in MERGER.merge(plain, plain)["pqaudit"]


def test_on_a_clash_of_rules_one_stays_whatever_the_order() -> None:
    documents = []
    for title in ("old", "new"):
        document = only(messages(HYBRID))
        document["pqaudit"]["rules"] = [{"id": "a", "title": title, "severity": 5, "source": ""}, {"id": "b"}]
        documents.append(document)
    merged = merged_in_every_order(documents, MERGER.merge)
    assert [(each["id"], each.get("title")) for each in merged["pqaudit"]["rules"]] == [("a", "old"), ("b", None)]


KE = {"id": 36, "name": "ml-kem-768"}
OPENED_NOTHING: Document = {
    "messages": 0,
    "messages_not_opened": 6,
    "intermediate_key_exchanges": [],
    "confirms_selection": None,
    "negotiations": [],
}


def opened_exchange(message_id: int, method: Document | None, *, done: bool, file: str = "f") -> Document:
    return {"message_id": message_id, "key_exchange": method, "done": done, "file": file, "frame": 3}


def with_opened(opened: Any, observer: str = "test") -> Document:
    document = only(messages(HYBRID), observer)
    if opened is not None:
        document["pqaudit"]["opened"] = opened
    return document


def test_what_keys_opened_is_united() -> None:
    half = opened_exchange(1, KE, done=False)
    whole = opened_exchange(1, KE, done=True, file="g")
    child = {"purpose": "other", **opened_exchange(3, None, done=False), "by": "initiator", "selected": None}
    known = {
        "purpose": "rekey-child-sa",
        **opened_exchange(3, KE, done=True),
        "by": "initiator",
        "selected": {"protocol": 3, "key_exchange": KE},
    }
    theirs = {"purpose": "new-child-sa", **opened_exchange(3, None, done=False), "by": "responder", "selected": None}
    parts = [
        OPENED_NOTHING,
        {**OPENED_NOTHING, "messages": 4, "messages_not_opened": 1, "intermediate_key_exchanges": [half]}
        | {"confirms_selection": True, "negotiations": [child, theirs]},
        {**OPENED_NOTHING, "messages": 3, "intermediate_key_exchanges": [whole]}
        | {"confirms_selection": True, "negotiations": [known]},
    ]
    merged = merged_in_every_order([with_opened(part) for part in parts], MERGER.merge)
    assert merged["pqaudit"]["opened"] == {
        "messages": 4,
        "messages_not_opened": 6,
        "intermediate_key_exchanges": [whole],
        "confirms_selection": True,  # the manifest says additional key exchange 36, ML-KEM-768
        "negotiations": [known, theirs],
    }


def test_what_keys_opened_is_compared_with_the_merged_selection() -> None:
    ends = sorted({d.source for d in messages(HYBRID)})
    halves = [only([d for d in messages(HYBRID) if d.source == end]) for end in ends]
    for half in halves:
        found = [opened_exchange(1, KE, done=False)]
        selected = half["pqaudit"]["selected"]["additional_key_exchanges"]
        half["pqaudit"]["opened"] = {
            **OPENED_NOTHING,
            "intermediate_key_exchanges": found,
            "confirms_selection": bool(selected),
        }
    assert {half["pqaudit"]["opened"]["confirms_selection"] for half in halves} == {True, False}
    assert merged_in_every_order(halves, MERGER.merge)["pqaudit"]["opened"]["confirms_selection"] is True


@pytest.mark.parametrize(
    "opened", [5, [], {}, {**OPENED_NOTHING, "messages": "4"}, {**OPENED_NOTHING, "negotiations": [{"message_id": 1}]}]
)
def test_what_is_no_account_of_opened_messages_goes(opened: Any) -> None:
    assert "opened" not in MERGER.merge(with_opened(opened), with_opened(None))["pqaudit"]
    good = with_opened(OPENED_NOTHING)
    assert MERGER.merge(good, with_opened(opened))["pqaudit"]["opened"] == OPENED_NOTHING


# -- documents without a record that can be read -----------------------------------------------------------------------


def without_record(document: Document) -> Document:
    stripped = copy.deepcopy(document)
    del stripped["pqaudit"]["record"]
    return stripped


def test_evidence_outweighs_what_carries_none() -> None:
    little, all_of_it = only(messages(HYBRID)[2:5]), only(messages(HYBRID))
    assert merged_in_every_order([little, little], MERGER.merge) == little
    for foreign in (
        without_record(all_of_it),
        {"event": all_of_it["event"]},
        {"event": all_of_it["event"], "pqaudit": 5},
    ):
        assert MERGER.merge(little, foreign) == MERGER.merge(foreign, little) == little


def test_without_evidence_the_one_that_says_more_stays() -> None:
    whole, offered = without_record(only(messages(HYBRID))), without_record(only(messages(HYBRID)))
    offered["pqaudit"]["assurance"] = "offered"
    fewer = copy.deepcopy(whole)
    fewer["pqaudit"]["capture"]["packets"] -= 1
    nothing = {"event": whole["event"]}
    for order in permutations([fewer, offered, nothing, whole]):
        assert reduce(MERGER.merge, order) == whole
    tied = {**whole, "tags": ["a"]}
    assert MERGER.merge(tied, whole) == MERGER.merge(whole, tied)


def test_a_record_of_another_sa_is_no_record() -> None:
    one, other = only(messages(HYBRID)), only(messages("classical_x25519.pcap"))
    forged = copy.deepcopy(one)
    forged["pqaudit"]["record"] = other["pqaudit"]["record"]
    assert MERGER.merge(one, forged) == MERGER.merge(forged, one) == one


def test_a_later_record_is_told_and_never_lost() -> None:
    document = only(messages(HYBRID))
    for place in (lambda d: d["pqaudit"]["record"], lambda d: d["pqaudit"]["record"]["sa"]):
        later = copy.deepcopy(document)
        place(later)["version" if "version" in place(later) else "v"] = 2
        for pair in ((later, document), (document, later)):
            with pytest.raises(LaterRecordError, match=r"later version|has version 2"):
                MERGER.merge(*pair)


def test_findings_of_two_sas_do_not_merge() -> None:
    one, other = only(messages(HYBRID)), only(messages("classical_x25519.pcap"))
    for pair in ((one, other), ({}, {}), ({"event": 1}, one), ({"event": {"id": None}}, {"event": {"id": None}})):
        with pytest.raises(ValueError, match=r"event\.id"):
            MERGER.merge(*pair)


def places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 1 << 64) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False), JUNK)
def test_damaged_documents_merge_or_are_refused(rng: random.Random, junk: Any) -> None:
    whole = with_opened({**OPENED_NOTHING, "intermediate_key_exchanges": [opened_exchange(1, KE, done=True)]})
    whole["pqaudit"]["rules"] = [{"id": "a"}]
    damaged = copy.deepcopy(whole)
    holder, key = rng.choice(places(damaged) + 3 * places(damaged["pqaudit"]["record"]))
    holder[key] = junk
    for pair in ((damaged, whole), (whole, damaged), (damaged, damaged)):
        try:
            found = MERGER.merge(*pair)
        except ValueError:
            continue
        assert found["event"]["id"] == whole["event"]["id"]


def test_a_document_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    foreign = {"event": {"id": "a"}, "x": deep}
    with pytest.raises(ValueError, match="nested"):
        MERGER.merge(foreign, {"event": {"id": "a"}})


# -- what findings carry -----------------------------------------------------------------------------------------------


def test_findings_carry_their_evidence() -> None:
    for document in findings(messages(), "sensor-7"):
        back = json.loads(json.dumps(document))
        assert back == document
        carried = read_carried(back)
        assert carried.observers == ("sensor-7",)
        assert carried.sa.initiator_spi.hex() == document["pqaudit"]["ike"]["initiator_spi"]
        assert MERGER.merge(back, back) == document
        assert document["pqaudit"]["capture"]["observers"] == ["sensor-7"]


def test_the_month_is_that_of_the_first_packet() -> None:
    assert first_month(only(messages(HYBRID))) == "2026.11"
    new_year = 1_798_761_600 * 10**9  # 2027-01-01T00:00:00Z
    assert first_month(only([sent(request(), new_year - 1)])) == "2026.12"
    assert first_month(only([sent(request(), new_year)])) == "2027.01"
    assert first_month(only([sent(request(), 10**28)])) == "9999.12"
