"""What holds for any octets: nothing is raised, and the cheap test rejects nothing that decoding would use."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pqaudit.decode.decoder import Decoder
from pqaudit.decode.unwrap import LAYERS_BY_LINK_TYPE
from tests.decode.frames import MARKER, decode, decode_filtered, ether, frame, ike, numbered, udp4, udp6
from tests.decode.test_fragments import pieces4, pieces6
from tests.decode.test_links import LINKS
from tests.decode.test_tcp import ONE, PREFIX, THREE, TWO, esp, framed, handshake, sides
from tests.decode.test_tunnels import TUNNELS

LINK_TYPES = sorted(LAYERS_BY_LINK_TYPE)


def whole_conversations() -> list[tuple[int, bytes]]:
    """Frames of everything that the decoder reads."""
    known = [(link_type, bytes(packet)) for link_type, packet, _ in LINKS.values()]
    known += [(1, ether(packet)) for packet in TUNNELS.values()]
    known += [(1, ether(piece)) for piece in [*pieces4(), *pieces6()]]
    for port in (4500, 443):
        for six in (False, True):
            client, server = sides(port, six=six)
            packets = [*handshake(client, server), *client.cut(PREFIX + framed(ONE) + esp(90) + framed(TWO), [6, 99])]
            packets += [server.segment(framed(THREE)), client.segment(flags="FA"), server.segment(flags="RA")]
            known += [(1, ether(packet)) for packet in packets]
    return known


KNOWN = whole_conversations()


@given(st.sampled_from(LINK_TYPES), st.binary(max_size=200))
@settings(max_examples=600, deadline=None)
def test_any_octets_are_survived(link_type: int, data: bytes) -> None:
    frames = [frame(data, link_type), frame(data + bytes(40), link_type)]
    assert decode_filtered(frames) == decode(frames)


@given(st.integers(0, len(KNOWN) - 1), st.randoms(use_true_random=False), st.integers(0, 8))
@settings(max_examples=1500, deadline=None)
def test_any_change_to_a_frame_is_survived_and_the_cheap_test_keeps_it(
    index: int, rng: random.Random, changes: int
) -> None:
    link_type, octets = KNOWN[index]
    data = bytearray(octets)
    for _ in range(changes):
        place = rng.randrange(min(len(data), 90))
        data[place] = rng.choice((0, 1, 4, 6, 17, 41, 44, 47, 0x45, 0xFF, data[place] ^ 1 << rng.randrange(8)))
    if rng.random() < 0.3:
        del data[rng.randrange(len(data)) :]
    frames = [frame(bytes(data), link_type, original=len(octets))]
    assert decode_filtered(frames) == decode(frames)


@given(st.randoms(use_true_random=False), st.booleans(), st.sampled_from([(), (10500, 443), (148, 37908, 17)]))
@settings(max_examples=120, deadline=None)
def test_the_cheap_test_changes_nothing_in_a_whole_capture(
    rng: random.Random, tunnels: bool, ports: tuple[int, ...]
) -> None:
    """Frames in any order, some changed: fragments and streams are held between them."""
    chosen = [(link_type, data) for link_type, data in KNOWN if link_type == 1]
    start = rng.randrange(len(chosen))
    chosen = chosen[start:] + chosen[:start]
    if rng.random() < 0.5:
        rng.shuffle(chosen)
    packets = []
    for _, octets in chosen:
        data = bytearray(octets)
        if rng.random() < 0.2:
            data[rng.randrange(min(len(data), 90))] ^= 1 << rng.randrange(8)
        packets.append(bytes(data))
    frames = numbered(packets)
    assert decode_filtered(frames, Decoder(ports=ports, tunnels=tunnels)) == decode(
        frames, Decoder(ports=ports, tunnels=tunnels)
    )


@given(st.integers(0, 65535), st.integers(0, 65535), st.booleans(), st.booleans(), st.sampled_from([(), (10500,)]))
@settings(max_examples=400, deadline=None)
@example(4500, 37908, True, False, ())
@example(500, 4500, True, False, ())
@example(148, 4500, True, True, (148,))
@example(4500, 4500, False, True, ())
def test_any_ports(source: int, destination: int, marked: bool, six: bool, ports: tuple[int, ...]) -> None:
    message = (MARKER if marked else b"") + ike()
    packet = (udp6 if six else udp4)(message, source, destination)
    frames = [frame(ether(packet)), frame(packet, 101)]
    expected = decode(frames, Decoder(ports=ports, tunnels=False))
    assert decode_filtered(frames, Decoder(ports=ports, tunnels=False)) == expected
    carries = 500 in (source, destination) or (marked and 4500 in (source, destination))
    carries = carries or bool(set(ports) & {source, destination})
    assert len(expected) == 2 * carries


@pytest.mark.parametrize("six", [False, True])
def test_what_fills_captures_is_rejected(six: bool) -> None:
    """The cheap test is only worth its cost when it says no to what is common."""
    udp = udp6 if six else udp4
    client, server = sides(443, six=six)
    common = [
        udp(b"\xc0\xff\xee\x01" + bytes(900), 4500, 4500),
        udp(b"\xc0\xff\xee\x01" + bytes(900), 4500, 30001),
        udp(b"\xc0\xff\xee\x01" + bytes(900), 30001, 4500),
        udp(bytes(900), 53, 40000),
        udp(b"\xff", 4500, 4500),
        *handshake(client, server),
        client.segment(b"\x17\x03\x03" + bytes(800)),
        server.segment(b"I am no IKE" * 50),
    ]
    decoder = Decoder()
    test = decoder.wanted(1)
    assert test is not None
    for packet in common:
        data = ether(packet)
        assert not test(data, 0, len(data))
        tagged = data[:12] + b"\x81\x00\x00\x2a" + data[12:]
        assert not test(tagged, 0, len(tagged))


def test_a_flow_is_wanted_from_its_prefix_to_its_end() -> None:
    client, server = sides(443)
    decoder = Decoder()
    packets = [*handshake(client, server), client.segment(PREFIX), client.segment(framed(ONE)), server.segment(b"\x00")]
    packets += [client.segment(flags="FA"), server.segment(flags="RA"), client.segment(b"after the end")]
    test = decoder.wanted(1)
    assert test is not None
    passed = []
    for each in numbered(ether(packet) for packet in packets):
        passed.append(test(each.data, 0, len(each.data)))
        decoder.feed(each)
    assert passed == [False, False, False, True, True, True, True, True, False]
