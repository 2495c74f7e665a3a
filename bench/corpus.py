"""Captures for the benchmarks, made here, the same for every run.

Frames are made once and strung together with random SPIs, so a gigabyte takes seconds and no memory.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import build as b

SEED = 20261125
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
_FLUSH = 4 << 20

HYBRID = (*b.SUITE, (b.KE, 31), b.addke(1, 36))
CLASSICAL = (*b.SUITE, (b.KE, 31))
_NAT = tuple(b.notify(kind, bytes(20)) for kind in (16388, 16389))
_AT_A_TIME = 64
"""SAs whose messages are mingled in a large corpus."""


@dataclass(slots=True)
class Tally:
    """What was put into a corpus, counted while it was made."""

    frames: int = 0
    messages: int = 0
    hybrid: int = 0
    classical: int = 0

    @property
    def sas(self) -> int:
        """SAs of both kinds."""
        return self.hybrid + self.classical

    def add(self, frames: list[bytes], hybrid: bool) -> list[bytes]:
        """Count the messages of one SA."""
        self.messages += len(frames)
        self.hybrid += hybrid
        self.classical += not hybrid
        return frames


def negotiation(rng: random.Random, hybrid: bool) -> list[bytes]:
    """The frames of one SA: IKE_SA_INIT, IKE_INTERMEDIATE for a hybrid, IKE_AUTH, and some INFORMATIONAL.

    Half of the SAs move to port 4500 after IKE_SA_INIT, as they do behind a NAT.
    """
    spi_i, spi_r = rng.randbytes(8), rng.randbytes(8)
    chosen = HYBRID if hybrid else CLASSICAL
    source = f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    extra = (*b.SUPPORTED, *_NAT)
    request = [b.sa(HYBRID, CLASSICAL), b.ke(31, 32), (40, rng.randbytes(32)), *extra]
    response = [
        b.sa_numbered([(1 if hybrid else 2, chosen)]),
        b.ke(31, 32),
        (40, rng.randbytes(32)),
        *extra,
    ]
    messages = [
        (b.message(b.INIT, request, spi_i=spi_i), True),
        (b.message(b.INIT, response, spi_i=spi_i, spi_r=spi_r, flags=b.RESPONSE), False),
    ]
    number = 1
    if hybrid:
        for octets, fragment in ((700, (1, 2)), (700, (2, 2))):
            message = b.encrypted(b.INTERMEDIATE, 1, octets=octets, fragment=fragment, spi_i=spi_i, spi_r=spi_r)
            messages.append((message, True))
        messages.append((b.encrypted(b.INTERMEDIATE, 1, response=True, spi_i=spi_i, spi_r=spi_r), False))
        number = 2
    for exchange, message_id in ((b.AUTH, number), (b.INFO, number + 1), (b.INFO, number + 2)):
        for answer in (False, True):
            inner = 35 if exchange == b.AUTH and not answer else 36
            octets = 240 if exchange == b.AUTH else 80
            message = b.encrypted(
                exchange, message_id, response=answer, inner=inner, octets=octets, spi_i=spi_i, spi_r=spi_r
            )
            messages.append((message, not answer))
    moved = 4500 if rng.random() < 0.5 else 500
    frames: list[bytes] = []
    for index, (message, ahead) in enumerate(messages):
        port = 500 if index < 2 else moved
        ends = (source, b.B) if ahead else (b.B, source)
        frames.append(b.udp_frame(message, *ends, sport=port, dport=port))
    return frames


def noise(rng: random.Random) -> list[bytes]:
    """What is not IKE: ESP in UDP, TCP, DNS."""
    frames: list[bytes] = []
    for length in (80, 500, 1200, 1300):
        esp = struct.pack("!II", 0xC0000001, 7) + rng.randbytes(length)
        # udp_frame puts a marker in front on port 4500; ESP has none.
        frame = b.udp_frame(esp, sport=4501, dport=4501)
        frames += [frame[:34] + struct.pack("!HH", 4500, 4500) + frame[38:]] * 3
    for length in (0, 100, 1400, 1400):
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + length, 0, 0, 64, 6, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
        tcp = struct.pack("!HHIIHHHH", 443, 50_000, 1, 1, 0x5010, 1000, 0, 0)
        frames.append(bytes(12) + b"\x08\x00" + ip + tcp + rng.randbytes(length))
    frames += [b.udp_frame(rng.randbytes(length), sport=53, dport=40_000) for length in (60, 120, 250)]
    return frames


def mixed_frames(octets: int, tally: Tally | None = None, seed: int = SEED) -> Iterator[bytes]:
    """About ``octets`` of frames, two in a hundred of them IKE, the messages of many SAs mingled; every SA is whole."""
    rng = random.Random(seed)
    tally = tally if tally is not None else Tally()
    background = noise(rng)
    open_sas: list[list[bytes]] = []
    most = max(1, min(_AT_A_TIME, octets // 10_000_000))
    made = 0
    while made < octets or open_sas:
        if made >= octets or rng.random() < 0.02:
            if made < octets and len(open_sas) < most:
                hybrid = rng.random() < 0.5
                open_sas.append(tally.add(negotiation(rng, hybrid), hybrid)[::-1])
            waiting = rng.choice(open_sas)
            frame = waiting.pop()
            if not waiting:
                open_sas.remove(waiting)
        else:
            frame = rng.choice(background)
        made += len(frame) + 16
        tally.frames += 1
        yield frame


def dense_frames(messages: int, tally: Tally | None = None, seed: int = SEED) -> Iterator[bytes]:
    """IKE_SA_INIT requests and responses and nothing else."""
    rng = random.Random(seed)
    tally = tally if tally is not None else Tally()
    for _ in range(messages // 2):
        hybrid = rng.random() < 0.5
        frames = tally.add(negotiation(rng, hybrid)[:2], hybrid)
        tally.frames += len(frames)
        yield from frames


def handshake_frames(packets: int, seed: int = SEED) -> Iterator[bytes]:
    """Whole SAs and nothing else, at least so many packets; made quickly, from a few SAs by new SPIs."""
    rng = random.Random(seed)
    kinds: list[tuple[list[bytes], bytes, bytes]] = []
    for index in range(8):
        frames = negotiation(rng, index % 2 == 0)
        payload = frames[1][42:]
        kinds.append((frames, payload[:8], payload[8:16]))
    made = 0
    while made < packets:
        frames, initiator, responder = rng.choice(kinds)
        fresh_initiator, fresh_responder = rng.randbytes(8), rng.randbytes(8)
        for frame in frames:
            yield frame.replace(initiator, fresh_initiator, 1).replace(responder, fresh_responder, 1)
        made += len(frames)


def tagged(frames: Iterator[bytes]) -> Iterator[bytes]:
    """The same with an 802.1Q tag."""
    for frame in frames:
        yield frame[:12] + b"\x81\x00\x00\x64" + frame[12:]


def write_pcap(path: Path, frames: Iterator[bytes]) -> Path:
    """A pcap file, one frame each 10 microseconds."""
    with path.open("wb") as out:
        out.write(PCAP_HEADER)
        pieces: list[bytes] = []
        held = 0
        for index, frame in enumerate(frames):
            seconds, micro = divmod(index * 10, 1_000_000)
            pieces += (struct.pack("<IIII", 1_700_000_000 + seconds, micro, len(frame), len(frame)), frame)
            held += len(frame)
            if held >= _FLUSH:
                out.write(b"".join(pieces))
                pieces, held = [], 0
        out.write(b"".join(pieces))
    return path


def _block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


INTERFACES = ((1, 262_144), (1, 65_535), (101, 262_144), (113, 262_144))
"""Link type and snapshot length: Ethernet twice, raw IP, Linux cooked."""
_LATE = 1000
"""The last interface appears behind so many frames."""
_COOKED = struct.pack("!HHH8sH", 0, 1, 6, bytes(8), 0x0800)


def write_pcapng(path: Path, frames: Iterator[bytes]) -> Path:
    """A pcapng file whose interfaces differ; one of them appears in the middle of the file."""
    described = [_block(1, struct.pack("<HHI", link, 0, snaplen)) for link, snaplen in INTERFACES]
    with path.open("wb") as out:
        pieces = [_block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)), *described[:-1]]
        for index, frame in enumerate(frames):
            if index == _LATE:
                pieces.append(described[-1])
            interface = index % (len(INTERFACES) - (index < _LATE))
            link = INTERFACES[interface][0]
            data = frame if link == 1 else frame[14:] if link == 101 else _COOKED + frame[14:]
            time = 1_700_000_000_000_000 + index * 10
            head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
            pieces.append(_block(6, head + data))
            if len(pieces) >= 4096:
                out.write(b"".join(pieces))
                pieces = []
        out.write(b"".join(pieces))
    return path


def write_many(folder: Path, files: int) -> Path:
    """Many small captures, some with an SA, each SA's packets spread over two files."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(SEED)
    carried: list[bytes] = []
    background = noise(rng)
    for index in range(files):
        frames = negotiation(rng, rng.random() < 0.5)
        own = [*carried, *rng.sample(background, 8), *frames[:3]]
        carried = frames[3:]
        write_pcap(folder / f"{index:05d}.pcap", iter(own))
    return folder
