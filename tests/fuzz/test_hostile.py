"""Input made to be the worst case costs work in proportion to its size.

Work is counted in lines run and functions called: a busy machine does not change that.
"""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from types import FrameType
from typing import NamedTuple

import pytest

from pqaudit.capture.frame import Frame
from pqaudit.capture.reader import read_capture
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder
from pqaudit.finding.document import Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.pipeline import read_message
from pqaudit.sa.table import SaTable
from tests import build as b
from tests.capture import build as c
from tests.conftest import rulebook_cached

ETHERNET, RAW, NFLOG = 1, 101, 239
IPV4, MPLS, VLAN, GRE_IPV4 = b"\x08\x00", b"\x88\x47", b"\x81\x00", b"\0\0\x08\x00"
MACS = bytes(12)
A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))


class Hostile(NamedTuple):
    """How to make ``size`` of something, and what is to read it; ``size`` and four times as much are compared."""

    make: Callable[[int], list[bytes]]
    read: Callable[[list[bytes]], None]
    size: int


def work_of(action: Callable[[], object]) -> int:
    """Lines of Python run and functions called, those written in C too."""
    count = 0

    def line(frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        nonlocal count
        count += 1
        return line

    def called(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event == "c_call"

    before, profile_before = sys.gettrace(), sys.getprofile()
    sys.setprofile(called)
    sys.settrace(line)
    try:
        action()
    finally:
        sys.settrace(before)
        sys.setprofile(profile_before)
    return count


# -- what reads it ---------------------------------------------------------------------------------------------------


def capture(octets: list[bytes]) -> None:
    for _ in read_capture("-", note=lambda _: None, stream=io.BytesIO(b"".join(octets))):
        pass


def frames(link_type: int) -> Callable[[list[bytes]], None]:
    def read(octets: list[bytes]) -> None:
        decoder = Decoder()
        test = decoder.wanted(link_type)
        for number, data in enumerate(octets, start=1):
            if test is None or test(data, 0, len(data)):
                decoder.feed(Frame(number, 6, link_type, data, len(data), "f", number))
        decoder.flush()

    return read


def messages(octets: list[bytes]) -> None:
    """IKE messages through to findings."""
    table = SaTable()
    for number, data in enumerate(octets, start=1):
        answer = data[19] & b.RESPONSE
        ends = (B, A) if answer else (A, B)
        datagram = Datagram(number, 6, ends[0], 500, ends[1], 500, "udp", data, False, False, None, "f", (number,))
        table.add(datagram, read_message(datagram))
    assert list(drain_findings(table, rulebook_cached(), Observer("test")))


# -- IKE -------------------------------------------------------------------------------------------------------------


def negotiation(offered: b.Payload, chosen: b.Payload | None = None) -> list[bytes]:
    request = b.message(b.INIT, [offered, b.ke(31, 32), b.nonce()])
    response = b.message(b.INIT, [chosen or offered, b.ke(31, 32), b.nonce()], spi_r=b.SPI_R, flags=b.RESPONSE)
    return [request, response]


def transforms(count: int) -> b.Payload:
    """As many as fill an SA payload, in proposals of 250, all different."""
    return b.sa(*([(b.KE, first + index) for index in range(250)] for first in range(0, count, 250)))


def proposals(count: int) -> list[bytes]:
    """Each proposal that the response repeats is found in the last of the request only."""
    last = (1, [(b.KE, 31)])
    offered = b.sa_numbered([(1, [(b.KE, 30)])] * (count - 1) + [last])
    return negotiation(offered, b.sa_numbered([last] * count))


def attributes(count: int) -> b.Payload:
    inner = struct.pack("!BBHBBH", 0, 0, 8 + 4 * count, 4, 0, 31) + struct.pack("!HH", 0x800E, 256) * count
    return (33, struct.pack("!BBHBBBB", 0, 0, 8 + len(inner), 1, 1, 0, 1) + inner)


def v1(count: int) -> list[bytes]:
    """Main mode with an SA payload full of proposals with one transform each."""
    one = struct.pack("!BBHBBBB", 2, 0, 16, 1, 1, 0, 1) + struct.pack("!BBHBBH", 0, 0, 8, 1, 1, 0)
    body = struct.pack("!II", 1, 1) + one * count
    payload = struct.pack("!BBH", 0, 0, 4 + len(body)) + body
    return [b.SPI_I + bytes(8) + struct.pack("!BBBBII", 1, 0x10, 2, 0, 0, 28 + len(payload)) + payload]


def spi(number: int) -> bytes:
    return struct.pack("!Q", number + 1)


def selecting(count: int) -> list[bytes]:
    """Responses that all select, for one request."""
    return [b.init_response((*b.SUITE, (b.KE, 31)), spi_r=spi(number)) for number in range(count)]


def protected(count: int, step: int) -> list[bytes]:
    return [b.encrypted(b.INTERMEDIATE, number * step % (1 << 32)) for number in range(count)]


def skf(count: int) -> list[bytes]:
    """The fragments of one message, the last first."""
    return [
        b.message(b.INTERMEDIATE, [(53, struct.pack("!HH", number, count) + bytes(8))], spi_r=b.SPI_R, message_id=1)
        for number in range(count, 0, -1)
    ]


# -- link layers, IP, TCP --------------------------------------------------------------------------------------------


def ipv4(payload: bytes, *, protocol: int = 17, identification: int = 0, fragment: int = 0) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identification, fragment, 64, protocol, 0)
    return MACS + IPV4 + head + A + B + payload


def fragments(count: int, *, datagrams: int = 1, octets: int = 8) -> list[bytes]:
    """Datagrams in fragments of 8 octets; more octets than that overlap with the fragments that follow."""
    found = []
    for identification in range(datagrams):
        for index in range(count):
            more = 0x2000 if index < count - 1 else 0
            data = bytes(min(octets, (count - index) * 8))
            if index == 0:
                data = struct.pack("!HHHH", 500, 500, count * 8, 0) + data[8:]
            found.append(ipv4(data, identification=identification, fragment=more | index))
    return found


def stream(*messages: bytes) -> bytes:
    """What TCP carries of IKE (RFC 9329)."""
    return b"IKETCP" + b"".join(struct.pack("!H", 6 + len(message)) + bytes(4) + message for message in messages)


def segments(octets: bytes, size: int = 20, *, port: int = 1024) -> list[bytes]:
    """The opening of a connection, and the stream in segments of so many octets."""
    found = [ipv4(struct.pack("!HHIIHHHH", port, 4500, 999, 0, 0x5002, 1000, 0, 0), protocol=6)]
    for at in range(0, len(octets), size):
        tcp = struct.pack("!HHIIHHHH", port, 4500, 1000 + at, 1, 0x5010, 1000, 0, 0)
        found.append(ipv4(tcp + octets[at : at + size], protocol=6))
    return found


def messages_in_segments(count: int) -> list[bytes]:
    """Messages that lie across so many segments, no border on a border."""
    return segments(stream(*[b.message(b.INIT, [b.nonce()])] * (count * 20 // 70)))


def connections(count: int) -> list[bytes]:
    return [f for number in range(count) for f in segments(stream(b.message(b.INIT, [])), 40, port=1024 + number)]


def ipv6_headers(count: int) -> list[bytes]:
    chain = struct.pack("!BBHI", 60, 0, 0, 0) * (count - 1) + struct.pack("!BBHI", 17, 0, 0, 0)
    head = struct.pack("!IHBB", 0x60000000, len(chain) + 8, 60, 64)
    return [head + bytes(15) + b"\1" + bytes(15) + b"\2" + chain + struct.pack("!HHHH", 500, 500, 8, 0)]


def tunnels(count: int) -> list[bytes]:
    packet = b""
    for _ in range(count):
        packet = struct.pack("!BBHHHBBH", 0x45, 0, 24 + len(packet), 0, 0, 64, 47, 0) + A + B + GRE_IPV4 + packet
    return [MACS + IPV4 + packet]


# -- captures --------------------------------------------------------------------------------------------------------


def options(count: int) -> list[bytes]:
    return [c.section(), c.interface(options=c.option(1, b"") * count), c.enhanced(0, 1, b"x")]


def packet_options(count: int) -> list[bytes]:
    return [c.section(), c.interface(), c.enhanced(0, 1, b"x", options=c.option(1, b"") * count)]


def gzip_members(octets: Iterable[bytes]) -> list[bytes]:
    return [gzip.compress(piece, 1) for piece in octets]


ethernet = frames(ETHERNET)
HOSTILE: dict[str, Hostile] = {
    "payloads of 4 octets": Hostile(lambda n: [b.message(b.INIT, [(200, b"")] * n)], messages, 4000),
    "notifies": Hostile(lambda n: [b.message(b.INIT, [b.notify(16388)] * n)], messages, 2000),
    "vendor IDs": Hostile(lambda n: [b.message(b.INIT, [(43, spi(i)) for i in range(n)])], messages, 1000),
    "transforms": Hostile(lambda n: negotiation(transforms(n)), messages, 2000),
    "proposals": Hostile(proposals, messages, 1000),
    "proposals without transforms": Hostile(
        lambda n: negotiation(b.sa_numbered([(i % 256, []) for i in range(n)])), messages, 2000
    ),
    "attributes": Hostile(lambda n: negotiation(attributes(n)), messages, 4000),
    "IKEv1 proposals": Hostile(v1, messages, 1000),
    "initiator SPIs": Hostile(lambda n: [b.message(b.INIT, [], spi_i=spi(i)) for i in range(n)], messages, 500),
    "responder SPIs": Hostile(
        lambda n: [b.message(b.INFO, [(46, b"")], spi_r=spi(i)) for i in range(n)], messages, 1000
    ),
    "selecting responses": Hostile(selecting, messages, 500),
    "requests": Hostile(lambda n: [b.message(b.INIT, [b.nonce(8 + i)]) for i in range(n)], messages, 500),
    "scattered message IDs": Hostile(lambda n: protected(n, 2_654_435_761), messages, 1000),
    "falling message IDs": Hostile(lambda n: protected(n, 1)[::-1], messages, 1000),
    "SKF fragments": Hostile(skf, messages, 1000),
    "fragments of one datagram": Hostile(lambda n: fragments(n), ethernet, 2000),
    "fragments backwards": Hostile(lambda n: fragments(n)[::-1], ethernet, 2000),
    "fragments of many datagrams": Hostile(lambda n: fragments(2, datagrams=n), ethernet, 2000),
    "first fragments only": Hostile(lambda n: fragments(2, datagrams=n)[::2], ethernet, 2000),
    "first fragments after one another": Hostile(
        lambda n: sorted(fragments(4, datagrams=n // 4), key=lambda f: f[20:22]), ethernet, 2000
    ),
    "fragments that overlap": Hostile(lambda n: fragments(n, octets=1480), ethernet, 1500),
    "fragments that overlap, backwards": Hostile(lambda n: fragments(n, octets=1480)[::-1], ethernet, 1500),
    "segments": Hostile(messages_in_segments, ethernet, 1000),
    "segments backwards": Hostile(
        lambda n: messages_in_segments(n)[:1] + messages_in_segments(n)[:0:-1], ethernet, 1000
    ),
    "segments behind a gap": Hostile(
        lambda n: messages_in_segments(n)[:1] + messages_in_segments(n)[2:], ethernet, 1000
    ),
    "every second segment": Hostile(lambda n: messages_in_segments(n)[::2], ethernet, 1000),
    "connections": Hostile(connections, ethernet, 1000),
    "one message octet by octet": Hostile(
        lambda n: segments(stream(b.message(b.INIT, [(200, bytes(n))])), 1), ethernet, 1000
    ),
    "VLAN tags": Hostile(lambda n: [MACS + (VLAN + b"\0\1") * n + IPV4], ethernet, 4000),
    "MPLS labels": Hostile(lambda n: [MACS + MPLS + bytes(4) * n], ethernet, 4000),
    "tunnels": Hostile(tunnels, ethernet, 500),
    "IPv6 extension headers": Hostile(ipv6_headers, frames(RAW), 2000),
    "NFLOG attributes": Hostile(lambda n: [bytes(4) + b"\4\0\1\0" * n], frames(NFLOG), 4000),
    "interface options": Hostile(options, capture, 16_384),
    "packet options": Hostile(packet_options, capture, 16_384),
    "interfaces": Hostile(lambda n: [c.section(), c.interface() * n, c.enhanced(n - 1, 1, b"x")], capture, 2000),
    "sections": Hostile(lambda n: [(c.section() + c.interface()) * n], capture, 1000),
    "empty blocks": Hostile(lambda n: [c.section(), c.block(0x0BAD, b"") * n], capture, 2000),
    "empty records": Hostile(lambda n: [c.pcap([(0, 0, b"", 0)] * n)], capture, 4000),
    "gzip members": Hostile(
        lambda n: gzip_members([c.pcap([]), *(c.pcap([(0, 0, b"x", 1)])[24:] for _ in range(n))]), capture, 1000
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_four_times_the_input_is_no_more_than_five_times_the_work(name: str) -> None:
    make, read, size = HOSTILE[name]
    read(make(64))  # what is imported or made on first use does not count
    small, large = make(size), make(4 * size)
    assert sum(map(len, large)) > 3 * sum(map(len, small))
    once = work_of(lambda: read(small))
    assert work_of(lambda: read(large)) <= 5 * once


# An IKE_AUTH message ID comes from 32 bits of the message; a verdict must not make a list of all that lie before it.
def test_the_message_id_of_ike_auth_costs_no_memory() -> None:
    offer = (*b.SUITE, (b.KE, 31), b.addke(1, 36))
    first_auth = 2_000_000
    found = [b.init_request(offer), b.init_response(offer), b.encrypted(b.AUTH, first_auth, inner=35)]
    messages(found[:2])  # what is imported or made on first use does not count
    tracemalloc.start()
    try:
        messages(found)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < first_auth
