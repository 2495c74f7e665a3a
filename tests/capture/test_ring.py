"""The ring of pcapng files: what is kept can be read back, and the bound holds whatever happens."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.capture import ring as ring_module
from pqaudit.capture.frame import Frame
from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.capture.ring import LEAST_FILE_OCTETS, PacketRing, RingError, RingOptions
from pqaudit.capture.ring_places import Place, Places
from tests.capture.network import require, require_root, run
from tests.conftest import REPOSITORY

START = 1_700_000_000_000_000_000
SMALL = RingOptions(file_octets=LEAST_FILE_OCTETS, total_octets=3 * LEAST_FILE_OCTETS)


def frame(number: int, octets: int = 100, *, source: str = "interface:eth0", link: int = 1, digits: int = 6) -> Frame:
    step = 10 ** (9 - digits)
    data = number.to_bytes(8, "big") + bytes((number + index) % 251 for index in range(min(octets, 64) - 8))
    data += bytes(octets - len(data))
    return Frame((START + number * 1_001_001) // step * step, digits, link, data, octets + 7, source, number)


def read(path: str | Path) -> tuple[list[Frame], list[InputNote]]:
    notes: list[InputNote] = []
    return list(read_capture(str(path), note=notes.append)), notes


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pcapng"))


def octets(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder))


def content(found: Frame) -> tuple[object, ...]:
    return found.time, found.digits, found.link_type, found.data, found.original_length


def check_places(folder: Path, kept: dict[Place, Frame]) -> int:
    """Every place whose file is still there holds the very frame; how many do."""
    by_file: dict[str, dict[int, Frame]] = {}
    for place, expected in kept.items():
        if not os.path.exists(place.file):
            continue
        if place.file not in by_file:
            by_file[place.file] = {found.number: found for found in read(place.file)[0]}
        assert content(by_file[place.file][place.frame]) == content(expected)
    held = sum(len(frames) for frames in by_file.values())
    assert held == sum(place.file in by_file for place in kept)
    return held


class Clock:
    """The module's clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(ring_module, "time", made)
    return made


def test_what_is_kept_is_what_tshark_reads(tmp_path: Path) -> None:
    frames = [
        frame(1),
        frame(2, 61, source="interface:eth1", digits=9),
        frame(3, 62, source="interface:any", link=113),
        frame(4, 63, source="interface:eth0", digits=9),
        frame(5, 1514),
        frame(6, 262_144),
    ]
    with PacketRing(str(tmp_path)) as ring:
        places = [ring.add(one) for one in frames]
        # Already there while the ring is at work.
        (path,) = files(tmp_path)
        assert places == [Place(str(path), number) for number in range(1, 7)]
        found, notes = read(path)
    assert notes == []
    assert [content(one) for one in found] == [content(one) for one in frames]
    assert path.name == "ike-00000001-20231114T221320.001001Z.pcapng"
    fields = ["number", "time_epoch", "cap_len", "len", "interface_name", "encap_type"]
    command = [require("tshark"), "-n", "-r", str(path), "-T", "fields"]
    for field in fields:
        command += ["-e", f"frame.{field}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split("\t")[:5] for line in lines] == [
        [
            str(number),
            f"{one.time // 10**9}.{one.time % 10**9:09}",
            str(len(one.data)),
            str(one.original_length),
            one.source.removeprefix("interface:"),
        ]
        for number, one in enumerate(frames, start=1)
    ]
    assert len({line.split("\t")[5] for line in lines}) == 2


def test_where_the_frames_of_a_message_are(tmp_path: Path) -> None:
    places = Places()
    with PacketRing(str(tmp_path), SMALL) as ring:
        for number in (1, 2, 5, 6):
            place = ring.add(frame(number, 262_144))
            assert place is not None
            places.add("interface:eth0", number, place)
        first, second = str(files(tmp_path)[0]), str(files(tmp_path)[-1])
        assert first != second
        assert places.locate("interface:eth0", [1]) == (first, (1,))
        assert places.locate("interface:eth0", (2, 1, 3)) is None
        assert places.locate("interface:eth0", (1, 2, 3, 5)) == (first, (1, 2, 3))
        assert places.locate("interface:eth0", (6,)) == (second, (1,))
        # A message whose frames lie on both sides of a rotation.
        assert places.locate("interface:eth0", (1, 6)) == (second, (1,))
        assert places.locate("interface:eth0", ()) is None
        assert places.locate("interface:eth1", (1,)) is None


def test_only_the_latest_places_are_remembered() -> None:
    places = Places(3)
    for number in range(5):
        places.add("a", number, Place("f", number + 1))
    assert [places.locate("a", (number,)) for number in range(5)] == [None, None, *(("f", (n,)) for n in (3, 4, 5))]


def test_numbers_that_no_file_holds(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path)) as ring:
        ring.add(Frame(-5, 9, 1, b"x" * 20, 1 << 40, "interface:" + "n" * 400, 1))
        ring.add(Frame(1 << 70, 12, 1, b"x" * 20, 20, "interface:a", 1))
        assert ring.state.kept == 2
    found, notes = read(files(tmp_path)[0])
    assert [one.original_length for one in found] == [(1 << 32) - 1, 20]
    assert [one.time for one in found] == [0, (1 << 64) - 1]
    assert notes == []


def test_rotation_by_size_deletes_the_oldest(tmp_path: Path) -> None:
    kept: dict[Place, Frame] = {}
    with PacketRing(str(tmp_path), SMALL) as ring:
        for number in range(1, 400):
            one = frame(number, 20_000)
            place = ring.add(one)
            assert place is not None
            kept[place] = one
            assert octets(tmp_path) <= SMALL.total_octets
            assert ring.state.octets == octets(tmp_path)
            assert ring.state.files == len(files(tmp_path))
        state = ring.state
    assert all(path.stat().st_size <= SMALL.file_octets for path in files(tmp_path))
    assert check_places(tmp_path, kept) > 100
    assert (state.kept, state.not_kept, state.error) == (399, 0, None)
    assert state.deleted == len({place.file for place in kept}) - state.files > 3
    survivors = [place.file for place in kept if os.path.exists(place.file)]
    assert survivors == [place.file for place in kept][-len(survivors) :]


def test_rotation_by_age(tmp_path: Path, clock: Clock) -> None:
    with PacketRing(str(tmp_path), RingOptions(max_age=60)) as ring:
        ring.add(frame(1))
        clock.now += 59
        ring.tick()
        ring.add(frame(2))
        assert len(files(tmp_path)) == 1
        clock.now += 1
        ring.add(frame(3))
        assert len(files(tmp_path)) == 2
        clock.now += 61
        ring.tick()
        assert len(files(tmp_path)) == 2
        ring.add(frame(4))
        clock.now += 61
        assert [[one.data[7] for one in read(path)[0]] for path in files(tmp_path)] == [[1, 2], [3], [4]]


def test_files_are_deleted_for_their_age(tmp_path: Path, clock: Clock) -> None:
    options = RingOptions(max_age=10, keep=100)
    with PacketRing(str(tmp_path), options) as ring:
        for number in range(1, 4):
            ring.add(frame(number))
            clock.now += 50
            ring.tick()
        # The last packets of the three are 150, 100 and 50 seconds old.
        assert [read(path)[0][0].data[7] for path in files(tmp_path)] == [2, 3]
        assert ring.state.deleted == 1
    for path in files(tmp_path):
        os.utime(path, (clock.now - 101, clock.now - 101))
    with PacketRing(str(tmp_path), options) as ring:
        assert files(tmp_path) == []
        assert ring.state.files == 0


def test_a_restart_goes_on_with_new_files(tmp_path: Path) -> None:
    before: dict[Path, bytes] = {}
    for run_number in range(3):
        with PacketRing(str(tmp_path), SMALL) as ring:
            assert ring.state.files == run_number
            ring.add(frame(run_number))
        assert {path: path.read_bytes() for path in before} == before
        before = {path: path.read_bytes() for path in files(tmp_path)}
        assert len(before) == run_number + 1
    assert [read(path)[0][0].data[7] for path in files(tmp_path)] == [0, 1, 2]
    # The clock was set back by years: the names still sort by the order of writing.
    with PacketRing(str(tmp_path), SMALL) as ring:
        early = frame(9)
        early.time = 10**9
        ring.add(early)
    assert read(files(tmp_path)[-1])[0][0].data[7] == 9
    assert files(tmp_path)[-1].name.endswith("-19700101T000001.000000Z.pcapng")


def test_a_smaller_bound_after_a_restart(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path), RingOptions(LEAST_FILE_OCTETS, 10 * LEAST_FILE_OCTETS)) as ring:
        for number in range(300):
            ring.add(frame(number, 20_000))
    last = files(tmp_path)[-1]
    with PacketRing(str(tmp_path), RingOptions(LEAST_FILE_OCTETS, LEAST_FILE_OCTETS)) as ring:
        assert octets(tmp_path) <= LEAST_FILE_OCTETS
        assert files(tmp_path) == [last]
        ring.add(frame(301, 200_000))
        assert octets(tmp_path) <= LEAST_FILE_OCTETS
        assert ring.state.kept == 1


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    others = ["notes.txt", "ike-1-20231114T221320.001001Z.pcapng", "ike-00000009-20231114T221320.001001Z.pcapng.gz"]
    for name in others:
        (tmp_path / name).write_bytes(bytes(5 * LEAST_FILE_OCTETS))
    folder = tmp_path / "ike-00000003-20231114T221320.001001Z.pcapng"
    folder.mkdir()
    with PacketRing(str(tmp_path), RingOptions(LEAST_FILE_OCTETS, LEAST_FILE_OCTETS)) as ring:
        for number in range(200):
            ring.add(frame(number, 20_000))
        assert ring.state.not_kept == 0
    assert all((tmp_path / name).exists() for name in others)
    assert folder.is_dir()


def test_a_name_that_somebody_took_is_not_overwritten(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path)) as ring:
        taken = tmp_path / "ike-00000001-20231114T221320.001001Z.pcapng"
        taken.write_bytes(b"mine")
        place = ring.add(frame(1))
    assert taken.read_bytes() == b"mine"
    assert place is not None
    assert place.file == str(tmp_path / "ike-00000002-20231114T221320.001001Z.pcapng")


def test_a_file_deleted_by_somebody_else_is_given_up(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path), SMALL) as ring:
        ring.add(frame(1))
        files(tmp_path)[0].unlink()
        ring.tick()
        ring.add(frame(2))
        assert [read(path)[0][0].data[7] for path in files(tmp_path)] == [2]
        assert ring.state.octets == octets(tmp_path)
        for number in range(100):
            ring.add(frame(number, 20_000))
        files(tmp_path)[0].unlink()
        for number in range(200):
            ring.add(frame(number, 20_000))
        assert ring.state.not_kept == 0
        assert octets(tmp_path) <= SMALL.total_octets


def test_one_ring_for_a_folder(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path)), pytest.raises(RingError, match="another process"):
        PacketRing(str(tmp_path))
    PacketRing(str(tmp_path)).close()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RingError, match="cannot be used"):
        PacketRing(str(tmp_path / "file"))
    with pytest.raises(RingError, match="cannot be used"):
        PacketRing(str(tmp_path / "file" / "below"))
    PacketRing(str(tmp_path / "new" / "below")).close()
    assert (tmp_path / "new" / "below").stat().st_mode & 0o7 == 0


def test_what_is_written_is_for_owner_and_group(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path)) as ring:
        ring.add(frame(1))
    assert files(tmp_path)[0].stat().st_mode & 0o137 == 0


@pytest.mark.parametrize(
    "bounds",
    [
        {"file_octets": LEAST_FILE_OCTETS - 1},
        {"file_octets": 2 * LEAST_FILE_OCTETS, "total_octets": LEAST_FILE_OCTETS},
        {"max_age": 0},
        {"keep": -1},
    ],
)
def test_bounds_that_make_no_sense(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"must"):
        RingOptions(**bounds)  # type: ignore[arg-type]


def test_a_frame_longer_than_a_file_is_only_counted(tmp_path: Path) -> None:
    said: list[str] = []
    with PacketRing(str(tmp_path), SMALL, report=said.append) as ring:
        assert ring.add(frame(1, LEAST_FILE_OCTETS)) is None
        assert ring.add(frame(2)) is not None
        assert (ring.state.kept, ring.state.not_kept, said) == (1, 1, [])


OPERATIONS = st.lists(
    st.one_of(
        st.integers(20, 262_144),
        st.integers(200_000, 262_144),
        st.sampled_from(["tick", "restart", "age", "steal", "full", "room"]),
    ),
    min_size=10,
    max_size=80,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OPERATIONS, st.integers(1, 4))
def test_the_bound_always_holds(
    tmp_path_factory: pytest.TempPathFactory, operations: list[int | str], factor: int
) -> None:
    folder = tmp_path_factory.mktemp("ring")
    options = RingOptions(LEAST_FILE_OCTETS, factor * LEAST_FILE_OCTETS, max_age=100)
    clock = Clock()
    full = False
    kept: dict[Place, Frame] = {}
    names: list[str] = []
    real_write = os.pwrite

    def write(descriptor: int, data: bytes, offset: int) -> int:
        if full:
            # As a full disk does: a part, then nothing.
            real_write(descriptor, data[: len(data) // 2], offset)
            return len(data) // 2
        written = real_write(descriptor, data, offset)
        assert octets(folder) <= options.total_octets
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ring_module, "time", clock)
        patch.setattr(os, "pwrite", write)
        ring = PacketRing(str(folder), options)
        for number, operation in enumerate(operations):
            clock.now += 0.5
            match operation:
                case int():
                    one = frame(number, operation)
                    place = ring.add(one)
                    assert place is None or not full
                    if place is not None:
                        kept[place] = one
                        # A new name was never given, and sorts behind all that are there.
                        assert names[-1:] == [place.file] or place.file not in names
                        assert place.file == str(files(folder)[-1])
                        if place.file not in names:
                            names.append(place.file)
                case "tick":
                    ring.tick()
                case "age":
                    clock.now += 100
                case "restart":
                    ring.close()
                    ring = PacketRing(str(folder), options)
                case "steal":
                    for path in files(folder)[:1]:
                        path.unlink()
                    ring.tick()
                case "full":
                    full = True
                case "room":
                    full = False
            assert octets(folder) <= options.total_octets
        ring.close()
    assert octets(folder) <= options.total_octets
    check_places(folder, kept)
    for path in files(folder):
        assert read(path)[1] == []


def test_a_cut_file_is_read_to_its_last_whole_block(tmp_path: Path) -> None:
    with PacketRing(str(tmp_path / "ring")) as ring:
        sizes = []
        for number in range(1, 5):
            ring.add(frame(number, 60 + number, source=f"interface:eth{number // 3}"))
            sizes.append(files(tmp_path / "ring")[0].stat().st_size)
    whole = files(tmp_path / "ring")[0].read_bytes()
    cut = tmp_path / "cut.pcapng"
    for length in range(sizes[0] - 120, len(whole)):
        cut.write_bytes(whole[:length])
        found, notes = read(cut)
        assert len(found) == sum(size <= length for size in sizes)
        assert [note.fatal for note in notes] in ([], [False])
    for length in (sizes[1] + 1, sizes[2] - 1, sizes[2] + 3, len(whole) - 4):
        cut.write_bytes(whole[:length])
        out = subprocess.run(
            [require("tshark"), "-n", "-r", str(cut), "-T", "fields", "-e", "frame.number"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert len(out.stdout.split()) == sum(size <= length for size in sizes)
    # Some file systems leave zeros behind a power failure.
    cut.write_bytes(whole[: sizes[2]] + bytes(500))
    assert len(read(cut)[0]) == 3


WRITER = """
import itertools, sys
from pqaudit.capture.ring import *
from tests.capture.test_ring import frame
ring = PacketRing(sys.argv[1], RingOptions(1 << 20, 4 << 20))
for number in itertools.count(int(sys.argv[2])):
    place = ring.add(frame(number, 60 + number * 7919 % 9000))
    print(number, place.file, place.frame, flush=True)
"""


def written_until_killed(folder: Path, first: int, count: int) -> list[tuple[int, Place]]:
    """What a process said that it kept before SIGKILL."""
    command = [sys.executable, "-c", WRITER, str(folder), str(first)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True)
    assert writer.stdout is not None
    said: list[str] = list(itertools.islice(writer.stdout, count))
    writer.send_signal(signal.SIGKILL)
    said += writer.stdout.readlines()
    assert writer.wait() == -signal.SIGKILL
    lines = [line.split() for line in said if line.endswith("\n")]
    return [(int(number), Place(file, int(position))) for number, file, position in lines]


def test_sigkill_loses_nothing_that_was_kept(tmp_path: Path) -> None:
    kept: dict[Place, Frame] = {}
    first = 0
    before: dict[Path, bytes] = {}
    for count in (700, 1, 1500):
        said = written_until_killed(tmp_path, first, count)
        assert len(said) >= count
        for number, place in said:
            assert place not in kept
            kept[place] = frame(number, 60 + number * 7919 % 9000)
        first = said[-1][0] + 1000
        assert octets(tmp_path) <= 4 << 20
        assert all(path.read_bytes() == data for path, data in before.items() if path.exists())
        before = {path: path.read_bytes() for path in files(tmp_path)}
    held = 0
    for path in files(tmp_path):
        found, notes = read(path)
        held += len(found)
        assert not any(note.fatal for note in notes)
        numbers = {place.frame: one for place, one in kept.items() if place.file == str(path)}
        for one in found:
            # The last packet may be there though the process could not say so any more.
            assert one.number not in numbers or content(one) == content(numbers[one.number])
        assert set(numbers) <= {one.number for one in found}
        out = subprocess.run(
            [require("tshark"), "-n", "-r", str(path), "-T", "fields", "-e", "frame.number"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert len(out.stdout.split()) == len(found)
    assert held > 300


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    require_root()
    folder = tmp_path / "disk"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        run("umount", str(folder))


def test_a_full_disk_is_counted_and_reported_once(tiny_disk: Path, clock: Clock) -> None:
    said: list[str] = []
    kept: dict[Place, Frame] = {}

    def add(numbers: range) -> None:
        for number in numbers:
            one = frame(number, 20_000)
            place = ring.add(one)
            if place is not None:
                kept[place] = one
            clock.now += 0.1

    with PacketRing(str(tiny_disk / "ring"), report=said.append) as ring:
        hog = tiny_disk / "hog"
        hog.write_bytes(bytes(1 << 20))
        add(range(200))
        state = ring.state
        assert state.kept + state.not_kept == 200
        assert 90 < state.kept < 110
        assert len(said) == 1
        assert "No space left on device" in said[0]
        assert said[0] == state.error
        hog.unlink()
        clock.now += 1
        add(range(200, 220))
        assert ring.state.kept == state.kept + 20
        assert ring.state.error is None
        assert len(said) == 2
        assert f"; {state.not_kept} in between were not" in said[1]
        assert ring.state.octets == octets(tiny_disk / "ring")
    assert check_places(tiny_disk / "ring", kept) == len(kept)
    assert all(read(path)[1] == [] for path in files(tiny_disk / "ring"))


def test_a_disk_that_is_full_from_the_start(tiny_disk: Path, clock: Clock) -> None:
    with PacketRing(str(tiny_disk / "ring")) as ring:
        with pytest.raises(OSError, match="No space"):
            (tiny_disk / "hog").write_bytes(bytes(4 << 20))
        for number in range(100):
            assert ring.add(frame(number, 20_000)) is None
            clock.now += 1
        assert files(tiny_disk / "ring") == []
        (tiny_disk / "hog").unlink()
        assert ring.add(frame(1)) is not None


def test_a_limit_on_the_size_of_files(tmp_path: Path, clock: Clock) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with PacketRing(str(tmp_path)) as ring:
            added = [ring.add(frame(number, 20_000)) for number in range(10)]
            assert [place is not None for place in added] == [True] * 4 + [False] * 6
            assert ring.state.error is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert len(read(files(tmp_path)[0])[0]) == 4
    assert read(files(tmp_path)[0])[1] == []


@pytest.mark.parametrize("failing", ["open", "pwrite", "unlink", "ftruncate", "close", "lstat", "fdatasync"])
def test_no_error_of_the_system_comes_out(tmp_path: Path, clock: Clock, failing: str) -> None:
    def fail(*arguments: object, **named: object) -> int:
        raise OSError(5, "Input/output error")

    said: list[str] = []
    ring = PacketRing(str(tmp_path), RingOptions(LEAST_FILE_OCTETS, LEAST_FILE_OCTETS, keep=30), report=said.append)
    with pytest.MonkeyPatch.context() as patch:
        ring.add(frame(1))
        patch.setattr(os, failing, fail)
        if failing == "ftruncate":
            patch.setattr(os, "pwrite", lambda descriptor, data, offset: 10)
        for number in range(200):
            ring.add(frame(number, 20_000))
            ring.tick()
            ring.sync()
            clock.now += 2
            assert octets(tmp_path) <= LEAST_FILE_OCTETS
    state = ring.state
    assert state.kept + state.not_kept == 201
    assert len(said) < 5
    assert bool(said) == (failing in ("open", "pwrite", "unlink", "ftruncate", "fdatasync"))
    clock.now += 2
    assert ring.add(frame(5)) is not None
    ring.tick()
    ring.sync()
    assert ring.state.error is None
    ring.close()
