"""A test of a frame in place, cheap enough to run on every record of a large capture.

It is called more than a million times for each gigabyte, mostly to say no. So it takes all fields of the commonest
frames in one call of ``struct``, which costs no more than indexing four octets does, and looks at everything else octet
by octet. The functions err towards yes; ``Decoder.feed`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct

from pqaudit.decode.numbers import (
    EXTENSION_HEADERS,
    IKE_HEADER_LENGTH,
    IKE_PORT,
    IKE_PORTS,
    NAT_TRAVERSAL_PORT,
    TCP_PREFIX,
    TUNNEL_PORTS,
    TUNNEL_PROTOCOLS,
    VLAN_TYPES,
    EtherType,
    LinkType,
    Protocol,
)

Octets = bytes | bytearray | memoryview

FrameTest = Callable[[Octets, int, int], bool]
"""``test(buffer, start, captured_length)``: False when the frame surely holds nothing that a decoder uses."""

_IPV4_FIELDS = Struct("!H B 5x H x B 10x HH 4x B").unpack_from
"""EtherType, version and header length, fragment, protocol, ports, and the first octet of a UDP payload."""
_IPV6_FIELDS = Struct("!B 33x HH 4x B").unpack_from
"""Next header, ports, and the first octet of a UDP payload."""
_LEAST_FAST = 58
"""Ethernet with a VLAN tag, IPv4 and a TCP header up to its length."""
_LEAST_FAST_IPV6 = 67
"""Ethernet, IPv6 and a TCP header up to its length."""

_UDP_HEADER_LENGTH = 8
_TCP_HEADER_LENGTH = 20
_LEAST_MARKED = _UDP_HEADER_LENGTH + 4 + IKE_HEADER_LENGTH
_MOST_TAGS = 4
"""VLAN tags or MPLS labels that are looked behind here; frames with more are left to the decoder."""

_VLAN_TYPES = frozenset(int(number) for number in VLAN_TYPES)
_IPV4, _IPV6 = EtherType.IPV4.value, EtherType.IPV6.value
_MPLS = frozenset((EtherType.MPLS.value, EtherType.MPLS_MULTICAST.value))
_PPPOE, _PPP = EtherType.PPPOE_SESSION.value, EtherType.PPP.value

_PACKET_FRONTS: dict[int, tuple[int | None, int]] = {
    LinkType.LINUX_SLL.value: (14, 16),
    LinkType.LINUX_SLL2.value: (0, 20),
    LinkType.NULL.value: (None, 4),
    LinkType.LOOP.value: (None, 4),
    LinkType.RAW_BSD.value: (None, 0),
    LinkType.RAW_OPENBSD.value: (None, 0),
    LinkType.RAW.value: (None, 0),
    LinkType.IPV4.value: (None, 0),
    LinkType.IPV6.value: (None, 0),
}
"""Link types with a header of one length: where the EtherType is, if there is one, and where the packet starts."""


def frame_test(
    link_type: int, extra: frozenset[int], tunnels: bool, tcp_flows: Mapping[bytes, int]
) -> FrameTest | None:
    """The test for a link type, or None when there is none and every frame is to be decoded.

    Args:
        link_type: LINKTYPE_ number.
        extra: ports that carry IKE beside 500 and 4500, by UDP or TCP.
        tunnels: whether tunnels are looked into.
        tcp_flows: pairs of ports of connections that are followed; looked at anew for each frame.
    """
    packet = _packet_test(extra, tunnels, tcp_flows)
    if link_type == LinkType.ETHERNET:
        return _ethernet_test(packet, extra, tunnels, tcp_flows)
    front = _PACKET_FRONTS.get(link_type)
    if front is None:
        return None
    type_offset, offset = front

    def test(buffer: Octets, start: int, captured: int) -> bool:
        end = start + captured
        begin = start + offset
        if begin >= end:
            return False
        if type_offset is None:
            ethertype = _IPV6 if buffer[begin] >> 4 == 6 else _IPV4
        else:
            ethertype = buffer[start + type_offset] << 8 | buffer[start + type_offset + 1]
            if ethertype == _LLC:
                return True
        return packet(buffer, ethertype, begin, end)

    return test


_LLC = 4
"""What Linux cooked headers have in place of an EtherType before an LLC frame."""

_PacketTest = Callable[[Octets, int, int, int], bool]


def _packet_test(extra: frozenset[int], tunnels: bool, tcp_flows: Mapping[bytes, int]) -> _PacketTest:
    """The thorough test: ``test(buffer, ethertype, start, end)``, every index checked."""
    passing_ports = frozenset((IKE_PORT, *extra, *(TUNNEL_PORTS if tunnels else ())))
    tcp_ports = IKE_PORTS | extra
    tunnel_protocols = frozenset(int(number) for number in TUNNEL_PROTOCOLS) if tunnels else frozenset[int]()
    authentication = Protocol.AUTHENTICATION.value
    chained = frozenset((Protocol.FRAGMENT.value, authentication, *(int(number) for number in EXTENSION_HEADERS)))

    def transport(buffer: Octets, protocol: int, start: int, end: int) -> bool:
        if protocol == 17:
            if start + _UDP_HEADER_LENGTH + IKE_HEADER_LENGTH > end and not tunnels:
                return False
            if start + _UDP_HEADER_LENGTH > end:
                return False
            source = buffer[start] << 8 | buffer[start + 1]
            destination = buffer[start + 2] << 8 | buffer[start + 3]
            if source in passing_ports or destination in passing_ports:
                return True
            if source != NAT_TRAVERSAL_PORT and destination != NAT_TRAVERSAL_PORT:
                return False
            return start + _LEAST_MARKED <= end and not (
                buffer[start + 8] or buffer[start + 9] or buffer[start + 10] or buffer[start + 11]
            )
        if protocol == 6:
            if start + _TCP_HEADER_LENGTH > end:
                return False
            source = buffer[start] << 8 | buffer[start + 1]
            destination = buffer[start + 2] << 8 | buffer[start + 3]
            if source in tcp_ports or destination in tcp_ports:
                return True
            if tcp_flows and bytes(buffer[start : start + 4]) in tcp_flows:
                return True
            payload = start + (buffer[start + 12] >> 2 & 0x3C)
            return payload + 6 <= end and buffer[payload] == 0x49 and buffer[payload : payload + 6] == TCP_PREFIX
        return protocol in tunnel_protocols or protocol == authentication

    def test(buffer: Octets, ethertype: int, start: int, end: int) -> bool:
        for _ in range(_MOST_TAGS):
            if ethertype not in _VLAN_TYPES:
                break
            if start + 4 > end:
                return False
            ethertype = buffer[start + 2] << 8 | buffer[start + 3]
            start += 4
        else:
            return True
        if ethertype in _MPLS:
            for _ in range(_MOST_TAGS):
                if start + 5 > end:
                    return False
                start += 4
                if buffer[start - 2] & 1:
                    break
            else:
                return True
            version = buffer[start] >> 4
            if version == 4:
                ethertype = _IPV4
            elif version == 6:
                ethertype = _IPV6
            else:
                return True
        elif ethertype == _PPPOE:
            if start + 8 > end:
                return False
            protocol = buffer[start + 6] << 8 | buffer[start + 7]
            if protocol == 0x0021:
                ethertype = _IPV4
            elif protocol == 0x0057:
                ethertype = _IPV6
            else:
                # Two octets that start with an even one are another protocol, but MPLS.
                return bool(buffer[start + 6] & 1) or buffer[start + 6] == 0x02
            start += 8
        if ethertype == _IPV4:
            if start + 20 > end or buffer[start] >> 4 != 4:
                return False
            protocol = buffer[start + 9]
            if buffer[start + 6] & 0x3F or buffer[start + 7]:
                return protocol == 17 or protocol in tunnel_protocols or protocol == authentication
            return transport(buffer, protocol, start + (buffer[start] & 0x0F) * 4, end)
        if ethertype == _IPV6:
            if start + 41 > end:
                return False
            protocol = buffer[start + 6]
            return protocol in chained or transport(buffer, protocol, start + 40, end)
        if ethertype <= 1500:
            return start < end and buffer[start] in (0xAA, 0x06)  # LLC with SNAP or IP
        return ethertype == _PPP

    return test


def _ethernet_test(
    packet: _PacketTest, extra: frozenset[int], tunnels: bool, tcp_flows: Mapping[bytes, int]
) -> FrameTest:
    """The test for Ethernet: the commonest frames at fixed offsets, all others by the thorough test."""
    # With a first payload octet that is not 0 there is no marker, and then 4500 is as good as any port.
    unmarked = frozenset((IKE_PORT, *extra, *(TUNNEL_PORTS if tunnels else ())))
    tcp_ports = IKE_PORTS | extra
    other = frozenset((51, *(int(number) for number in TUNNEL_PROTOCOLS))) if tunnels else frozenset((51,))

    def test(buffer: Octets, start: int, captured: int) -> bool:
        if captured < _LEAST_FAST:
            if captured < 34:
                return False
            return packet(buffer, buffer[start + 12] << 8 | buffer[start + 13], start + 14, start + captured)
        ethertype, first, fragment, protocol, source, destination, octet = _IPV4_FIELDS(buffer, start + 12)
        if ethertype == 0x8100:
            # What follows a tag stands as what follows the addresses, 4 octets on.
            start += 4
            captured -= 4
            ethertype, first, fragment, protocol, source, destination, octet = _IPV4_FIELDS(buffer, start + 12)
        if ethertype == 0x0800:
            if first != 0x45:
                return packet(buffer, 0x0800, start + 14, start + captured)
            if protocol == 17:
                if fragment & 0x3FFF or source in unmarked or destination in unmarked:
                    return True
                if octet or (source != NAT_TRAVERSAL_PORT and destination != NAT_TRAVERSAL_PORT):
                    return False
                return packet(buffer, 0x0800, start + 14, start + captured)
            if protocol == 6:
                if source in tcp_ports or destination in tcp_ports:
                    return True
                payload = start + 34 + (buffer[start + 46] >> 2 & 0x3C)
                if (payload < start + captured and buffer[payload] == 0x49) or (
                    tcp_flows and bytes(buffer[start + 34 : start + 38]) in tcp_flows
                ):
                    return packet(buffer, 0x0800, start + 14, start + captured)
                return False
            return protocol in other
        if ethertype == 0x86DD and captured >= _LEAST_FAST_IPV6:
            protocol, source, destination, octet = _IPV6_FIELDS(buffer, start + 20)
            if protocol == 17:
                if source in unmarked or destination in unmarked:
                    return True
                if octet or (source != NAT_TRAVERSAL_PORT and destination != NAT_TRAVERSAL_PORT):
                    return False
            elif protocol == 6:
                if source in tcp_ports or destination in tcp_ports:
                    return True
                payload = start + 54 + (buffer[start + 66] >> 2 & 0x3C)
                if not (
                    (payload < start + captured and buffer[payload] == 0x49)
                    or (tcp_flows and bytes(buffer[start + 54 : start + 58]) in tcp_flows)
                ):
                    return False
        elif ethertype == 0x0806:
            return False  # ARP
        return packet(buffer, ethertype, start + 14, start + captured)

    return test
