"""Link layers and IP, each frame built with scapy."""

from __future__ import annotations

import struct

import pytest
from scapy.contrib.mpls import MPLS
from scapy.layers.dot11 import Dot11, Dot11QoS, RadioTap
from scapy.layers.inet import ICMP, IP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6DestUnreach,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import LLC, SNAP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Dot3, Ether, Loopback
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.packet import Packet, Raw

from pqaudit.decode.decoder import Decoder
from tests.decode.frames import MARKER, decode, decode_filtered, ether, frame, ike, udp4, udp6

MESSAGE = ike()
V4 = udp4(MESSAGE)
V6 = udp6(MESSAGE)
MAC = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
AP = {"addr1": "02:00:00:00:00:01", "addr2": "02:00:00:00:00:02", "addr3": "02:00:00:00:00:03"}
SNAP_V4 = LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=0x0800) / V4

LINKS: dict[str, tuple[int, Packet | bytes, int | None]] = {
    "ethernet": (1, Ether(**MAC) / V4, None),
    "ethernet, IPv6": (1, Ether(**MAC) / V6, None),
    "802.1Q": (1, Ether(**MAC) / Dot1Q(vlan=42) / V4, 42),
    "802.1Q with priority": (1, Ether(**MAC) / Dot1Q(vlan=42, prio=7) / V6, 42),
    "QinQ": (1, Ether(**MAC) / Dot1Q(vlan=7) / Dot1Q(vlan=42) / V4, 7),
    "802.1ad": (1, Ether(**MAC) / Dot1AD(vlan=8) / Dot1Q(vlan=42) / V6, 8),
    "802.3 SNAP": (1, Dot3(**MAC) / SNAP_V4, None),
    "VLAN 802.3 SNAP": (1, Ether(**MAC) / Dot1Q(vlan=3, type=len(SNAP_V4)) / SNAP_V4, 3),
    "PPPoE": (1, Ether(type=0x8864, **MAC) / PPPoE(sessionid=1) / PPP() / V4, None),
    "PPPoE, IPv6 in VLAN": (1, Ether(**MAC) / Dot1Q(vlan=9) / PPPoE(sessionid=1) / PPP() / V6, 9),
    "MPLS": (1, Ether(type=0x8847, **MAC) / MPLS(label=100, s=0) / MPLS(label=200, s=1) / V4, None),
    "MPLS, IPv6": (1, Ether(type=0x8847, **MAC) / MPLS(label=100, s=1) / V6, None),
    "MPLS pseudowire": (1, Ether(type=0x8847, **MAC) / MPLS(label=1, s=1) / Raw(bytes(4)) / Ether(**MAC) / V4, None),
    "null": (0, Loopback(type=2) / V4, None),
    "null, FreeBSD": (0, struct.pack("<I", 28) + bytes(V6), None),
    "null, macOS, other order": (0, struct.pack(">I", 30) + bytes(V6), None),
    "loop": (108, struct.pack(">I", 2) + bytes(V4), None),
    "raw": (101, V4, None),
    "raw, IPv6": (101, V6, None),
    "raw 12": (12, V4, None),
    "raw 14": (14, V6, None),
    "ipv4": (228, V4, None),
    "ipv6": (229, V6, None),
    "sll": (113, CookedLinux(pkttype=0, proto=0x0800) / V4, None),
    "sll, IPv6": (113, CookedLinux(proto=0x86DD) / V6, None),
    "sll, VLAN": (113, CookedLinux(proto=0x8100) / Dot1Q(vlan=5) / V4, 5),
    "sll2": (276, CookedLinuxV2(proto=0x0800) / V4, None),
    "sll2, IPv6": (276, CookedLinuxV2(proto=0x86DD) / V6, None),
    "sll2, VLAN": (276, CookedLinuxV2(proto=0x8100) / Dot1Q(vlan=5) / V6, 5),
    "ppp": (9, PPP(proto=0x21) / V4, None),
    "ppp, HDLC": (9, HDLC() / PPP(proto=0x57) / V6, None),
    "ppp hdlc": (50, HDLC() / PPP(proto=0x21) / V4, None),
    "ppp, short protocol": (9, b"\x21" + bytes(V4), None),
    "802.11": (105, Dot11(type=2, subtype=0, FCfield=1, **AP) / SNAP_V4, None),
    "802.11 QoS": (105, Dot11(type=2, subtype=8, FCfield=2, **AP) / Dot11QoS() / SNAP_V4, None),
    "802.11 WDS": (
        105,
        Dot11(type=2, subtype=8, FCfield=3, addr4="02:00:00:00:00:04", **AP) / Dot11QoS() / SNAP_V4,
        None,
    ),
    "radiotap": (127, RadioTap(present="Rate") / Dot11(type=2, subtype=0, FCfield=1, **AP) / SNAP_V4, None),
    "prism": (119, struct.pack("<II", 0x44, 144) + bytes(136) + bytes(Dot11(type=2, **AP) / SNAP_V4), None),
    "avs": (163, struct.pack(">II", 0x80211001, 64) + bytes(56) + bytes(Dot11(type=2, **AP) / SNAP_V4), None),
}


@pytest.mark.parametrize("name", LINKS)
def test_link_layer_leads_to_ike(name: str) -> None:
    link_type, packet, vlan = LINKS[name]
    decoder = Decoder(tunnels=False)
    (found,) = decode([frame(packet, link_type)], decoder)
    assert found.payload == MESSAGE
    assert found.vlan == vlan
    assert (found.source_port, found.destination_port, found.transport) == (500, 500, "udp")
    assert not found.truncated
    assert not found.marked
    assert found.frames == (1,)
    assert len(found.source) in (4, 16)
    assert dict(decoder.counters) == {}
    assert len(decode_filtered([frame(packet, link_type)], Decoder(tunnels=False))) == 1


@pytest.mark.parametrize("name", LINKS)
def test_every_prefix_of_a_frame_is_survived_and_marked(name: str) -> None:
    link_type, packet, _ = LINKS[name]
    octets = bytes(packet)
    for length in range(len(octets)):
        cut = [frame(octets[:length], link_type, original=len(octets))]
        found = decode(cut)
        assert decode_filtered(cut) == found
        for datagram in found:
            assert datagram.truncated
            assert MESSAGE.startswith(datagram.payload)


def test_ethernet_padding_and_trailer_are_no_payload() -> None:
    (found,) = decode([frame(ether(V4) + b"\xee" * 30)])
    assert found.payload == MESSAGE


def test_ipv4_options_are_passed_over() -> None:
    packet = udp4(MESSAGE, options=[IPOption_NOP(), IPOption_RR(routers=["192.0.2.9"] * 3)])
    for frames in ([frame(ether(packet))], [frame(packet, 101)]):
        assert [d.payload for d in decode(frames)] == [MESSAGE]
        assert [d.payload for d in decode_filtered(frames)] == [MESSAGE]


def test_ipv6_extension_headers_are_passed_over() -> None:
    packet = (
        IPv6(src="2001:db8::1", dst="2001:db8::2")
        / IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=30, optdata=bytes(20))])
        / IPv6ExtHdrRouting(addresses=["2001:db8::3"])
        / IPv6ExtHdrDestOpt()
        / UDP(sport=4500, dport=4500)
        / Raw(MARKER + MESSAGE)
    )
    (found,) = decode_filtered([frame(ether(packet))])
    assert (found.payload, found.marked) == (MESSAGE, True)


def test_wrong_checksums_are_ignored() -> None:
    packet = IP(src="192.0.2.1", dst="192.0.2.2", chksum=1) / UDP(sport=500, dport=500, chksum=1) / Raw(MESSAGE)
    assert len(decode([frame(ether(packet))])) == 1


def test_length_zero_of_offload_means_all_that_is_there() -> None:
    packet = IP(src="192.0.2.1", dst="192.0.2.2", len=0) / UDP(sport=500, dport=500, len=0) / Raw(MESSAGE)
    (found,) = decode([frame(ether(packet))])
    assert (found.payload, found.truncated) == (MESSAGE, False)


def test_esp_and_keepalive_on_4500_are_no_ike() -> None:
    for payload in (b"\xff", b"\x00\x00\x00\x01" + MESSAGE, MESSAGE, b"", MARKER, MARKER + MESSAGE[:27]):
        for packet in (udp4(payload, 4500, 4500), udp6(payload, 40000, 4500)):
            decoder = Decoder()
            assert decode([frame(ether(packet))], decoder) == []
            assert dict(decoder.counters) == {}


def test_marker_is_removed_on_4500() -> None:
    (found,) = decode_filtered([frame(ether(udp4(MARKER + MESSAGE, 4500, 61234)))])
    assert (found.payload, found.marked) == (MESSAGE, True)


def test_icmp_errors_that_quote_ike_are_no_ike() -> None:
    quoted4 = IP(src="192.0.2.2", dst="192.0.2.1") / ICMP(type=3, code=3) / Raw(bytes(V4))
    quoted6 = IPv6(src="2001:db8::2", dst="2001:db8::1") / ICMPv6DestUnreach(code=4) / Raw(bytes(V6))
    for packet in (quoted4, quoted6):
        assert decode([frame(ether(packet))]) == []
        assert decode([frame(packet, 101)]) == []


@pytest.mark.parametrize(("payload", "marked"), [(MESSAGE, False), (MARKER + MESSAGE, True)])
def test_ports_of_the_users_choice(payload: bytes, marked: bool) -> None:
    frames = [frame(ether(udp4(payload, 40000, 10500)))]
    assert decode(frames) == []
    assert decode_filtered(frames) == []
    (found,) = decode_filtered(frames, Decoder(ports=(10500,)))
    assert (found.payload, found.marked) == (MESSAGE, marked)
    assert decode([frame(ether(udp4(b"\x12" * 200, 40000, 10500)))], Decoder(ports=(10500,))) == []


def test_protected_and_later_wireless_frames_are_left_alone() -> None:
    for fields in ({"FCfield": 0x41}, {"type": 0}, {"subtype": 4}, {"SC": 1}):
        header = {"type": 2, "subtype": 0, "FCfield": 1, **AP, **fields}
        assert decode([frame(Dot11(**header) / SNAP_V4, 105)]) == []
