"""Frames for the decoder, built with scapy, which shares no code with pqaudit."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from pqaudit.capture.frame import Frame
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder

ETHERNET = 1
MARKER = bytes(4)
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def ike(body: int = 100, *, spi: int = 0x1122334455667788, fill: int = 0) -> bytes:
    """An IKEv2 header with a right length before octets that are all different from their neighbours."""
    octets = bytes((fill + index * 7 + index // 256) & 0xFF for index in range(body))
    return struct.pack("!QQBBBBII", spi, 0, 33, 0x20, 34, 0x08, 0, 28 + body) + octets


def udp4(payload: bytes, source: int = 500, destination: int = 500, **fields: object) -> Packet:
    return IP(src="192.0.2.1", dst="192.0.2.2", **fields) / UDP(sport=source, dport=destination) / Raw(payload)


def udp6(payload: bytes, source: int = 500, destination: int = 500) -> Packet:
    return IPv6(src="2001:db8::1", dst="2001:db8::2") / UDP(sport=source, dport=destination) / Raw(payload)


def ether(inner: Packet) -> bytes:
    return bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / inner)


def frame(
    data: Packet | bytes, link_type: int = ETHERNET, number: int = 1, *, time: int = START, original: int | None = None
) -> Frame:
    octets = bytes(data)
    return Frame(time, 6, link_type, octets, len(octets) if original is None else original, "f", number)


def numbered(packets: Iterable[Packet | bytes], link_type: int = ETHERNET) -> list[Frame]:
    """Frames of packets, a millisecond apart."""
    return [
        frame(packet, link_type, number, time=START + number * 1_000_000)
        for number, packet in enumerate(packets, start=1)
    ]


def decode(frames: Iterable[Frame], decoder: Decoder | None = None) -> list[Datagram]:
    """All that a decoder finds, the end of the input included."""
    decoder = decoder or Decoder()
    found = [datagram for each in frames for datagram in decoder.feed(each)]
    return found + decoder.flush()


def decode_filtered(frames: Iterable[Frame], decoder: Decoder | None = None) -> list[Datagram]:
    """The same through the decoder's own cheap test, in a buffer with other octets before and behind the frame."""
    decoder = decoder or Decoder()
    found: list[Datagram] = []
    for each in frames:
        test = decoder.wanted(each.link_type)
        if test is None or test(b"\xff" * 5 + each.data + b"\xff" * 9, 5, len(each.data)):
            found += decoder.feed(each)
    return found + decoder.flush()
