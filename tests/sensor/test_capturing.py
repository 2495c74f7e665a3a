"""The capturing process with real packets between two namespaces; tcpdump and tshark as witnesses."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pqaudit.capture.devices import DeviceState
from pqaudit.capture.frame import Frame
from pqaudit.capture.loss import Loss
from pqaudit.capture.note import InputNote
from pqaudit.capture.privileges import find_account
from pqaudit.capture.reader import read_capture
from pqaudit.capture.ring import LEAST_FILE_OCTETS, PacketRing, RingOptions
from pqaudit.sensor import capturing, child
from pqaudit.sensor.capture_options import LEAST_BACKLOG
from pqaudit.sensor.capturing import CaptureOptions, CaptureProcess, CaptureStartError
from pqaudit.sensor.source import CaptureEndedError, CaptureReport, FrameSource
from tests.capture.network import IPV4, MAC, Network, require, run

SPARE = {"a": "02:00:00:00:01:0a", "b": "02:00:00:00:01:0b"}
UDP_START = 42
B0 = CaptureOptions(("b0",))


class Watcher:
    """A capturing process in namespace ``b``, and all that came from it."""

    def __init__(self, network: Network, options: CaptureOptions = B0) -> None:
        self.capture = CaptureProcess(options)
        self.source: FrameSource = self.capture
        self.frames: list[Frame] = []
        self.places: list[tuple[str, int] | None] = []
        self.reports: list[CaptureReport] = []
        # The thread in which this happens ends at once: the process must not end with it.
        network.inside("b", self.capture.start)

    @property
    def pid(self) -> int:
        assert self.capture.pid is not None
        return self.capture.pid

    @property
    def notes(self) -> list[str]:
        return [note for report in self.reports for note in report.notes]

    def losses(self, name: str = "b0") -> list[Loss]:
        return [loss for report in self.reports for interface, loss in report.losses if interface == name]

    def look(self) -> None:
        for frame in self.source.read():
            self.frames.append(frame)
            place = self.source.locate(frame.source, [frame.number])
            self.places.append(None if place is None else (place[0], *place[1]))
        self.reports += self.source.reports()

    def until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (len(self.frames), self.reports[-1:], self.notes)
            self.source.wait(0.05)
            self.look()

    def until_state(self, state: DeviceState) -> None:
        self.until(lambda: bool(self.reports) and self.reports[-1].interfaces[0].state is state)

    def close(self) -> None:
        self.source.close()
        while more := self.source.read():
            self.frames += more
        self.reports += self.source.reports()


@pytest.fixture
def watch(network: Network) -> Iterator[Callable[[CaptureOptions], Watcher]]:
    made: list[Watcher] = []

    def make(options: CaptureOptions) -> Watcher:
        watcher = Watcher(network, options)
        made.append(watcher)
        return watcher

    yield make
    for watcher in made:
        watcher.capture.close()


Watch = Callable[[CaptureOptions], Watcher]


def dense(count: int, octets: int = 300) -> list[bytes]:
    """Ethernet frames with UDP for port 500, each with its number."""
    found = []
    addresses = b"".join(bytes(int(part) for part in IPV4[side].split(".")) for side in "ab")
    ends = b"".join(bytes.fromhex(MAC[side].replace(":", "")) for side in "ba")
    for number in range(count):
        payload = number.to_bytes(8, "big") + bytes(octets - 8)
        udp = b"\x01\xf4\x01\xf4" + (8 + octets).to_bytes(2, "big") + bytes(2) + payload
        ip = b"\x45\x00" + (20 + len(udp)).to_bytes(2, "big") + bytes(4) + b"\x40\x11\x00\x00" + addresses
        found.append(ends + b"\x08\x00" + ip + udp)
    return found


def numbers(frames: list[Frame]) -> list[int]:
    return [int.from_bytes(frame.data[UDP_START : UDP_START + 8], "big") for frame in frames]


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {field: value.strip() for field, _, value in (line.partition(":") for line in lines)}


def is_gone(pid: int) -> bool:
    try:
        return status(pid)["State"].startswith("Z")
    except (FileNotFoundError, ProcessLookupError):
        return True


def second_pair(network: Network) -> None:
    a, b = (network._names[side] for side in "ab")
    run("ip", "link", "add", "a1", "netns", a, "type", "veth", "peer", "name", "b1", "netns", b)
    for side in "ab":
        network.ip(side, "link", "set", f"{side}1", "address", SPARE[side], "up")


def send_on(network: Network, device: str, frames: list[bytes]) -> None:
    with network.inside("a", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
        sender.bind((device, 0))
        for frame in frames:
            sender.send(frame)


def test_frames_arrive_complete_and_in_order(network: Network, watch: Watch, tmp_path: Path) -> None:
    recording = tmp_path / "witness.pcap"
    witness = network.tcpdump(recording, "-B", "65536", "udp", "port", "500")
    watcher = watch(B0)
    frames = dense(5000)
    for start in range(0, 5000, 250):
        network.send_raw(*frames[start : start + 250])
        # tcpdump loses packets of a burst.
        time.sleep(0.05)
    watcher.until(lambda: len(watcher.frames) >= 5000)
    said = network.stop(witness)
    watcher.close()
    assert "5000 packets captured" in said
    fields = ("-e", "frame.number", "-e", "udp.payload")
    listed = subprocess.run(
        [require("tshark"), "-n", "-r", str(recording), "--disable-protocol", "isakmp", "-T", "fields", *fields],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    seen = [f"{frame.number}\t{frame.data[UDP_START:].hex()}" for frame in watcher.frames]
    assert seen == [line.replace(":", "") for line in listed]
    assert {frame.source for frame in watcher.frames} == {"interface:b0"}
    last = watcher.reports[-1].interfaces[0]
    assert (last.state, last.statistics.received, last.statistics.dropped) == (DeviceState.UP, 5000, 0)
    assert watcher.losses() == []


def test_two_interfaces(network: Network, watch: Watch) -> None:
    second_pair(network)
    watcher = watch(CaptureOptions(("b0", "b1")))
    send_on(network, "a0", dense(700))
    send_on(network, "a1", dense(900))
    send_on(network, "a0", dense(100))
    watcher.until(lambda: len(watcher.frames) >= 1700)
    for name, expected in (("b0", [*range(700), *range(100)]), ("b1", [*range(900)])):
        frames = [frame for frame in watcher.frames if frame.source == f"interface:{name}"]
        assert numbers(frames) == expected
        assert [frame.number for frame in frames] == [*range(1, len(expected) + 1)]
    watcher.close()
    assert [entry.name for entry in watcher.reports[-1].interfaces] == ["b0", "b1"]
    assert [entry.statistics.received for entry in watcher.reports[-1].interfaces] == [800, 900]


def test_one_interface_goes_on_while_the_other_is_deleted_and_made_again(network: Network, watch: Watch) -> None:
    second_pair(network)
    watcher = watch(CaptureOptions(("b0", "b1")))
    network.send_raw(*dense(3))
    watcher.until(lambda: len(watcher.frames) == 3)
    before = time.time_ns()
    network.ip("b", "link", "delete", "b0")
    watcher.until_state(DeviceState.GONE)
    assert watcher.reports[-1].interfaces[0].problem is not None
    assert watcher.reports[-1].interfaces[1].problem is None
    send_on(network, "a1", dense(2))
    watcher.until(lambda: len(watcher.frames) == 5)
    network.connect()
    watcher.until_state(DeviceState.UP)
    after = time.time_ns()
    network.send_raw(*dense(4))
    watcher.until(lambda: len(watcher.frames) == 9)
    assert numbers(watcher.frames[5:]) == [0, 1, 2, 3]
    assert [frame.number for frame in watcher.frames if frame.source == "interface:b0"] == [*range(1, 8)]
    assert any("waiting for it" in note and "b0" in note for note in watcher.notes), watcher.notes
    assert "Capturing from b0 again." in watcher.notes
    losses = watcher.losses()
    assert losses
    assert all(loss.blind and loss.dropped == 0 for loss in losses)
    # Blind from before it was deleted until it was back, without a gap.
    assert losses[0].start <= before + 10**9
    assert losses[-1].end <= after
    assert [loss.start for loss in losses[1:]] == [loss.end for loss in losses[:-1]]
    watcher.close()
    assert watcher.losses("b1") == []
    assert watcher.reports[-1].interfaces[0].statistics.received == 7


def test_an_interface_goes_down_and_comes_up(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    network.ip("b", "link", "set", "b0", "down")
    watcher.until_state(DeviceState.DOWN)
    network.ip("b", "link", "set", "b0", "up")
    watcher.until_state(DeviceState.UP)
    network.send_raw(*dense(1))
    watcher.until(lambda: len(watcher.frames) == 1)
    watcher.until(lambda: "Capturing from b0 again." in watcher.notes)
    assert any(loss.blind for loss in watcher.losses())


def test_an_interface_is_renamed_and_named_back(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    for old, new in (("b0", "other"), ("other", "b0")):
        network.ip("b", "link", "set", old, "down")
        network.ip("b", "link", "set", old, "name", new)
        network.ip("b", "link", "set", new, "up")
        expected = DeviceState.GONE if new == "other" else DeviceState.UP
        watcher.until_state(expected)
    network.send_raw(*dense(1))
    watcher.until(lambda: len(watcher.frames) == 1)
    watcher.until(lambda: "Capturing from b0 again." in watcher.notes)
    assert any("called other now" in note for note in watcher.notes), watcher.notes


def test_a_slow_analysis_costs_frames_that_are_counted_but_no_memory(network: Network, watch: Watch) -> None:
    watcher = watch(replace(B0, backlog_octets=LEAST_BACKLOG))
    watcher.until(lambda: bool(watcher.reports))
    before = int(status(watcher.pid)["VmHWM"].split()[0])
    start = time.time_ns()
    for _ in range(10):
        network.send_raw(*dense(2000, 1400))
        time.sleep(0.3)
    end = time.time_ns()
    grown = int(status(watcher.pid)["VmHWM"].split()[0]) - before
    # 28 MB were sent; the kernel's buffer has 16 MB of it.
    assert grown < 16 * 1024 + 8 * LEAST_BACKLOG // 1024, grown
    time.sleep(1.5)
    watcher.until(lambda: bool(watcher.losses()) and not watcher.source.wait(0.5))
    watcher.close()
    last = watcher.reports[-1].interfaces[0]
    assert last.not_analysed > 0
    assert last.statistics.dropped == 0
    assert len(watcher.frames) + last.not_analysed == 20_000
    losses = watcher.losses()
    assert sum(loss.dropped for loss in losses) == last.not_analysed
    assert all(start <= loss.start <= loss.end <= end and not loss.blind for loss in losses)
    assert any("lost" in note for note in watcher.notes)
    assert max(report.backlog_octets for report in watcher.reports) > LEAST_BACKLOG // 2
    found = [frame.number for frame in watcher.frames]
    assert found == sorted(found)


def test_reports_come_while_frames_wait(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    network.send_raw(*dense(20_000))
    time.sleep(2.5)
    # Nothing was read so far. Before the frames are, the reports tell how many there are.
    watcher.until(lambda: any(report.interfaces[0].statistics.received == 20_000 for report in watcher.reports), 3)
    watcher.until(lambda: len(watcher.frames) == 20_000)
    assert numbers(watcher.frames) == [*range(20_000)]


def test_root_is_given_up_and_an_interface_that_comes_back_is_opened_all_the_same(
    network: Network, watch: Watch
) -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as above:
        os.chmod(above, 0o755)
        folder = Path(above, "deep", "ring")
        watcher = watch(replace(B0, account=find_account("nobody"), ring_folder=str(folder)))
        said = status(watcher.pid)
        assert said["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert said["Gid"].split() == [str(nobody.pw_gid)] * 4
        assert int(said["CapEff"], 16) == int(said["CapPrm"], 16) == 1 << 13
        assert int(said["NoNewPrivs"]) == 1
        assert folder.stat().st_uid == nobody.pw_uid
        assert folder.stat().st_mode & 0o777 == 0o750
        network.ip("b", "link", "delete", "b0")
        watcher.until(lambda: watcher.reports[-1:] != [] and watcher.reports[-1].interfaces[0].problem is not None)
        network.connect()
        watcher.until_state(DeviceState.UP)
        network.send_raw(*dense(2))
        watcher.until(lambda: len(watcher.frames) == 2)
        assert all(place and Path(place[0]).stat().st_uid == nobody.pw_uid for place in watcher.places)
        watcher.close()


def test_references_into_the_ring_lead_to_the_same_frames(network: Network, watch: Watch, tmp_path: Path) -> None:
    second_pair(network)
    options = RingOptions(file_octets=LEAST_FILE_OCTETS, total_octets=64 * LEAST_FILE_OCTETS)
    watcher = watch(CaptureOptions(("b0", "b1"), ring_folder=str(tmp_path / "ring"), ring=options))
    for _ in range(3):
        network.send_raw(*dense(1000, 900))
        send_on(network, "a1", dense(200, 900))
    watcher.until(lambda: len(watcher.frames) == 3600)
    watcher.close()
    noted: list[InputNote] = []
    files = sorted({place[0] for place in watcher.places if place is not None})
    assert len(files) > 2
    kept = {(frame.source, frame.number): frame for file in files for frame in read_capture(file, note=noted.append)}
    assert (len(kept), noted) == (3600, [])
    for frame, place in zip(watcher.frames, watcher.places, strict=True):
        assert place is not None
        assert kept[place] == replace(frame, source=place[0], number=place[1])
    state = watcher.reports[-1].ring
    assert state is not None
    assert (state.kept, state.not_kept, state.files, state.error) == (3600, 0, len(files), None)


def test_a_full_disk_keeps_nothing_and_all_is_analysed(network: Network, watch: Watch, tmp_path: Path) -> None:
    run("mount", "-t", "tmpfs", "-o", "size=2m", "none", str(tmp_path))
    try:
        watcher = watch(replace(B0, ring_folder=str(tmp_path / "ring")))
        network.send_raw(*dense(4000, 1000))
        watcher.until(lambda: len(watcher.frames) == 4000)
        assert numbers(watcher.frames) == [*range(4000)]
        watcher.until(lambda: any("cannot be kept" in note for note in watcher.notes))
        watcher.close()
        state = watcher.reports[-1].ring
        assert state is not None
        assert state.kept + state.not_kept == 4000
        assert state.not_kept == watcher.places.count(None) > 0
        assert state.error is not None
    finally:
        run("umount", "-l", str(tmp_path))


def test_a_capture_that_is_killed_says_so(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    network.send_raw(*dense(1))
    watcher.until(lambda: len(watcher.frames) == 1)
    os.kill(watcher.pid, signal.SIGKILL)
    with pytest.raises(CaptureEndedError, match="killed by SIGKILL"):
        watcher.until(lambda: False, 5)
    assert watcher.source.wait(10)
    watcher.close()


def test_a_capture_that_is_told_to_end_hands_over_what_it_has(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    network.send_raw(*dense(3000))
    os.kill(watcher.pid, signal.SIGTERM)
    with pytest.raises(CaptureEndedError, match=r"told to end \(SIGTERM\)"):
        watcher.until(lambda: False, 5)
    assert numbers(watcher.frames) == [*range(3000)]
    watcher.close()
    assert watcher.reports[-1].interfaces[0].statistics.received == 3000


def test_an_interrupt_does_not_end_it(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    os.kill(watcher.pid, signal.SIGINT)
    network.send_raw(*dense(1))
    watcher.until(lambda: len(watcher.frames) == 1)
    assert os.getpgid(watcher.pid) == watcher.pid


def test_the_end_in_order_gives_all_that_was_captured(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    network.send_raw(*dense(30_000))
    start = time.monotonic()
    watcher.source.close()
    assert time.monotonic() - start < 2
    assert is_gone(watcher.pid)
    watcher.close()
    assert numbers(watcher.frames) == [*range(30_000)]
    assert watcher.reports[-1].interfaces[0].statistics.received == 30_000
    assert watcher.source.read() == []
    watcher.source.close()


def test_the_end_does_not_wait_for_a_capture_that_hangs(network: Network, watch: Watch) -> None:
    watcher = watch(B0)
    os.kill(watcher.pid, signal.SIGSTOP)
    start = time.monotonic()
    watcher.source.close()
    assert time.monotonic() - start < 2
    assert is_gone(watcher.pid)


PARENT = """
import os, sys, time
from pqaudit.sensor.capturing import CaptureOptions, CaptureProcess
capture = CaptureProcess(CaptureOptions(("lo",), wait=True))
capture.start()
if sys.argv[1] == "fork" and os.fork() == 0:
    time.sleep(4)
    os._exit(0)
print(capture.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("mode", "seconds"), [("alone", 1.0), ("fork", 2.5)])
def test_it_ends_with_the_process_that_started_it(network: Network, mode: str, seconds: float) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, mode], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not is_gone(pid)
        parent.kill()
        end = time.monotonic() + seconds
        while not is_gone(pid):
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()  # type: ignore[union-attr]


def refusal(network: Network, options: CaptureOptions) -> str:
    with contextlib.closing(CaptureProcess(options)) as capture:
        with pytest.raises(CaptureStartError) as caught:
            network.inside("b", capture.start)
        assert capture.pid is None or is_gone(capture.pid)
        return caught.value.message


def test_what_is_wrong_at_the_start_is_said(network: Network, tmp_path: Path) -> None:
    sentence = refusal(network, CaptureOptions(("b0", "b7")))
    start, _, names = sentence.removesuffix(".").partition("; there are: ")
    assert start == "The interface b7 does not exist"
    names, _, _ = names.partition("; ")
    assert {"b0", "lo"} <= set(names.split(", "))
    with PacketRing(str(tmp_path)):
        assert "another process keeps packets there" in refusal(network, replace(B0, ring_folder=str(tmp_path)))
    network.ip("b", "link", "set", "b0", "down")
    assert refusal(network, B0).startswith("The interface b0 is down; ")


def test_what_it_said_last_is_passed_on(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_PROGRAM", "import sys; print('lost', file=sys.stderr); sys.exit('No cheese left.')")
    assert refusal(network, B0) == "The capturing process ended with code 1: No cheese left."
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert "cannot be started" in refusal(network, B0)


def test_a_capture_that_does_not_get_ready_is_given_up(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(capturing, "_START", 0.3)
    assert "did not get ready" in refusal(network, B0)


def test_what_cannot_be_understood_ends_the_capture(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os, sys, time; os.write(int(sys.argv[1]), bytes(64)); time.sleep(60)"
    monkeypatch.setattr(child, "_PROGRAM", program)
    assert "cannot be understood" in refusal(network, B0)


def test_an_interface_that_is_not_there_yet_is_waited_for(network: Network, watch: Watch) -> None:
    network.ip("b", "link", "delete", "b0")
    watcher = watch(replace(B0, wait=True))
    watcher.until(lambda: bool(watcher.reports))
    assert watcher.reports[0].interfaces[0].state is DeviceState.GONE
    assert any("does not exist; waiting" in note for note in watcher.notes)
    network.connect()
    watcher.until_state(DeviceState.UP)
    network.send_raw(*dense(1))
    watcher.until(lambda: len(watcher.frames) == 1)


def test_it_writes_nothing_where_this_process_does(network: Network, capfd: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(network)
    network.send_raw(*dense(1))
    watcher.until(lambda: len(watcher.frames) == 1)
    watcher.close()
    assert capfd.readouterr() == ("", "")
