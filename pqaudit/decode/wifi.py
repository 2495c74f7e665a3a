"""IEEE 802.11 data frames, and the headers that captures put before them."""

from __future__ import annotations

from pqaudit.decode.layers import Layer, Step, need
from pqaudit.decode.link import llc

_DATA = 2
_NO_DATA = 0x4
_QOS = 0x8

_TO_AND_FROM_DS = 0x03
_PROTECTED = 0x40
_ORDER = 0x80

_FRAGMENT_NUMBER = 0x0F
_A_MSDU = 0x80

_PRISM_LENGTH = 144
_AVS_MAGIC = b"\x80\x21\x10"

_RADIOTAP_FLAGS = 0x02
_RADIOTAP_TSFT = 0x01
_RADIOTAP_EXTENDED = 0x80
_RADIOTAP_PADDED = 0x20


def wifi(data: bytes, start: int, end: int) -> Step | None:
    """A data frame that is not protected (IEEE 802.11 section 9.3.2)."""
    return _data_frame(data, start, end, padded=False)


def _data_frame(data: bytes, start: int, end: int, *, padded: bool) -> Step | None:
    need(start, 2, end, "An IEEE 802.11 header")
    kind = data[start] >> 2 & 0x3
    subtype = data[start] >> 4
    flags = data[start + 1]
    if kind != _DATA or data[start] & 0x3 or subtype & _NO_DATA or flags & _PROTECTED:
        return None
    length = 30 if flags & _TO_AND_FROM_DS == _TO_AND_FROM_DS else 24
    aggregated = False
    if subtype & _QOS:
        need(start, length + 2, end, "An IEEE 802.11 QoS header")
        aggregated = bool(data[start + length] & _A_MSDU)
        length += 2
        if flags & _ORDER:
            length += 4  # HT control
    need(start, length, end, "An IEEE 802.11 header")
    if data[start + 22] & _FRAGMENT_NUMBER:  # the middle of a frame sent in fragments
        return None
    if padded:
        length = length + 3 & ~3
    start += length
    if aggregated:
        # Of several frames in one only the first is followed; each starts with addresses and a length, then LLC.
        need(start, 14, end, "An aggregated IEEE 802.11 frame")
        end = min(end, start + 14 + (data[start + 12] << 8 | data[start + 13]))
        start += 14
    return llc(data, start, end)


def radiotap(data: bytes, start: int, end: int) -> Step | None:
    """Radiotap (https://www.radiotap.org): a little-endian length and fields, one of which tells of padding."""
    need(start, 8, end, "A radiotap header")
    length = data[start + 2] | data[start + 3] << 8
    need(start, max(length, 8), end, "A radiotap header")
    present = data[start + 4]
    padded = False
    if present & _RADIOTAP_FLAGS:
        position = start + 8
        last = start + 7
        while data[last] & _RADIOTAP_EXTENDED and position + 4 <= start + length:
            last = position + 3
            position += 4
        if present & _RADIOTAP_TSFT:
            position = start + (position - start + 7 & ~7) + 8
        if position < start + length:
            padded = bool(data[position] & _RADIOTAP_PADDED)
    return _data_frame(data, start + max(length, 8), end, padded=padded)


def prism(data: bytes, start: int, end: int) -> Step | None:
    """The header of Prism cards, of 144 octets, or the one of AVS in its place."""
    if data[start : min(end, start + 3)] == _AVS_MAGIC[:3]:
        return avs(data, start, end)
    need(start, _PRISM_LENGTH, end, "A Prism header")
    return Layer.WIFI, start + _PRISM_LENGTH, end


def avs(data: bytes, start: int, end: int) -> Step | None:
    """The AVS header: a magic number with the version, and its own length."""
    need(start, 8, end, "An AVS header")
    length = int.from_bytes(data[start + 4 : start + 8], "big")
    need(start, max(length, 8), end, "An AVS header")
    return Layer.WIFI, start + max(length, 8), end
