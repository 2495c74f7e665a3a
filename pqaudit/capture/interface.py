"""The interface of a pcapng section: what its description block says about the packets taken from it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from pqaudit.capture.wanted import FrameTest

ByteOrder = Literal["<", ">"]

# draft-ietf-opsawg-pcapng section 4.2, options of an Interface Description Block.
_END_OF_OPTIONS = 0
_TIME_RESOLUTION = 9
_TIME_OFFSET = 14

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface, with its clock as integers: ``ticks * multiplier // divisor + offset`` are nanoseconds since 1970.

    Attributes:
        link_type: LINKTYPE_ number.
        test: the test for frames of that link type, or None to yield all.
        snapshot_length: most octets kept of a packet; 0 for no limit.
        multiplier, divisor, offset: see above.
        digits: decimal digits of a second that the clock resolves, at most 9.
        sound: False when the options of the block do not fit into it, so that the clock may be wrong.
    """

    link_type: int
    test: FrameTest | None
    snapshot_length: int
    multiplier: int
    divisor: int
    offset: int
    digits: int
    sound: bool


def read_clock(buffer: bytearray, start: int, end: int, order: ByteOrder) -> tuple[int, int, int, int, bool]:
    """Multiplier, divisor, offset, digits and soundness from the options in ``buffer[start:end]``.

    One pass over the options, however many there are; the first of a kind counts, as in Wireshark.
    """
    unpack_option = struct.Struct(f"{order}HH").unpack_from
    resolution: int | None = None
    offset: int | None = None
    sound = True
    while start + 4 <= end:
        code, length = unpack_option(buffer, start)
        if code == _END_OF_OPTIONS:
            break
        value = start + 4
        if value + length > end:
            sound = False
            break
        if code == _TIME_RESOLUTION and length >= 1 and resolution is None:
            resolution = buffer[value]
        elif code == _TIME_OFFSET and length >= 8 and offset is None:
            (offset,) = struct.unpack_from(f"{order}q", buffer, value)
        start = value + (length + 3 & ~3)
    multiplier, divisor, digits = _resolve(6 if resolution is None else resolution)
    return multiplier, divisor, (offset or 0) * _NANOSECONDS, digits, sound


def _resolve(resolution: int) -> tuple[int, int, int]:
    """Multiplier, divisor and digits of an ``if_tsresol``; what is finer than nanoseconds is rounded down later."""
    exponent = resolution & 0x7F
    if resolution & 0x80:
        return _NANOSECONDS, 1 << exponent, 9
    if exponent <= 9:
        return 10 ** (9 - exponent), 1, exponent
    return 1, 10 ** (exponent - 9), 9
