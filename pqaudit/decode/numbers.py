"""Numbers of the layers below IKE, under the names of their documents."""

from __future__ import annotations

from typing import Final

# LINKTYPE_ values (the registry of link-layer header types of tcpdump.org)
LINKTYPE_NULL: Final = 0
LINKTYPE_ETHERNET: Final = 1
LINKTYPE_PPP: Final = 9
LINKTYPE_RAW: Final = 101
LINKTYPE_LOOP: Final = 108
LINKTYPE_LINUX_SLL: Final = 113
LINKTYPE_IPV4: Final = 228
LINKTYPE_IPV6: Final = 229
LINKTYPE_LINUX_SLL2: Final = 276
# 12 and 14 are DLT_RAW of some systems, found in files that wrote the DLT number.
LINKTYPES_RAW: Final = frozenset((12, 14, LINKTYPE_RAW, LINKTYPE_IPV4, LINKTYPE_IPV6))

# EtherTypes (IEEE 802 numbers)
ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPES_VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100, 0x9200))

# Address families in the null/loopback header: 2 everywhere; IPv6 is 24 (NetBSD, OpenBSD), 28 (FreeBSD), 30 (macOS),
# 10 (Linux).
AF_INET: Final = 2
AF_INET6: Final = frozenset((10, 24, 28, 30))

# Protocol numbers (IANA)
PROTO_HOPOPT: Final = 0
PROTO_TCP: Final = 6
PROTO_UDP: Final = 17
PROTO_ROUTING: Final = 43
PROTO_FRAGMENT: Final = 44
PROTO_DSTOPTS: Final = 60
PROTO_MOBILITY: Final = 135
PROTO_HIP: Final = 139
PROTO_SHIM6: Final = 140
IPV6_EXTENSIONS: Final = frozenset((PROTO_HOPOPT, PROTO_ROUTING, PROTO_DSTOPTS, PROTO_MOBILITY, PROTO_HIP, PROTO_SHIM6))

PORT_IKE: Final = 500
PORT_IKE_NAT: Final = 4500
NON_ESP_MARKER: Final = bytes(4)  # RFC 3948 section 2.2
IKE_HEADER_OCTETS: Final = 28
