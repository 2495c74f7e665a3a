"""The filter for live ESP, run by libpcap on frames: it lets through what ``esp_in`` counts, and every Nth of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import corpus
from pqaudit.capture.frame import Frame
from pqaudit.capture.reader import read_capture
from pqaudit.decode.esp import EspPacket, esp_in
from pqaudit.decode.esp_filter import HEADER_OCTETS, MOST_SAMPLED, esp_filter
from pqaudit.decode.numbers import LinkType
from tests.capture import build
from tests.conftest import SAMPLES
from tests.decode.test_kernel_filter import MOST_INSTRUCTIONS, NOT_ON_LINUX_INTERFACES, instructions
from tests.exposure.esp_frames import ESP, FRAGMENT, UDP, esp, fragment6, frame, ipv4, ipv6, udp

cypcap = pytest.importorskip("cypcap", reason="optional: there is no cypcap for this kind of machine")

MARKED = bytes(4) + bytes(range(1, 60))
MORE = 0x2000

COUNTED = {
    "ESP in IPv4": frame(ipv4(esp(1))),
    "ESP in IPv4 with options": frame(ipv4(esp(1), options=bytes(40))),
    "the least ESP": frame(ipv4(esp(1, 8))),
    "ESP in IPv6": frame(ipv6(esp(1))),
    "ESP in UDP": frame(ipv4(udp(esp(1)), UDP)),
    "ESP in UDP with options": frame(ipv4(udp(esp(1)), UDP, options=bytes(40))),
    "ESP in UDP through a NAT": frame(ipv4(udp(esp(1), 61_000), UDP)),
    "ESP in UDP from a server": frame(ipv4(udp(esp(1), 4500, 61_000), UDP)),
    "ESP in UDP in IPv6": frame(ipv6(udp(esp(1)), UDP)),
    "first fragment of ESP": frame(ipv4(esp(1, 808), cut=MORE)),
    "first fragment of ESP in UDP": frame(ipv4(udp(esp(1, 800)), UDP, cut=MORE)),
    "first fragment of ESP in IPv6": frame(ipv6(fragment6(esp(1, 808), ESP, 0, True), FRAGMENT)),
    "first fragment of ESP in UDP in IPv6": frame(ipv6(fragment6(udp(esp(1, 800)), UDP, 0, True), FRAGMENT)),
    "VLAN": frame(ipv4(esp(1)), 0x8100),
    "VLAN, UDP": frame(ipv4(udp(esp(1)), UDP), 0x8100),
    "VLAN, IPv6": frame(ipv6(esp(1)), 0x8100),
    "two VLANs": frame(ipv4(esp(1)), 0x88A8, 0x8100),
    "two VLANs, UDP in IPv6": frame(ipv6(udp(esp(1)), UDP), 0x8100, 0x8100),
}
NOT_COUNTED = {
    "IKE on 4500": frame(ipv4(udp(MARKED), UDP)),
    "IKE on 4500 in IPv6": frame(ipv6(udp(MARKED), UDP)),
    "a keepalive, padded": frame(ipv4(udp(b"\xff"), UDP)),
    "a keepalive with rubbish as padding": frame(ipv4(udp(b"\xff"), UDP)) + b"\xff" * 20,
    "a keepalive in IPv6": frame(ipv6(udp(b"\xff"), UDP)),
    "a later fragment in UDP": frame(ipv4(esp(1, 400), UDP, cut=100)),
    "a later fragment in IPv6": frame(ipv6(fragment6(udp(esp(1)), UDP, 800, False), FRAGMENT)),
    "another port": frame(ipv4(udp(esp(1), 53, 5353), UDP)),
    "TCP": frame(ipv4(esp(1), 6)),
    "AH": frame(ipv4(bytes(100), 51)),
    "ARP": (bytes(12) + b"\x08\x06" + bytes(28)).ljust(60, b"\0"),
}


def passing(frames: list[bytes], expression: str, folder: Path, link_type: int = 1) -> list[bytes]:
    """Those of the frames that libpcap lets through, in their order."""
    path = folder / "frames.pcap"
    path.write_bytes(build.pcap([(1, 0, data, len(data)) for data in frames], link=link_type, snaplen=262_144))
    with cypcap.open_offline(path) as handle:
        handle.setfilter(expression)
        return [data for header, data in handle if header is not None]


def counted(data: bytes, original: int | None = None) -> EspPacket | None:
    return esp_in(Frame(0, 6, 1, data, len(data) if original is None else original, "x", 1))


@pytest.mark.parametrize("link_type", sorted(set(LinkType) - NOT_ON_LINUX_INTERFACES))
def test_it_compiles_for_every_link_type(link_type: LinkType) -> None:
    assert 0 < instructions(link_type, esp_filter(link_type, 64)) < MOST_INSTRUCTIONS


@pytest.mark.parametrize("sample", [0, -1, 3, 65, 2 * MOST_SAMPLED])
def test_what_is_no_power_of_two(sample: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        esp_filter(1, sample)


@pytest.mark.parametrize("name", COUNTED)
def test_esp_passes(name: str, tmp_path: Path) -> None:
    data = COUNTED[name]
    assert counted(data) is not None
    assert passing([data], esp_filter(1), tmp_path) == [data]
    # With a sample of 2 the odd sequence numbers come, of 4 those in the middle.
    assert passing([data], esp_filter(1, 2), tmp_path) == [data]
    assert passing([data], esp_filter(1, 4), tmp_path) == []


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_nothing_else_passes(name: str, tmp_path: Path) -> None:
    assert passing([NOT_COUNTED[name]], esp_filter(1), tmp_path) == []


@pytest.mark.parametrize("name", COUNTED)
def test_headers_are_enough(name: str) -> None:
    data = COUNTED[name]
    assert counted(data[:HEADER_OCTETS], len(data)) == counted(data)


@pytest.mark.parametrize("sample", [1, 2, 4, 64, 1024])
@pytest.mark.parametrize("start", [0, 1, 77, 2**31 - 5, 2**32 - 70])
@pytest.mark.parametrize("in_udp", [False, True])
@pytest.mark.parametrize("ip", [ipv4, ipv6])
def test_every_nth_of_consecutive_numbers(
    sample: int, start: int, in_udp: bool, ip: Callable[..., bytes], tmp_path: Path
) -> None:
    numbers = [(start + index) % 2**32 for index in range(2 * sample)]
    frames = [frame(ip(udp(esp(number, 16)), UDP) if in_udp else ip(esp(number, 16))) for number in numbers]
    found = passing(frames, esp_filter(1, sample), tmp_path)
    assert found == [each for each, number in zip(frames, numbers, strict=True) if number % sample == sample // 2]
    assert len(found) == 2


def test_as_many_as_are_counted_in_captures(tmp_path: Path) -> None:
    mixed = corpus.write_pcap(tmp_path / "mixed.pcap", corpus.mixed_frames(2_000_000))
    total = 0
    for path in (mixed, *sorted(SAMPLES.glob("*.pcap"))):
        frames = [f.data for f in read_capture(str(path), wanted=None, note=lambda note: None) if f.link_type == 1]
        wanted = [data for data in frames if counted(data) is not None]
        assert passing(frames, esp_filter(1), tmp_path) == wanted
        total += len(wanted)
    assert total > 100
