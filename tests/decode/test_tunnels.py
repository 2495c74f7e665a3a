"""IKE inside tunnels, built with scapy where it has the layer."""

from __future__ import annotations

import struct

import pytest
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import GRE, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.l2tp import L2TP
from scapy.layers.ppp import HDLC, PPP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from pqaudit.decode.decoder import Decoder
from tests.decode.frames import decode, decode_filtered, ether, frame, ike, numbered, udp4, udp6

MESSAGE = ike(1200)
V4, V6 = udp4(MESSAGE), udp6(MESSAGE)
MAC = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
FRAME = Ether(**MAC) / V4


def outer(protocol: int) -> Packet:
    return IP(src="198.51.100.1", dst="198.51.100.2", proto=protocol)


def outer6(protocol: int) -> Packet:
    return IPv6(src="2001:db8:1::1", dst="2001:db8:1::2", nh=protocol)


def over_udp(port: int, *, six: bool = False) -> Packet:
    network = outer6(17) if six else outer(17)
    return network / UDP(sport=51234, dport=port)


SRE = struct.pack("!HBB", 0x0800, 0, 4) + bytes(4) + bytes(4)

TUNNELS: dict[str, Packet] = {
    "IP in IP": outer(4) / V4,
    "6in4": outer(41) / V6,
    "4in6": outer6(4) / V4,
    "6in6": outer6(41) / V6,
    "GRE": outer(47) / GRE() / V4,
    "GRE, IPv6": outer6(47) / GRE() / V6,
    "GRE with all options": outer(47) / GRE(chksum_present=1, key_present=1, seqnum_present=1, key=7) / V4,
    "GRE with routing": outer(47) / Raw(struct.pack("!HHI", 0x4000, 0x0800, 0) + SRE) / V4,
    "GRE, Ethernet": outer(47) / GRE(proto=0x6558) / FRAME,
    "GRE, MPLS": outer(47) / GRE(proto=0x8847) / MPLS(label=9, s=1) / V6,
    "ERSPAN I": outer(47) / GRE(proto=0x88BE) / FRAME,
    "ERSPAN II": outer(47) / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II(session_id=1) / FRAME,
    "ERSPAN III": outer(47) / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(session_id=1) / FRAME,
    "VXLAN": over_udp(4789) / VXLAN(vni=5) / FRAME,
    "VXLAN of Linux, IPv6": over_udp(8472, six=True) / VXLAN(vni=5) / Ether(**MAC) / V6,
    "Geneve": over_udp(6081) / GENEVE(vni=5, proto=0x6558) / FRAME,
    "Geneve with options": over_udp(6081)
    / Raw(struct.pack("!BBHI", 2, 0, 0x6558, 5 << 8) + struct.pack("!HBBI", 0x0102, 0x80, 1, 7))
    / FRAME,
    "Geneve, IPv4": over_udp(6081) / GENEVE(vni=5, proto=0x0800) / V4,
    "GTP-U": over_udp(2152) / GTP_U_Header(teid=3) / V4,
    "GTP-U with extension headers": over_udp(2152)
    / GTP_U_Header(teid=3, E=1)
    / GTPPDUSessionContainer(type=0, QFI=9)
    / V6,
    "GTP-U with a sequence number": over_udp(2152) / GTP_U_Header(teid=3, S=1, seq=77) / V4,
    "L2TP": over_udp(1701) / L2TP(hdr=0x0002, tunnel_id=1, session_id=2) / HDLC() / PPP(proto=0x21) / V4,
    "L2TP with length and sequence": over_udp(1701)
    / Raw(struct.pack("!HHHHHH", 0x4802, 14 + len(V4), 1, 2, 3, 4) + b"\x00\x21")
    / V4,
    "L2TP with an offset": over_udp(1701)
    / Raw(struct.pack("!HHHH", 0x0202, 1, 2, 6) + bytes(6) + b"\xff\x03\x00\x57")
    / V6,
    "tunnel in tunnel": outer(47) / GRE() / over_udp(4789) / VXLAN(vni=1) / Ether(**MAC) / outer(4) / V4,
}


@pytest.mark.parametrize("name", TUNNELS)
@pytest.mark.parametrize("link", ["ethernet", "vlan", "raw"])
def test_ike_inside_a_tunnel(name: str, link: str) -> None:
    packet = TUNNELS[name]
    data = {"ethernet": ether(packet), "vlan": ether(Dot1Q(vlan=42) / packet), "raw": bytes(packet)}[link]
    frames = [frame(data, 101 if link == "raw" else 1)]
    decoder = Decoder()
    (found,) = decode(frames, decoder)
    assert (found.payload, found.truncated) == (MESSAGE, False)
    assert found.source in (bytes((192, 0, 2, 1)), bytes.fromhex("20010db8000000000000000000000001"))
    assert found.vlan == (42 if link == "vlan" else None)
    assert dict(decoder.counters) == {}
    assert decode_filtered(frames) == [found]
    for decoding in (decode, decode_filtered):
        assert decoding(frames, Decoder(tunnels=False)) == []


def test_the_outermost_vlan_is_kept() -> None:
    inner = over_udp(4789) / VXLAN(vni=5) / Ether(**MAC) / Dot1Q(vlan=77) / V4
    (without,) = decode_filtered([frame(ether(inner))])
    (within,) = decode_filtered([frame(ether(Dot1Q(vlan=42) / inner))])
    assert (without.vlan, within.vlan) == (77, 42)


@pytest.mark.parametrize(("depth", "expected"), [(1, 1), (8, 1), (9, 0), (60, 0)])
def test_nesting_is_bounded(depth: int, expected: int) -> None:
    packet: Packet = udp4(ike())
    for _ in range(depth):
        packet = outer(4) / packet
    decoder = Decoder()
    assert len(decode([frame(ether(packet))], decoder)) == expected
    assert decoder.counters.get("tunnels-too-deep", 0) == 1 - expected


def test_fragments_of_a_tunnel_and_inside_it() -> None:
    """The inner datagram is cut first, then each packet of the tunnel."""
    from scapy.layers.inet import fragment

    inner = [IP(bytes(p)) for p in fragment(udp4(ike(3000), id=5), fragsize=1200)]
    packets = []
    for number, piece in enumerate(inner):
        whole = IP(src="198.51.100.1", dst="198.51.100.2", id=900 + number) / GRE() / piece
        packets += [ether(IP(bytes(p))) for p in fragment(whole, fragsize=400)]
    for order in (packets, packets[::-1]):
        (found,) = decode_filtered(numbered(order))
        assert found.payload == ike(3000)
        assert found.frames == tuple(range(1, len(packets) + 1))


def test_icmp_quoting_inside_a_tunnel_is_no_ike() -> None:
    from scapy.layers.inet import ICMP

    quoted = IP(src="192.0.2.2", dst="192.0.2.1") / ICMP(type=3, code=3) / Raw(bytes(V4))
    assert decode([frame(ether(outer(47) / GRE() / quoted))]) == []


def test_other_traffic_on_tunnel_ports_is_let_go() -> None:
    for port in (1701, 2152, 4789, 6081, 8472):
        for payload in (b"", b"\x00", b"\xff" * 300, bytes(300), bytes(V4)):
            assert decode([frame(ether(over_udp(port) / Raw(payload)))]) == []
