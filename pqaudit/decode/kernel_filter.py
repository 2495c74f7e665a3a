"""The filter that the kernel applies to a live capture, in libpcap's language.

It lets more through than IKE (later fragments, IPv6 with extension headers, all that a tunnel carries); the test of
``Decoder.wanted`` says no to most of that, and ``Decoder.feed`` decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from pqaudit.decode.numbers import (
    IKE_PORT,
    IKE_PORTS,
    NAT_TRAVERSAL_PORT,
    TUNNEL_PORTS,
    TUNNEL_PROTOCOLS,
    EtherType,
    LinkType,
)

MOST_PORTS = 16
"""Ports of the user that fit into the program that the kernel accepts, which has at most 4096 instructions."""

# `udp[8:4]` stands for IPv4 alone, hence the line for IPv6. Whether a fragment belongs to IKE only its first one says.
_IKE = (
    f"udp port {IKE_PORT}",
    f"(udp port {NAT_TRAVERSAL_PORT} and udp[8:4] = 0)",
    f"(ip6[6] = 17 and (ip6[40:2] = {NAT_TRAVERSAL_PORT} or ip6[42:2] = {NAT_TRAVERSAL_PORT}) and ip6[48:4] = 0)",
    "(ip[9] = 17 and ip[6:2] & 0x1fff != 0)",
    "(ip6[6] = 44 and ip6[40] = 17)",
    "(ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 60)",
    f"tcp port {IKE_PORT}",
    f"tcp port {NAT_TRAVERSAL_PORT}",
)
# The others have no EtherTypes: tun, WireGuard, PPP.
_WITH_ETHERTYPE = frozenset((LinkType.ETHERNET, LinkType.LINUX_SLL, LinkType.LINUX_SLL2))
_LINK_LAYERS = (EtherType.MPLS, EtherType.MPLS_MULTICAST, EtherType.PPPOE_SESSION)


def kernel_filter(link_type: int, ports: Iterable[int] = (), *, tunnels: bool = False) -> str:
    """The filter expression for frames of a link type.

    TCP is let through on ports 500 and 4500 and those of the user only, though the decoder knows IKE by its prefix on
    every port.

    Args:
        link_type: LINKTYPE_ number of the interface.
        ports: ports that carry IKE beside 500 and 4500, by UDP or TCP.
        tunnels: let through what tunnels carry, all of it, so that IKE inside is found. On a link that carries much
            such traffic this is expensive.

    Raises:
        ValueError: more than ``MOST_PORTS`` ports, or one that is none.
    """
    extra = sorted(frozenset(ports) - IKE_PORTS)
    if len(extra) > MOST_PORTS:
        raise ValueError(f"At most {MOST_PORTS} ports beside 500 and 4500 can be watched, not {len(extra)}.")
    for port in extra:
        if not 0 < port < 1 << 16:
            raise ValueError(f"{port} is no port.")
    # Without a protocol in front, libpcap lets SCTP through as well, and the program is half as long.
    terms = [*_IKE, *(f"port {port}" for port in extra)]
    if tunnels:
        protocols = sorted(int(protocol) for protocol in TUNNEL_PROTOCOLS)
        terms += (f"udp port {port}" for port in sorted(TUNNEL_PORTS))
        terms += (f"ip proto {number}" for number in protocols)
        terms += (f"ip6[6] = {number}" for number in protocols)
    if link_type in _WITH_ETHERTYPE:
        # Link layers, which the decoder always looks into. libpcap's own words for them (`mpls`, `pppoes`) would shift
        # the offsets of what follows.
        terms += (f"ether proto {kind:#x}" for kind in _LINK_LAYERS)
    return with_vlans(" or ".join(terms), link_type)


def with_vlans(untagged: str, link_type: int) -> str:
    """An expression for frames without VLAN tags as one for frames with up to two, where a link type has tags."""
    if link_type != LinkType.ETHERNET:
        # libpcap refuses `vlan` here. On `any` Linux takes the outermost tag away before it filters.
        return untagged
    # `vlan` shifts the offsets of all behind it.
    return f"({untagged}) or (vlan and (({untagged}) or (vlan and ({untagged}))))"
