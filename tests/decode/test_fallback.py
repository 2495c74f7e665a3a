"""Link types that only scapy reads, or nobody."""

from __future__ import annotations

import struct

import pytest
from scapy.layers.l2 import Ether

from pqaudit.decode import fallback
from pqaudit.decode.decoder import Decoder
from tests.decode.frames import decode, frame, ike, udp4, udp6

PPI = 192
UNKNOWN = 65_000
MESSAGE = ike()


def ppi(inner: bytes, link_type: int = 1) -> bytes:
    """Per-packet information (CACE PPI 1.0.7) without fields before a frame of another link type."""
    return struct.pack("<BBHI", 0, 0, 8, link_type) + inner


@pytest.mark.parametrize("build", [udp4, udp6])
def test_a_link_type_that_only_scapy_knows(build) -> None:
    inner = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / build(MESSAGE))
    decoder = Decoder()
    assert decoder.wanted(PPI) is None
    (found,) = decode([frame(ppi(inner), PPI)], decoder)
    assert (found.payload, found.source_port, found.frames) == (MESSAGE, 500, (1,))
    assert dict(decoder.counters) == {"fallback-decoded": 1}


def test_octets_that_scapy_cannot_read() -> None:
    for octets in (b"", b"\x00", bytes(8), b"\xff" * 70, ppi(b"\xff" * 60), ppi(bytes(60), 105)):
        assert decode([frame(octets, PPI)]) == []


def test_a_link_type_that_nobody_knows_is_counted_and_reported_once() -> None:
    decoder = Decoder()
    frames = [frame(bytes(80), UNKNOWN, number) for number in (1, 2, 3)]
    assert decode(frames, decoder) == []
    assert dict(decoder.counters) == {"unsupported-link-type": 3}
    (anomaly,) = decoder.anomalies
    assert (anomaly.slug, anomaly.file, anomaly.frame) == ("unsupported-link-type", "f", 1)
    assert str(UNKNOWN) in anomaly.text


def test_without_scapy_such_frames_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "knows", lambda link_type: False)
    decoder = Decoder()
    assert decode([frame(ppi(bytes(60)), PPI)], decoder) == []
    assert dict(decoder.counters) == {"unsupported-link-type": 1}
