"""Evidence merges to the same SAs whatever the order, the files and the workers."""

from __future__ import annotations

import pickle
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.decode.datagram import Datagram
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.ike.header import NotIkeError
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs, read_message
from pqaudit.sa.bounds import MOST_INIT_MESSAGES, MOST_PROTECTED_MESSAGES
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.table import SaTable
from tests import build as b
from tests.conftest import SAMPLES, rulebook_cached

NAMES = (
    "hybrid_x25519_mlkem768.pcap",
    "cookie_challenge_hybrid.pcap",
    "invalid_ke_retry_hybrid.pcap",
    "nat_hybrid_x25519_mlkem768_inside.pcap",
    "nat_hybrid_x25519_mlkem768_outside.pcap",
    "frag_ike_skf_size400.pcap",
    "rekey_hybrid_ike_and_child.pcap",
    "ikev1_main_mode.pcap",
    "no_proposal_chosen_hybrid.pcap",
)


def datagrams() -> list[Datagram]:
    found: list[Datagram] = []
    sources = [str(SAMPLES / name) for name in NAMES]
    read_inputs(sources, AuditRun(), ReadOptions(), on_message=lambda datagram, _: found.append(datagram))
    return found


ALL = datagrams()


def table_of(messages: list[Datagram]) -> SaTable:
    table = SaTable()
    for datagram in messages:
        table.add(datagram, read_message(datagram))
    return table


def findings(table: SaTable) -> list[Document]:
    return list(drain_findings(table, rulebook_cached(), Observer("test")))


EXPECTED = findings(table_of(ALL))


def test_there_is_something_to_merge() -> None:
    assert len(ALL) > 80
    # Nine files, of which one has a second attempt and one two rekeyed SAs; two files show the same SA.
    assert len(EXPECTED) == 11


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_messages_does_not_matter(rng: random.Random) -> None:
    shuffled = ALL[:]
    rng.shuffle(shuffled)
    assert findings(table_of(shuffled)) == EXPECTED


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(2, 4))
def test_tables_of_whole_files_merge_in_any_order(rng: random.Random, count: int) -> None:
    where = {name: rng.randrange(count) for name in {d.file for d in ALL}}
    tables = [table_of([d for d in ALL if where[d.file] == index]) for index in range(count)]
    rng.shuffle(tables)
    merged = tables[0]
    for other in tables[1:]:
        merged.merge(pickle.loads(pickle.dumps(other)))
    assert findings(merged) == EXPECTED


def test_merging_twice_changes_nothing() -> None:
    table = table_of(ALL)
    table.merge(table_of(ALL))
    table.merge(table_of([d for d in ALL if "nat" in d.file]))
    assert findings(table) == EXPECTED


def test_merging_is_associative() -> None:
    files = sorted({d.file for d in ALL})
    parts = [[d for d in ALL if d.file in files[start::3]] for start in range(3)]
    left = table_of(parts[0])
    left.merge(table_of(parts[1]))
    left.merge(table_of(parts[2]))
    right = table_of(parts[1])
    right.merge(table_of(parts[2]))
    whole = table_of(parts[0])
    whole.merge(right)
    assert findings(left) == findings(whole) == EXPECTED


def test_looking_leaves_the_table_as_it_is() -> None:
    table = table_of(ALL)
    assert len(list(table.associations())) == len(list(table.associations())) == len(EXPECTED)
    assert findings(table) == EXPECTED
    assert len(table) == 0


@given(st.lists(st.integers(0, 300)), st.lists(st.integers(0, 300)))
def test_message_ids_are_a_set(first: list[int], second: list[int]) -> None:
    one, two = MessageIds(), MessageIds()
    for number in first:
        one.add(number)
    for number in second:
        two.add(number)
    one.update(two)
    assert len(one) == len(set(first) | set(second))
    assert one.lowest == min([*first, *second], default=None)
    assert one.highest == max([*first, *second], default=None)
    ranges = one.ranges
    assert all(a_last + 1 < b_first for (_, a_last), (b_first, _) in pairwise(ranges))


def made(frames: list[bytes], tmp_path: Path) -> tuple[list[Document], AuditRun]:
    run = AuditRun()
    read_inputs([str(b.pcap(frames, tmp_path / "made.pcap"))], run, ReadOptions())
    return findings(run.table), run


PLAIN: tuple[b.Transform, ...] = (*b.SUITE, (b.KE, 31))


def test_a_flood_of_requests_is_bounded_and_named(tmp_path: Path) -> None:
    frames = [
        b.udp_frame(b.message(b.INIT, [b.sa(PLAIN), b.ke(31, 32), b.nonce(fill=n)]))
        for n in range(MOST_INIT_MESSAGES + 9)
    ]
    frames += [b.udp_frame(b.init_response(PLAIN), b.B, b.A)]
    (finding,), _ = made(frames, tmp_path)
    assert finding["pqaudit"]["verdict"] == "classical-only"
    assert "limit-init-messages" in [a["id"] for a in finding["pqaudit"]["anomalies"]]


def test_refusals_never_push_out_the_response_that_selects(tmp_path: Path) -> None:
    frames = [b.udp_frame(b.init_request(PLAIN))]
    frames += [
        b.udp_frame(b.message(b.INIT, [b.notify(16390, bytes([n]))], spi_r=b.SPI_R, flags=b.RESPONSE), b.B, b.A)
        for n in range(MOST_INIT_MESSAGES + 9)
    ]
    frames += [b.udp_frame(b.init_response(PLAIN), b.B, b.A)]
    (finding,), _ = made(frames, tmp_path)
    assert finding["pqaudit"]["verdict"] == "classical-only"


def test_a_flood_of_intermediate_messages_is_bounded_and_named(tmp_path: Path) -> None:
    conversation = b.negotiated([(b.KE, 31)], [(b.KE, 31)])
    for number in range(1, MOST_PROTECTED_MESSAGES + 9):
        conversation.send(b.encrypted(b.INTERMEDIATE, number))
    (finding,), _ = made(conversation.frames, tmp_path)
    assert finding["pqaudit"]["observed"]["exchanges"]["IKE_INTERMEDIATE"] == MOST_PROTECTED_MESSAGES + 8
    assert "limit-protected-messages" in [a["id"] for a in finding["pqaudit"]["anomalies"]]


def test_a_full_table_lets_go_of_unanswered_attempts_first(tmp_path: Path) -> None:
    table = SaTable(most_groups=10)
    run = AuditRun(table=table)
    answered = b.Conversation().send(b.init_request(PLAIN)).answer(b.init_response(PLAIN)).frames
    flood = [
        b.udp_frame(b.message(b.INIT, [b.sa(PLAIN), b.ke(31, 32), b.nonce()], spi_i=n.to_bytes(8, "big")))
        for n in range(1, 101)
    ]
    read_inputs([str(b.pcap([*answered, *flood], tmp_path / "flood.pcap"))], run, ReadOptions())
    assert len(table) == 10
    assert table.counters["sas-evicted"] == 91
    assert b.SPI_I in {sa.initiator_spi for sa in table.associations()}


def test_retransmissions_count_as_packets_and_not_as_exchanges(tmp_path: Path) -> None:
    request = b.udp_frame(b.init_request(PLAIN))
    frames = [request, request, b.udp_frame(b.init_response(PLAIN), b.B, b.A)]
    (finding,), _ = made(frames, tmp_path)
    own = finding["pqaudit"]
    assert own["capture"]["packets"] == 3
    assert own["observed"]["exchanges"]["IKE_SA_INIT"] == 1
    assert own["observed"]["ike_sa_init_retries"] == 0


def test_a_refragmented_message_counts_with_its_larger_total(tmp_path: Path) -> None:
    # RFC 7383 section 2.5.2: when both totals were seen, the larger one is the later one.
    hybrid = [(b.KE, 31), b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    for fragment in ((1, 2), (1, 3), (2, 3), (2, 2), (3, 3)):
        conversation.send(b.encrypted(b.INTERMEDIATE, 1, octets=500, fragment=fragment))
    conversation.answer(b.encrypted(b.INTERMEDIATE, 1, response=True))
    conversation.send(b.encrypted(b.AUTH, 2, inner=39, octets=200))
    conversation.answer(b.encrypted(b.AUTH, 2, inner=36, octets=200, response=True))
    (finding,), _ = made(conversation.frames, tmp_path)
    assert finding["pqaudit"]["assurance"] == "executed"
    assert any("3 of 3 fragments" in e["what"] for e in finding["pqaudit"]["evidence"])


def test_both_sides_initiate_at_once(tmp_path: Path) -> None:
    first = b.Conversation().send(b.init_request(PLAIN)).answer(b.init_response(PLAIN)).frames
    other, spi = b"\x44" * 8, b"\x55" * 8
    request = b.message(b.INIT, [b.sa(PLAIN), b.ke(31, 32), b.nonce()], spi_i=other)
    response = b.message(b.INIT, [b.sa(PLAIN), b.ke(31, 32), b.nonce()], spi_i=other, spi_r=spi, flags=b.RESPONSE)
    frames = [first[0], b.udp_frame(request, b.B, b.A), first[1], b.udp_frame(response, b.A, b.B)]
    found, _ = made(frames, tmp_path)
    assert [(f["source"]["ip"], f["destination"]["ip"]) for f in found] == [(b.A, b.B), (b.B, b.A)]


def test_port_500_to_4500_and_back_is_one_sa(tmp_path: Path) -> None:
    conversation = b.negotiated([(b.KE, 31)], [(b.KE, 31)])
    conversation.send(b.encrypted(b.AUTH, 1, inner=35, octets=200), port=4500)
    conversation.answer(b.encrypted(b.AUTH, 1, inner=36, octets=200, response=True), port=4500)
    conversation.send(b.encrypted(b.INFO, 2, octets=60))
    (finding,), _ = made(conversation.frames, tmp_path)
    assert finding["pqaudit"]["capture"]["packets"] == 5
    assert finding["pqaudit"]["assurance"] == "executed"


def test_a_response_from_a_clock_that_is_behind(tmp_path: Path) -> None:
    # Two capture points: the response's file says it came before the request.
    request = b.pcap([b.udp_frame(b.init_request(PLAIN))], tmp_path / "a.pcap", start=1_700_000_010)
    response = b.pcap([b.udp_frame(b.init_response(PLAIN), b.B, b.A)], tmp_path / "b.pcap")
    run = AuditRun()
    read_inputs([str(request), str(response)], run, ReadOptions())
    (finding,) = findings(run.table)
    assert (finding["pqaudit"]["verdict"], finding["pqaudit"]["reason"]) == ("classical-only", "not-offered")
    assert finding["source"]["ip"] == b.A


def test_the_identity_rests_on_spis_alone_once_they_are_known(tmp_path: Path) -> None:
    inside = b.Conversation().send(b.init_request(PLAIN)).answer(b.init_response(PLAIN)).frames
    outside = [
        b.udp_frame(b.init_request(PLAIN), "198.51.100.7", b.B, sport=10_500),
        b.udp_frame(b.init_response(PLAIN), b.B, "198.51.100.7", dport=10_500),
    ]
    one, _ = made(inside, tmp_path)
    two, _ = made(outside, tmp_path)
    assert one[0]["event"]["id"] == two[0]["event"]["id"]


@pytest.mark.parametrize("octets", [b"", b"\x00" * 28, b"\xff" * 100])
def test_octets_that_are_no_ike(octets: bytes) -> None:
    datagram = Datagram(0, 6, bytes(4), 500, bytes(4), 500, "udp", octets, False, False, None, "f", (1,))
    with pytest.raises(NotIkeError):
        read_message(datagram)
