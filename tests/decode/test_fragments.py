"""IP fragments, cut by scapy and by hand."""

from __future__ import annotations

import itertools
import random
import time as clock
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.packet import Packet, Raw

from pqaudit.decode.decoder import Decoder
from pqaudit.decode.limits import Limits
from tests.decode.frames import MARKER, SECOND, START, decode, decode_filtered, ether, frame, ike, numbered, udp4

MESSAGE = ike(1500)


def pieces4(message: bytes = MESSAGE, size: int = 520, identification: int = 7) -> list[Packet]:
    return [IP(bytes(p)) for p in fragment(udp4(message, id=identification), fragsize=size)]


def pieces6(message: bytes = MESSAGE, size: int = 600, identification: int = 7) -> list[Packet]:
    whole = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=identification)
    packet = whole / UDP(sport=500, dport=500) / Raw(message)
    return [IPv6(bytes(p)) for p in fragment6(packet, size)]


def by_hand(payload: bytes, offset: int, *, more: bool, identification: int = 7, protocol: int = 17) -> bytes:
    flags = 1 if more else 0
    header = IP(src="192.0.2.1", dst="192.0.2.2", id=identification, proto=protocol, flags=flags, frag=offset // 8)
    return ether(header / Raw(payload))


DATAGRAM = bytes(udp4(MESSAGE))[20:]


@pytest.mark.parametrize("pieces", [pieces4(), pieces6()])
def test_every_order_gives_the_same_datagram(pieces: list[Packet]) -> None:
    assert 3 <= len(pieces) <= 4
    for order in itertools.permutations(range(len(pieces))):
        frames = numbered(ether(pieces[index]) for index in order)
        decoder = Decoder()
        (found,) = decode(frames, decoder)
        assert (found.payload, found.truncated) == (MESSAGE, False)
        assert found.frames == tuple(range(1, len(pieces) + 1))
        assert found.time == frames[-1].time
        assert dict(decoder.counters) == {"fragments-reassembled": 1}
        assert decode_filtered(frames) == [found]


@given(st.data(), st.booleans(), st.integers(400, 3000))
@settings(max_examples=60, deadline=None)
def test_orders_and_duplicates(data: st.DataObject, six: bool, size: int) -> None:
    message = ike(size)
    pieces = pieces6(message, 200) if six else pieces4(message, 104)
    order = data.draw(st.permutations(range(len(pieces))))
    doubled = data.draw(st.lists(st.sampled_from(range(len(pieces))), max_size=5))
    indices = list(order)
    for index in doubled:
        indices.insert(data.draw(st.integers(0, len(indices))), index)
    found = decode_filtered(numbered(ether(pieces[index]) for index in indices))
    assert [d.payload for d in found] == [message]


@given(st.lists(st.tuples(st.integers(0, 190), st.integers(1, 40)), max_size=25), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_overlaps_with_the_same_content_in_any_order(cuts: list[tuple[int, int]], rng: random.Random) -> None:
    spans = [(start * 8, (start + size) * 8) for start, size in cuts] + [(at, at + 256) for at in range(0, 1536, 256)]
    rng.shuffle(spans)
    end = len(DATAGRAM)
    frames = numbered(by_hand(DATAGRAM[start:stop], start, more=stop < end) for start, stop in spans if start < end)
    found = decode_filtered(frames)
    assert found
    assert {d.payload for d in found} == {MESSAGE}


@pytest.mark.parametrize(
    ("offset", "stop"),
    [(0, 512), (0, 64), (512, 1024), (512, 1032), (520, 528), (504, 1200), (1024, 1528), (8, 1528), (512, 600)],
)
def test_an_overlap_with_other_content_spoils_the_datagram(offset: int, stop: int) -> None:
    # The UDP header stays, for a datagram of other ports is no business of the decoder.
    other = DATAGRAM[:8] + bytes(b ^ 0x55 for b in DATAGRAM[8:])
    liar = by_hand(other[offset:stop], offset, more=True)
    parts = [by_hand(DATAGRAM[at : at + 512], at, more=at + 512 < len(DATAGRAM)) for at in (0, 512, 1024)]
    for place in range(len(parts)):
        frames = numbered([*parts[:place], liar, *parts[place:]])
        decoder = Decoder()
        for found in decode(frames, decoder):
            raise AssertionError((place, found))
        assert decoder.counters["fragments-overlapping"] == 1


def test_two_ends_spoil_the_datagram() -> None:
    frames = numbered([by_hand(DATAGRAM[512:520], 512, more=False), by_hand(DATAGRAM[512:1024], 512, more=False)])
    decoder = Decoder()
    assert decode(frames, decoder) == []
    assert decoder.counters["fragments-overlapping"] == 1


def test_time_out_and_clock_that_jumps_back() -> None:
    first, second, third = (ether(p) for p in pieces4())
    decoder = Decoder()
    late = [frame(first, number=1), frame(second, number=2, time=START + 3600 * SECOND)]
    late.append(frame(third, number=3, time=START + 3600 * SECOND))
    # Never put together; what the first fragment shows is given once it has waited long enough.
    (beginning,) = decode(late, decoder)
    assert (beginning.truncated, beginning.frames) == (True, (1,))
    assert MESSAGE.startswith(beginning.payload)
    assert decoder.counters["fragments-timed-out"] >= 1
    back = [frame(first, number=1), frame(second, number=2, time=START - 2 * SECOND), frame(third, number=3)]
    assert [d.payload for d in decode(back)] == [MESSAGE]
    far_back = [frame(first, number=1), frame(second, number=2, time=0), frame(third, number=3)]
    assert all(d.truncated for d in decode(far_back))
    whole = [d.payload for d in decode([*far_back, *late[:1], *back[1:]]) if not d.truncated]
    assert whole in ([MESSAGE], [])


def test_an_identification_is_used_again() -> None:
    other = ike(1500, fill=99)
    frames = numbered([ether(p) for p in pieces4()] + [ether(p) for p in pieces4(other)])
    assert [d.payload for d in decode_filtered(frames)] == [MESSAGE, other]


def test_a_retransmission_in_new_fragments_comes_again() -> None:
    frames = numbered([ether(p) for p in pieces4()] + [ether(p) for p in pieces4(identification=8)])
    assert [d.payload for d in decode_filtered(frames)] == [MESSAGE, MESSAGE]


def test_snapshot_length_in_fragments() -> None:
    frames = [
        replace(each, data=each.data[:200], original_length=len(each.data))
        for each in numbered(ether(p) for p in pieces4())
    ]
    for order in itertools.permutations(frames):
        found = decode_filtered(order)
        assert len(found) == 1
        assert found[0].truncated
        assert MESSAGE.startswith(found[0].payload)
        assert len(found[0].payload) == 200 - 14 - 20 - 8


def test_ipv6_destination_options_inside_the_fragmented_part() -> None:
    packet = (
        IPv6(src="2001:db8::1", dst="2001:db8::2")
        / IPv6ExtHdrFragment(id=3)
        / IPv6ExtHdrDestOpt()
        / UDP(sport=4500, dport=4500)
        / Raw(MARKER + MESSAGE)
    )
    pieces = fragment6(packet, 600)
    assert len(pieces) > 2
    for order in itertools.permutations(pieces):
        assert [d.payload for d in decode_filtered(numbered(ether(p) for p in order))] == [MESSAGE]


def test_atomic_fragment() -> None:
    packet = IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment(id=3) / UDP(sport=500, dport=500)
    assert [d.payload for d in decode_filtered([frame(ether(packet / Raw(MESSAGE)))])] == [MESSAGE]


def test_short_last_fragment_without_ethernet_padding() -> None:
    message = ike(1480 - 28 - 8 + 1)
    frames = numbered(ether(p) for p in pieces4(message, 1480))
    assert len(frames[-1].data) < 46
    assert [d.payload for d in decode_filtered(frames)] == [message]


def test_what_never_came_is_counted() -> None:
    decoder = Decoder()
    # Captured with a filter on ports, a datagram is its first fragment: the others have no ports.
    (beginning,) = decode(numbered([ether(pieces4()[0])]), decoder)
    assert beginning.truncated
    assert MESSAGE.startswith(beginning.payload)
    assert len(beginning.payload) >= 400
    assert decoder.counters["fragments-unfinished"] == 1


def test_a_later_fragment_alone_shows_nothing() -> None:
    decoder = Decoder()
    assert decode(numbered([ether(pieces4()[1])]), decoder) == []
    assert decoder.counters["fragments-unfinished"] == 1


def test_all_that_is_held_is_bounded() -> None:
    limits = Limits(fragment_datagrams=50, fragment_octets=20_000)
    decoder = Decoder(limits=limits)
    packets = (ether(pieces6(identification=number)[0]) for number in range(500))
    assert all(found.truncated for found in decode(numbered(packets), decoder))
    assert decoder.counters["fragments-evicted"] >= 450


def quick(offset: int, size: int, template: bytes = by_hand(bytes(8), 0, more=True)) -> bytes:
    """What ``by_hand`` gives for zeros, without scapy, which takes a millisecond for each."""
    frame = bytearray(template[:34] + bytes(size))
    frame[16:18] = (20 + size).to_bytes(2, "big")
    frame[20:22] = (0x2000 | offset // 8).to_bytes(2, "big")
    return bytes(frame)


def cost(packets: list[bytes]) -> float:
    frames = numbered(packets)
    begun = clock.perf_counter()
    decode(frames)
    return clock.perf_counter() - begun


@pytest.mark.parametrize("step", [1, -1])
def test_many_small_fragments_cost_linear_time(step: int) -> None:
    short, long = ([quick(at * 8, 8) for at in range(1, count)][::step] for count in (1000, 8000))
    assert min(cost(long) for _ in range(3)) < min(cost(short) for _ in range(5)) * 8 * 4


def test_a_few_octets_that_claim_to_overlap_thousands_of_parts_cost_little() -> None:
    small = [quick(at * 8, 8) for at in range(1, 8000, 2)]
    large = [quick(8, 63_992)[:60]] * 4000
    assert cost(small + large) < cost(small) * 5 + 1


def test_small_fragments_count_with_what_holding_them_takes() -> None:
    decoder = Decoder(limits=Limits(fragment_octets=100_000))
    for number in range(3000):
        decoder.feed(frame(quick(8 + number * 8, 8), number=number + 1))
    assert decoder._reassembler.octets <= 100_000
    assert decoder.counters["fragments-evicted"] >= 3000 * 8 // 100_000 + 1
