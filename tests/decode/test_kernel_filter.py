"""The filter for the kernel, run by libpcap on captures: it lets everything through of which the decoder makes use."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q

from pqaudit.capture.discover import find_captures
from pqaudit.capture.frame import Frame
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.decode.decoder import Decoder
from pqaudit.decode.kernel_filter import MOST_PORTS, kernel_filter
from pqaudit.decode.numbers import LinkType
from pqaudit.sensor.capture_options import CaptureOptions
from tests.capture import build
from tests.conftest import REPOSITORY, SAMPLES
from tests.decode.frames import ether, numbered

cypcap = pytest.importorskip("cypcap", reason="optional: there is no cypcap for this kind of machine")

NOT_ON_LINUX_INTERFACES = {LinkType.RAW_OPENBSD, LinkType.NFLOG}
MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS of linux/bpf_common.h


def instructions(link_type: int, expression: str) -> int:
    # LINKTYPE_RAW is DLT_RAW, 12, in the memory of Linux.
    with cypcap.open_dead({101: 12}.get(link_type, link_type), 262_144) as handle:
        return len(list(handle.compile(expression)))


@pytest.mark.parametrize("tunnels", [False, True])
@pytest.mark.parametrize("link_type", sorted(set(LinkType) - NOT_ON_LINUX_INTERFACES))
def test_it_compiles_for_every_link_type(link_type: LinkType, tunnels: bool) -> None:
    ports = range(10_000, 10_000 + MOST_PORTS)
    assert 0 < instructions(link_type, kernel_filter(link_type, tunnels=tunnels)) < MOST_INSTRUCTIONS
    assert 0 < instructions(link_type, kernel_filter(link_type, ports, tunnels=tunnels)) < MOST_INSTRUCTIONS


def test_ports_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="At most"):
        kernel_filter(1, range(1, MOST_PORTS + 2))
    for port in (0, 65_536, -1):
        with pytest.raises(ValueError, match="is no port"):
            kernel_filter(1, [port])
    assert kernel_filter(1, [500, 4500]) == kernel_filter(1)


def passing(frames: list[Frame], expression: str, folder: Path) -> set[bytes]:
    """The octets of those frames that libpcap lets through."""
    path = folder / "one.pcap"
    records = [(1, 0, frame.data, max(len(frame.data), frame.original_length)) for frame in frames]
    path.write_bytes(build.pcap(records, link=frames[0].link_type, snaplen=262_144))
    found: set[bytes] = set()
    with cypcap.open_offline(path) as handle:
        handle.setfilter(expression)
        for header, data in handle:
            if header is not None:
                found.add(data)
    return found


def used(frames: list[Frame], tunnels: bool) -> set[int]:
    """The numbers of the frames that hold IKE messages or parts of them, but for TCP."""
    decoder = Decoder(tunnels=tunnels)
    found = [datagram for frame in frames for datagram in decoder.feed(frame)] + decoder.flush()
    return {number for datagram in found if datagram.transport == "udp" for number in datagram.frames}


def test_tcp_passes_on_ports_of_the_user_alone(tmp_path: Path) -> None:
    frames = numbered(
        ether(ip / TCP(sport=40_000, dport=port)) for ip in (IP(), IPv6(), Dot1Q() / IP()) for port in (500, 4433, 443)
    )
    assert [frame.data in passing(frames, kernel_filter(1, [4433]), tmp_path) for frame in frames] == [
        True,
        True,
        False,
    ] * 3
    assert [frame.data in passing(frames, kernel_filter(1), tmp_path) for frame in frames] == [True, False, False] * 3
    test = CaptureOptions(("eth0",), ports=frozenset([4433])).live().wanted
    assert test is not None
    wanted = test(1)
    assert wanted is not None
    assert [wanted(frame.data, 0, len(frame.data)) for frame in frames] == [True, True, False] * 3


def captures() -> list[str]:
    folders = [str(SAMPLES)]
    shared = REPOSITORY.parent / "shared" / "captures"
    if shared.is_dir():
        folders.append(str(shared))
    return find_captures(folders, lambda note: None)


def test_nothing_that_is_used_is_kept_back(tmp_path: Path) -> None:
    looked_at = 0
    for path in captures():
        notes: list[InputNote] = []
        by_link_type: dict[int, list[Frame]] = defaultdict(list)
        for frame in read_capture(path, note=notes.append):
            by_link_type[frame.link_type].append(frame)
        for link_type, frames in by_link_type.items():
            if link_type in NOT_ON_LINUX_INTERFACES:
                continue
            for tunnels in (False, True):
                through = passing(frames, kernel_filter(link_type, tunnels=tunnels), tmp_path)
                numbers = used(frames, tunnels)
                looked_at += len(numbers)
                for frame in frames:
                    assert frame.number not in numbers or frame.data in through, (path, frame.number, tunnels)
    assert looked_at > 100
