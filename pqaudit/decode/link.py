"""Link layers: from the first octet of a frame to the network layer."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from pqaudit.decode.numbers import (
    AF_INET,
    AF_INET6,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPES_VLAN,
    LINKTYPE_ETHERNET,
    LINKTYPE_LINUX_SLL,
    LINKTYPE_LINUX_SLL2,
    LINKTYPE_LOOP,
    LINKTYPE_NULL,
    LINKTYPES_RAW,
)

MOST_VLAN_TAGS = 8
_SHORT = Struct("!H")
_VLAN_ID = 0x0FFF


class Network(NamedTuple):
    """Where the network layer begins: its EtherType, the offset of its first octet, and the outermost VLAN or None."""

    ethertype: int
    offset: int
    vlan: int | None


def ethernet(data: bytes) -> Network | None:
    """Ethernet II with any number of VLAN tags (IEEE 802.1Q, 802.1ad)."""
    if len(data) < 14:
        return None
    return behind_ethertype(data, 12, None)


def behind_ethertype(data: bytes, offset: int, vlan: int | None) -> Network | None:
    """Follow VLAN tags from the EtherType field at ``offset``."""
    for _ in range(MOST_VLAN_TAGS):
        if offset + 2 > len(data):
            return None
        (ethertype,) = _SHORT.unpack_from(data, offset)
        if ethertype not in ETHERTYPES_VLAN:
            return Network(ethertype, offset + 2, vlan)
        if offset + 4 > len(data):
            return None
        if vlan is None:
            vlan = _SHORT.unpack_from(data, offset + 2)[0] & _VLAN_ID
        offset += 4
    return None


def linux_sll(data: bytes) -> Network | None:
    """Linux cooked capture: 16 octets, the EtherType at the end."""
    return behind_ethertype(data, 14, None) if len(data) >= 16 else None


def linux_sll2(data: bytes) -> Network | None:
    """Linux cooked capture, version 2: 20 octets, the EtherType in front."""
    if len(data) < 20:
        return None
    (ethertype,) = _SHORT.unpack_from(data, 0)
    if ethertype in ETHERTYPES_VLAN:
        # The tag's own two octets follow the header, then the EtherType inside.
        vlan = _SHORT.unpack_from(data, 20)[0] & _VLAN_ID if len(data) >= 22 else None
        return behind_ethertype(data, 22, vlan)
    return Network(ethertype, 20, None)


def null_loopback(data: bytes) -> Network | None:
    """BSD loopback: an address family of 4 octets in the byte order of the machine that captured."""
    if len(data) < 4:
        return None
    for family in (int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")):
        if family == AF_INET:
            return Network(ETHERTYPE_IPV4, 4, None)
        if family in AF_INET6:
            return Network(ETHERTYPE_IPV6, 4, None)
    return None


def raw_ip(data: bytes) -> Network | None:
    """No link layer: the version nibble tells IPv4 from IPv6."""
    return by_version(data, 0, None)


def by_version(data: bytes, offset: int, vlan: int | None) -> Network | None:
    """IP of the version that the first nibble names."""
    if offset >= len(data):
        return None
    version = data[offset] >> 4
    if version == 4:
        return Network(ETHERTYPE_IPV4, offset, vlan)
    if version == 6:
        return Network(ETHERTYPE_IPV6, offset, vlan)
    return None


LINK_LAYERS: dict[int, Callable[[bytes], Network | None]] = {
    LINKTYPE_ETHERNET: ethernet,
    LINKTYPE_LINUX_SLL: linux_sll,
    LINKTYPE_LINUX_SLL2: linux_sll2,
    LINKTYPE_NULL: null_loopback,
    LINKTYPE_LOOP: null_loopback,
    **dict.fromkeys(LINKTYPES_RAW, raw_ip),
}
