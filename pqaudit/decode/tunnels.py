"""Tunnels: headers behind IP or UDP that carry another packet."""

from __future__ import annotations

from pqaudit.decode.layers import Layer, MalformedError, Step, need
from pqaudit.decode.link import by_ethertype
from pqaudit.decode.numbers import (
    GENEVE_PORT,
    GTP_USER_PORT,
    L2TP_PORT,
    TEREDO_PORT,
    VXLAN_LINUX_PORT,
    VXLAN_PORT,
    EtherType,
    Protocol,
)

TUNNELS_BY_PROTOCOL: dict[int, Layer] = {
    Protocol.IPV4.value: Layer.IPV4,
    Protocol.IPV6.value: Layer.IPV6,
    Protocol.GRE.value: Layer.GRE,
    Protocol.ETHERIP.value: Layer.ETHERIP,
    Protocol.L2TP.value: Layer.L2TPV3,
    Protocol.MPLS.value: Layer.MPLS,
}
"""IP protocol number to what it carries."""

TUNNELS_BY_PORT: dict[int, Layer] = {
    VXLAN_PORT: Layer.VXLAN,
    VXLAN_LINUX_PORT: Layer.VXLAN,
    GENEVE_PORT: Layer.GENEVE,
    GTP_USER_PORT: Layer.GTP_USER,
    L2TP_PORT: Layer.L2TP_UDP,
    TEREDO_PORT: Layer.TEREDO,
}
"""UDP port to what it carries."""

# RFC 2784, RFC 2890, and of RFC 1701 what those two took out again.
_GRE_CHECKSUM = 0x8000
_GRE_ROUTING = 0x4000
_GRE_KEY = 0x2000
_GRE_SEQUENCE = 0x1000
_GRE_VERSION = 0x0007
_GRE_ACKNOWLEDGEMENT = 0x0080
_GRE_ENHANCED = 1

_VXLAN_VALID = 0x08
_VXLAN_NEXT_PROTOCOL = 0x04
_VXLAN_GPE: dict[int, Layer] = {1: Layer.IPV4, 2: Layer.IPV6, 3: Layer.ETHERNET}

_GTP_DATA = 0xFF
_GTP_OPTIONS = 0x07
_GTP_EXTENSION = 0x04

_L2TP_CONTROL = 0x8000
_L2TP_LENGTH = 0x4000
_L2TP_SEQUENCE = 0x0800
_L2TP_OFFSET = 0x0200
_L2TP_VERSION = 0x000F

_TEREDO_AUTHENTICATION = b"\x00\x01"
_TEREDO_ORIGIN = b"\x00\x00"


def gre(data: bytes, start: int, end: int) -> Step | None:
    """GRE with all its options, the enhanced version of PPTP (RFC 2637), and ERSPAN II and III."""
    need(start, 4, end, "A GRE header")
    flags = data[start] << 8 | data[start + 1]
    ethertype = data[start + 2] << 8 | data[start + 3]
    version = flags & _GRE_VERSION
    start += 4
    if version == _GRE_ENHANCED:
        # Key always, then sequence number and acknowledgement number.
        start += 4 + bool(flags & _GRE_SEQUENCE) * 4 + bool(flags & _GRE_ACKNOWLEDGEMENT) * 4
        return (Layer.PPP, start, end) if ethertype == EtherType.PPP and start < end else None
    if version:
        return None
    if flags & (_GRE_CHECKSUM | _GRE_ROUTING):
        start += 4
    if flags & _GRE_KEY:
        start += 4
    if flags & _GRE_SEQUENCE:
        start += 4
    if flags & _GRE_ROUTING:
        start = _skip_source_routes(data, start, end)
    need(start, 1, end, "What GRE carries")
    if ethertype == EtherType.TRANSPARENT_BRIDGING:
        return Layer.ETHERNET, start, end
    if ethertype == EtherType.ERSPAN_II:
        # Type I has no header of its own and, as it never comes with one, no sequence number.
        return Layer.ETHERNET, start + (8 if flags & _GRE_SEQUENCE else 0), end
    if ethertype == EtherType.ERSPAN_III:
        return _erspan_iii(data, start, end)
    return by_ethertype(ethertype, start, end)


def _skip_source_routes(data: bytes, start: int, end: int) -> int:
    """RFC 1701: source route entries, the last of which has family and length 0."""
    while True:
        need(start, 4, end, "A GRE source route")
        family = data[start] << 8 | data[start + 1]
        length = data[start + 3]
        start += 4 + length
        if not family and not length:
            return start


def _erspan_iii(data: bytes, start: int, end: int) -> Step | None:
    """ERSPAN type III (draft-foschiano-erspan): 12 octets, and 8 more when the last bit says so."""
    need(start, 12, end, "An ERSPAN header")
    frame_type = data[start + 10] >> 2 & 0x1F
    start += 20 if data[start + 11] & 1 else 12
    if frame_type == 0:
        return Layer.ETHERNET, start, end
    if frame_type == 2:
        return Layer.IP, start, end
    return None


def etherip(data: bytes, start: int, end: int) -> Step | None:
    """Ethernet in IP (RFC 3378)."""
    need(start, 2, end, "An EtherIP header")
    return (Layer.ETHERNET, start + 2, end) if data[start] >> 4 == 3 else None


def vxlan(data: bytes, start: int, end: int) -> Step | None:
    """VXLAN (RFC 7348), and its extension that names the protocol (draft-ietf-nvo3-vxlan-gpe)."""
    need(start, 8, end, "A VXLAN header")
    flags = data[start]
    if not flags & _VXLAN_VALID:
        return None
    if flags & _VXLAN_NEXT_PROTOCOL:
        layer = _VXLAN_GPE.get(data[start + 3])
        return None if layer is None else (layer, start + 8, end)
    return Layer.ETHERNET, start + 8, end


def geneve(data: bytes, start: int, end: int) -> Step | None:
    """Geneve (RFC 8926) with its options."""
    need(start, 8, end, "A Geneve header")
    if data[start] >> 6:
        return None
    ethertype = data[start + 2] << 8 | data[start + 3]
    length = 8 + (data[start] & 0x3F) * 4
    need(start, length, end, "A Geneve header")
    start += length
    if ethertype == EtherType.TRANSPARENT_BRIDGING:
        return Layer.ETHERNET, start, end
    return by_ethertype(ethertype, start, end)


def gtp_user(data: bytes, start: int, end: int) -> Step | None:
    """A packet of a user in GTP version 1 (3GPP TS 29.281), with its extension headers."""
    need(start, 8, end, "A GTP header")
    flags = data[start]
    if flags >> 4 != 3 or data[start + 1] != _GTP_DATA:  # version 1, GTP and not GTP'
        return None
    end = min(end, start + 8 + (data[start + 2] << 8 | data[start + 3]))
    start += 8
    if flags & _GTP_OPTIONS:
        need(start, 4, end, "The optional fields of a GTP header")
        following = data[start + 3] if flags & _GTP_EXTENSION else 0
        start += 4
        while following:
            need(start, 1, end, "A GTP extension header")
            length = data[start] * 4
            if not length:
                raise MalformedError("A GTP extension header claims a length of 0.")
            need(start, length, end, "A GTP extension header")
            start += length
            following = data[start - 1]
    return Layer.IP, start, end


def l2tp_udp(data: bytes, start: int, end: int) -> Step | None:
    """L2TP over UDP: data messages of version 2 (RFC 2661), and of version 3 (RFC 3931 section 4.1.2)."""
    need(start, 2, end, "An L2TP header")
    flags = data[start] << 8 | data[start + 1]
    if flags & _L2TP_CONTROL:
        return None
    version = flags & _L2TP_VERSION
    if version == 3:
        return l2tpv3(data, start + 4, end)
    if version != 2:
        return None
    position = start + 2
    if flags & _L2TP_LENGTH:
        need(position, 2, end, "An L2TP header")
        end = min(end, start + (data[position] << 8 | data[position + 1]))
        position += 2
    position += 4
    if flags & _L2TP_SEQUENCE:
        position += 4
    if flags & _L2TP_OFFSET:
        need(position, 2, end, "An L2TP header")
        position += 2 + (data[position] << 8 | data[position + 1])
    need(position, 1, end, "What L2TP carries")
    return Layer.PPP, position, end


def l2tpv3(data: bytes, start: int, end: int) -> Step | None:
    """A session of L2TP version 3: identifier, cookie, sublayer, frame.

    How long the cookie is and whether there is a sublayer only the control connection says, so the combinations are
    tried: what follows has to be an Ethernet frame of a known type or an IP packet whose length is that of the rest.
    """
    need(start, 4, end, "An L2TP session header")
    if data[start : start + 4] == bytes(4):  # session 0 is the control connection
        return None
    for length in (0, 4, 8, 12):  # a cookie of 0, 4 or 8 octets, and a sublayer of 4 or none
        position = start + 4 + length
        if end - position < 20:
            return None
        ethertype = data[position + 12] << 8 | data[position + 13]
        version = data[position + 14] >> 4
        if (
            by_ethertype(ethertype, position, end) is not None
            and (ethertype != EtherType.IPV4 or version == 4)
            and (ethertype != EtherType.IPV6 or version == 6)
        ):
            return Layer.ETHERNET, position, end
        total = data[position + 2] << 8 | data[position + 3]
        if data[position] >> 4 == 4 and data[position] & 0x0F >= 5 and total == end - position:
            return Layer.IPV4, position, end
    return None


def teredo(data: bytes, start: int, end: int) -> Step | None:
    """IPv6 over UDP through a NAT (RFC 4380 section 5.1.1)."""
    if data[start : min(end, start + 2)] == _TEREDO_AUTHENTICATION:
        need(start, 4, end, "A Teredo header")
        start += 13 + data[start + 2] + data[start + 3]
    if data[start : min(end, start + 2)] == _TEREDO_ORIGIN:
        start += 8
    if end - start < 1 or data[start] >> 4 != 6:
        return None
    return Layer.IPV6, start, end
