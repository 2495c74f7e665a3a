"""The unit that decoding yields: one IKE message as it travelled."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Datagram:
    """The octets of one IKE message with the path they took.

    Not frozen for the cost of building it; treat it as read-only.

    Attributes:
        time: nanoseconds since 1970-01-01T00:00:00Z of the frame that completed the message.
        digits: decimal digits of a second that the capture resolves.
        source, destination: addresses, 4 octets (IPv4) or 16 octets (IPv6).
        source_port, destination_port: UDP or TCP ports.
        transport: ``udp`` or ``tcp``.
        payload: the IKE message from its header on; the non-ESP marker (RFC 7296 section 2.23) and the TCP length
            (RFC 9329) are gone. It may be shorter than the header's length field says when ``truncated``.
        truncated: True when the capture holds fewer octets than were sent (snapshot length).
        marked: True when a non-ESP marker preceded the message.
        vlan: identifier of the outermost VLAN tag, or None.
        file: source of the frames, as in ``Frame.source``.
        frames: numbers of the frames that carried it, ascending; the last completed it.
    """

    time: int
    digits: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    transport: str
    payload: bytes
    truncated: bool
    marked: bool
    vlan: int | None
    file: str
    frames: tuple[int, ...]
