"""Link layers: Ethernet and what it may be tagged with, and the headers that captures put in its place."""

from __future__ import annotations

from pqaudit.decode.layers import Layer, MalformedError, Step, need
from pqaudit.decode.numbers import (
    GREATEST_ETHERNET_LENGTH,
    LLC_IP_SAP,
    LLC_SNAP,
    NULL_IPV4,
    NULL_IPV6,
    VLAN_TYPES,
    EtherType,
    PppProtocol,
)

_BY_ETHERTYPE: dict[int, Layer] = {
    EtherType.IPV4.value: Layer.IPV4,
    EtherType.IPV6.value: Layer.IPV6,
    EtherType.MPLS.value: Layer.MPLS,
    EtherType.MPLS_MULTICAST.value: Layer.MPLS,
    EtherType.PPPOE_SESSION.value: Layer.PPPOE,
    EtherType.PPP.value: Layer.PPP,
    **{int(number): Layer.VLAN for number in VLAN_TYPES},
}

_BY_PPP: dict[int, Layer] = {
    PppProtocol.IPV4.value: Layer.IPV4,
    PppProtocol.IPV6.value: Layer.IPV6,
    PppProtocol.MPLS.value: Layer.MPLS,
    PppProtocol.MPLS_MULTICAST.value: Layer.MPLS,
}

_NFLOG_PAYLOAD = 9
_NFLOG_HEADER_LENGTH = 4


def by_ethertype(ethertype: int, start: int, end: int) -> Step | None:
    """The step to what an EtherType announces."""
    layer = _BY_ETHERTYPE.get(ethertype)
    return None if layer is None else (layer, start, end)


def ethernet(data: bytes, start: int, end: int) -> Step | None:
    """Ethernet II, or IEEE 802.3 with a length."""
    need(start, 14, end, "An Ethernet header")
    return type_or_length(data, start + 12, end)


def type_or_length(data: bytes, start: int, end: int) -> Step | None:
    """The field behind the addresses or behind a VLAN tag: an EtherType, or the length of an LLC frame."""
    number = data[start] << 8 | data[start + 1]
    start += 2
    if number > GREATEST_ETHERNET_LENGTH:
        layer = _BY_ETHERTYPE.get(number)
        return None if layer is None else (layer, start, end)
    return llc(data, start, min(end, start + number))


def llc(data: bytes, start: int, end: int) -> Step | None:
    """IEEE 802.2 LLC: SNAP (RFC 1042) or the service access point of IP."""
    header = data[start : min(end, start + 3)]
    if header == LLC_SNAP:
        need(start, 8, end, "A SNAP header")
        # The organisation (0, or 0x0000f8 of bridge tunnels) is not looked at: the type alone leads to IP or does not.
        return by_ethertype(data[start + 6] << 8 | data[start + 7], start + 8, end)
    if len(header) == 3 and header[0] == LLC_IP_SAP and header[1] == LLC_IP_SAP:
        return Layer.IPV4, start + 3, end
    return None


def vlan(data: bytes, start: int, end: int) -> Step | None:
    """The tag of IEEE 802.1Q behind its EtherType."""
    need(start, 4, end, "A VLAN tag")
    return type_or_length(data, start + 2, end)


def vlan_identifier(data: bytes, start: int, end: int) -> int:
    """The identifier in the tag at ``start``."""
    need(start, 4, end, "A VLAN tag")
    return (data[start] << 8 | data[start + 1]) & 0x0FFF


def ip(data: bytes, start: int, end: int) -> Step | None:
    """IPv4 or IPv6 with nothing that says which."""
    need(start, 1, end, "An IP header")
    version = data[start] >> 4
    if version == 4:
        return Layer.IPV4, start, end
    if version == 6:
        return Layer.IPV6, start, end
    return None


def null(data: bytes, start: int, end: int) -> Step | None:
    """LINKTYPE_NULL and LINKTYPE_LOOP: an address family in the byte order of some host."""
    need(start, 4, end, "A loopback header")
    field = data[start : start + 4]
    # An address family is below 256, so the order that gives the smaller number is the right one.
    family = min(int.from_bytes(field, "little"), int.from_bytes(field, "big"))
    if family == NULL_IPV4:
        return Layer.IPV4, start + 4, end
    if family in NULL_IPV6:
        return Layer.IPV6, start + 4, end
    return None


def ppp(data: bytes, start: int, end: int) -> Step | None:
    """PPP (RFC 1661), with or without HDLC address and control, with a protocol field of one or two octets."""
    if data[start : min(end, start + 2)] == b"\xff\x03":
        start += 2
    need(start, 1, end, "A PPP header")
    number = data[start]
    start += 1
    if not number & 1:  # all protocol numbers end in a 1, so an even octet is the first of two
        need(start, 1, end, "A PPP header")
        number = number << 8 | data[start]
        start += 1
    layer = _BY_PPP.get(number)
    return None if layer is None else (layer, start, end)


def pppoe(data: bytes, start: int, end: int) -> Step | None:
    """A PPPoE session frame (RFC 2516)."""
    need(start, 6, end, "A PPPoE header")
    if data[start] != 0x11 or data[start + 1]:  # version and type 1, code of session data 0
        return None
    length = data[start + 4] << 8 | data[start + 5]
    start += 6
    return Layer.PPP, start, min(end, start + length) if length else end


def mpls(data: bytes, start: int, end: int) -> Step | None:
    """A stack of MPLS labels (RFC 3032); what is inside only its first octets tell."""
    while True:
        need(start, 4, end, "An MPLS label")
        bottom = data[start + 2] & 1
        start += 4
        if bottom:
            break
    need(start, 1, end, "An MPLS payload")
    version = data[start] >> 4
    if version == 4:
        return Layer.IPV4, start, end
    if version == 6:
        return Layer.IPV6, start, end
    if version == 0 and end - start >= 18:  # control word of an Ethernet pseudowire (RFC 4448 section 4.6)
        ethertype = data[start + 16] << 8 | data[start + 17]
        if ethertype in _BY_ETHERTYPE:
            return Layer.ETHERNET, start + 4, end
    if end - start >= 14 and (data[start + 12] << 8 | data[start + 13]) in _BY_ETHERTYPE:
        return Layer.ETHERNET, start, end
    return None


def cisco_hdlc(data: bytes, start: int, end: int) -> Step | None:
    """Cisco HDLC: address, control, EtherType (LINKTYPE_C_HDLC)."""
    need(start, 4, end, "A Cisco HDLC header")
    return by_ethertype(data[start + 2] << 8 | data[start + 3], start + 4, end)


def linux_sll(data: bytes, start: int, end: int) -> Step | None:
    """The header that Linux puts in place of the link layer for ``-i any`` (LINKTYPE_LINUX_SLL)."""
    need(start, 16, end, "A Linux cooked header")
    return _cooked(data, data[start + 14] << 8 | data[start + 15], start + 16, end)


def linux_sll2(data: bytes, start: int, end: int) -> Step | None:
    """The second version of that header (LINKTYPE_LINUX_SLL2)."""
    need(start, 20, end, "A Linux cooked header")
    return _cooked(data, data[start] << 8 | data[start + 1], start + 20, end)


def _cooked(data: bytes, protocol: int, start: int, end: int) -> Step | None:
    # Below 1536 the field holds no EtherType: 4 stands for LLC.
    if protocol == 4:
        return llc(data, start, end)
    return by_ethertype(protocol, start, end)


def nflog(data: bytes, start: int, end: int) -> Step | None:
    """LINKTYPE_NFLOG: family, version, resource, then attributes, of which one is the packet."""
    need(start, 4, end, "An NFLOG header")
    if data[start + 1]:
        return None
    start += 4
    while end - start >= _NFLOG_HEADER_LENGTH:
        # Attributes are in the byte order of the host that captured. Its bounds show which, for a kind is small.
        order: str = "little" if data[start + 3] & 0x7F == 0 and data[start + 2] else "big"
        if order == "little":
            length = data[start] | data[start + 1] << 8
            kind = data[start + 2]
        else:
            length = data[start] << 8 | data[start + 1]
            kind = data[start + 3]
        if length < _NFLOG_HEADER_LENGTH:
            raise MalformedError(f"An NFLOG attribute claims {length} octets, less than its header.")
        if kind == _NFLOG_PAYLOAD:
            return Layer.IP, start + _NFLOG_HEADER_LENGTH, min(end, start + length)
        start += length + 3 & ~3
    return None
