"""Messages in IP fragments: over two files of the ring, and on two interfaces at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from pqaudit.capture.frame import Frame
from pqaudit.capture.reader import read_capture
from pqaudit.decode.datagram import Datagram
from pqaudit.sensor.decoders import Decoders
from tests import build as b
from tests.decode.frames import MARKER
from tests.sensor.link import Link
from tests.sensor.running import RunningSensor

HYBRID = (*b.SUITE, (b.KE, 31), b.addke(1, 36))


@pytest.fixture
def links() -> Iterator[tuple[Link, Link]]:
    made = Link("one"), Link("two")
    yield made
    for link in made:
        link.delete()


def init(spi: bytes, *, response: bool) -> bytes:
    payloads = [b.sa(HYBRID), b.ke(31, 32), b.nonce(), b.vendor_id(spi * 150)]
    more = {"spi_r": b.SPI_R, "flags": b.RESPONSE} if response else {}
    return b.message(b.INIT, payloads, spi_i=spi, **more)  # type: ignore[arg-type]


def in_fragments(message: bytes, *, response: bool = False) -> list[bytes]:
    """Two frames; messages of one direction have all by which fragments are told apart in common."""
    ends = {"src": b.B, "dst": b.A} if response else {"src": b.A, "dst": b.B}
    packet = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01") / IP(id=7, **ends) / UDP(sport=500, dport=500)
    frames = [bytes(part) for part in fragment(packet / Raw(message), fragsize=800)]
    assert len(frames) == 2
    return frames


def test_the_ring_begins_a_new_file_between_two_fragments(links: tuple[Link, Link], tmp_path: Path) -> None:
    link = links[0]
    spi = b"\x01" * 8
    ring = tmp_path / "ring"
    with RunningSensor(tmp_path, link.watched, options=("--write-ring", ring, "--ring-size", 4)) as sensor:
        first, last = in_fragments(init(spi, response=False))
        filling = b.udp_frame(bytes(900))  # no IKE, though on its port
        link.send_raw(*[filling] * 1000, first, *[filling] * 1500, last)
        link.send_raw(b.udp_frame(init(spi, response=True), b.B, b.A))
        found = sensor.finding(spi.hex(), verdict="hybrid-ml-kem")
        sensor.stop()
    kept: dict[tuple[str, int], Frame] = {}
    for path in sorted(ring.iterdir()):
        for frame in read_capture(str(path), wanted=None, note=lambda note: pytest.fail(note.message)):
            kept[frame.source, frame.number] = frame
    places = {frame.data: place for place, frame in kept.items()}
    assert places[first][0] < places[last][0]
    assert places[first][1] > places[last][1]
    # A message is referred to by the frame that completed it.
    references = {(each["file"], each["frame"]) for each in found["pqaudit"]["evidence"]}
    assert places[last] in references
    assert references <= {place for data, place in places.items() if data != filling}


def test_fragments_of_two_interfaces_are_not_mixed(links: tuple[Link, Link], tmp_path: Path) -> None:
    spis = b"\x0a" * 8, b"\x0b" * 8
    with RunningSensor(tmp_path, *(link.watched for link in links)) as sensor:
        requests = [in_fragments(init(spi, response=False)) for spi in spis]
        responses = [in_fragments(init(spi, response=True), response=True) for spi in spis]
        for messages in (requests, responses):
            for number in (1, 0):
                for link, message in zip(links, messages, strict=True):
                    link.send_raw(message[number])
        for spi in spis:
            assert sensor.finding(spi.hex(), verdict="hybrid-ml-kem")["pqaudit"]["anomalies"] == []
        sensor.stop()
    assert "fragments-overlapping" not in sensor.log.read_text()


def decoded(decoders: Decoders, *packets: tuple[str, Packet]) -> list[Datagram]:
    found: list[Datagram] = []
    for number, (name, packet) in enumerate(packets, start=1):
        data = bytes(Ether() / packet)
        found += decoders.feed(Frame(number * 1_000_000, 6, 1, data, len(data), f"interface:{name}", number))
    return found


@pytest.mark.parametrize("port", [4500, 4433])
def test_a_connection_whose_directions_come_by_two_interfaces(port: int) -> None:
    """As from a tap; on port 4500, and on one of the user."""
    request, response = (init(b"\x0c" * 8, response=answer) for answer in (False, True))
    lengths = [(6 + len(message)).to_bytes(2, "big") for message in (request, response)]
    there, back = (
        IP(src=b.A, dst=b.B) / TCP(sport=40_000, dport=port),
        IP(src=b.B, dst=b.A) / TCP(sport=port, dport=40_000),
    )
    there[TCP].flags, there[TCP].seq, there[TCP].ack = "PA", 101, 501
    back[TCP].flags, back[TCP].seq, back[TCP].ack = "PA", 501, 107
    packets = [
        ("a", there / Raw(b"IKETCP" + lengths[0] + MARKER + request)),
        ("b", back / Raw(lengths[1] + MARKER + response)),
    ]
    decoders = Decoders(ports=[4433])
    assert [each.payload for each in decoded(decoders, *packets)] == [request, response]
    assert decoders.flush() == []
    assert not +decoders.counters
