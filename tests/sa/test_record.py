"""Evidence goes into a record and comes back whole; whatever else comes is refused with a sentence."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.decode.datagram import Datagram
from pqaudit.finding.document import Observer, build_finding
from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.payloads import Proposal, Transform
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs, read_message
from pqaudit.sa.association import Kept, SecurityAssociation
from pqaudit.sa.bounds import (
    MOST_INIT_MESSAGES,
    MOST_MESSAGE_ID_BLOCKS,
    MOST_PATHS,
    MOST_PROTECTED_MESSAGES,
    MOST_REFERENCES,
)
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.messages import FileCount, InitContent, KeptNotify, ProtectedKey, ProtectedMessage, Seen, V1Content
from pqaudit.sa.record import VERSION, LaterRecordError, RecordError, from_record, to_record
from pqaudit.sa.reference import Endpoint, Path, Reference
from pqaudit.sa.table import SaTable
from tests import build as b
from tests.conftest import SAMPLES, rulebook_cached
from tests.sa.make import X, answered, associations, refusal, request, response, sent

MANIFEST: dict[str, Any] = json.loads((SAMPLES / "manifest.json").read_text())
HIGHEST_ID = (1 << 32) - 1


def sample_messages() -> list[Datagram]:
    found: list[Datagram] = []
    read_inputs(
        [str(path) for path in sorted(SAMPLES.glob("*.pcap"))],
        AuditRun(),
        ReadOptions(),
        on_message=lambda datagram, _: found.append(datagram),
    )
    return found


def table_of(messages: list[Datagram]) -> SaTable:
    table = SaTable()
    for datagram in messages:
        table.add(datagram, read_message(datagram))
    return table


MESSAGES = sample_messages()
SAS = list(table_of(MESSAGES).associations())
RECORDS = [to_record(sa) for sa in SAS]


def text(record: Any) -> str:
    return json.dumps(record, separators=(",", ":"))


def through_json(sa: SecurityAssociation) -> SecurityAssociation:
    return from_record(json.loads(text(to_record(sa))))


def limited(sa: SecurityAssociation) -> dict[tuple[int, bool], bool]:
    """What comparing message IDs leaves out."""
    return {key: ids.limited for key, ids in sa.exchanges.items()}


def test_the_samples_come_back_whole() -> None:
    assert len(SAS) == MANIFEST["whole_folder"]["ike_sas"]
    for sa in SAS:
        back = through_json(sa)
        assert back == sa
        assert limited(back) == limited(sa)


def test_what_comes_back_shows_what_the_daemons_selected() -> None:
    """The right values are those of the daemons' logs, in the manifest."""
    found = {(sa.initiator_spi.hex(), sa.responder_spi.hex()): through_json(sa) for sa in SAS}
    selected = 0
    for entry in MANIFEST["files"]:
        for expected in entry["sas"]:
            if not expected.get("seen", True):
                continue
            sa = found[expected["initiator_spi"], expected["responder_spi"] or "0" * 16]
            own = build_finding(sa, rulebook_cached(), Observer("test"))["pqaudit"]
            assert {name: own[name] for name in expected["expected"]} == expected["expected"]
            if own["selected"]["key_exchange"] is not None:
                selected += 1
                log = expected["log"]
                assert own["selected"]["key_exchange"]["id"] == log["key_exchange"]["id"]
                additional = [(each["slot"], each["id"]) for each in own["selected"]["additional_key_exchanges"]]
                assert additional == [(each["slot"], each["id"]) for each in log["additional_key_exchanges"]]
            if expected["version"] == "2.0":
                assert own["observed"]["exchanges"]["IKE_INTERMEDIATE"] == expected["ike_intermediate"]
    assert selected > 20


def test_records_are_small() -> None:
    sizes = sorted(len(text(record)) for record in RECORDS)
    assert sizes[len(sizes) // 2] < 1100
    assert sizes[-1] < 2000


def test_an_sa_of_very_many_packets_has_a_small_record() -> None:
    sa = SecurityAssociation(2, b.SPI_I, X)
    path = Path(Endpoint(bytes(4), 500), Endpoint(b"\1" * 4, 500), "udp", -1)
    for number in range(20_000):
        reference = Reference(number, "f", number + 1, 9)
        sa.see(reference, path)
        sa.add_exchange(37, True, number)
    assert len(text(to_record(sa))) < 400
    assert through_json(sa) == sa


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_messages_does_not_show(rng: random.Random) -> None:
    shuffled = MESSAGES[:]
    rng.shuffle(shuffled)
    records = {text(to_record(sa)) for sa in table_of(shuffled).associations()}
    assert records == {text(record) for record in RECORDS}


def test_merging_with_itself_does_not_show() -> None:
    for sa, record in zip(SAS, RECORDS, strict=True):
        twice = sa.copy()
        twice.merge(from_record(record))
        assert twice == sa
        assert text(to_record(twice)) == text(record)


def test_later_evidence_merges_with_what_came_back() -> None:
    (whole,) = associations(sent(request(), 0, file="f"), answered(response(), 5, file="g"))
    (first,) = associations(sent(request(), 0, file="f"), answered(response(), 9, file="h"))
    (second,) = associations(answered(response(), 5, file="g"))
    merged = through_json(second)
    merged.merge(through_json(first))
    assert merged.requests == whole.requests
    assert merged.first == whole.first
    assert [message.seen.first.file for message in merged.responses.values()] == ["g"]
    assert sorted(merged.file_counts) == ["f", "g", "h"]


def test_an_attempt_of_many_refusals_at_the_bound() -> None:
    messages = [sent(request(fill=n), 10 * n) for n in range(MOST_INIT_MESSAGES + 5)]
    messages += [answered(refusal(16390, bytes([n])), 10 * n + 1) for n in range(MOST_INIT_MESSAGES + 5)]
    (attempt,) = associations(*messages)
    assert attempt.overflow == {"init-messages"}
    assert through_json(attempt) == attempt


# -- any evidence ------------------------------------------------------------------------------------------------------

TIMES = st.integers(-(10**28), 10**28) | st.integers(1_700_000_000 * 10**9, 1_700_000_100 * 10**9)
FILES = st.sampled_from(["a.pcap", "b.pcap", "-", "r\udcffst.pcap", "dir/c.pcapng"])
REFERENCES = st.builds(Reference, TIMES, FILES, st.integers(0, 1 << 60), st.integers(0, 9))
ENDPOINTS = st.builds(
    Endpoint, st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(0, 65535)
)
PATHS = st.builds(Path, ENDPOINTS, ENDPOINTS, st.sampled_from(["udp", "tcp"]), st.integers(-1, 4095))
SPIS = st.binary(min_size=8, max_size=8)
TWO = st.integers(0, 65535)
ONE = st.integers(0, 255)
SLUGS = st.sampled_from(["ke-length", "payload-cut-off", "second-sa-payload", "octets-after-message"])
COUNTS = st.dictionaries(
    FILES,
    st.builds(
        lambda packets, first, more: FileCount(packets, first, first + more),
        st.integers(1, 1 << 40),
        st.integers(0, 1 << 40),
        st.integers(0, 1 << 40),
    ),
    max_size=3,
)
TRANSFORMS = st.builds(Transform, ONE, TWO, st.none() | TWO)
PROPOSALS = st.builds(
    Proposal, ONE, ONE, st.binary(max_size=255), st.lists(TRANSFORMS, max_size=4).map(lambda found: tuple(found))
)
VENDOR_IDS = st.lists(st.binary(max_size=256), max_size=3).map(lambda found: tuple(found))


@st.composite
def sightings(draw: st.DrawFn) -> Seen:
    first, last = sorted([draw(REFERENCES), draw(REFERENCES)])
    path = draw(PATHS)
    counts = draw(st.none() | COUNTS.filter(bool))
    return Seen(first, path, last, counts)


INIT = st.builds(
    InitContent,
    digest=st.binary(min_size=16, max_size=16),
    responder_spi=SPIS,
    exchange_type=ONE,
    proposals=st.none() | st.lists(PROPOSALS, max_size=3).map(lambda found: tuple(found)),
    proposals_complete=st.booleans(),
    ke_method=st.none() | TWO,
    ke_octets=st.none() | TWO,
    nonce=st.booleans(),
    notifies=st.lists(st.builds(KeptNotify, TWO, st.binary(max_size=64)), max_size=3).map(lambda found: tuple(found)),
    vendor_ids=VENDOR_IDS,
    complete=st.booleans(),
    truncated=st.booleans(),
    faults=st.lists(SLUGS, max_size=2).map(lambda found: tuple(found)),
)
FOUR = st.none() | st.integers(0, HIGHEST_ID)
PHASE1 = st.builds(
    V1Content,
    st.binary(min_size=16, max_size=16),
    SPIS,
    st.lists(st.builds(Phase1Transform, FOUR, FOUR, FOUR, FOUR), min_size=1, max_size=3).map(
        lambda found: tuple(found)
    ),
    VENDOR_IDS,
)


@st.composite
def protected_messages(draw: st.DrawFn) -> tuple[ProtectedKey, ProtectedMessage]:
    kinds = st.sampled_from([35, 36, 43, 44]) | ONE
    key = ProtectedKey(draw(st.integers(0, HIGHEST_ID)), draw(kinds), draw(st.booleans()), draw(st.booleans()))
    total = draw(st.just(0) | st.integers(1, 65535))
    pieces = draw(st.dictionaries(st.integers(1, max(total, 1)), TWO, max_size=4)) if total else {}
    inner = draw(st.none() | ONE)
    return key, ProtectedMessage(draw(REFERENCES), draw(PATHS), inner, draw(TWO), total, pieces, draw(st.booleans()))


@st.composite
def message_ids(draw: st.DrawFn) -> MessageIds:
    ids = MessageIds()
    for number in draw(st.lists(st.integers(0, 3000) | st.integers(0, HIGHEST_ID), min_size=1, max_size=30)):
        ids.add(number)
    ids.limited = draw(st.booleans())
    return ids


@st.composite
def evidence(draw: st.DrawFn) -> SecurityAssociation:
    sa = SecurityAssociation(draw(st.sampled_from([1, 2])), draw(SPIS), draw(SPIS))
    for message in draw(st.lists(st.builds(Kept, INIT, sightings()), max_size=3)):
        sa.requests[message.content.digest] = message
    for message in draw(st.lists(st.builds(Kept, INIT, sightings()), max_size=3)):
        sa.responses[message.content.digest] = message
    for phase1 in draw(st.lists(st.builds(Kept, PHASE1, sightings()), max_size=2)):
        sa.phase1[phase1.content.digest] = phase1
    sa.exchanges = draw(st.dictionaries(st.tuples(ONE, st.booleans()), message_ids(), max_size=4))
    for key, encrypted in draw(st.lists(protected_messages(), max_size=4)):
        sa.protected.setdefault(key.exchange_type, {})[key] = encrypted
    sa.paths = draw(st.dictionaries(PATHS, REFERENCES, min_size=1, max_size=MOST_PATHS))
    sa.files = draw(COUNTS)
    anomaly = st.lists(REFERENCES, min_size=1, max_size=MOST_REFERENCES).map(dict.fromkeys)
    sa.anomalies = draw(st.dictionaries(SLUGS, anomaly, max_size=3))
    sa.overflow = draw(st.frozensets(st.sampled_from(["paths", "notifies", "fragments"])))
    sa.first, sa.last = sorted([draw(REFERENCES), draw(REFERENCES)])
    sa.initiator = draw(st.none() | st.tuples(REFERENCES, PATHS))
    return sa


@settings(max_examples=300, deadline=None)
@given(evidence())
def test_any_evidence_comes_back_whole(sa: SecurityAssociation) -> None:
    back = through_json(sa)
    assert back == sa
    assert limited(back) == limited(sa)
    build_finding(back, rulebook_cached(), Observer("test"))


# -- anything else -----------------------------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-2, 70_000)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["00", "0" * 16, "ff" * 16, "-1", 1 << 70, 10**400, "9" * 5000, "udp", "\u0661"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)


def read(value: Any) -> None:
    """What is read must be evidence that can be judged and written again; or it is refused."""
    try:
        sa = from_record(value)
    except RecordError:
        return
    build_finding(sa, rulebook_cached(), Observer("test"))
    assert from_record(to_record(sa)) == sa


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_anything_else_is_refused(value: Any) -> None:
    read(value)
    read({"v": VERSION, "sa": value})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place inside, as what holds it and its key."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += places(inner)
    return found


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(RECORDS), st.randoms(use_true_random=False), VALUES, st.sampled_from("rrdcsn"))
def test_a_damaged_record_is_refused_or_still_evidence(
    record: dict[str, Any], rng: random.Random, value: Any, how: str
) -> None:
    damaged = copy.deepcopy(record)
    holder, key = rng.choice(places(damaged))
    if how == "r":
        holder[key] = value
    elif how == "d":
        del holder[key]
    elif how == "c":
        other, place = rng.choice(places(record))
        holder[key] = other[place]
    elif how == "s" and isinstance(holder, list):
        rng.shuffle(holder)
    elif isinstance(holder[key], int):
        holder[key] += rng.choice([-1, 1, 255, 65536, 1 << 40])
    read(damaged)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requests", RECORDS[0]["requests"] * (MOST_INIT_MESSAGES + 1)),
        ("ways", RECORDS[0]["ways"][:2] * (MOST_PATHS + 1)),
        ("ways", []),
        ("seen", [1, 0]),
        ("seen", [0, 99_999]),
        ("seen", [0, -1]),
        ("seen", [0, True]),
        ("exchanges", [[37, 1, 5, 4]]),
        ("exchanges", [[37, 1, 5, 5, 6, 6]]),
        ("exchanges", [[37, 1, 0, HIGHEST_ID + 1]]),
        ("exchanges", [[37, 1, 0, HIGHEST_ID]]),
        ("exchanges", [[37, 1, 0]]),
        ("protected", [[n, 43, 1, 0, 0, 34, 80] for n in range(MOST_PROTECTED_MESSAGES + 1)]),
        ("protected", [[1, 43, 1, 0, 0, 34, 0, 2, 3, 80]]),
        ("protected", [[1, 43, 1, 0, 0, 34, 0, 600, *[1] * 600]]),
        ("phase1", [["00" * 16, [0, 0], "00" * 8, [], []]]),
        ("anomalies", {"Not A Slug": [0]}),
        ("anomalies", {"a": [0] * (MOST_REFERENCES + 1)}),
        ("anomalies", {f"a{n}": [0] for n in range(1000)}),
        ("overflow", "paths"),
        ("i", "00" * 7),
        ("i", "0A" * 8),
        ("i", " 00" * 8),
        ("t", "1e5"),
        ("t", 5),
        ("t", "9" * 31),
        ("ike", 3),
        ("v", 0),
        ("t", 10**5000),
        ("v", 10**5000),
        ("v", "1"),
        ("paths", [["00000000", 500, "00000000", 500, "sctp", -1]]),
        ("paths", [["0000000000", 500, "00000000", 500, "udp", -1]]),
        ("paths", [["00000000", 65536, "00000000", 500, "udp", -1]]),
        ("references", [0, 6, 1, 2]),
        ("files", [1]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 12 else type(value).__name__,
)
def test_out_of_bounds(field: str, value: Any) -> None:
    with pytest.raises(RecordError, match=r"The record of an SA is damaged: its .* cannot be\."):
        from_record({**RECORDS[0], field: value})


def test_a_later_version_is_told_apart() -> None:
    with pytest.raises(LaterRecordError, match="version 2"):
        from_record({"v": VERSION + 1, "all": "new"})
    with pytest.raises(LaterRecordError):
        from_record({**RECORDS[0], "v": 1 << 60})


# -- message IDs -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3000)), max_size=6))
def test_ranges_are_what_one_by_one_gives(spans: list[tuple[int, int]]) -> None:
    one_by_one, ranges = MessageIds(), MessageIds()
    for first, length in spans:
        ranges.add_range(first, first + length)
        for number in range(first, first + length + 1):
            one_by_one.add(number)
    assert ranges == one_by_one
    assert ranges.limited == one_by_one.limited


def test_ranges_keep_to_the_bound_as_one_by_one_does() -> None:
    starts = [(n * 7919) % (MOST_MESSAGE_ID_BLOCKS * 3) * 1024 + 5 for n in range(MOST_MESSAGE_ID_BLOCKS * 2)]
    one_by_one, ranges = MessageIds(), MessageIds()
    for start in starts:
        ranges.add_range(start, start + 2)
        for number in range(start, start + 3):
            one_by_one.add(number)
    assert ranges == one_by_one
    assert ranges.limited
    assert one_by_one.limited


def test_a_range_of_everything_is_quick() -> None:
    ids = MessageIds()
    ids.add(HIGHEST_ID)
    began = time.perf_counter()
    ids.add_range(0, HIGHEST_ID)
    assert time.perf_counter() - began < 1
    assert ids.limited
    assert ids.ranges == ((0, (MOST_MESSAGE_ID_BLOCKS + 1) * 1024 - 1),)
