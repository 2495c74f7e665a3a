"""IKE in TCP (RFC 8229, RFC 9329), with segments built by scapy."""

from __future__ import annotations

import random
import struct
import time as clock
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from pqaudit.decode.decoder import Decoder
from pqaudit.decode.limits import Limits
from tests.decode.frames import MARKER, SECOND, START, decode, decode_filtered, ether, ike, numbered

PREFIX = b"IKETCP"


def framed(message: bytes) -> bytes:
    return struct.pack("!H", 6 + len(message)) + MARKER + message


def esp(size: int) -> bytes:
    return struct.pack("!HI", 6 + size, 0xC0FFEE01) + bytes(range(256)) * (size // 256) + bytes(size % 256)


@dataclass
class Side:
    """One end of a connection, and the sequence number of its next octet."""

    source: tuple[str, int]
    destination: tuple[str, int]
    sequence: int
    taken: int = field(default=0)

    def segment(self, data: bytes = b"", flags: str = "A", *, at: int | None = None, acknowledge: int = 0) -> Packet:
        sequence = self.sequence if at is None else at
        network = IPv6 if ":" in self.source[0] else IP
        if at is None:
            self.sequence += len(data) + ("S" in flags) + ("F" in flags)
        packet = network(src=self.source[0], dst=self.destination[0]) / TCP(
            sport=self.source[1],
            dport=self.destination[1],
            seq=sequence % 2**32,
            ack=acknowledge % 2**32,
            flags=flags,
        )
        return packet / Raw(data) if data else packet

    def cut(self, stream: bytes, sizes: list[int]) -> list[Packet]:
        """The stream in segments of these sizes, the last taking what remains."""
        parts, position = [], 0
        for size in sizes:
            if position + size < len(stream):
                parts.append(self.segment(stream[position : position + size]))
                position += size
        return [*parts, self.segment(stream[position:])]


def sides(port: int = 4500, sequence: int = 1000, six: bool = False) -> tuple[Side, Side]:
    a, b = ("2001:db8::1", "2001:db8::2") if six else ("192.0.2.1", "192.0.2.2")
    return Side((a, 50000), (b, port), sequence), Side((b, port), (a, 50000), 7_000_000)


def handshake(client: Side, server: Side) -> list[Packet]:
    first = client.segment(flags="S")
    second = server.segment(flags="SA", acknowledge=client.sequence)
    return [first, second, client.segment(acknowledge=server.sequence)]


def run(packets: list[Packet], decoder: Decoder | None = None) -> list[bytes]:
    """Payloads found; the cheap test must change nothing."""
    frames = numbered(ether(packet) for packet in packets)
    found = decode(frames, decoder)
    assert decode_filtered(frames) == found or decoder is not None
    assert all(d.transport == "tcp" and d.marked for d in found)
    return [d.payload for d in found]


ONE, TWO, THREE = ike(40, spi=1), ike(400, spi=2), ike(1300, spi=3)


@pytest.mark.parametrize("port", [4500, 500, 443, 10000])
@pytest.mark.parametrize("six", [False, True])
def test_a_conversation(port: int, six: bool) -> None:
    client, server = sides(port, six=six)
    packets = handshake(client, server)
    packets.append(client.segment(PREFIX + framed(ONE), acknowledge=server.sequence))
    packets.append(server.segment(framed(TWO), acknowledge=client.sequence))
    packets.append(client.segment(esp(500) + framed(THREE) + esp(1)))
    packets += [client.segment(flags="FA"), server.segment(flags="FA")]
    decoder = Decoder()
    assert run(packets, decoder) == [ONE, TWO, THREE]
    assert dict(decoder.counters) == {}
    assert len(decode_filtered(numbered(ether(p) for p in packets))) == 3


def test_who_sent_what_and_which_frames_carried_it() -> None:
    client, server = sides()
    packets = handshake(client, server)
    packets += client.cut(PREFIX + framed(ONE) + framed(TWO), [3, 3, 50, 100])
    packets.append(server.segment(framed(THREE)))
    first, second, third = decode(numbered(ether(p) for p in packets))
    assert (first.source, first.source_port, first.destination_port) == (bytes((192, 0, 2, 1)), 50000, 4500)
    assert (third.source, third.source_port, third.destination_port) == (bytes((192, 0, 2, 2)), 4500, 50000)
    assert (first.frames, second.frames, third.frames) == ((6, 7), (7, 8), (9,))
    assert first.time == START + 7_000_000
    assert not (first.truncated)
    assert not (second.truncated)
    assert not third.truncated


@given(
    st.randoms(use_true_random=False),
    st.lists(st.integers(1, 900), max_size=30),
    st.sampled_from([1000, 2**32 - 10, 2**32 - 1000]),
    st.sampled_from([4500, 4501]),
    st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_order_repetition_and_overlap_change_nothing(
    rng: random.Random, sizes: list[int], sequence: int, port: int, in_order_prefix: bool
) -> None:
    client, server = sides(port, sequence)
    packets = handshake(client, server)
    stream = PREFIX + framed(ONE) + esp(300) + framed(TWO) + framed(THREE) + esp(77) + framed(ONE)
    begin = client.sequence
    segments = [client.segment(PREFIX)] if port == 4501 or in_order_prefix else []
    parts = client.cut(stream[len(PREFIX) * len(segments) :], sizes)
    for _ in range(rng.randrange(4)):
        start = rng.randrange(len(stream))
        size = rng.randrange(1, 800)
        if start >= 6 or port == 4500:
            parts.append(client.segment(stream[start : start + size], at=begin + start))
    rng.shuffle(parts)
    found = run([*packets, *segments, *parts])
    assert sorted(found) == sorted([ONE, TWO, THREE, ONE])


def test_one_octet_segments() -> None:
    client, server = sides()
    stream = PREFIX + framed(ONE) + framed(ONE)
    packets = [*handshake(client, server), *client.cut(stream, [1] * len(stream))]
    assert run(packets) == [ONE, ONE]


def test_a_capture_that_starts_within_the_stream() -> None:
    client, server = sides()
    packets = [client.segment(b"\x00\x99" + bytes(50)), client.segment(esp(200)[3:]), client.segment(framed(TWO)[20:])]
    packets += [client.segment(esp(90) + framed(ONE)), client.segment(framed(ONE) + framed(TWO)[:100])]
    packets += [client.segment(framed(TWO)[100:] + esp(10)), server.segment(framed(THREE))]
    assert run(packets) == [ONE, TWO, THREE]
    client, server = sides(8443)
    assert run([client.segment(framed(ONE)), server.segment(framed(TWO))]) == []


def test_a_port_of_the_user_is_as_good_and_may_carry_other_things() -> None:
    client, server = sides(443)
    # Neither the prefix nor the other direction was captured.
    packets = [client.segment(framed(ONE)), client.segment(framed(TWO))]
    assert run(packets, Decoder()) == []
    assert run(packets, Decoder(ports=[443])) == [ONE, TWO]
    decoder = Decoder(ports=[443])
    client, server = sides(443)
    packets = [*handshake(client, server), client.segment(b"\x16\x03\x01" + bytes(500)), server.segment(bytes(900))]
    assert run(packets, decoder) == []
    assert len(decoder._tcp) == 0


def test_a_lost_segment_is_counted_and_what_follows_is_found() -> None:
    client, server = sides()
    packets = [*handshake(client, server), client.segment(PREFIX + framed(ONE))]
    client.segment(framed(TWO) + framed(TWO)[:55])
    packets += [client.segment(framed(TWO)[55:]), client.segment(framed(THREE)), server.segment(framed(ONE))]
    decoder = Decoder()
    assert sorted(run(packets, decoder)) == sorted([ONE, ONE, THREE])
    assert decoder.counters["tcp-gaps"] == 1


def test_a_loss_inside_esp_loses_no_place() -> None:
    client, server = sides()
    packets = [*handshake(client, server), client.segment(PREFIX + esp(1200)[:100])]
    client.segment(esp(1200)[100:700])
    packets.append(client.segment(esp(1200)[700:] + framed(ONE)))
    assert run(packets) == [ONE]


def test_a_gap_is_given_up_after_its_time() -> None:
    client, server = sides()
    packets = [*handshake(client, server), client.segment(PREFIX + framed(ONE))]
    client.segment(framed(TWO))
    packets += [client.segment(framed(THREE)), client.segment(framed(ONE))]
    frames = numbered(ether(p) for p in packets)
    frames[-1] = replace(frames[-1], time=START + 600 * SECOND)
    decoder = Decoder()
    found = [d.payload for each in frames for d in decoder.feed(each)]
    assert found == [ONE, THREE, ONE]


def test_snapshot_length_cuts_messages_and_not_the_stream() -> None:
    client, server = sides()
    packets = handshake(client, server)
    packets += [client.segment(PREFIX), client.segment(framed(THREE)), client.segment(framed(ONE))]
    frames = [
        replace(each, data=each.data[:400], original_length=len(each.data))
        for each in numbered(ether(p) for p in packets)
    ]
    first, second = decode(frames)
    assert first.truncated
    assert THREE.startswith(first.payload)
    assert len(first.payload) == 400 - 14 - 20 - 20 - 6
    assert (second.payload, second.truncated) == (ONE, False)


def test_ports_used_again() -> None:
    packets: list[Packet] = []
    for sequence in (1000, 3_000_000_000, 5):
        client, server = sides(443, sequence)
        packets += [*handshake(client, server), client.segment(PREFIX + framed(ONE)), server.segment(framed(TWO))]
        if sequence == 1000:
            packets += [client.segment(flags="FA"), server.segment(flags="FA"), client.segment(flags="A")]
        elif sequence != 5:
            packets.append(server.segment(flags="RA"))
    assert run(packets) == [ONE, TWO] * 3


def test_other_traffic_on_the_ports_is_let_go() -> None:
    client, server = sides()
    decoder = Decoder()
    packets = handshake(client, server)
    packets += [client.segment(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20), server.segment(b"HTTP/1.1 200 OK\r\n" * 60)]
    packets += [client.segment(bytes(1000)), server.segment(b"\xff" * 1000)] * 3
    assert run(packets, decoder) == []
    client, server = sides(80)
    assert run([*handshake(client, server), client.segment(b"IKETC"), client.segment(framed(ONE))]) == []


def test_all_that_is_held_is_bounded() -> None:
    limits = Limits(tcp_connections=20, tcp_octets=50_000)
    decoder = Decoder(limits=limits)
    for number in range(200):
        client, _server = sides()
        client.source = ("192.0.2.1", 10_000 + number)
        packets = [client.segment(flags="S"), client.segment(PREFIX + framed(ike(5000))[:4000])]
        for each in numbered(ether(p) for p in packets):
            decoder.feed(each)
        assert decoder._tcp.octets <= 50_000
        assert len(decoder._tcp) <= 20
    assert decoder.counters["tcp-streams-evicted"] >= 180


@pytest.mark.parametrize("size", [1, 30])
@pytest.mark.parametrize("order", [1, -1])
def test_many_small_segments_cost_linear_time(size: int, order: int) -> None:
    def cost(count: int) -> float:
        client, server = sides()
        head = [ether(p) for p in handshake(client, server)]
        template = ether(client.segment(b"x" * size, at=0))
        begin = client.sequence
        stream = PREFIX + framed(ike(60_000)) * (count * size // 60_000 + 1)
        tail = []
        for index in range(count):
            octets = bytearray(template)
            octets[38:42] = ((begin + index * size) % 2**32).to_bytes(4, "big")
            octets[54:] = stream[index * size : (index + 1) * size]
            tail.append(bytes(octets))
        frames = numbered([*head, *tail[::order]])
        begun = clock.perf_counter()
        decode(frames)
        return clock.perf_counter() - begun

    assert min(cost(16_000) for _ in range(2)) < min(cost(2000) for _ in range(4)) * 8 * 4
