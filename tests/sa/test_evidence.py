"""The pieces of evidence are sets: their merge is associative, commutative and idempotent, at their bounds too."""

from __future__ import annotations

import pickle
import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.decode.datagram import Datagram
from pqaudit.pipeline import read_message
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.bounds import (
    MOST_FRAGMENTS,
    MOST_MESSAGE_ID_BLOCKS,
    MOST_NOTIFIES,
    MOST_PATHS,
    MOST_PROTECTED_MESSAGES,
    MOST_VENDOR_IDS,
)
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.messages import ProtectedKey, ProtectedMessage
from pqaudit.sa.reference import NO_VLAN, Endpoint, Path, Reference
from pqaudit.sa.table import SaTable
from tests import build as b
from tests.sa.make import (
    COOKIE,
    HYBRID,
    I_END,
    PLAIN,
    R_END,
    X,
    answered,
    associations,
    packets,
    refusal,
    request,
    response,
    sent,
    table_of,
)
from tests.sa.test_group import summary

WAY = Path(Endpoint(I_END, 500), Endpoint(R_END, 500), "udp", NO_VLAN)
numbers = st.integers(0, 3000) | st.integers(0, 2**32 - 1)


def ids(members: list[int]) -> MessageIds:
    found = MessageIds()
    for number in members:
        found.add(number)
    return found


@given(st.lists(numbers, max_size=200))
def test_message_ids_hold_what_was_put_in(members: list[int]) -> None:
    found, known = MessageIds(), set[int]()
    for number in members:
        assert found.add(number) == (number not in known)
        known.add(number)
    assert len(found) == len(known)
    assert (found.lowest, found.highest) == (min(known, default=None), max(known, default=None))
    ranges = found.ranges
    assert {n for first, last in ranges for n in range(first, last + 1)} == known
    assert all(first <= last for first, last in ranges)
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(ranges))
    assert not found.limited
    assert pickle.loads(pickle.dumps(found)) == found


@given(st.lists(st.lists(numbers, max_size=50), min_size=3, max_size=3), st.permutations(range(3)))
def test_message_ids_merge_in_any_order(parts: list[list[int]], order: list[int]) -> None:
    merged = MessageIds()
    for index in [*order, order[0]]:
        merged.update(ids(parts[index]))
    assert merged == ids([n for part in parts for n in part])


def test_message_ids_around_the_edges_of_blocks() -> None:
    found = ids([1023, 1024, 2**32 - 1, 2047, 2048, 0])
    assert found.ranges == ((0, 0), (1023, 1024), (2047, 2048), (2**32 - 1, 2**32 - 1))


def test_message_ids_at_their_bound_do_not_depend_on_the_order() -> None:
    # The trap of bounded ranges: evens first and odds after leave less than all of them in ascending order.
    evens, odds = list(range(0, 20_000, 2)), list(range(1, 20_000, 2))
    assert ids(evens + odds) == ids(sorted(evens + odds)) == ids(odds[::-1] + evens)
    assert len(ids(evens + odds)) == 20_000


def test_a_flood_of_message_ids_is_bounded_in_any_order() -> None:
    flood = [number * 4096 for number in range(20_000)]
    shuffled = flood[:]
    random.Random(1).shuffle(shuffled)
    start = time.process_time()
    one, two = ids(flood), ids(shuffled)
    assert time.process_time() - start < 10
    assert one == two
    assert one.limited
    assert two.limited
    assert len(one) <= MOST_MESSAGE_ID_BLOCKS + 1
    assert one.lowest == 0
    long_lived = ids(list(range(200_000)))  # an exchange every half minute for two months
    assert len(long_lived) == 200_000
    assert not long_lived.limited


messages = st.builds(
    ProtectedMessage,
    st.builds(Reference, st.integers(0, 5), st.sampled_from(["a", "b"]), st.integers(1, 5), st.just(6)),
    st.sampled_from([WAY, WAY._replace(source=Endpoint(R_END, 4500))]),
    st.none() | st.integers(33, 36),
    st.integers(0, 100),
    st.integers(0, 4),
    st.dictionaries(st.integers(1, 4), st.integers(8, 12), max_size=4),
    st.booleans(),
)


def joined(*parts: ProtectedMessage) -> ProtectedMessage:
    found = parts[0].copy()
    for part in parts[1:]:
        found.merge(part)
    return found


@given(messages, messages, messages)
@settings(max_examples=500)
def test_protected_messages_merge_in_any_order(
    one: ProtectedMessage, two: ProtectedMessage, three: ProtectedMessage
) -> None:
    assert joined(one, one) == one
    assert joined(one, two) == joined(two, one)
    assert joined(one, joined(two, three)) == joined(joined(one, two), three)
    assert joined(one, two, one, two) == joined(one, two)


@given(st.randoms(use_true_random=False))
def test_fragments_in_any_order_and_twice(rng: random.Random) -> None:
    parts = [
        sent(b.encrypted(b.INTERMEDIATE, 1, octets=400 + n, fragment=(n, 5), spi_r=X), 10 + n) for n in range(1, 6)
    ]
    mixed = parts * 2
    rng.shuffle(mixed)
    (sa,) = associations(*mixed)
    ((key, message),) = sa.protected[b.INTERMEDIATE].items()
    assert key == ProtectedKey(1, b.INTERMEDIATE, True, False)
    assert message.whole
    assert message.inner_type == 34
    assert message.fragment_octets == {n: 400 + n for n in range(1, 6)}
    assert message.first.time == 11
    assert len(sa.exchanges[(b.INTERMEDIATE, True)]) == 1


@given(st.randoms(use_true_random=False))
def test_the_larger_total_wins_in_any_order(rng: random.Random) -> None:
    # RFC 7383 section 2.5.2: a sender that fragments again for a smaller path uses a larger total.
    small = [b.encrypted(b.INTERMEDIATE, 1, octets=900, fragment=(n, 2), spi_r=X) for n in (1, 2)]
    large = [b.encrypted(b.INTERMEDIATE, 1, octets=500, fragment=(n, 4), spi_r=X) for n in (1, 2, 4)]
    parts = [sent(octets, time) for time, octets in enumerate(small + large)]
    rng.shuffle(parts)
    (sa,) = associations(*parts)
    (message,) = sa.protected[b.INTERMEDIATE].values()
    assert (message.fragments, sorted(message.fragment_octets)) == (4, [1, 2, 4])
    assert not message.whole


def test_more_fragments_than_are_kept_are_named_and_never_whole() -> None:
    total = MOST_FRAGMENTS + 1
    parts = [sent(b.encrypted(b.INTERMEDIATE, 1, octets=60, fragment=(n, total)), n) for n in range(1, total + 1)]
    (sa,) = associations(*parts)
    (message,) = sa.protected[b.INTERMEDIATE].values()
    assert not message.whole
    assert "fragments" in sa.overflow
    (sa,) = associations(*parts[:3])
    assert "fragments" not in sa.overflow


@pytest.mark.parametrize(
    ("payload", "name", "most"),
    [(b.vendor_id(b"v"), "vendor-ids", MOST_VENDOR_IDS), (b.notify(40960), "notifies", MOST_NOTIFIES)],
)
def test_payloads_left_out_are_named(payload: b.Payload, name: str, most: int) -> None:
    for count, expected in ((most, False), (most + 1, True), (400, True), (1000, True)):
        octets = b.message(b.INIT, [b.sa(PLAIN), b.ke(31, 32), b.nonce(), *[payload] * count])
        (sa,) = associations(sent(octets, 0))
        assert (name in sa.overflow) == expected
        (kept,) = sa.requests.values()
        assert len(kept.content.vendor_ids) + len(kept.content.notifies) == min(count, most)
        assert ("too-many-payloads" in sa.anomalies) == (count == 1000)


def test_paths_are_bounded_in_any_order_and_named() -> None:
    octets = b.encrypted(b.INFO, 2, octets=60)
    many = [sent(octets, n, port=5000 + n) for n in range(MOST_PATHS + 10)]
    expected = associations(*many)
    assert len(expected[0].paths) == MOST_PATHS
    assert "paths" in expected[0].overflow
    assert associations(*reversed(many))[0].paths == expected[0].paths


def test_message_ids_of_a_flood_are_named() -> None:
    flood = [sent(b.encrypted(b.INFO, n * 5000, octets=60), n) for n in range(MOST_MESSAGE_ID_BLOCKS + 5)]
    (sa,) = associations(*flood)
    assert "message-ids" in sa.overflow


def flood() -> list[Datagram]:
    """Every bound reached at once, over four files."""
    found = [sent(request(n), n, file=f"f{n % 4}") for n in range(1, 25)]
    found += [answered(refusal(COOKIE, bytes([n]), spi_r=X), 30 + n, file=f"f{n % 4}") for n in range(25)]
    found += [answered(response(X, fill=n), 60 + n, file=f"f{n % 4}") for n in range(1, 4)]
    for n in range(1, MOST_PROTECTED_MESSAGES + 9):
        for number in (1, 2):
            octets = b.encrypted(b.INTERMEDIATE, n, octets=300, fragment=(number, 2), spi_r=X)
            found.append(sent(octets, 100 + n, file=f"f{n % 3}", port=4500 + n))
    found += [sent(b.encrypted(b.INFO, n * 7, octets=60, spi_r=X), 300 + n, file=f"f{n % 4}") for n in range(300)]
    return found


FLOOD = flood()
EXPECTED_FLOOD = summary(associations(*FLOOD))


def test_the_flood_reaches_the_bounds() -> None:
    (sa,) = associations(*FLOOD)
    assert {"init-messages", "protected-messages", "paths"} <= sa.overflow


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_bounds_keep_the_same_in_any_order(rng: random.Random) -> None:
    shuffled = FLOOD[:]
    rng.shuffle(shuffled)
    assert summary(associations(*shuffled)) == EXPECTED_FLOOD


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_tables_at_their_bounds_merge_in_any_order(rng: random.Random) -> None:
    where = {name: rng.randrange(3) for name in ("f0", "f1", "f2", "f3")}
    tables = [table_of(*[d for d in FLOOD if where[d.file] == index]) for index in range(3)]
    rng.shuffle(tables)
    merged = SaTable()
    for table in [*tables, tables[0]]:
        merged.merge(table)
    assert summary(list(merged.associations())) == EXPECTED_FLOOD


@given(st.lists(st.integers(0, 2), min_size=len(FLOOD), max_size=len(FLOOD)))
@settings(max_examples=20, deadline=None)
def test_associations_merge_as_sets(where: list[int]) -> None:
    def part(index: int) -> SecurityAssociation:
        chosen = [d for d, owner in zip(FLOOD, where, strict=True) if owner == index]
        return associations(*chosen)[0] if chosen else SecurityAssociation(2, b.SPI_I, X)

    def facts(*parts: SecurityAssociation) -> tuple[object, ...]:
        merged = SecurityAssociation(2, b.SPI_I, X)
        for one in parts:
            merged.merge(one)
        return (
            set(merged.requests),
            set(merged.responses),
            merged.exchanges,
            merged.protected,
            merged.paths,
            merged.overflow,
            merged.first,
            merged.last,
            merged.initiator,
            packets(merged),
        )

    one, two, three = part(0), part(1), part(2)
    both = one.copy()
    both.merge(two)
    other = two.copy()
    other.merge(three)
    assert facts(one, two) == facts(two, one)
    assert facts(both, three) == facts(one, other) == facts(three, two, one)
    assert facts(one, two, one) == facts(one, two)


def initiators(count: int, start: int = 1) -> list[Datagram]:
    return [sent(request(spi_i=(start + n).to_bytes(8, "big")), start + n) for n in range(count)]


def test_a_flood_of_attempts_leaves_the_answered_ones() -> None:
    # More answered SAs than any look at the first few would see, then twice the table in attempts.
    real: list[Datagram] = []
    for number in range(200):
        spi = (1 << 40 | number).to_bytes(8, "big")
        real += [sent(request(spi_i=spi), number), answered(response(X, spi_i=spi), number)]
    table = table_of(*real, *initiators(600, start=1000), most_groups=300)
    assert len(table) == 300
    assert table.counters["sas-evicted"] == 500
    assert sum(sa.responder_spi == X for sa in table.associations()) == 200


def test_among_answered_ones_the_oldest_goes() -> None:
    real: list[Datagram] = []
    for number in range(1, 31):
        spi = number.to_bytes(8, "big")
        real += [sent(request(spi_i=spi), number), answered(response(X, spi_i=spi), number)]
    table = table_of(*real, most_groups=10)
    assert table.counters["sas-evicted"] == 20
    assert {int.from_bytes(sa.initiator_spi, "big") for sa in table.associations()} == set(range(21, 31))


def test_a_table_that_merges_keeps_to_its_bound() -> None:
    table = table_of(*initiators(8), most_groups=10)
    table.merge(table_of(*initiators(8, start=100)))
    assert len(table) == 10
    assert table.counters["sas-evicted"] == 6


def test_a_drained_table_starts_anew() -> None:
    table = table_of(*initiators(12), most_groups=10)
    assert len(list(table.drain())) == 10
    for datagram in initiators(12, start=100):
        table.add(datagram, read_message(datagram))
    assert len(table) == 10
    assert table.counters["sas-evicted"] == 4


def test_a_full_table_takes_linear_time() -> None:
    table = table_of(most_groups=2000)
    start = time.process_time()
    for datagram in initiators(30_000):
        table.add(datagram, read_message(datagram))
    assert time.process_time() - start < 30  # a scan over the removed ones takes minutes
    assert len(table) == 2000


def test_simultaneous_initiation_is_two_sas() -> None:
    # RFC 7296 section 2.8.1 has it for rekeying; IKE_SA_INIT in both directions gives two SAs, each with its initiator.
    other = b"\x44" * 8
    sas = associations(
        sent(request(), 0),
        sent(request(spi_i=other), 0, source=R_END, destination=I_END),
        answered(response(X), 1),
        answered(response(X, spi_i=other), 1, source=I_END, destination=R_END),
    )
    assert {(sa.initiator_spi, packets(sa)) for sa in sas} == {(b.SPI_I, 2), (other, 2)}


def test_a_hybrid_with_additional_exchanges_counts_each_once() -> None:
    offered = b.message(b.INIT, [b.sa(HYBRID), b.ke(31, 32), b.nonce()])
    (sa,) = associations(
        sent(offered, 0),
        sent(offered, 1),
        answered(b.init_response(HYBRID, spi_r=X), 2),
        *[sent(b.encrypted(b.INTERMEDIATE, 1, spi_r=X), 3, port=4500)] * 2,
        answered(b.encrypted(b.INTERMEDIATE, 1, response=True, spi_r=X), 4, port=4500),
    )
    assert len(sa.exchanges[(b.INTERMEDIATE, True)]) == 1
    assert len(sa.exchanges[(b.INIT, True)]) == 1
    assert packets(sa) == 6
