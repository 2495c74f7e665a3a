"""What the fuzzers feed with octets. Each target raises when something is wrong and returns nothing otherwise.

The same targets replay the kept corpus in the ordinary tests, without a fuzzer.
"""

from __future__ import annotations

import io

from pqaudit.capture.frame import Frame
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.decode.decoder import Decoder
from pqaudit.finding.document import Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.ike.header import NotIkeError, parse_header
from pqaudit.ike.ikev1 import parse_v1_message
from pqaudit.ike.message import MOST_PAYLOADS, parse_message
from pqaudit.pipeline import read_message
from pqaudit.rules.rulebook import Rulebook, load_rulebook
from pqaudit.sa.table import SaTable

_RULEBOOK: list[Rulebook] = []
LINK_TYPES = (1, 0, 101, 113, 276, 9, 105, 127, 108)


def fuzz_ike(octets: bytes) -> None:
    """An IKE message of any octets."""
    try:
        header = parse_header(octets, truncated=True)
    except NotIkeError:
        return
    if header.major == 2:
        message = parse_message(header, octets)
        assert len(message.payloads) <= MOST_PAYLOADS
        assert parse_message(header, octets) == message
    else:
        assert parse_v1_message(header, octets) == parse_v1_message(header, octets)


def fuzz_decoder(octets: bytes) -> None:
    """Frames of any octets: the first octet chooses the link type, then each frame has its length in two octets."""
    if not octets:
        return
    decoder = Decoder(ports=(5501,))
    link_type = LINK_TYPES[octets[0] % len(LINK_TYPES)]
    test = decoder.wanted(link_type)
    at, number = 1, 0
    table = SaTable()
    while at + 2 <= len(octets) and number < 64:
        length = int.from_bytes(octets[at : at + 2], "big")
        data = octets[at + 2 : at + 2 + length]
        at += 2 + length
        number += 1
        passes = test is None or test(data, 0, len(data))
        found = decoder.feed(Frame(number * 1000, 6, link_type, data, max(length, len(data)), "fuzz", number))
        # The quick test may pass too much and never too little.
        assert passes or not found
        for datagram in found:
            try:
                table.add(datagram, read_message(datagram))
            except NotIkeError:
                continue
    decoder.flush()
    _findings(table)


def fuzz_reader(octets: bytes) -> None:
    """A capture of any octets, through to findings."""
    notes: list[InputNote] = []
    decoder = Decoder()
    table = SaTable()
    frames = read_capture("-", wanted=decoder.wanted, note=notes.append, stream=io.BytesIO(octets))
    last = 0
    for frame in frames:
        assert frame.number > last
        assert frame.time >= 0
        last = frame.number
        for datagram in decoder.feed(frame):
            try:
                table.add(datagram, read_message(datagram))
            except NotIkeError:
                continue
    _findings(table)


def _findings(table: SaTable) -> None:
    if not _RULEBOOK:
        _RULEBOOK.append(load_rulebook())
    for finding in drain_findings(table, _RULEBOOK[0], Observer("fuzz")):
        assert finding["pqaudit"]["verdict"]
        assert finding["pqaudit"]["evidence"]


TARGETS = {"ike": fuzz_ike, "decoder": fuzz_decoder, "reader": fuzz_reader}
