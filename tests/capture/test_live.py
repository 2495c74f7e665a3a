"""Live capture of real packets between two network namespaces, with tcpdump and tshark as witnesses."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.capture import live as live_module
from pqaudit.capture.devices import DeviceState, device_index, device_state, list_devices
from pqaudit.capture.discover import find_captures
from pqaudit.capture.frame import Frame
from pqaudit.capture.live import LEAST_BUFFER, LiveInterface, LiveOptions, Statistics
from pqaudit.capture.live_errors import (
    InterfaceDownError,
    InterfaceGoneError,
    LibraryMissingError,
    LiveCaptureError,
    NoPermissionError,
)
from pqaudit.capture.reader import read_capture
from pqaudit.capture.ring import LEAST_FILE_OCTETS, PacketRing, RingOptions
from pqaudit.capture.ring_places import Places
from pqaudit.decode.decoder import Decoder
from pqaudit.decode.kernel_filter import kernel_filter
from tests.build import init_request, message, notify
from tests.capture.network import IPV4, MAC, Network, require

MARKER = bytes(4)
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 1, 0x1000  # linux/if_tun.h
ESP = bytes.fromhex("c0ffee0100000001") + bytes(120)
EXTRA_PORT = 5500


@pytest.fixture
def network6() -> Iterator[Network]:
    made = Network(ipv6=True)
    try:
        yield made
    finally:
        made.close()


def ike(number: int, octets: int = 60) -> bytes:
    """An IKE message that is told apart by its initiator SPI."""
    return message(34, [notify(16_400, bytes(octets))], spi_i=struct.pack("!Q", 0x5150_0000_0000_0000 + number))


def watched(network: Network, decoder: Decoder | None = None, ports: tuple[int, ...] = ()) -> LiveInterface:
    """``b0``, opened. With a decoder only what it wants is given."""
    options = LiveOptions(
        kernel_filter=lambda link_type: kernel_filter(link_type, ports, tunnels=False),
        wanted=decoder.wanted if decoder is not None else None,
    )
    interface = LiveInterface("b0", options)
    network.inside("b", interface.open)
    return interface


def read_all(interface: LiveInterface, *, quiet: float = 0.4, limit: int = 7) -> list[Frame]:
    """What there is until nothing comes for a while; a small limit, so that it counts."""
    found: list[Frame] = []
    while select.select([interface], [], [], quiet)[0]:
        while True:
            found += interface.read(limit)
            if not interface.pending:
                break
    return found


def payloads(decoder: Decoder, frames: list[Frame]) -> list[bytes]:
    found = [datagram.payload for frame in frames for datagram in decoder.feed(frame)]
    return sorted(found + [datagram.payload for datagram in decoder.flush()])


def ethernet(packet: bytes, *tags: tuple[int, int]) -> bytes:
    """An IPv4 packet in an Ethernet frame from ``a0`` to ``b0``, with VLAN tags: type and identifier."""
    front = bytes.fromhex(MAC["b"].replace(":", "") + MAC["a"].replace(":", ""))
    return front + b"".join(struct.pack("!HH", *tag) for tag in tags) + b"\x08\x00" + packet


def ipv4(protocol: int, payload: bytes) -> bytes:
    length = 20 + len(payload)
    return struct.pack("!BBHHHBBH8s", 0x45, 0, length, 0, 0, 64, protocol, 0, b"\xc0\0\2\1\xc0\0\2\2") + payload


def udp(payload: bytes, sport: int = 500, dport: int = 500) -> bytes:
    return ipv4(17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload)


def is_multicast_listener(frame: bytes) -> bool:
    """What the kernel itself sends in IPv6: ICMP behind a hop-by-hop header."""
    return frame[12:14] == b"\x86\xdd" and frame[20] == 0


def send_everything(network: Network) -> list[bytes]:
    """Packets of all kinds; the IKE messages among them."""
    sent: list[bytes] = []

    def new(octets: int = 60) -> bytes:
        sent.append(ike(len(sent), octets))
        return sent[-1]

    for ipv6 in (False, True):
        network.send(new(), 500, 500, ipv6=ipv6)
        network.send(MARKER + new(), 4500, 4500, ipv6=ipv6)
        network.send(MARKER + new(), 4500, 61_234, ipv6=ipv6)
        network.send(new(), EXTRA_PORT, 61_234, ipv6=ipv6)
        network.send(MARKER + new(), 61_234, EXTRA_PORT, ipv6=ipv6)
        network.send(new(4000), 500, 500, ipv6=ipv6)
        network.send(MARKER + new(4000), 4500, 4500, ipv6=ipv6)
        network.send(ESP, 4500, 4500, ipv6=ipv6)
        network.send(b"\xff", 4500, 4500, ipv6=ipv6)
        network.send(bytes(5000), 5353, 5353, ipv6=ipv6)
        network.send(b"a question", 5353, 53, ipv6=ipv6)
    network.send_raw(
        ethernet(udp(new()), (0x8100, 7)),
        ethernet(udp(MARKER + new(), sport=4500, dport=4500), (0x88A8, 9), (0x8100, 7)),
        ethernet(udp(new(), sport=EXTRA_PORT), (0x8100, 7)),
        ethernet(udp(ESP, sport=4500, dport=4500), (0x8100, 7)),
    )
    with network.inside("b", lambda: socket.create_server((IPV4["b"], 4500))) as server:
        server.settimeout(10)
        client = network.inside("a", lambda: socket.create_connection((IPV4["b"], 4500), timeout=10))
        with client, server.accept()[0] as peer:
            first, second, answer = new(), new(4000), new()
            stream = b"IKETCP" + b"".join(struct.pack("!H", 6 + len(m)) + MARKER + m for m in (first, second))
            client.sendall(stream)
            peer.sendall(struct.pack("!H", 6 + len(answer)) + MARKER + answer)
            assert len(client.recv(4096)) == 6 + len(answer)
    return sent


def test_what_is_sent_is_seen_as_tcpdump_sees_it(network6: Network, tmp_path: Path) -> None:
    decoder = Decoder(ports=[EXTRA_PORT])
    recording = tmp_path / "all.pcap"
    tcpdump = network6.tcpdump(recording)
    with watched(network6, decoder, (EXTRA_PORT,)) as interface:
        sent = send_everything(network6)
        frames = read_all(interface)
        statistics = interface.statistics()
    network6.stop(tcpdump)

    notes: list[object] = []
    recorded = list(read_capture(str(recording), note=notes.append))
    assert notes == []
    assert payloads(Decoder(ports=[EXTRA_PORT]), recorded) == sorted(sent)
    assert payloads(decoder, frames) == sorted(sent)

    by_data = {frame.data: frame for frame in recorded}
    for frame in frames:
        if is_multicast_listener(frame.data):
            continue  # sent twice, and one is as the other
        witness = by_data[frame.data]
        assert (frame.digits, frame.original_length) == (witness.digits, witness.original_length)
        # Each of both is stamped by itself, unless the network card does it.
        assert abs(frame.time - witness.time) < 100_000_000
    assert all(frame.source == "interface:b0" and frame.link_type == 1 for frame in frames)
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] <= interface.frames <= statistics.received < len(recorded)
    assert (statistics.dropped, statistics.interface_dropped) == (0, 0)

    fields = ["-T", "fields", "-e", "isakmp.ispi", "-E", "occurrence=a"]
    decode_as = ["-d", f"udp.port=={EXTRA_PORT},isakmp"]
    out = subprocess.run(
        [require("tshark"), "-n", "-r", str(recording), *decode_as, "-Y", "isakmp", *fields],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    spis = {spi for line in out.split() for spi in line.split(",")}
    # tshark looks neither for a marker on a port that it is told to take for IKE's, nor for IKE in TCP.
    unread = {sent[number] for number in (4, 11, 17, 18, 19)}
    assert {m[:8].hex() for m in sent if m not in unread} <= spis


def test_the_kernel_keeps_from_us_what_is_not_ours(network6: Network) -> None:
    with watched(network6) as interface:
        for ipv6 in (False, True):
            network6.send(ESP, 4500, 4500, ipv6=ipv6)
            network6.send(b"\xff", 4500, 4500, ipv6=ipv6)
            network6.send(ike(1), 5353, EXTRA_PORT, ipv6=ipv6)
        network6.send_raw(
            ethernet(udp(ESP, sport=4500, dport=4500), (0x8100, 7)),
            ethernet(udp(ESP, sport=4500, dport=4500), (0x88A8, 9), (0x8100, 7)),
            ethernet(udp(ike(1), sport=5353, dport=EXTRA_PORT), (0x8100, 7)),
        )
        network6.send(ike(2), 500, 500)
        (frame,) = (frame for frame in read_all(interface) if not is_multicast_listener(frame.data))
    assert frame.data.endswith(ike(2))


def test_what_is_lost_is_counted(network: Network) -> None:
    payload = bytes(1400)
    count = 40_000
    with watched(network) as interface:
        with network.udp("a", 500) as sender:
            for _ in range(count):
                sender.sendto(payload, (IPV4["b"], 500))
        frames = read_all(interface, limit=1000)
        statistics = interface.statistics()
    assert statistics.received == count
    assert statistics.dropped > 0
    assert len(frames) == interface.frames == count - statistics.dropped
    assert len(payload) * count > LEAST_BUFFER > len(payload) * len(frames)
    assert interface.statistics() == statistics


def test_a_larger_buffer_loses_less(network: Network) -> None:
    interface = LiveInterface("b0", LiveOptions(kernel_filter=kernel_filter, buffer_octets=4 * LEAST_BUFFER))
    network.inside("b", interface.open)
    with interface, network.udp("a", 500) as sender:
        for _ in range(30_000):
            sender.sendto(bytes(1400), (IPV4["b"], 500))
        assert len(read_all(interface, limit=100_000)) == 30_000
        assert interface.statistics() == Statistics(received=30_000)


def test_frames_come_soon_and_the_descriptor_waits_for_them(network: Network) -> None:
    with watched(network) as interface:
        assert not select.select([interface], [], [], 0.3)[0]
        assert interface.read(10) == []
        began = time.monotonic()
        network.send(ike(1), 500, 500)
        assert select.select([interface], [], [], 5)[0]
        assert time.monotonic() - began < 2
        (frame,) = interface.read(10)
        assert abs(frame.time / 1e9 - time.time()) < 5
        assert not interface.pending


def test_snapshot_length(network: Network) -> None:
    interface = LiveInterface("b0", LiveOptions(kernel_filter=kernel_filter, snapshot_length=60))
    network.inside("b", interface.open)
    with interface:
        network.send(ike(1, 500), 500, 500)
        (frame,) = read_all(interface)
    assert (len(frame.data), frame.original_length) == (60, 14 + 20 + 8 + len(ike(1, 500)))


@pytest.mark.parametrize("promiscuous", [True, False])
def test_promiscuous(network: Network, promiscuous: bool) -> None:
    interface = LiveInterface("b0", LiveOptions(promiscuous=promiscuous))
    network.inside("b", interface.open)
    with interface:
        assert ("promiscuity 1" in network.ip("b", "-d", "link", "show", "dev", "b0")) is promiscuous


def test_an_interface_goes_and_comes_back(network: Network) -> None:
    interface = watched(network)
    network.send(ike(1), 500, 500)
    time.sleep(0.3)
    assert network.inside("b", interface.check) is DeviceState.UP
    network.ip("b", "link", "delete", "b0")
    # What was captured before is not lost with the interface.
    assert select.select([interface], [], [], 5)[0]
    before = interface.read(10)
    assert select.select([interface], [], [], 5)[0]
    with pytest.raises(InterfaceGoneError) as caught:
        interface.read(10)
    assert caught.value.passing
    assert "b0" in caught.value.message
    with pytest.raises(InterfaceGoneError):
        interface.read(10)
    assert network.inside("b", interface.check) is DeviceState.GONE
    assert interface.statistics().received == 1
    interface.close()
    interface.close()
    assert not interface.is_open
    with pytest.raises(InterfaceGoneError):
        network.inside("b", interface.open)

    network.connect()
    assert network.inside("b", interface.check) is DeviceState.UP
    network.inside("b", interface.open)
    network.send(ike(2), 500, 500)
    after = read_all(interface)
    assert [frame.number for frame in before + after] == [1, 2]
    assert interface.statistics() == Statistics(received=2)
    interface.close()
    assert interface.statistics() == Statistics(received=2)


def test_an_interface_that_was_replaced_is_gone(network: Network) -> None:
    with watched(network) as interface:
        network.ip("b", "link", "set", "b0", "down")
        network.ip("b", "link", "set", "b0", "name", "other")
        assert network.inside("b", interface.check) is DeviceState.GONE
        network.ip("b", "link", "add", "b0", "type", "veth", "peer", "name", "b9")
        network.ip("b", "link", "set", "b0", "up")
        assert network.inside("b", lambda: device_state("b0")) is DeviceState.UP
        assert network.inside("b", interface.check) is DeviceState.GONE
        # libpcap sees nothing wrong: that is what ``check`` is for.
        assert read_all(interface) == []


def test_an_interface_that_is_down_is_silent_until_it_is_up(network: Network) -> None:
    with watched(network) as interface:
        network.ip("b", "link", "set", "b0", "down")
        assert network.inside("b", interface.check) is DeviceState.DOWN
        assert read_all(interface) == []
        other = LiveInterface("b0")
        with pytest.raises(InterfaceDownError) as caught:
            network.inside("b", other.open)
        assert caught.value.passing
        network.ip("b", "link", "set", "b0", "up")
        assert network.inside("b", interface.check) is DeviceState.UP
        network.send_raw(ethernet(udp(ike(1))))
        assert [frame.data for frame in read_all(interface)] == [ethernet(udp(ike(1)))]


def test_all_interfaces_at_once(network6: Network) -> None:
    decoder = Decoder()
    interface = LiveInterface("any", LiveOptions(kernel_filter=kernel_filter, wanted=decoder.wanted))
    network6.inside("b", interface.open)
    with interface:
        network6.send(ike(1), 500, 500)
        network6.send(MARKER + ike(2, 3000), 4500, 4500, ipv6=True)
        network6.send(ESP, 4500, 4500)
        network6.send_raw(ethernet(udp(MARKER + ike(3), sport=4500), (0x8100, 7)))
        assert payloads(decoder, read_all(interface)) == [ike(1), ike(2, 3000), ike(3)]
        assert interface.link_type in (113, 276)
        assert network6.inside("b", interface.check) is DeviceState.UP


def test_an_interface_without_a_link_layer(network: Network) -> None:
    def tunnel() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"t0", _IFF_TUN | _IFF_NO_PI))
        return descriptor

    try:
        descriptor = network.inside("b", tunnel)
    except OSError as error:
        pytest.skip(f"optional: this kernel has no tun ({error})")
    try:
        network.ip("b", "link", "set", "t0", "up")
        decoder = Decoder()
        interface = LiveInterface("t0", LiveOptions(kernel_filter=kernel_filter, wanted=decoder.wanted))
        network.inside("b", interface.open)
        with interface:
            assert interface.link_type == 101
            for packet in (udp(ike(1)), udp(ESP, 4500, 4500), udp(MARKER + ike(2), 4500, 4500)):
                os.write(descriptor, packet)
            assert payloads(decoder, read_all(interface)) == [ike(1), ike(2)]
            assert interface.statistics() == Statistics(received=2)
    finally:
        os.close(descriptor)


@given(st.integers(0, 2**32 - 1), st.integers(0, 999_999))
def test_microseconds_survive_the_floating_point_number_of_the_binding(seconds: int, fraction: int) -> None:
    assert live_module._nanoseconds(seconds + fraction / 1_000_000) == seconds * 10**9 + fraction * 1000


def test_ike_inside_tunnels_on_request(network: Network) -> None:
    outer = ipv4(4, udp(ike(1)))
    frames = [ethernet(outer), ethernet(outer, (0x8100, 7))]
    for tunnels in (False, True):
        decoder = Decoder(tunnels=tunnels)
        options = LiveOptions(lambda number, t=tunnels: kernel_filter(number, tunnels=t), decoder.wanted)  # type: ignore[misc]
        interface = LiveInterface("b0", options)
        network.inside("b", interface.open)
        with interface:
            network.send_raw(*frames)
            assert payloads(decoder, read_all(interface)) == [ike(1), ike(1)] * tunnels


def test_devices(network: Network) -> None:
    found = {device.name: device for device in network.inside("b", list_devices)}
    assert set(found) >= {"any", "lo", "b0"}
    assert found["b0"].up
    assert not found["b0"].loopback
    assert found["lo"].loopback
    names = {line.split(": ")[1].split("@")[0] for line in network.ip("b", "-o", "link", "show").splitlines()}
    assert set(found) == names | {"any"}
    assert network.inside("b", lambda: device_state("lo")) is DeviceState.DOWN
    assert network.inside("b", lambda: device_state("b0")) is DeviceState.UP
    assert device_state("any") is DeviceState.UP
    assert device_state("nosuch0") is DeviceState.GONE
    assert device_state("a\0b") is DeviceState.GONE
    assert device_index("x" * 99) is None


def test_errors_before_a_capture() -> None:
    interface = LiveInterface("nosuch0")
    with pytest.raises(InterfaceGoneError):
        interface.open()
    with pytest.raises(ValueError, match="not open"):
        interface.read(1)
    with pytest.raises(ValueError, match="not open"):
        interface.fileno()
    assert interface.statistics() == Statistics()
    with pytest.raises(ValueError, match="buffer"):
        LiveOptions(buffer_octets=0)
    with pytest.raises(ValueError, match="snapshot"):
        LiveOptions(snapshot_length=0)


def test_a_machine_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cypcap", None)
    for action in (LiveInterface("lo").open, list_devices):
        with pytest.raises(LibraryMissingError) as caught:
            action()
        assert "cypcap" in caught.value.message
        assert "tcpdump" in caught.value.message
        assert not caught.value.passing


def test_a_filter_that_libpcap_refuses_leaves_nothing_open(network: Network) -> None:
    interface = LiveInterface("b0", LiveOptions(kernel_filter=lambda link_type: "udp port nonsense"))
    with pytest.raises(LiveCaptureError, match="nonsense") as caught:
        network.inside("b", interface.open)
    assert not isinstance(caught.value, NoPermissionError)
    assert not interface.is_open


@pytest.mark.parametrize(
    ("old", "new", "ahead"),
    [(0, 5, 5), (5, 5, 0), (2**32 - 3, 4, 7), (1000, 3, 3), (0, 2**31 - 1, 2**31 - 1)],
)
def test_counters_of_32_bits_go_on(old: int, new: int, ahead: int) -> None:
    assert live_module._advance(old, new) == ahead


def test_evidence_points_into_the_ring(network6: Network, tmp_path: Path) -> None:
    decoder = Decoder()
    places = Places()
    found: list[tuple[bytes, str, tuple[int, ...]]] = []
    options = RingOptions(LEAST_FILE_OCTETS, 8 * LEAST_FILE_OCTETS)
    with watched(network6, decoder) as interface, PacketRing(str(tmp_path), options) as ring:
        for number in range(100):
            network6.send(MARKER + ike(number, 40_000), 4500, 4500, ipv6=number % 2 == 1)
        for frame in read_all(interface):
            kept = ring.add(frame)
            assert kept is not None
            places.add(frame.source, frame.number, kept)
            for datagram in decoder.feed(frame):
                place = places.locate(datagram.file, datagram.frames)
                assert place is not None
                found.append((datagram.payload, *place))
        assert ring.state.kept >= 100 * 27
        assert ring.state.not_kept == 0
    assert [payload for payload, _, _ in found] == [ike(number, 40_000) for number in range(100)]
    held: dict[str, list[Frame]] = {}
    for file in find_captures([str(tmp_path)], lambda note: pytest.fail(note.message)):
        held[file] = list(read_capture(file, note=lambda note: pytest.fail(note.message)))
    assert len(held) > 3
    whole = 0
    for payload, file, numbers in found:
        # The places alone, in a new decoder: the very message, unless a part lies in the file before.
        again = Decoder()
        parts = [datagram for number in numbers for datagram in again.feed(held[file][number - 1])]
        assert [datagram.payload for datagram in parts] in ([payload], [])
        whole += len(parts)
    assert 100 - len(held) < whole <= 100


def test_a_whole_handshake_is_audited(network: Network) -> None:
    """From the wire to a message: what later stages rest on."""
    decoder = Decoder()
    with watched(network, decoder) as interface:
        network.send(init_request(((1, 20, 256),)), 500, 500)
        (datagram,) = [d for frame in read_all(interface) for d in decoder.feed(frame)]
    assert datagram.payload == init_request(((1, 20, 256),))
    assert datagram.file == "interface:b0"
