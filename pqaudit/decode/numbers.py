"""Protocol numbers of the layers below IKE, each with the document that assigns it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class LinkType(IntEnum):
    """LINKTYPE_ values (https://www.tcpdump.org/linktypes.html) whose frames this package reads itself."""

    NULL = 0
    ETHERNET = 1
    PPP = 9
    RAW_BSD = 12
    RAW_OPENBSD = 14
    PPP_HDLC = 50
    PPP_ETHER = 51
    RAW = 101
    C_HDLC = 104
    IEEE802_11 = 105
    LOOP = 108
    LINUX_SLL = 113
    IEEE802_11_PRISM = 119
    IEEE802_11_RADIOTAP = 127
    IEEE802_11_AVS = 163
    IPV4 = 228
    IPV6 = 229
    NFLOG = 239
    LINUX_SLL2 = 276


class EtherType(IntEnum):
    """IEEE 802 EtherTypes (IANA "IEEE 802 Numbers")."""

    IPV4 = 0x0800
    TRANSPARENT_BRIDGING = 0x6558
    VLAN = 0x8100
    IPV6 = 0x86DD
    PPP = 0x880B
    MPLS = 0x8847
    MPLS_MULTICAST = 0x8848
    PPPOE_SESSION = 0x8864
    SERVICE_VLAN = 0x88A8
    ERSPAN_II = 0x88BE
    ERSPAN_III = 0x22EB
    QINQ_9100 = 0x9100
    QINQ_9200 = 0x9200


GREATEST_ETHERNET_LENGTH: Final = 1500
"""A type field of at most this is a length (IEEE 802.3 section 3.2.6)."""

VLAN_TYPES: Final = frozenset((EtherType.VLAN, EtherType.SERVICE_VLAN, EtherType.QINQ_9100, EtherType.QINQ_9200))
"""802.1Q and 802.1ad, and the two that QinQ used before 802.1ad assigned one."""

LLC_SNAP: Final = b"\xaa\xaa\x03"
"""SNAP in both service access points and an unnumbered information frame (RFC 1042)."""

LLC_IP_SAP: Final = 0x06
"""Service access point of IPv4 (IEEE 802 numbers, RFC 1700)."""

NULL_IPV4: Final = 2
"""AF_INET on every system."""

NULL_IPV6: Final = frozenset((10, 23, 24, 28, 30))
"""AF_INET6 of Linux, Windows, NetBSD and OpenBSD, FreeBSD, and macOS (LINKTYPE_NULL)."""


class PppProtocol(IntEnum):
    """PPP protocol numbers (IANA "PPP Numbers")."""

    IPV4 = 0x0021
    IPV6 = 0x0057
    MPLS = 0x0281
    MPLS_MULTICAST = 0x0283


class Protocol(IntEnum):
    """IP protocol numbers, which IPv6 extension headers share (IANA "Protocol Numbers")."""

    HOP_BY_HOP = 0
    IPV4 = 4
    TCP = 6
    UDP = 17
    IPV6 = 41
    ROUTING = 43
    FRAGMENT = 44
    GRE = 47
    ESP = 50
    AUTHENTICATION = 51
    DESTINATION_OPTIONS = 60
    ETHERIP = 97
    L2TP = 115
    MPLS = 137


EXTENSION_HEADERS: Final = frozenset((Protocol.HOP_BY_HOP, Protocol.ROUTING, Protocol.DESTINATION_OPTIONS))
"""IPv6 extension headers whose second octet counts units of 8 octets beyond the first (RFC 8200 section 4)."""

TUNNEL_PROTOCOLS: Final = frozenset(
    (Protocol.IPV4, Protocol.IPV6, Protocol.GRE, Protocol.ETHERIP, Protocol.L2TP, Protocol.MPLS)
)
"""IP protocols that carry another packet."""

IKE_PORT: Final = 500
"""isakmp (RFC 7296 section 2)."""

NAT_TRAVERSAL_PORT: Final = 4500
"""ipsec-nat-t (RFC 3948, RFC 7296 section 2.23, RFC 9329)."""

IKE_PORTS: Final = frozenset((IKE_PORT, NAT_TRAVERSAL_PORT))

L2TP_PORT: Final = 1701
"""RFC 2661 section 8.1."""

GTP_USER_PORT: Final = 2152
"""3GPP TS 29.281 section 4.4.2."""

TEREDO_PORT: Final = 3544
"""RFC 4380 section 2.7."""

VXLAN_PORT: Final = 4789
"""RFC 7348 section 5."""

GENEVE_PORT: Final = 6081
"""RFC 8926 section 3.3."""

VXLAN_LINUX_PORT: Final = 8472
"""The default of the Linux kernel, from before IANA assigned 4789."""

TUNNEL_PORTS: Final = frozenset((L2TP_PORT, GTP_USER_PORT, TEREDO_PORT, VXLAN_PORT, GENEVE_PORT, VXLAN_LINUX_PORT))

IKE_HEADER_LENGTH: Final = 28
"""RFC 7296 section 3.1."""

IKE_MAJOR_VERSIONS: Final = frozenset((1, 2))
"""RFC 2408 and RFC 7296."""

MARKER: Final = bytes(4)
"""The non-ESP marker (RFC 3948 section 2.2)."""

TCP_PREFIX: Final = b"IKETCP"
"""What the side that opens a TCP stream sends first (RFC 9329 section 4)."""

GREATEST_IP_LENGTH: Final = 65535
