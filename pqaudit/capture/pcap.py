"""Frames of a pcap file (draft-ietf-opsawg-pcap), all the variants that libpcap and Wireshark write."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from pqaudit.capture.faults import InputFault, cut_off
from pqaudit.capture.frame import Frame
from pqaudit.capture.magic import PCAP_MODIFIED, PCAP_NANOSECONDS
from pqaudit.capture.note import InputNote
from pqaudit.capture.wanted import Wanted
from pqaudit.capture.window import Window

FILE_HEADER_LENGTH = 24

LEAST_BOUND = 256 * 1024
GREATEST_BOUND = 64 * 1024 * 1024
"""A record may hold as many octets as the snapshot length says, but at least 256 KiB, because recorders write too small
a number there (libpcap accepts the same), and at most 64 MiB, because others write 0xffffffff. More is damage."""


def read_pcap(window: Window, source: str, wanted: Wanted | None, note: Callable[[InputNote], None]) -> Iterator[Frame]:
    """Yield the wanted frames of the pcap file that starts at the window's start.

    A damaged record stops the file with a fatal note: where the next record begins could only be guessed.
    """
    number = 0
    try:
        if not window.fill(FILE_HEADER_LENGTH):
            raise cut_off("the file header")
        buffer, position, end = window.buffer, window.start, window.end
        order = ">" if buffer[position] == 0xA1 else "<"
        magic, major, _minor, snapshot_length, network = struct.unpack_from(f"{order}IHH8xII", buffer, position)
        if major != 2:
            raise InputFault("unsupported-version", f"Version {major} of the pcap format is not known.")
        # The upper bits say whether frames carry a check sequence, and how long it is.
        link_type = network & 0xFFFF
        test = wanted(link_type) if wanted else None
        scale, digits = (1, 9) if magic == PCAP_NANOSECONDS else (1000, 6)
        header_length = 24 if magic == PCAP_MODIFIED else 16
        bound = min(max(snapshot_length, LEAST_BOUND), GREATEST_BOUND)
        # Most frames are not wanted, and of those nothing but the length is needed.
        unpack_length = struct.Struct(f"{order}8xI").unpack_from
        unpack_header = struct.Struct(f"{order}IIII").unpack_from

        position += FILE_HEADER_LENGTH
        while True:
            needed = header_length
            last = end - header_length
            while position <= last:
                (captured,) = unpack_length(buffer, position)
                if captured > bound:
                    raise InputFault(
                        "damaged-record",
                        f"The record of frame {number + 1} claims {captured} octets, which cannot be; "
                        "nothing behind it was read.",
                    )
                begin = position + header_length
                following = begin + captured
                if following > end:
                    needed = header_length + captured
                    break
                number += 1
                if test is None or test(buffer, begin, captured):
                    seconds, fraction, _, original = unpack_header(buffer, position)
                    yield Frame(
                        seconds * 1_000_000_000 + fraction * scale,
                        digits,
                        link_type,
                        bytes(buffer[begin:following]),
                        original,
                        source,
                        number,
                    )
                position = following
            if not window.more(position, needed):
                if position < end:
                    raise cut_off(f"the record of frame {number + 1}")
                return
            buffer, position, end = window.buffer, window.start, window.end
    except InputFault as fault:
        note(InputNote(source, number or None, fault.kind, fault.message, fault.fatal))
