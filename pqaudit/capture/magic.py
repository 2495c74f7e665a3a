"""What the first octets of a file say about its format."""

from __future__ import annotations

from enum import Enum
from typing import Literal

MAGIC_LENGTH = 12
"""Octets that ``recognise`` needs to decide; no capture and no compressed one is shorter."""

# draft-ietf-opsawg-pcap section 4; the third pair is the modified format of A. Kuznetzov's patch, whose record headers
# have 24 octets.
PCAP_MICROSECONDS = 0xA1B2C3D4
PCAP_NANOSECONDS = 0xA1B23C4D
PCAP_MODIFIED = 0xA1B2CD34
# draft-ietf-opsawg-pcapng section 4.1; a palindrome, so it reads the same in both byte orders.
PCAPNG_SECTION = b"\x0a\x0d\x0d\x0a"
PCAPNG_BYTE_ORDERS: dict[bytes, Literal["<", ">"]] = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
"""The byte-order magic at offset 8 of a section header, and the prefix of ``struct`` for it."""


class Format(Enum):
    """The formats that a reader exists for."""

    PCAP = "pcap"
    PCAPNG = "pcapng"
    GZIP = "gzip"
    ZSTD = "zstd"
    XZ = "xz"
    LZ4 = "lz4"


CAPTURES = frozenset((Format.PCAP, Format.PCAPNG))

_MAGICS: dict[bytes, Format] = {
    PCAPNG_SECTION: Format.PCAPNG,
    b"\x1f\x8b\x08": Format.GZIP,  # RFC 1952 section 2.3.1, deflate being the only method defined
    b"\xfd7zX": Format.XZ,
    b"\x28\xb5\x2f\xfd": Format.ZSTD,  # RFC 8878 section 3.1.1
    b"\x04\x22\x4d\x18": Format.LZ4,
}
for _magic in (PCAP_MICROSECONDS, PCAP_NANOSECONDS, PCAP_MODIFIED):
    _MAGICS[_magic.to_bytes(4, "big")] = Format.PCAP
    _MAGICS[_magic.to_bytes(4, "little")] = Format.PCAP
# Skippable frames (RFC 8878 section 3.1.2). LZ4 has them too, but what starts with one is a file of pzstd.
for _nibble in range(16):
    _MAGICS[bytes((0x50 | _nibble, 0x2A, 0x4D, 0x18))] = Format.ZSTD


def recognise(start: bytes) -> Format | None:
    """The format of a file that starts with ``start``, or None.

    With fewer than ``MAGIC_LENGTH`` octets the answer is the format that it may become.
    """
    form = _MAGICS.get(start[:4]) or _MAGICS.get(start[:3])
    if form is None and len(start) < 4:
        form = next((form for magic, form in _MAGICS.items() if magic.startswith(start)), None)
    if form is Format.PCAPNG and not any(magic.startswith(start[8:12]) for magic in PCAPNG_BYTE_ORDERS):
        # Four line ends also start a text.
        return None
    return form
