"""The filter that the kernel applies to a live capture of ESP: every Nth packet of each SA, in libpcap's language."""

from __future__ import annotations

from typing import Final

from pqaudit.decode.kernel_filter import with_vlans
from pqaudit.decode.numbers import NAT_TRAVERSAL_PORT, Protocol

HEADER_OCTETS: Final = 128
"""Octets of a frame that hold all that is read of it: the longest link layer here (22, with two VLAN tags), an IPv4
header with options (60) or one of IPv6 with a fragment header (48), UDP (8), SPI and sequence number (8)."""

MOST_SAMPLED: Final = 1 << 16

_IPV6_HEADER = 40
_FRAGMENT_HEADER = 8
_FIRST_FRAGMENT = 0xFFF8  # mask of the offset (RFC 8200 section 4.5)
_LEAST_UDP = 16  # header, SPI and sequence number: a keepalive is shorter, and padding of the frame may follow it


def esp_filter(link_type: int, sample: int = 1) -> str:
    """The filter expression for frames of a link type: ESP as IP protocol 50, and in UDP on port 4500 (RFC 3948).

    The low bits of the sequence number decide (RFC 4303 section 2.2): they count one by one in each SA, so no state
    is needed and exactly every Nth packet comes. It is the one in the middle of each N, so that an SA with fewer
    packets is counted as none or as N, whichever is nearer.

    Fragments but the first, IPv6 with extension headers, and what lies in MPLS or PPPoE do not pass.

    Args:
        link_type: LINKTYPE_ number of the interface.
        sample: N, a power of two; 1 lets every packet through.

    Raises:
        ValueError: ``sample`` is no power of two from 1 to ``MOST_SAMPLED``.
    """
    check_sample(sample)
    esp, udp, fragment = Protocol.ESP.value, Protocol.UDP.value, Protocol.FRAGMENT.value
    behind = _IPV6_HEADER + _FRAGMENT_HEADER
    first = f"ip6[{_IPV6_HEADER + 2}:2] & {_FIRST_FRAGMENT:#x} = 0"
    terms = (
        f"(ip[9] = {esp} and ip[6:2] & 0x1fff = 0 and {_sampled('ip[((ip[0] & 0xf) << 2) + 4:4]', sample)})",
        # `udp[...]` stands for IPv4 alone, and for first fragments.
        f"(udp port {NAT_TRAVERSAL_PORT} and udp[4:2] >= {_LEAST_UDP} and udp[8:4] != 0"
        f" and {_sampled('udp[12:4]', sample)})",
        f"(ip6[6] = {esp} and {_sampled(f'ip6[{_IPV6_HEADER + 4}:4]', sample)})",
        f"(ip6[6] = {udp} and {_udp6(_IPV6_HEADER, sample)})",
        f"(ip6[6] = {fragment} and ip6[{_IPV6_HEADER}] = {esp} and {first}"
        f" and {_sampled(f'ip6[{behind + 4}:4]', sample)})",
        f"(ip6[6] = {fragment} and ip6[{_IPV6_HEADER}] = {udp} and {first} and {_udp6(behind, sample)})",
    )
    return with_vlans(" or ".join(terms), link_type)


def check_sample(sample: int) -> None:
    """Raises ValueError, a sentence, when ``sample`` is no power of two from 1 to ``MOST_SAMPLED``."""
    if not 0 < sample <= MOST_SAMPLED or sample & (sample - 1):
        raise ValueError(f"Every Nth packet can be taken for a power of two up to {MOST_SAMPLED}, not for {sample}.")


def _sampled(sequence_number: str, sample: int) -> str:
    return f"{sequence_number} & {sample - 1:#x} = {sample // 2:#x}"


def _udp6(start: int, sample: int) -> str:
    """UDP at an offset in a packet of IPv6."""
    port = NAT_TRAVERSAL_PORT
    return (
        f"(ip6[{start}:2] = {port} or ip6[{start + 2}:2] = {port}) and ip6[{start + 4}:2] >= {_LEAST_UDP}"
        f" and ip6[{start + 8}:4] != 0 and {_sampled(f'ip6[{start + 12}:4]', sample)}"
    )
