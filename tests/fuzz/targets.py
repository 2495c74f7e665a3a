"""What the fuzzers feed with octets. Each target raises when something is wrong and returns nothing otherwise.

The same targets replay the kept corpus in the ordinary tests, without a fuzzer.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from functools import cache

from pqaudit.capture.frame import Frame
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder
from pqaudit.decode.limits import Limits
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.ike.header import NotIkeError, parse_header
from pqaudit.ike.ikev1 import MOST_PAYLOADS as MOST_V1_PAYLOADS
from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import MOST_PAYLOADS, Message
from pqaudit.ike.payloads import SecurityAssociationPayload
from pqaudit.ike.proposals import MOST_PROPOSALS
from pqaudit.pipeline import read_message
from pqaudit.rules.rulebook import Rulebook, load_rulebook
from pqaudit.sa.table import SaTable

# The first are chosen by the first octet of the seeds; 192 is one that only scapy knows.
LINK_TYPES = (1, 0, 101, 113, 276, 9, 105, 127, 108, 12, 50, 51, 104, 119, 163, 228, 229, 239, 192)

# Small, so that inputs of a few kilobytes reach every bound.
LIMITS = Limits(
    fragment_datagrams=4,
    fragment_octets=4096,
    tcp_connections=3,
    tcp_octets=4096,
    tcp_stream_octets=2048,
    tcp_stream_segments=4,
    anomalies=8,
)
MOST_FRAMES = 64
_LATER = 31 * 1_000_000_000
_TRANSFORM_OCTETS = 8


def fuzz_ike(octets: bytes) -> None:
    """An IKE message of any octets, as a whole one and as one that the capture cut off."""
    for truncated in (False, True):
        datagram = _datagram(octets, truncated)
        try:
            message = read_message(datagram)
        except NotIkeError:
            continue
        assert read_message(datagram) == message
        assert parse_header(octets, truncated=truncated) == message.header
        _check_bounds(message, len(octets))
        table = SaTable()
        table.add(datagram, message)
        table.add(datagram, message)
        assert len(_findings(table)) == 1


def _datagram(octets: bytes, truncated: bool) -> Datagram:
    return Datagram(1, 6, bytes(4), 500, b"\1\1\1\1", 500, "udp", octets, truncated, False, None, "fuzz", (1,))


def _check_bounds(message: Message | V1Message, octets: int) -> None:
    """What is read of a message takes no more than a multiple of its octets."""
    assert len(message.faults) == len(set(message.faults))
    if isinstance(message, V1Message):
        assert len(message.vendor_ids) <= MOST_V1_PAYLOADS
        assert len(message.transforms) * _TRANSFORM_OCTETS <= octets
        return
    assert len(message.payloads) <= MOST_PAYLOADS
    transforms = 0
    for payload in message.payloads:
        if isinstance(payload, SecurityAssociationPayload):
            assert len(payload.proposals) <= MOST_PROPOSALS
            transforms += sum(len(proposal.transforms) for proposal in payload.proposals)
    assert transforms * _TRANSFORM_OCTETS <= octets


def fuzz_decoder(octets: bytes) -> None:
    """Frames of any octets.

    The first octet chooses the link type. Two octets precede each frame: its length, and in the upper bits whether the
    capture cut it off (bit 15) and whether half a minute passed before it (bit 14).
    """
    if not octets:
        return
    frames = list(_frames(LINK_TYPES[octets[0] % len(LINK_TYPES)], octets))
    found = _decode(frames, all_frames=True)
    # A frame that the quick test rejects is one of which the decoder makes no use.
    assert _decode(frames, all_frames=False) == found
    _findings(_gathered(found))


def _frames(link_type: int, octets: bytes) -> Iterator[Frame]:
    at, number, time = 1, 0, 0
    while at + 2 <= len(octets) and number < MOST_FRAMES:
        head = int.from_bytes(octets[at : at + 2], "big")
        data = octets[at + 2 : at + 2 + (head & 0x3FFF)]
        at += 2 + len(data)
        number += 1
        time += _LATER if head & 0x4000 else 1000
        original = len(data) + 100 if head & 0x8000 else len(data)
        yield Frame(time, 6, link_type, data, original, "fuzz", number)


def _decode(frames: Iterable[Frame], *, all_frames: bool) -> list[Datagram]:
    decoder = Decoder(ports=(5501,), limits=LIMITS)
    found: list[Datagram] = []
    octets = 0
    for frame in frames:
        octets += len(frame.data)
        test = None if all_frames else decoder.wanted(frame.link_type)
        if test is not None and not test(frame.data, 0, len(frame.data)):
            continue
        found += decoder.feed(frame)
        assert len(decoder._reassembler) <= LIMITS.fragment_datagrams
        assert decoder._reassembler.octets <= LIMITS.fragment_octets
        assert len(decoder._tcp) <= LIMITS.tcp_connections
        assert decoder._tcp.octets <= LIMITS.tcp_octets
    found += decoder.flush()
    assert len(decoder.anomalies) <= LIMITS.anomalies
    assert len(decoder._reassembler) == len(decoder._tcp) == 0
    assert decoder._reassembler.octets == decoder._tcp.octets == 0
    assert not decoder._tcp.flows
    assert sum(len(datagram.payload) for datagram in found) <= octets
    return found


def fuzz_reader(octets: bytes) -> None:
    """A capture of any octets, read whole, and in small pieces as from a pipe, through to findings."""
    assert _audit(_Pipe(octets)) == _audit(io.BytesIO(octets))


class _Pipe(io.RawIOBase):
    """Gives a few octets at a time, in numbers that fall together with no header."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        view = memoryview(target)  # type: ignore[call-overload]
        piece = self._octets[self._at : self._at + min(len(view), 13 + self._at % 89)]
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _audit(stream: io.BytesIO | io.RawIOBase) -> tuple[list[Document], list[InputNote]]:
    notes: list[InputNote] = []
    taken: list[int] = []
    decoder = Decoder()
    found: list[Datagram] = []
    last = 0
    for frame in read_capture("-", wanted=decoder.wanted, note=notes.append, progress=taken.append, stream=stream):
        assert frame.number > last
        assert frame.time >= 0
        last = frame.number
        found += decoder.feed(frame)
    found += decoder.flush()
    # One note ends the reading, and one for each kind of damage that does not.
    assert len(notes) <= 8
    assert all(count > 0 for count in taken)
    return _findings(_gathered(found)), notes


def _gathered(found: Iterable[Datagram]) -> SaTable:
    table = SaTable()
    for datagram in found:
        try:
            message = read_message(datagram)
        except NotIkeError:
            continue
        _check_bounds(message, len(datagram.payload))
        table.add(datagram, message)
    return table


@cache
def _rulebook() -> Rulebook:
    return load_rulebook()


def _findings(table: SaTable) -> list[Document]:
    findings = list(drain_findings(table, _rulebook(), Observer("fuzz")))
    for finding in findings:
        assert finding["pqaudit"]["verdict"]
        assert finding["pqaudit"]["evidence"]
    return findings


TARGETS = {"ike": fuzz_ike, "decoder": fuzz_decoder, "reader": fuzz_reader}
