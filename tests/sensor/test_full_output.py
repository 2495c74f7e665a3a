"""Findings that the output does not take, over an end of the sensor."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sensor.link import Link
from tests.sensor.running import RunningSensor


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.delete()


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_full_disk_did_not_take_is_told_after_a_restart(killed: bool, link: Link, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, link.watched, options=("-o", "/dev/full")) as sensor:
        spi = link.send("hybrid_x25519_mlkem768.pcap")
        sensor.until(lambda: "cannot be kept" in sensor.log.read_text(), "the note that findings cannot be kept")
        if killed:
            time.sleep(3)  # more than between two savings
            sensor.kill()
        else:
            sensor.process.terminate()
            assert sensor.process.wait(20) == 4
            assert "will be at the next start" in sensor.log.read_text()
    with RunningSensor(tmp_path, link.watched) as sensor:
        sensor.finding(spi, verdict="hybrid-ml-kem")
        sensor.stop()
    assert len(sensor.findings) == 1
