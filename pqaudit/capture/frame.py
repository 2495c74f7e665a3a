"""The unit that every reader yields: one captured frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Frame:
    """One frame as a capture holds it.

    Not frozen: a frozen slotted dataclass costs three times as much to build, and millions are built. Treat it as
    read-only all the same.

    Attributes:
        time: nanoseconds since 1970-01-01T00:00:00Z.
        digits: decimal digits of a second that the capture itself resolves (6 for microseconds, 9 for nanoseconds).
        link_type: LINKTYPE_ number of the interface the frame was taken from.
        data: the octets captured, from the first octet of the link layer on.
        original_length: octets on the wire; more than ``len(data)`` when a snapshot length cut the frame.
        source: the file as the user named it, ``-`` for standard input, or ``interface:NAME``.
        number: position in its source, from 1, counting every frame as Wireshark does.
    """

    time: int
    digits: int
    link_type: int
    data: bytes
    original_length: int
    source: str
    number: int
