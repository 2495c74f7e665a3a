"""Findings as they are decided, with a clock that the tests turn."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pqaudit.capture.frame import Frame
from pqaudit.capture.loss import Loss
from pqaudit.capture.reader import read_capture
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder
from pqaudit.finding.document import Document
from pqaudit.pipeline import read_message
from pqaudit.sensor.checkpoint import Checkpoint, CheckpointError
from pqaudit.sensor.tracked import EVICTED, REFUSED, UNASKED_EVICTED
from pqaudit.sensor.watch import ATTEMPTS_NOT_REPORTED, CLOCK_JUMPED, NOT_READ, REKEYS_FORGOTTEN, Timing, Watch
from tests import build as b
from tests.conftest import SAMPLES, audit, rulebook_cached

START = 1_000_000.0
TIMING = Timing(settle=1.0, review=30.0, attempt=60.0, half_open=600.0, idle=3600.0, save=2.0, quiet=30.0)
NANOSECONDS = 1_000_000_000


def datagrams(*names: str) -> Iterator[Datagram]:
    decoder = Decoder()
    for name in names:
        for frame in read_capture(str(SAMPLES / name), wanted=decoder.wanted, note=lambda note: None):
            yield from decoder.feed(frame)


class Sensor:
    """A watch with its clock; the folder outlives it."""

    def __init__(
        self, folder: Path, now: float = START, most: int = 1000, timing: Timing = TIMING, **more: Any
    ) -> None:
        self.now = now
        self.checkpoint = Checkpoint(folder)
        self.watch = Watch(rulebook_cached(), "test", most, self.checkpoint, now, timing=timing, **more)

    def feed(self, *messages: Datagram) -> None:
        for datagram in messages:
            self.watch.add(datagram, read_message(datagram), self.now)

    def after(self, seconds: float) -> list[Document]:
        """What is told in the seconds to come, looked at ten times a second."""
        told: list[Document] = []
        end = self.now + seconds
        while self.now < end:
            due = self.watch.next_due
            self.now = min(end, max(self.now + 0.1, due if due is not None else end))
            told += self.watch.findings(self.now)
            self.watch.tick(self.now)
        return told

    def killed(self) -> None:
        self.checkpoint._database.close()
        os.close(self.checkpoint._lock)


def core(finding: Document) -> dict[str, Any]:
    own = finding["pqaudit"]
    return {name: own[name] for name in ("verdict", "reason", "assurance", "protection", "selected", "ike", "ppk")}


def by_id(findings: list[Document]) -> dict[str, Document]:
    return {finding["event"]["id"]: finding for finding in findings}


NAMES = sorted(path.name for path in SAMPLES.iterdir() if path.name.endswith((".pcap", ".pcapng")))


@pytest.mark.parametrize("name", NAMES)
def test_in_the_end_a_sensor_says_what_an_audit_says(name: str, tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    told: list[Document] = []
    for datagram in datagrams(name):
        sensor.feed(datagram)
        told += sensor.after(0.05)
    told += sensor.after(8000)
    expected, _ = audit(SAMPLES / name)
    assert {id_: core(finding) for id_, finding in by_id(told).items()} == {
        id_: core(finding) for id_, finding in by_id(expected).items()
    }
    assert len(sensor.watch.table) == 0


def test_a_decided_sa_is_told_at_once_and_then_only_at_its_end(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    sensor.feed(*datagrams("hybrid_x25519_mlkem768.pcap"))
    (finding,) = sensor.after(2)
    # The daemon's log of this capture selected x25519 with ML-KEM-768, and the SA was established.
    assert core(finding)["verdict"] == "hybrid-ml-kem"
    assert core(finding)["assurance"] == "executed"
    assert sensor.after(8000) == []  # it ended without a packet that was not told of
    assert len(sensor.watch.table) == 0


def test_what_an_sa_went_on_with_is_told_at_its_end(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages[:8])
    assert len(sensor.after(2)) == 1
    last = replace(messages[-1], time=messages[-1].time + 900 * NANOSECONDS)
    sensor.feed(last)
    assert sensor.after(1800) == []
    (finding,) = sensor.after(8000)
    assert finding["pqaudit"]["capture"]["packets"] == 9


def test_an_sa_is_told_again_when_it_is_seen_to_run(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages[:2])  # IKE_SA_INIT
    (first,) = sensor.after(5)
    assert (core(first)["verdict"], core(first)["assurance"]) == ("hybrid-ml-kem", "selected")
    sensor.feed(*messages[2:])
    (second,) = sensor.after(5)
    assert (core(second)["verdict"], core(second)["assurance"]) == ("hybrid-ml-kem", "executed")
    assert first["event"]["id"] == second["event"]["id"]


def test_an_unanswered_attempt_is_told_once_when_its_time_is_over(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    sensor.feed(next(datagrams("hybrid_x25519_mlkem768.pcap")))
    assert sensor.after(59) == []
    (finding,) = sensor.after(5)
    assert (core(finding)["verdict"], core(finding)["reason"]) == ("undetermined", "response-not-seen")


def requests(count: int, seed: int = 1) -> Iterator[Datagram]:
    """IKE_SA_INIT requests as a flood has them: a random initiator SPI each."""
    chance = random.Random(seed)
    first = next(datagrams("hybrid_x25519_mlkem768.pcap"))
    for number in range(count):
        yield Datagram(
            first.time + number, 6, first.source, first.source_port, first.destination, first.destination_port, "udp",
            chance.randbytes(8) + first.payload[8:], False, False, None, first.file, (number + 1,),
        )  # fmt: skip


def test_a_flood_of_requests_pushes_out_no_sa_with_a_response(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, most=40)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages[:2])
    sensor.feed(*requests(5_000))
    assert len(sensor.watch.table) <= 40
    assert sensor.watch.table.counters[EVICTED] == 5_000 - sensor.watch.table.unanswered
    sensor.feed(*messages[2:])
    told = sensor.after(5)
    assert [core(finding)["assurance"] for finding in told] == ["executed"]


def test_a_flood_of_responses_takes_no_room_from_others(tmp_path: Path) -> None:
    """They are made up, each for an SPI that nobody asked with: the cheapest, like requests that nobody answers."""
    sensor = Sensor(tmp_path, most=40)
    old, new = list(datagrams("hybrid_x25519_mlkem768.pcap")), list(datagrams("classical_x25519.pcap"))
    sensor.feed(*old[:2])
    decoder = Decoder()
    for number in range(1, 5_001):
        payload = b.message(b.INIT, [b.sa(b.SUITE)], spi_i=number.to_bytes(8, "big"), spi_r=b"R" * 8, flags=b.RESPONSE)
        data = b.udp_frame(payload)
        sensor.feed(*decoder.feed(Frame(number * NANOSECONDS, 9, 1, data, len(data), "interface:a", number)))
    assert len(sensor.watch.table) == 40
    sensor.feed(*new, *old[2:])
    assert sensor.watch.table.counters[REFUSED] == 0
    assert sensor.watch.table.counters[UNASKED_EVICTED] == 5_000 - 38
    assert [core(f)["assurance"] for f in sensor.after(5) if core(f)["assurance"] == "executed"] == ["executed"] * 2


def test_a_table_full_of_sas_with_responses_refuses_and_counts(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, most=3)
    answered = ["hybrid_x25519_mlkem768.pcap", "classical_x25519.pcap", "mlkem768_alone_in_ike_sa_init.pcap"]
    for name in answered:
        sensor.feed(*datagrams(name))
    sensor.feed(*requests(10))
    assert sensor.watch.table.counters[REFUSED] == 10
    assert len(sensor.after(5)) == 3


def test_a_flood_of_requests_is_no_flood_of_findings(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, most=10_000, attempts_per_second=10)
    sensor.feed(*requests(2_000))
    told = sensor.after(65)
    assert len(told) <= 10 * 5 + 10
    assert len(told) + sensor.watch.counters[ATTEMPTS_NOT_REPORTED] == 2_000


@pytest.mark.parametrize("cut", [2, 8])
def test_what_was_seen_and_not_told_of_is_told_after_a_restart(cut: int, tmp_path: Path) -> None:
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    one = Sensor(tmp_path)
    one.feed(*messages[:2])
    if cut > 2:
        assert len(one.after(2)) == 1
        one.feed(*messages[2:cut])
    one.watch.save(one.now)
    one.killed()
    two = Sensor(tmp_path, now=one.now + 20)
    (finding,) = two.after(5)
    assert core(finding)["assurance"] == ("executed" if cut > 2 else "selected")


@pytest.mark.parametrize("cut", range(0, 9))
def test_a_restart_loses_no_sa_and_tells_none_twice(cut: int, tmp_path: Path) -> None:
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))[:8]
    one = Sensor(tmp_path)
    one.feed(*messages[:cut])
    told = one.after(3)
    one.killed()  # what SIGKILL leaves: the last transaction
    two = Sensor(tmp_path, now=one.now + 20)
    two.feed(*messages[cut:])
    again = two.after(5)
    whole = by_id([*told, *again, *two.after(8000)])
    expected = by_id(audit(SAMPLES / "hybrid_x25519_mlkem768.pcap")[0])
    assert whole.keys() == expected.keys()
    (id_,) = expected
    assert core(whole[id_])["verdict"] == "hybrid-ml-kem"
    if cut >= 7:
        assert again == []  # nothing material came after the restart


def test_evidence_out_of_memory_is_evidence_all_the_same(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages[:2])
    sensor.after(300)
    tracked = sensor.watch.table.get(next(iter(sensor.watch.table)))
    assert tracked is not None
    assert tracked.group is None
    sensor.feed(*messages[2:])
    (finding,) = sensor.after(5)
    assert core(finding)["assurance"] == "executed"
    assert finding["pqaudit"]["capture"]["packets"] == len(messages)


def test_dropped_packets_are_in_the_findings_of_their_time(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    other = list(datagrams("classical_x25519.pcap"))
    sensor.watch.lost("eth0", Loss(messages[0].time - NANOSECONDS, messages[0].time + NANOSECONDS, 5, 0))
    sensor.feed(messages[0])
    sensor.feed(*(replace(each, time=each.time + 600 * NANOSECONDS) for each in other))
    told = by_id(sensor.after(70)).values()
    slugs = {core(each)["reason"]: [a["id"] for a in each["pqaudit"]["anomalies"]] for each in told}
    assert "packets-dropped" in slugs["response-not-seen"]
    assert "packets-dropped" not in slugs["not-offered"]


def test_peers_whose_rekeying_is_forgotten_are_counted(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, most_pairs=2)
    decoder = Decoder()
    for number in range(1, 6):
        spis = {"spi_i": bytes([number]) * 8, "spi_r": bytes([number + 100]) * 8}
        rekeying = b.udp_frame(b.encrypted(b.CHILD, 2, octets=200, **spis), f"192.0.2.{number}", "198.51.100.1")
        sensor.feed(*decoder.feed(Frame(number * NANOSECONDS, 9, 1, rekeying, len(rekeying), "interface:a", number)))
    assert len(sensor.after(65)) == 5
    assert sensor.watch.counters[REKEYS_FORGOTTEN] == 3


def test_a_clock_that_jumps_ends_no_sa_early(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages[:2])
    sensor.after(5)
    before = sensor.now
    sensor.now += 10 * 86_400
    sensor.watch.clock_jumped(before, sensor.now)
    assert sensor.after(5) == []
    assert len(sensor.watch.table) == 1
    assert sensor.watch.counters[CLOCK_JUMPED] == 1
    sensor.feed(*messages[2:])
    (finding,) = sensor.after(5)
    assert core(finding)["assurance"] == "executed"


def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "sensor.sqlite3").write_bytes(b"this was a database once, before the disk failed" * 100)
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.damaged is not None
    assert list(checkpoint.load()) == []


def test_rows_of_a_checkpoint_are_not_believed(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages[:2])
    sensor.after(300)
    sensor.checkpoint._database.execute("UPDATE followed SET body = x'00112233'")
    sensor.feed(*messages[2:])
    sensor.after(5)
    assert sensor.watch.counters[NOT_READ] == 1


@pytest.mark.parametrize("change", ["tier = 9", "emitted = 'no JSON'", "emitted = '[]'", "last = 'yesterday'"])
def test_a_row_of_a_checkpoint_that_cannot_be_is_left_out(change: str, tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    sensor.feed(*datagrams("hybrid_x25519_mlkem768.pcap"), *datagrams("classical_x25519.pcap"))
    sensor.after(60)
    (one, _) = sensor.watch.table
    sensor.checkpoint._database.execute(f"UPDATE followed SET {change} WHERE spi = ?", (one[1],))
    sensor.killed()
    sensor = Sensor(tmp_path, sensor.now)
    assert len(sensor.watch.table) == 1
    assert sensor.watch.counters[NOT_READ] == 1


def test_an_sa_that_is_seen_again_and_again_takes_no_more_memory(tmp_path: Path) -> None:
    """Peers ask each other whether they live, for months; what is due is put off each time."""
    sensor = Sensor(tmp_path, timing=Timing())
    messages = list(datagrams("hybrid_x25519_mlkem768.pcap"))
    sensor.feed(*messages)
    sensor.after(5)
    for _ in range(1500):
        sensor.feed(messages[-1])
        sensor.now += Timing().review + 1
        list(sensor.watch.findings(sensor.now))
    assert len(sensor.watch.table) == 1
    assert len(sensor.watch._agenda) <= 1010


def test_an_end_at_any_moment_makes_no_finding_told_twice(tmp_path: Path) -> None:
    """What was told is in the checkpoint at once while there is little to do."""
    sensor = Sensor(tmp_path)
    sensor.feed(*datagrams("hybrid_x25519_mlkem768.pcap"))
    while not (told := list(sensor.watch.findings(sensor.now))):
        sensor.watch.tick(sensor.now)
        sensor.now += 0.1
    sensor.watch.tick(sensor.now)
    sensor.killed()
    assert len(told) == 1
    assert Sensor(tmp_path, sensor.now).after(120) == []


def test_findings_that_wait_outlive_the_sensor(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    sensor.feed(*datagrams("hybrid_x25519_mlkem768.pcap"))
    waiting = sensor.after(2)
    sensor.watch.save(sensor.now, waiting)
    sensor.feed(*datagrams("classical_x25519.pcap"))
    waiting += sensor.after(2)
    assert len(waiting) == 2
    sensor.watch.save(sensor.now, waiting)
    sensor.killed()
    sensor = Sensor(tmp_path, sensor.now)
    assert sensor.watch.waiting() == waiting
    sensor.watch.save(sensor.now, [])
    sensor.killed()
    assert Sensor(tmp_path, sensor.now).watch.waiting() == []


def test_a_state_that_is_deleted_is_said_not_to_be_written(tmp_path: Path) -> None:
    sensor = Sensor(tmp_path)
    (tmp_path / "sensor.sqlite3").unlink()
    sensor.feed(*datagrams("hybrid_x25519_mlkem768.pcap"))
    assert len(sensor.after(5)) == 1
    assert sensor.watch.trouble is not None
    assert "deleted" in sensor.watch.trouble


def test_a_state_belongs_to_one_sensor_at_a_time(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="another sensor"):
        Checkpoint(tmp_path)
    first.close()
    Checkpoint(tmp_path).close()


@pytest.mark.parametrize("ends", [0, 1, 2])
def test_the_sa_that_another_was_rekeyed_from_is_known_across_restarts(ends: int, tmp_path: Path) -> None:
    """The sensor ends before, or after, or before and after the new SA is seen."""
    name = "rekey_hybrid_ike_and_child.pcap"
    rekeyed = [f for f in audit(SAMPLES / name)[0] if f["pqaudit"]["related"]["probably_rekeyed_from"] is not None]
    expected = min(rekeyed, key=lambda finding: str(finding["event"]["start"]))
    spi, origin = (
        where["initiator_spi"]
        for where in (expected["pqaudit"]["ike"], expected["pqaudit"]["related"]["probably_rekeyed_from"])
    )
    messages = list(datagrams(name))
    first = next(i for i, d in enumerate(messages) if read_message(d).header.initiator_spi.hex() == spi)
    sensor = Sensor(tmp_path)

    def restart() -> None:
        nonlocal sensor
        sensor.killed()
        sensor = Sensor(tmp_path, sensor.now)

    sensor.feed(*messages[:first])
    told = sensor.after(40)
    if ends != 1:
        restart()
    sensor.feed(*messages[first:])
    told += sensor.after(60)
    if ends:
        restart()
    told += sensor.after(60)
    sensor.feed(next(d for d in reversed(messages) if read_message(d).header.initiator_spi.hex() == spi))
    told += sensor.after(60)
    found = [
        f["pqaudit"]["related"]["probably_rekeyed_from"] for f in told if f["event"]["id"] == expected["event"]["id"]
    ]
    assert found
    assert {each and each["initiator_spi"] for each in found} == {origin}
