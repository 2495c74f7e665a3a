"""A search server that is away for long: what a sensor kept meanwhile gets there, each finding once."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pqaudit.elastic.spool import ADDED, DELIVERED, DROPPED_BY_SIZE, FILE_NAME
from tests import build as b
from tests.elastic.conftest import documents
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.sensor.link import Link
from tests.sensor.running import RunningSensor

EACH = 1000  # SAs of each of the sensor's three lives; one request to the server has 500 findings at most
CATCHING_UP = 90.0  # seconds; the longest pause between two questions whether the server is there is 30
PER_SECOND = 3000  # SAs; slow enough that nothing is lost on a machine that is busy
SUITES = ((*b.SUITE, (b.KE, 31)), (*b.SUITE, (b.KE, 31), b.addke(1, 36)))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A server of this module's own, which the tests stop."""
    with Node("elasticsearch", data=tmp_path_factory.mktemp("outage")) as started:
        yield started


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.delete()


def negotiate(link: Link, numbers: range) -> None:
    """Send IKE_SA_INIT, request and response, of an SA for each number."""
    began = time.monotonic()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((link.sending, 0))
        for done, number in enumerate(numbers, start=1):
            payloads = [b.sa(SUITES[number % len(SUITES)]), b.ke(31, 32), b.nonce()]
            initiator = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            spi_i, spi_r = spi(number), (0xB << 60 | number).to_bytes(8, "big")
            sender.send(b.udp_frame(b.message(b.INIT, payloads, spi_i=spi_i), initiator, b.B))
            response = b.message(b.INIT, payloads, spi_i=spi_i, spi_r=spi_r, flags=b.RESPONSE)
            sender.send(b.udp_frame(response, b.B, initiator))
            time.sleep(max(0.0, began + done / PER_SECOND - time.monotonic()))


def spi(number: int) -> bytes:
    return (0xA << 60 | number).to_bytes(8, "big")


class SpoolFile:
    """What a sensor has in its spool, read beside it."""

    def __init__(self, folder: Path) -> None:
        self._uri = f"file:{folder / 'state' / 'spool' / FILE_NAME}?mode=ro"

    def ids(self) -> list[str]:
        """``event.id`` of the findings that wait, oldest first; an SA that was told of twice is there twice."""
        return [str(row[0]) for row in self._rows("SELECT id FROM queue ORDER BY seq")]

    def counters(self) -> dict[str, int]:
        return {str(name): int(value) for name, value in self._rows("SELECT name, value FROM counters")}

    def _rows(self, query: str) -> list[tuple[str | int, ...]]:
        database = sqlite3.connect(self._uri, uri=True, timeout=20)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()


def initiator_spis(sensor: RunningSensor) -> set[str]:
    return {finding["pqaudit"]["ike"]["initiator_spi"] for finding in sensor.findings}


def sensor_on(link: Link, node: Node, folder: Path, *options: object) -> RunningSensor:
    return RunningSensor(folder, link.watched, options=("--elasticsearch", node.url, "--quiet", *options))


def until(happened: Callable[[], object], what: str) -> float:
    """Seconds waited for something, as long as catching up may take."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < CATCHING_UP, what
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture(autouse=True)
def running(node: Node) -> None:
    """Whatever a test before has done to the server."""
    if node.pid is None:
        node.start()
    wipe(node)


def test_what_waited_through_two_ends_of_the_sensor_gets_there_once(link: Link, node: Node, tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path)
    with sensor_on(link, node, tmp_path) as sensor:
        negotiate(link, range(10))
        sensor.until(lambda: spool.counters().get(DELIVERED) == 10, "the first findings on the server")
        node.terminate()
        negotiate(link, range(10, EACH))
        sensor.stop()  # amid its work; what it has not told of yet, the next one tells
    with sensor_on(link, node, tmp_path) as sensor:
        negotiate(link, range(EACH, 2 * EACH))
        time.sleep(1.5)
        sensor.kill()
    told = initiator_spis(sensor)
    with sensor_on(link, node, tmp_path) as sensor:
        negotiate(link, range(2 * EACH, 3 * EACH))
        orderly = {spi(number).hex() for number in (*range(EACH), *range(2 * EACH, 3 * EACH))}
        sensor.until(lambda: orderly <= initiator_spis(sensor), "findings of all SAs that no SIGKILL can have cost")
        # What was told before SIGKILL is kept; of the rest the checkpoint may not hold the last two seconds.
        assert told <= initiator_spis(sensor)
        time.sleep(3)
        waiting = set(spool.ids())
        assert len(waiting) >= 2 * EACH - 10
        node.start()
        waited = until(lambda: len(spool.ids()) < len(waiting), "the first delivery after the outage")
        took = until(lambda: not spool.ids(), "all deliveries")
        speed = len(waiting) / max(took, 0.1)
        print(f"{len(waiting)} findings: the first after {waited:.1f} s, then {speed:,.0f} a second")
        sensor.stop()
    found = [(id_, document) for id_, document in documents(node)]
    ids = [id_ for id_, _ in found]
    assert len(ids) == len(set(ids))
    assert set(ids) >= waiting
    assert {document["pqaudit"]["ike"]["initiator_spi"] for _, document in found} == initiator_spis(sensor)  # type: ignore[index]
    counters = spool.counters()
    assert DROPPED_BY_SIZE not in counters
    assert counters[ADDED] == counters[DELIVERED]


def test_what_the_spool_has_no_room_for_is_counted(link: Link, node: Node, tmp_path: Path) -> None:
    spool = SpoolFile(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def metric(name: str) -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            found = re.search(rf"^pqaudit_{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    node.terminate()
    with sensor_on(link, node, tmp_path, "--spool-size", 2, "--metrics", port) as sensor:
        negotiate(link, range(2 * EACH))
        sensor.until(lambda: len(sensor.findings) == 2 * EACH, "a finding of every SA")
        sensor.until(lambda: metric("spooled_findings") + metric("dropped_findings_total") == 2 * EACH, "all of them")
        waiting = spool.ids()
        dropped = spool.counters()[DROPPED_BY_SIZE]
        assert dropped == metric("dropped_findings_total") == 2 * EACH - len(waiting)
        # The newest are kept.
        assert waiting == [finding["event"]["id"] for finding in sensor.findings][-len(waiting) :]
        node.start()
        until(lambda: not spool.ids(), "all deliveries")
        sensor.until(lambda: metric("delivered_findings_total") == len(waiting), "the count of deliveries")
        sensor.process.send_signal(signal.SIGTERM)
        assert sensor.process.wait(20) == 0
    assert sorted(id_ for id_, _ in documents(node)) == sorted(waiting)
    stopped = json.loads(sensor.log.read_text().splitlines()[-1])
    assert (stopped["event"], stopped["dropped"], stopped["delivered"]) == ("stopped", dropped, len(waiting))
