"""Blocks of a pcapng file to be written (draft-ietf-opsawg-pcapng), all little-endian."""

from __future__ import annotations

import struct

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_ENHANCED_PACKET = 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D

# Options: of a section header the application that wrote it; of an interface its name and the resolution of its times.
_APPLICATION = 4
_INTERFACE_NAME = 2
_TIME_RESOLUTION = 9

_PACKET_HEADER = struct.Struct("<7I")
_LENGTH = struct.Struct("<I")
_PACKET_OVERHEAD = 32
_GREATEST_TIME = (1 << 64) - 1
_GREATEST_LENGTH = (1 << 32) - 1


def section_header(application: str) -> bytes:
    """The block that a file starts with. Its length is left open, as it is written while packets arrive."""
    body = struct.pack("<IHHq", _BYTE_ORDER_MAGIC, 1, 0, -1)
    return _block(_SECTION, body + _options((_APPLICATION, application.encode())))


def interface_description(link_type: int, name: str, digits: int) -> bytes:
    """An interface without a snapshot length, whose times count units of 10 to the power of minus ``digits`` seconds.

    The packets behind it name the interfaces of a file by their position among these blocks, from 0.
    """
    body = struct.pack("<HHI", link_type, 0, 0)
    return _block(_INTERFACE, body + _options((_INTERFACE_NAME, name.encode()), (_TIME_RESOLUTION, bytes([digits]))))


def enhanced_packet(interface: int, time: int, data: bytes, original_length: int) -> bytes:
    """A packet; ``time`` in units of its interface since 1970. Numbers that do not fit become the nearest that do."""
    time = min(max(time, 0), _GREATEST_TIME)
    original_length = min(original_length, _GREATEST_LENGTH)
    captured = len(data)
    padding = -captured % 4
    total = _PACKET_OVERHEAD + captured + padding
    header = _PACKET_HEADER.pack(
        _ENHANCED_PACKET, total, interface, time >> 32, time & 0xFFFFFFFF, captured, original_length
    )
    return b"".join((header, data, bytes(padding), _LENGTH.pack(total)))


def _block(kind: int, body: bytes) -> bytes:
    total = 12 + len(body)
    return struct.pack("<II", kind, total) + body + _LENGTH.pack(total)


def _options(*options: tuple[int, bytes]) -> bytes:
    packed = b"".join(struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options)
    return packed + bytes(4)
