"""Layers that scapy does not build, put together by hand after their documents."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.l2 import Ether

from pqaudit.decode.decoder import Decoder
from tests.decode.frames import decode, decode_filtered, ether, frame, ike, udp4, udp6
from tests.decode.test_tunnels import outer, outer6, over_udp

MESSAGE = ike()
V4, V6 = udp4(MESSAGE), udp6(MESSAGE)
FRAME = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / V4)


def attribute(order: str, kind: int, value: bytes) -> bytes:
    """An attribute of netlink, padded to 4 octets."""
    length = 4 + len(value)
    return struct.pack(f"{order}HH", length, kind) + value + bytes(-length % 4)


def nflog(order: str, packet: bytes) -> bytes:
    header = attribute(order, 1, bytes(4)) + attribute(order, 10, b"prefix\x00")
    return bytes((2, 0, 0, 5)) + header + attribute(order, 9, packet)


LINKS: dict[str, tuple[int, bytes]] = {
    "NFLOG, little-endian": (239, nflog("<", bytes(V4))),
    "NFLOG, big-endian": (239, nflog(">", bytes(V6))),
    "Cisco HDLC": (104, b"\x0f\x00\x08\x00" + bytes(V4)),
    "Cisco HDLC, IPv6": (104, b"\x0f\x00\x86\xdd" + bytes(V6)),
    "PPPoE without Ethernet": (51, struct.pack("!BBHHH", 0x11, 0, 7, 2 + len(V4), 0x21) + bytes(V4)),
    "LLC with the IP service access point": (1, FRAME[:12] + struct.pack("!H3B", 3 + len(V4), 6, 6, 3) + bytes(V4)),
    "wireless frame with several in one": (
        105,
        b"\x88\x01" + bytes(22) + b"\x80\x00"
        + bytes(12) + struct.pack("!H", 8 + len(V4)) + b"\xaa\xaa\x03\x00\x00\x00\x08\x00" + bytes(V4) + bytes(40),
    ),
    "radiotap that tells of padding": (
        127,
        struct.pack("<BBHIB", 0, 0, 9, 2, 0x20)
        + b"\x88\x01" + bytes(22) + b"\x00\x00" + b"\xee\xee" + b"\xaa\xaa\x03\x00\x00\x00\x08\x00" + bytes(V4),
    ),
}  # fmt: skip

TEREDO = struct.pack("!BBBBQB", 0, 1, 0, 0, 77, 0) + bytes(8)

TUNNELS: dict[str, bytes] = {
    "EtherIP": ether(outer(97) / (b"\x30\x00" + FRAME)),
    "MPLS in IP": ether(outer(137) / (struct.pack("!I", 5 << 12 | 0x1FF) + bytes(V6))),
    "PPTP": ether(
        outer(47) / (struct.pack("!HHHHII", 0x3081, 0x880B, 4 + len(V4), 9, 1, 2) + b"\xff\x03\x00\x21" + bytes(V4))
    ),
    "VXLAN-GPE, IPv4": ether(over_udp(4789) / (struct.pack("!BHBI", 0x0C, 0, 1, 5 << 8) + bytes(V4))),
    "VXLAN-GPE, Ethernet": ether(over_udp(4789) / (struct.pack("!BHBI", 0x0C, 0, 3, 5 << 8) + FRAME)),
    "Teredo": ether(over_udp(3544) / bytes(V6)),
    "Teredo with authentication and origin": ether(over_udp(3544) / (TEREDO + bytes(V6))),
    "L2TPv3": ether(outer(115) / (struct.pack("!I", 9) + FRAME)),
    "L2TPv3 with a cookie": ether(outer6(115) / (struct.pack("!IQ", 9, 0xFEDCBA9876543210) + FRAME)),
    "L2TPv3 with a cookie and a sublayer, IPv4": ether(outer(115) / (struct.pack("!IQI", 9, 2**64 - 1, 1) + bytes(V4))),
    "L2TPv3 over UDP": ether(over_udp(1701) / (struct.pack("!HHII", 3, 0, 9, 2**32 - 1) + FRAME)),
    "authentication header": ether(outer(51) / (struct.pack("!BBHII", 17, 4, 0, 1, 2) + bytes(12) + bytes(V4)[20:])),
}


@pytest.mark.parametrize("name", LINKS)
def test_link_layer(name: str) -> None:
    link_type, octets = LINKS[name]
    decoder = Decoder(tunnels=False)
    assert [each.payload for each in decode([frame(octets, link_type)], decoder)] == [MESSAGE]
    assert dict(decoder.counters) == {}
    assert len(decode_filtered([frame(octets, link_type)])) == 1


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnel(name: str) -> None:
    frames = [frame(TUNNELS[name])]
    decoder = Decoder()
    found = decode(frames, decoder)
    assert [each.payload for each in found] == [MESSAGE]
    assert dict(decoder.counters) == {}
    assert decode_filtered(frames) == found


@pytest.mark.parametrize("name", [*LINKS, *TUNNELS])
def test_every_prefix_and_any_damage_is_survived(name: str) -> None:
    link_type, octets = LINKS.get(name) or (1, TUNNELS[name])
    for length in range(len(octets)):
        cut = [frame(octets[:length], link_type, original=len(octets))]
        assert decode_filtered(cut) == decode(cut)
    for place in range(min(len(octets), 120)):
        for value in (0x00, 0xFF, octets[place] ^ 0x01, octets[place] ^ 0x80):
            changed = [frame(octets[:place] + bytes((value,)) + octets[place + 1 :], link_type)]
            assert decode_filtered(changed) == decode(changed)
