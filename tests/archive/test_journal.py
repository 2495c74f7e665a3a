"""A run with a journal says what reading everything would say, and reads only what it has to."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.archive.journal import Journal, JournalError
from pqaudit.archive.packing import pack
from pqaudit.archive.resume import READING_VERSION, Resuming
from pqaudit.archive.trust import trusted
from pqaudit.archive.view import View
from pqaudit.pipeline import ReadOptions, new_run, read_inputs
from tests import build as b
from tests.archive.nights import DIGEST, aged, archive, conversation, fresh, night, rekeyed, swapped
from tests.capture.webserver import WebServer
from tests.conftest import SAMPLES
from tests.objectstore.store import ObjectStore

HALF = 4


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "archive.journal"


def findings(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["findings"]
    return found


def rows(journal: Path, table: str) -> int:
    database = sqlite3.connect(journal)
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        database.close()


# -- growing archives ------------------------------------------------------------------------------------------------


def test_an_sa_is_joined_across_the_border_of_two_nights(journal: Path, tmp_path: Path) -> None:
    frames = conversation(1)
    folder = tmp_path / "archive"
    archive(folder, [conversation(2), conversation(3), frames[:HALF]])
    one = night(journal, folder)
    assert (one.known, one.read, one.again) == (0, 3, 0)
    archive(folder, [frames[HALF:], conversation(4), conversation(5)], first=3)
    two = night(journal, folder)
    assert (two.known, two.read, two.again) == (3, 3, 0)
    assert two.text == fresh(folder)
    (joined,) = [f for f in findings(two.text) if f["pqaudit"]["ike"]["initiator_spi"] == "1100000000000001"]
    assert joined["pqaudit"]["assurance"] == "executed"
    assert joined["pqaudit"]["capture"]["packets"] == len(frames)
    assert len(findings(two.text)) == 5
    three = night(journal, folder)
    assert (three.known, three.read, three.text) == (6, 0, two.text)


def test_rotated_captures_count_with_earlier(journal: Path, tmp_path: Path) -> None:
    frames = conversation(1)
    night(journal, *archive(tmp_path, [frames[:HALF]]))
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path, kept)
    (tmp_path / "000.pcap").unlink()
    new = archive(tmp_path, [frames[HALF:]], first=1)
    assert night(journal, *new).text == fresh(*new)
    joined = night(journal, *new, with_earlier=True)
    assert (joined.read, joined.earlier) == (0, 1)
    shutil.copy2(kept / "000.pcap", tmp_path)
    assert joined.text == fresh(tmp_path / "000.pcap", *new)
    (finding,) = findings(joined.text)
    assert finding["pqaudit"]["capture"]["packets"] == len(frames)


def test_earlier_captures_count_as_they_were_read(journal: Path, tmp_path: Path) -> None:
    one, two = archive(tmp_path, [conversation(1), conversation(2)])
    night(journal, one)
    found = night(journal, two, options=ReadOptions(digest=True, ports=(4000,)), with_earlier=True)
    assert (found.earlier, found.earlier_otherwise, len(findings(found.text))) == (1, 1, 2)
    # A name that is known counts as it is now, or not at all.
    one.write_bytes(b"no capture")
    found = night(journal, one, two, options=ReadOptions(digest=True, ports=(4000,)), with_earlier=True)
    assert (found.earlier, len(findings(found.text))) == (0, 1)


# Of all samples, as ``READING_VERSION`` has them read. It changes when evidence is read from captures in another way.
READ = (1, "2add0fb00d8760ce69b22976a90776e88ef1e9c91aea3a80fe31316e22c8a3fd")


def test_the_version_of_reading_is_raised_when_captures_are_read_otherwise() -> None:
    digest = sha256()
    for path in sorted(SAMPLES.glob("*.pcap*")):
        run = new_run(DIGEST)
        read_inputs([str(path)], run, DIGEST)
        packed = pack(run)
        for octets in (packed.about, *(group.body for group in packed.groups)):
            digest.update(zlib.decompress(octets))
    assert (READING_VERSION, digest.hexdigest()) == READ, (
        "Captures are read to other evidence than before. Raise READING_VERSION, so that journals read them again, and "
        "put both values here."
    )


def test_only_what_changed(journal: Path, tmp_path: Path) -> None:
    first = conversation(1)
    folder = tmp_path / "archive"
    archive(folder, [first[:HALF], conversation(3), conversation(2)])
    assert len(findings(night(journal, folder, touched_only=True).text)) == 3
    archive(folder, [rekeyed(2), first[HALF:]], first=3)
    night(journal, folder)  # tells nobody who asks for what changed
    changed = findings(night(journal, folder, touched_only=True).text)
    whole = findings(fresh(folder))
    spis = {"1100000000000001", "3300000000000002"}
    assert changed == [f for f in whole if f["pqaudit"]["ike"]["initiator_spi"] in spis]
    assert len(changed) == 2
    assert findings(night(journal, folder, touched_only=True).text) == []
    # What shows that an SA was rekeyed changes the finding of the SA that replaced it.
    archive(folder, [conversation(2)], first=5)
    changed = findings(night(journal, folder, touched_only=True).text)
    spis = {"1100000000000002", "3300000000000002"}
    assert {f["pqaudit"]["ike"]["initiator_spi"] for f in changed} == spis
    assert changed == [f for f in findings(fresh(folder)) if f["pqaudit"]["ike"]["initiator_spi"] in spis]


# -- names -----------------------------------------------------------------------------------------------------------


def test_of_a_file_that_grows_only_what_is_new_changed(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    frames = [conversation(number) for number in range(1, 5)]

    def holds(*parts: list[bytes], age: float) -> Path:
        (path,) = archive(folder, [[frame for part in parts for frame in part]])
        aged(path, seconds=age)
        return path

    def initiators(text: str) -> list[str]:
        return sorted(finding["pqaudit"]["ike"]["initiator_spi"] for finding in findings(text))

    first, *_, last = (f"11{number:014x}" for number in range(1, 5))
    path = holds(frames[0], frames[1][:HALF], age=5000)
    assert len(findings(night(journal, path, touched_only=True).text)) == 2
    grown = holds(frames[0], frames[1], age=4000)
    night(journal, grown)  # a run that tells all leaves it untold
    holds(frames[0], frames[1], frames[2], age=3000)
    told = initiators(night(journal, path, touched_only=True).text)
    assert told == [f"11{number:014x}" for number in (2, 3)]
    assert findings(night(journal, path, touched_only=True).text) == []
    (folder / "copy.pcap").write_bytes(path.read_bytes())  # of which nothing was told
    assert first in initiators(night(journal, folder, touched_only=True).text)
    holds(*frames, age=2000)
    assert initiators(night(journal, path, touched_only=True).text) == [last]


def test_renamed_copied_and_removed_files(journal: Path, tmp_path: Path) -> None:
    frames = conversation(1)
    folder = tmp_path / "archive"
    one, two, three = archive(folder, [frames[:2], frames[2:5], frames[5:]])
    night(journal, folder)
    one.rename(folder / "zzz.pcap")  # another order of names
    shutil.copyfile(two, folder / "copy.pcap")
    aged(folder / "copy.pcap")
    three.unlink()
    found = night(journal, folder)
    assert (found.known, found.read) == (2, 1)
    assert found.text == fresh(folder)
    assert [Path(f["name"]).name for f in json.loads(found.text)["files"]] == ["001.pcap", "copy.pcap", "zzz.pcap"]
    assert rows(journal, "contents") == 3  # the copy is no content of its own
    moved = folder.rename(tmp_path / "moved")
    found = night(journal, moved)
    assert (found.known, found.read, found.text) == (3, 0, fresh(moved))


def test_files_that_exchanged_their_names(journal: Path, tmp_path: Path) -> None:
    one, two, three = archive(tmp_path / "archive", [conversation(1), conversation(2), conversation(3)])
    night(journal, one.parent)
    # As logs are rotated: each takes the name of the one before it.
    for old, new in ((three, tmp_path / "aside"), (two, three), (one, two), (tmp_path / "aside", one)):
        old.rename(new)
    found = night(journal, one.parent)
    assert (found.known, found.read, found.text) == (3, 0, fresh(one.parent))


def test_a_name_that_is_no_text(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    (path,) = archive(folder, [conversation(1)])
    path.rename(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.pcap"))
    assert night(journal, folder).text == night(journal, folder).text == fresh(folder)


def test_one_name_in_two_folders(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = conversation(1)
    for name, part in (("a", frames[:HALF]), ("b", frames[HALF:])):
        archive(tmp_path / name, [part])
        monkeypatch.chdir(tmp_path / name)
        found = night(journal, "000.pcap")
        assert (found.read, found.text) == (1, fresh("000.pcap"))
    both = night(journal, "000.pcap", with_earlier=True)
    assert both.text == fresh(tmp_path / "a" / "000.pcap", "000.pcap")
    (finding,) = findings(both.text)
    assert finding["pqaudit"]["capture"]["packets"] == len(frames)


# -- files that change ------------------------------------------------------------------------------------------------


def test_what_is_known_is_not_opened(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    (path,) = archive(folder, [conversation(1)])
    expected = fresh(folder)
    night(journal, folder)
    swapped(path, bytes(path.stat().st_size))
    assert night(journal, folder).text == night(journal, path).text == expected


def test_a_file_that_grows_is_read_again_and_its_past_is_forgotten(journal: Path, tmp_path: Path) -> None:
    frames = conversation(1)
    path = b.pcap(frames, tmp_path / "growing.pcap")
    whole = path.read_bytes()
    for cut in (len(whole) // 3, len(whole) // 2, len(whole)):
        path.write_bytes(whole[:cut])
        aged(path, seconds=3600 - cut / 100)
        found = night(journal, path)
        assert (found.read, found.text) == (1, fresh(path))
        assert rows(journal, "contents") == 1
    assert findings(found.text)[0]["pqaudit"]["capture"]["packets"] == len(frames)
    assert night(journal, path).known == 1


def test_a_file_that_was_just_written_to_is_not_trusted(journal: Path, tmp_path: Path) -> None:
    path = b.pcap(conversation(1), tmp_path / "just.pcap")
    night(journal, path)
    other = b.pcap(conversation(2), tmp_path / "other.pcap").read_bytes()
    swapped(path, other)
    found = night(journal, path)
    assert (found.again, found.text) == (1, fresh(path))


def test_a_replaced_file(journal: Path, tmp_path: Path) -> None:
    (path,) = archive(tmp_path, [conversation(1)])
    night(journal, path)
    archive(tmp_path, [conversation(2)])
    aged(path, seconds=1800)
    found = night(journal, path)
    assert (found.again, found.text) == (1, fresh(path))


# -- faults ----------------------------------------------------------------------------------------------------------


def test_damaged_captures_are_read_once(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    whole = b.pcap(conversation(1), folder / "cut.pcap").read_bytes()
    (folder / "cut.pcap").write_bytes(whole[:-5])
    (folder / "header.pcap").write_bytes(whole[:30])
    (folder / "wrong.pcap").write_bytes(whole[:40] + b"\xff" * 200 + whole[240:])
    (folder / "none.pcap").write_bytes(b"no capture")
    (folder / "empty.pcap").write_bytes(b"")
    not_ike = b.udp_frame(b"\x99" * 40)
    b.pcap([not_ike, *conversation(2)], folder / "strange.pcap")
    files = sorted(folder.iterdir())
    aged(*files)
    for paths in ([folder], files):  # in a folder, what is no capture is passed by; named, it is told
        assert night(journal, *paths).text == fresh(*paths)
        again = night(journal, *paths)
        assert (again.read, again.text) == (0, fresh(*paths))
    assert night(journal, folder).text == fresh(folder)


def test_a_transient_fault_is_no_result(journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = conversation(1)
    one, two = archive(tmp_path / "archive", [frames[:HALF], frames[HALF:]])
    # A file that exists and cannot be read: /proc/self/mem, of which the first octet is mapped nowhere.
    faulty = tmp_path / "faulty.pcap"
    faulty.symlink_to("/proc/self/mem")
    paths = (one, faulty, two)
    for expected in (2, 0):
        found = night(journal, *paths)
        assert found.read == expected + 1
        assert found.text == fresh(*paths)
    assert [note["id"] for note in json.loads(found.text)["notes"]] == ["read-error"]
    assert rows(journal, "contents") == 2
    faulty.unlink()
    b.pcap(conversation(2), faulty)
    aged(faulty)
    found = night(journal, *paths)
    assert (found.known, found.read, found.text) == (2, 1, fresh(*paths))


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"ports": (4000,)}, {"tunnels": False}, {"exposure": True}])
def test_other_options_read_again(other: dict[str, Any], journal: Path) -> None:
    night(journal, SAMPLES)
    options = ReadOptions(digest=True, **other)
    found = night(journal, SAMPLES, options=options)
    assert (found.known, found.otherwise) == (0, found.read)
    assert found.text == fresh(SAMPLES, options=options)
    assert night(journal, SAMPLES, options=options).read == 0


def test_the_bound_on_sas_is_that_of_each_capture(journal: Path, tmp_path: Path) -> None:
    paths = archive(tmp_path / "archive", [conversation(number) for number in range(1, 9)])
    night(journal, *paths)
    found = night(journal, *paths, options=ReadOptions(digest=True, most_sas=1))
    assert (found.read, found.otherwise) == (8, 8)
    assert found.text == fresh(*paths)  # without the bound: each capture keeps to it


def test_traffic_is_kept(journal: Path, tmp_path: Path) -> None:
    esp = b.udp_frame(bytes.fromhex("c000000100000007") + bytes(80), sport=4501, dport=4501)
    esp = esp[:34] + bytes.fromhex("11941194") + esp[38:]
    paths = archive(tmp_path / "archive", [[esp] * 3, [esp] * 4])
    options = ReadOptions(digest=True, exposure=True)
    with Journal(journal):
        pass
    night(journal, *paths, options=options)
    run = new_run(options)
    with Journal(journal) as opened:
        resuming = Resuming(opened, options)
        resuming.plan([str(path) for path in paths])
        View(opened, resuming.shown(), resuming.settings, with_earlier=False, touched_only=False).add_to(run)
    (traffic,) = run.exposure.documents().values()
    assert traffic["esp_packets"] == 7


# -- inputs by URL ----------------------------------------------------------------------------------------------------


def test_objects_are_known_by_what_the_store_says(journal: Path, tmp_path: Path, object_store: ObjectStore) -> None:
    frames = conversation(1)
    archive(tmp_path / "night", [frames[:HALF], conversation(2)])
    bucket = object_store.bucket("nights")
    object_store.upload(tmp_path / "night", bucket)
    url = f"s3://{bucket}/"
    with object_store.in_this_process():
        assert night(journal, url).read == 2
        object_store.put(bucket, "002.pcap", archive(tmp_path, [frames[HALF:]])[0].read_bytes())
        found = night(journal, url)
        assert (found.known, found.read, found.text) == (2, 1, fresh(url))
        (joined,) = [f for f in findings(found.text) if f["pqaudit"]["ike"]["initiator_spi"] == "1100000000000001"]
        assert joined["pqaudit"]["capture"]["packets"] == len(frames)
        # Another object of the same size and name.
        object_store.put(bucket, "001.pcap", archive(tmp_path, [conversation(3)])[0].read_bytes())
        found = night(journal, url)
        assert (found.known, found.again, found.text) == (2, 1, fresh(url))
        assert night(journal, url).read == 0


@pytest.mark.parametrize(
    ("stamp", "asked", "is_trusted"),
    [
        ("size=1 mtime_ns=1700000000000000000 inode=5", 1_700_000_001.0, False),
        ("size=1 mtime_ns=1700000000000000000 inode=5", 1_700_000_010.0, True),
        ("size=1 mtime=2023-11-14T22:13:20+00:00", 1_700_000_001.0, False),
        ("size=1 mtime=2023-11-14T22:13:20+00:00", 1_700_000_010.0, True),
        ("size=1 Last-Modified=Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_001.0, False),
        ("size=1 Last-Modified=Tue, 14 Nov 2023 22:13:20 GMT", 1_700_000_010.0, True),
        ("size=1 mtime=1700000000.0", 1_700_000_001.0, False),
        ('size=1 ETag="1700000000"', 1_700_000_001.0, True),
        ("size=1 ETag=whatever", 1_700_000_001.0, True),
        (None, 1_700_000_010.0, False),
    ],
)
def test_stamps_of_files_that_were_just_changed_are_not_trusted(
    stamp: str | None, asked: float, is_trusted: bool
) -> None:
    assert trusted(stamp, asked) == (stamp if is_trusted else None)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_what_a_page_links_to_is_known_by_what_the_server_says(journal: Path, tmp_path: Path) -> None:
    archive(tmp_path / "archive", [conversation(number) for number in range(1, 4)])
    with WebServer(tmp_path / "archive") as web:
        for place, more in ((f"{web.url}/ranges/", 0), (f"{web.url}/ranges/*.pcap", 1)):
            plain = fresh(place)
            kept = night(journal, place)
            assert (kept.known + kept.read, kept.text) == (3, plain)
            web.requests.clear()
            again = night(journal, place)
            assert (again.known, again.read, again.text) == (3, 0, plain)
            # The page, what is there now, and whether the pattern is a name; no capture is fetched.
            assert web.requests == {"GET ranges": 1 + more, "HEAD ranges": 3 + more}


def test_captures_that_no_run_names_are_forgotten(journal: Path, tmp_path: Path) -> None:
    one, two = archive(tmp_path, [conversation(1), conversation(2)])
    night(journal, one, two)
    database = sqlite3.connect(journal)
    with database:
        database.execute("UPDATE inputs SET named = named - 864000 WHERE place = ?", (os.fsencode(one),))
    database.close()
    with Journal(journal) as opened:
        assert opened.forget(11 * 86_400) == 0
        assert opened.forget(9 * 86_400) == 1
    assert [rows(journal, table) for table in ("inputs", "contents", "groups")] == [1, 1, 1]
    assert night(journal, one, two).read == 1


def test_room_of_what_was_forgotten_is_given_back(journal: Path, tmp_path: Path) -> None:
    (path,) = archive(tmp_path, [[frame for number in range(200) for frame in conversation(number)]])
    night(journal, path)
    large = journal.stat().st_size
    archive(tmp_path, [conversation(1)])
    aged(path, seconds=1800)
    night(journal, path)
    assert journal.stat().st_size < large / 2


def test_a_capture_is_never_taken_for_a_journal(tmp_path: Path) -> None:
    capture = b.pcap(conversation(1), tmp_path / "a.pcap")
    foreign = tmp_path / "foreign.sqlite3"
    database = sqlite3.connect(foreign)
    database.execute("CREATE TABLE own (x)")
    database.close()
    for path in (capture, foreign):
        before = path.read_bytes()
        with pytest.raises(JournalError, match="no journal of pqaudit"):
            Journal(path)
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pcap", "foreign.sqlite3"]


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR])
def test_what_is_no_regular_file_is_left_alone(kind: int, tmp_path: Path) -> None:
    path = tmp_path / "special"
    try:
        os.mknod(path, kind | 0o600, os.makedev(1, 3))  # a device is the one of /dev/null
    except PermissionError:
        pytest.skip("optional: making a device needs root")
    with pytest.raises(JournalError, match="no regular file"):
        Journal(path)
    assert stat.S_IFMT(path.lstat().st_mode) == kind


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "journal", tmp_path / "link"):
        if place.name == "link":
            place.symlink_to(tmp_path / "none" / "journal")
        with pytest.raises(JournalError, match=re.escape(f"there is no folder {tmp_path / 'none'}; make it first")):
            Journal(place)


def test_an_empty_file_stays_where_links_lead_to_it(tmp_path: Path) -> None:
    journal, link = tmp_path / "journal", tmp_path / "link"
    journal.touch()
    link.symlink_to(journal)
    (path,) = archive(tmp_path / "archive", [conversation(1)])
    night(link, path)
    assert link.is_symlink()
    assert night(journal, path).known == 1


def test_two_files_whose_names_look_like_one_without_their_links(journal: Path, tmp_path: Path) -> None:
    (one,) = archive(tmp_path / "here", [conversation(1)])
    archive(tmp_path / "there", [conversation(2)])
    (tmp_path / "there" / "deeper").mkdir()
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there" / "deeper")
    other = f"{tmp_path}/here/link/../{one.name}"  # which is there/000.pcap
    for known in (0, 2):
        found = night(journal, one, other)
        assert found.known == known
        assert found.text == fresh(one, other)
    assert len(findings(found.text)) == 2


def test_damage_is_told_and_all_is_read_anew(journal: Path, tmp_path: Path) -> None:
    paths = archive(tmp_path / "archive", [conversation(number) for number in range(1, 9)])
    night(journal, *paths)
    octets = bytearray(journal.read_bytes())
    octets[100:8192] = bytes(8092)
    journal.write_bytes(octets)
    with Journal(journal) as opened:
        assert opened.damaged is not None
        assert opened.damaged.read_bytes()[8192:] == octets[8192:]
    assert night(journal, *paths).text == fresh(*paths)


def test_damage_that_shows_late_is_one_sentence(journal: Path, tmp_path: Path) -> None:
    (path,) = archive(tmp_path, [conversation(1)])
    night(journal, path)
    database = sqlite3.connect(journal)
    with database:
        database.execute("UPDATE groups SET body = zeroblob(40)")
    database.close()
    with pytest.raises(JournalError, match=r"is damaged .*; move it away, and all is read anew"):
        night(journal, path)


def test_a_later_journal_is_left_alone(journal: Path, tmp_path: Path) -> None:
    (path,) = archive(tmp_path, [conversation(1)])
    night(journal, path)
    database = sqlite3.connect(journal)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(JournalError, match="made by a later pqaudit"):
        night(journal, path)


def test_two_at_once(journal: Path) -> None:
    with Journal(journal), pytest.raises(JournalError, match="in use by another run"):
        Journal(journal)
    with Journal(journal):
        pass


def test_an_empty_file_becomes_a_journal(journal: Path) -> None:
    journal.touch()
    for _ in range(2):
        with Journal(journal) as opened:
            assert opened.damaged is None


# -- any split, any sequence of runs -----------------------------------------------------------------------------------

WHOLE = [frame for number in (1, 2) for frame in conversation(number)] + rekeyed(1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.lists(st.integers(0, 4), min_size=len(WHOLE), max_size=len(WHOLE)),
    runs=st.lists(st.sets(st.integers(0, 4), min_size=1), max_size=3),
    data=st.data(),
)
def test_any_split_and_any_runs_before_give_the_same(
    where: list[int], runs: list[set[int]], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("split")
    parts: list[list[tuple[int, bytes]]] = [[] for _ in range(5)]
    for index, (part, frame) in enumerate(zip(where, WHOLE, strict=True)):
        parts[part].append((index, frame))
    paths = []
    for number, held in enumerate(parts):
        path = folder / f"{number}.pcap"
        # Each frame keeps its time, as a recorder that spreads what it sees over files gives it.
        single = [b.pcap([frame], path, start=1_700_000_000 + index).read_bytes()[24:] for index, frame in held]
        path.write_bytes(b.pcap([], path).read_bytes() + b"".join(single))
        paths.append(path)
    aged(*paths)
    journal = folder / "journal"
    for named in runs:
        sources = [paths[index] for index in sorted(named)]
        assert night(journal, *sources).text == fresh(*sources)
    sources = data.draw(st.permutations(paths))
    found = night(journal, *sources)
    assert found.text == fresh(*sources)
    assert found.known == len(set().union(*runs))
    # And what does not name files is that of one capture with all frames.
    one = folder / "one.pcap"
    one.write_bytes(
        b.pcap([], one).read_bytes()
        + b"".join(
            b.pcap([frame], one, start=1_700_000_000 + index).read_bytes()[24:] for index, frame in enumerate(WHOLE)
        )
    )
    for mine, other in zip(findings(found.text), findings(fresh(one, options=DIGEST)), strict=True):
        assert mine["event"]["id"] == other["event"]["id"]
        for name in ("verdict", "reason", "selected", "assurance", "observed"):
            assert mine["pqaudit"][name] == other["pqaudit"][name]
        assert mine["pqaudit"]["capture"]["packets"] == other["pqaudit"]["capture"]["packets"]
