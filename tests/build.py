"""IKE messages and captures made by hand, from the figures of RFC 7296, 7383 and 9370.

This encoder shares nothing with pqaudit, so that a misreading there cannot repeat itself here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

SPI_I = bytes.fromhex("1111111111111111")
SPI_R = bytes.fromhex("2222222222222222")
A, B = "192.0.2.1", "192.0.2.2"

ENCR, PRF, INTEG, KE = 1, 2, 3, 4
INIT, AUTH, CHILD, INFO, INTERMEDIATE, FOLLOWUP = 34, 35, 36, 37, 43, 44
INITIATOR, RESPONSE = 0x08, 0x20

Transform = tuple[int, int] | tuple[int, int, int]
Payload = tuple[int, bytes]

SUITE: tuple[Transform, ...] = ((ENCR, 20, 256), (PRF, 5))


def addke(slot: int, method: int) -> Transform:
    """An additional key exchange: slot 1 is transform type 6 (RFC 9370)."""
    return (5 + slot, method)


def sa(*proposals: Sequence[Transform]) -> Payload:
    """SA payload with proposals numbered from 1."""
    return sa_numbered(list(enumerate(proposals, start=1)))


def sa_numbered(proposals: Sequence[tuple[int, Sequence[Transform]]]) -> Payload:
    body = b""
    for index, (number, transforms) in enumerate(proposals):
        inner = b""
        for position, transform in enumerate(transforms):
            attribute = struct.pack("!HH", 0x800E, transform[2]) if len(transform) == 3 else b""
            more = 0 if position == len(transforms) - 1 else 3
            inner += struct.pack("!BBHBBH", more, 0, 8 + len(attribute), transform[0], 0, transform[1]) + attribute
        more = 0 if index == len(proposals) - 1 else 2
        body += struct.pack("!BBHBBBB", more, 0, 8 + len(inner), number, 1, 0, len(transforms)) + inner
    return (33, body)


def ke(method: int, octets: int) -> Payload:
    return (34, struct.pack("!HH", method, 0) + bytes(octets))


def nonce(octets: int = 32, fill: int = 7) -> Payload:
    return (40, bytes([fill]) * octets)


def notify(kind: int, data: bytes = b"") -> Payload:
    return (41, struct.pack("!BBH", 0, 0, kind) + data)


def vendor_id(data: bytes) -> Payload:
    return (43, data)


def message(
    exchange: int,
    payloads: Iterable[Payload],
    *,
    spi_i: bytes = SPI_I,
    spi_r: bytes = bytes(8),
    flags: int = INITIATOR,
    message_id: int = 0,
    inner: int = 0,
) -> bytes:
    """An IKEv2 message; ``inner`` is the Next Payload octet of a final SK or SKF payload."""
    listed = list(payloads)
    body = b""
    for index, (_, octets) in enumerate(listed):
        following = listed[index + 1][0] if index + 1 < len(listed) else inner
        body += struct.pack("!BBH", following, 0, 4 + len(octets)) + octets
    first = listed[0][0] if listed else 0
    return spi_i + spi_r + struct.pack("!BBBBII", first, 0x20, exchange, flags, message_id, 28 + len(body)) + body


def encrypted(
    exchange: int,
    message_id: int,
    *,
    response: bool = False,
    from_initiator: bool | None = None,
    inner: int = 34,
    octets: int = 1300,
    fragment: tuple[int, int] | None = None,
    spi_i: bytes = SPI_I,
    spi_r: bytes = SPI_R,
) -> bytes:
    """A message with an SK payload of ``octets``, or with SKF fragment ``(number, total)``."""
    side = (not response) if from_initiator is None else from_initiator
    flags = (INITIATOR if side else 0) | (RESPONSE if response else 0)
    if fragment is None:
        payload = (46, bytes(octets - 4))
    else:
        payload = (53, struct.pack("!HH", *fragment) + bytes(octets - 8))
        inner = inner if fragment[0] == 1 else 0
    return message(exchange, [payload], spi_i=spi_i, spi_r=spi_r, flags=flags, message_id=message_id, inner=inner)


def udp_frame(payload: bytes, source: str = A, destination: str = B, sport: int = 500, dport: int = 500) -> bytes:
    """Ethernet, IPv4, UDP; checksums are zero."""
    if 4500 in (sport, dport):
        payload = bytes(4) + payload
    udp = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    addresses = bytes(int(x) for x in source.split(".")) + bytes(int(x) for x in destination.split("."))
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
    return bytes(12) + b"\x08\x00" + ip + udp


def pcap(frames: Iterable[bytes], path: Path, *, start: int = 1_700_000_000, snaplen: int = 0) -> Path:
    """A pcap file, one frame a millisecond."""
    octets = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for index, frame in enumerate(frames):
        kept = frame[:snaplen] if snaplen else frame
        octets += struct.pack("<IIII", start + index // 1000, index % 1000 * 1000, len(kept), len(frame)) + kept
    path.write_bytes(octets)
    return path


class Conversation:
    """Messages between an initiator at ``A`` and a responder at ``B``, as frames in order."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    def send(self, octets: bytes, *, port: int = 500) -> Conversation:
        """Initiator to responder."""
        self.frames.append(udp_frame(octets, sport=port, dport=port))
        return self

    def answer(self, octets: bytes, *, port: int = 500) -> Conversation:
        """Responder to initiator."""
        self.frames.append(udp_frame(octets, B, A, sport=port, dport=port))
        return self


SUPPORTED = (notify(16438), notify(16430))


def init_request(
    *proposals: Sequence[Transform], method: int = 31, octets: int = 32, extra: Sequence[Payload] = SUPPORTED
) -> bytes:
    return message(INIT, [sa(*proposals), ke(method, octets), nonce(), *extra])


def init_response(
    *proposals: Sequence[Transform],
    method: int = 31,
    octets: int = 32,
    extra: Sequence[Payload] = SUPPORTED,
    spi_r: bytes = SPI_R,
) -> bytes:
    return message(INIT, [sa(*proposals), ke(method, octets), nonce(fill=9), *extra], spi_r=spi_r, flags=RESPONSE)


def negotiated(offer: Sequence[Transform], selected: Sequence[Transform], *, octets: int = 32) -> Conversation:
    """One request with one proposal and a key of so many octets, and the response to it."""
    request = init_request((*SUITE, *offer), octets=octets)
    return Conversation().send(request).answer(init_response((*SUITE, *selected)))


def ran(conversation: Conversation, intermediate: int) -> Conversation:
    """Go on with so many IKE_INTERMEDIATE exchanges and IKE_AUTH."""
    for number in range(1, intermediate + 1):
        conversation.send(encrypted(INTERMEDIATE, number)).answer(encrypted(INTERMEDIATE, number, response=True))
    conversation.send(encrypted(AUTH, intermediate + 1, inner=35, octets=200))
    return conversation.answer(encrypted(AUTH, intermediate + 1, inner=36, octets=200, response=True))
