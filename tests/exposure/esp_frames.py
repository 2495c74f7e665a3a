"""Ethernet frames with ESP, made by hand from RFC 4303, RFC 3948, RFC 791 and RFC 8200."""

from __future__ import annotations

import ipaddress
import struct

ESP, UDP, FRAGMENT = 50, 17, 44
MACS = bytes.fromhex("02000000000b02000000000a")


def esp(sequence: int, octets: int = 100, spi: int = 0xC0000001) -> bytes:
    """An ESP packet of so many octets in all, 8 to 1500."""
    return struct.pack("!II", spi, sequence) + (bytes(range(256)) * 6)[: octets - 8]


def udp(payload: bytes, sport: int = 4500, dport: int = 4500) -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ipv4(
    payload: bytes,
    protocol: int = ESP,
    a: str = "192.0.2.1",
    b: str = "192.0.2.2",
    *,
    options: bytes = b"",
    cut: int = 0,
) -> bytes:
    """A packet of IPv4; ``cut`` is its field for fragments."""
    words = 5 + len(options) // 4
    ends = ipaddress.IPv4Address(a).packed + ipaddress.IPv4Address(b).packed
    return (
        struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), 7, cut, 64, protocol, 0)
        + ends
        + options
        + payload
    )


def ipv6(payload: bytes, protocol: int = ESP, a: str = "2001:db8::1", b: str = "2001:db8::2") -> bytes:
    """A packet of IPv6."""
    ends = ipaddress.IPv6Address(a).packed + ipaddress.IPv6Address(b).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload


def fragment6(payload: bytes, protocol: int, offset: int, more: bool) -> bytes:
    """A fragment of IPv6 with ``ipv6``'s protocol 44; the offset in octets."""
    return struct.pack("!BBHI", protocol, 0, offset | more, 77) + payload


def frame(packet: bytes, *tags: int) -> bytes:
    """An Ethernet frame, padded to its least length; ``tags`` are EtherTypes of VLAN tags, the outermost first."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    vlans = b"".join(struct.pack("!HH", tag, 100) for tag in tags)
    return (MACS + vlans + struct.pack("!H", kind) + packet).ljust(60, b"\0")
