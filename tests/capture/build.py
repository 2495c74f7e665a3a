"""Capture files made by hand from the format documents; nothing is shared with the readers."""

from __future__ import annotations

import struct
from collections.abc import Iterable

Record = tuple[int, int, bytes, int]
"""Seconds, fraction, octets, original length."""


def pcap(
    records: Iterable[Record], *, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1, snaplen: int = 65535
) -> bytes:
    """draft-ietf-opsawg-pcap, and the modified variant with its longer record header."""
    octets = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for seconds, fraction, data, original in records:
        octets += struct.pack(f"{order}IIII", seconds, fraction, len(data), original)
        if magic == 0xA1B2CD34:
            octets += struct.pack(f"{order}IHBB", 1, 0, 0, 0)
        octets += data
    return octets


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """draft-ietf-opsawg-pcapng section 3.1."""
    body += bytes(-len(body) % 4)
    total = 12 + len(body)
    return struct.pack(f"{order}II", kind, total) + body + struct.pack(f"{order}I", total)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    return block(1, struct.pack(f"{order}HHI", link, 0, snaplen) + options, order)


def enhanced(
    index: int, time: int, data: bytes, original: int | None = None, order: str = "<", options: bytes = b""
) -> bytes:
    length = len(data) if original is None else original
    body = struct.pack(f"{order}IIIII", index, time >> 32, time & 0xFFFFFFFF, len(data), length)
    return block(6, body + data + bytes(-len(data) % 4) + options, order)


def simple(data: bytes, order: str = "<") -> bytes:
    return block(3, struct.pack(f"{order}I", len(data)) + data, order)


def obsolete(index: int, time: int, data: bytes, order: str = "<") -> bytes:
    body = struct.pack(f"{order}HHIIII", index, 0, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    return block(2, body + data, order)
