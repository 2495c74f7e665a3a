"""Frames of a pcapng file (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator

from pqaudit.capture.faults import InputFault, cut_off
from pqaudit.capture.frame import Frame
from pqaudit.capture.interface import ByteOrder, Interface, read_clock
from pqaudit.capture.magic import PCAPNG_BYTE_ORDERS, PCAPNG_SECTION
from pqaudit.capture.note import InputNote
from pqaudit.capture.wanted import FrameTest, Wanted
from pqaudit.capture.window import Window

GREATEST_HELD = 64 * 1024 * 1024
"""Octets of a block that has to be held in memory: packets and interface descriptions. Longer ones are damage. Blocks
that are only passed over may have any length."""

GREATEST_INTERFACES = 65_536
"""Interfaces of a section; more are not kept, and packets that name them are skipped and counted."""

_INTERFACE = 1
_PACKET = 2  # obsolete
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_SECTION = int.from_bytes(PCAPNG_SECTION, "big")

# Kind, total length, and for packets with a time: interface, time high, time low, captured length, original length.
_HEADERS = {order: struct.Struct(f"{order}7I") for order in "<>"}
_LENGTHS = {order: struct.Struct(f"{order}I") for order in "<>"}

# Blocks that are no packets and that Wireshark (4.0, measured) numbers as frames all the same: entries of a system
# journal, custom blocks and events of Sysdig.
_NUMBERED = frozenset((9, 0x0BAD, 0x40000BAD, 0x204, 0x216, 0x221))

# 9999-12-31T23:59:59.999999999Z; resolutions and offsets can be written that lead anywhere.
_LATEST = 253_402_300_800 * 1_000_000_000 - 1

_LEAST_LENGTH = 12
_LEAST_SECTION = 28

# Kinds of damage that touch one packet or interface and let reading go on: one note for each kind, with a count, and
# fatal when frames are lost.
_COUNTED = {
    "undefined-interface": ("Packets that name an interface the file does not describe, and were skipped: {}.", True),
    "damaged-packet": ("Packets that claim more octets than their block holds, and were skipped: {}.", True),
    "damaged-options": ("Interface descriptions with options that do not fit, so that times may be wrong: {}.", False),
    "too-many-interfaces": ("Interfaces beyond the 65,536 of one section that are kept: {}.", True),
    "impossible-time": ("Frames with a time before 1970 or after 9999, given the nearest: {}.", False),
}


def read_pcapng(
    window: Window, source: str, wanted: Wanted | None, note: Callable[[InputNote], None]
) -> Iterator[Frame]:
    """Yield the wanted frames of the pcapng file that starts at the window's start with a section header.

    A damaged block stops the file with a fatal note: where the next block begins could only be guessed.
    """
    number = 0
    damage: Counter[str] = Counter()
    tests: dict[int, FrameTest | None] = {}
    interfaces: list[Interface] = []
    described = 0
    # A simple packet has no time; it gets that of the packet before it.
    last_interface: Interface | None = None
    last_high = last_low = 0
    # The first section header sets the byte order before anything depends on it.
    order: ByteOrder = "<"
    unpack_header = _HEADERS[order].unpack_from
    unpack_length = _LENGTHS[order].unpack_from
    buffer, position, end = window.buffer, window.start, window.end
    try:
        while True:
            needed = _LEAST_LENGTH
            last = end - _LEAST_LENGTH
            while position <= last:
                # May read behind the end of what is there; the window has room for that, and fields that are not
                # there yet are not used before the whole block is.
                kind, total, index, high, low, captured, original = unpack_header(buffer, position)
                following = position + total
                if (
                    kind == _ENHANCED_PACKET
                    and following <= end
                    and captured <= total - 32
                    and index < len(interfaces)
                    and not total & 3
                    and unpack_length(buffer, following - 4)[0] == total
                ):
                    # The usual case. Whatever is not in order goes through the same checks one by one.
                    begin = position + 28
                    position = following
                    number += 1
                    clock = last_interface = interface = interfaces[index]
                    last_high = high
                    last_low = low
                else:
                    begin = position + 28
                    if kind != _ENHANCED_PACKET:
                        if kind == _PACKET:
                            # The interface has 16 bits here, in front of a drop counter.
                            index = index & 0xFFFF if order == "<" else index >> 16
                        elif kind == _SIMPLE_PACKET:
                            begin = position + 12
                        elif kind == _INTERFACE:
                            begin = position + 16
                        else:
                            window.start = position
                            least = _LEAST_LENGTH
                            if kind == _SECTION:
                                order = _section_order(window)
                                unpack_header = _HEADERS[order].unpack_from
                                unpack_length = _LENGTHS[order].unpack_from
                                (total,) = unpack_length(window.buffer, window.start + 4)
                                interfaces = []
                                described = 0
                                least = _LEAST_SECTION
                            _pass_over(window, total, least, order)
                            number += kind in _NUMBERED
                            buffer, position, end = window.buffer, window.start, window.end
                            last = end - _LEAST_LENGTH
                            continue
                    # Some writers leave the padding out of the total length; Wireshark accepts that.
                    following = position + (total + 3 & ~3)
                    if following > end:
                        if total > GREATEST_HELD:
                            raise _damaged(f"claims {total} octets")
                        needed = following - position
                        break
                    room = total - 4 - (begin - position)
                    if room < 0:
                        raise _damaged(f"claims {total} octets, too few for its kind")
                    if unpack_length(buffer, following - 4)[0] != total:
                        raise _damaged("gives two different lengths")

                    if kind == _INTERFACE:
                        described += 1
                        if described <= GREATEST_INTERFACES:
                            interface = _describe(buffer, position, begin + room, order, wanted, tests)
                            interfaces.append(interface)
                            if not interface.sound:
                                damage["damaged-options"] += 1
                        else:
                            damage["too-many-interfaces"] += 1
                        position = following
                        continue

                    number += 1
                    position = following
                    if kind == _SIMPLE_PACKET:
                        original, index = index, 0
                    if index >= len(interfaces):
                        damage["undefined-interface"] += 1
                        continue
                    interface = interfaces[index]
                    if kind == _SIMPLE_PACKET:
                        captured = min(original, interface.snapshot_length or original, room)
                        clock = last_interface
                    else:
                        clock = last_interface = interface
                        last_high = high
                        last_low = low
                    if captured > room:
                        damage["damaged-packet"] += 1
                        continue
                test = interface.test
                if test is None or test(buffer, begin, captured):
                    time = 0
                    if clock is not None:
                        time = (last_high << 32 | last_low) * clock.multiplier // clock.divisor + clock.offset
                        if not 0 <= time <= _LATEST:
                            damage["impossible-time"] += 1
                            time = 0 if time < 0 else _LATEST
                    yield Frame(
                        time,
                        interface.digits,
                        interface.link_type,
                        bytes(buffer[begin : begin + captured]),
                        original,
                        source,
                        number,
                    )
            if not window.more(position, needed):
                if position < end:
                    raise cut_off("a block")
                break
            buffer, position, end = window.buffer, window.start, window.end
    except InputFault as fault:
        note(InputNote(source, number or None, fault.kind, fault.message, fault.fatal))
    for slug, count in damage.items():
        message, fatal = _COUNTED[slug]
        note(InputNote(source, number or None, slug, message.format(count), fatal))


def _damaged(what: str) -> InputFault:
    return InputFault("damaged-block", f"The next block {what}; nothing behind it was read.")


def _section_order(window: Window) -> ByteOrder:
    """The byte order of the section whose header is at the window's start."""
    if not window.fill(16):
        raise cut_off("a section header")
    order = PCAPNG_BYTE_ORDERS.get(bytes(window.buffer[window.start + 8 : window.start + 12]))
    if order is None:
        raise _damaged("is a section header without a byte-order magic")
    major, minor = struct.unpack_from(f"{order}HH", window.buffer, window.start + 12)
    if major != 1:
        raise InputFault("unsupported-version", f"Version {major}.{minor} of the pcapng format is not known.")
    return order


def _pass_over(window: Window, total: int, least: int, order: ByteOrder) -> None:
    """Move the window's start behind the block there, whatever its length, without holding it."""
    if total < least:
        raise _damaged(f"claims {total} octets, too few for its kind")
    if not (window.skip((total + 3 & ~3) - 4) and window.fill(4)):
        if total > GREATEST_HELD:
            # More likely a damaged length than a file that is still being written.
            raise _damaged(f"claims {total} octets, and the input ends before")
        raise cut_off("a block")
    if _LENGTHS[order].unpack_from(window.buffer, window.start)[0] != total:
        raise _damaged("gives two different lengths")
    window.start += 4


def _describe(
    buffer: bytearray,
    position: int,
    end: int,
    order: ByteOrder,
    wanted: Wanted | None,
    tests: dict[int, FrameTest | None],
) -> Interface:
    """The interface of the complete description block at ``position`` whose options reach to ``end``."""
    link_type, snapshot_length = struct.unpack_from(f"{order}H2xI", buffer, position + 8)
    if link_type not in tests:
        tests[link_type] = wanted(link_type) if wanted else None
    multiplier, divisor, offset, digits, sound = read_clock(buffer, position + 16, end, order)
    return Interface(link_type, tests[link_type], snapshot_length, multiplier, divisor, offset, digits, sound)
