"""All captures there are: nothing may differ that no named gap of tshark explains."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from pqaudit.crosscheck.gaps import Gaps, load_gaps
from pqaudit.crosscheck.run import Crosscheck
from pqaudit.crosscheck.runner import Tshark
from pqaudit.pipeline import ReadOptions
from tests.conftest import SAMPLES, SHARED_CAPTURES, shared_folder
from tests.test_shared_captures import CUSTOM_PORTS

pytestmark = pytest.mark.usefixtures("real_tshark", "no_child_left")


@functools.cache
def _tshark() -> Tshark:
    return Tshark(60)


def crosscheck(*paths: Path, ports: tuple[int, ...] = ()) -> Crosscheck:
    tshark = _tshark()
    check = Crosscheck(tshark, Gaps(load_gaps(), tshark.version), ReadOptions(ports))
    check.check(map(str, paths))
    return check


def _captures(folder: str) -> list[object]:
    found = sorted(
        each for each in (SHARED_CAPTURES / folder).glob("*.*") if each.suffix in (".pcap", ".pcapng", ".cap")
    )
    if not found:
        skip = pytest.mark.skip(reason=f"optional: captures/{folder} is not here")
        return [pytest.param("absent", marks=skip)]
    return [each.name for each in found]


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.pcap")), ids=lambda path: str(path.name))
def test_sample(path: Path) -> None:
    check = crosscheck(path)
    assert not check.notes
    assert [file.error for file in check.files] == [None]
    assert check.unexplained == []
    assert check.explained == []  # whole messages on the usual ports, made by real daemons
    assert check.files[0].messages > 1
    assert check.files[0].fields >= 9 * check.files[0].messages


@pytest.mark.parametrize("name", _captures("strongswan"))
def test_capture_of_daemons(name: str) -> None:
    check = crosscheck(shared_folder("strongswan") / name, ports=CUSTOM_PORTS.get(name, ()))
    assert [file.error for file in check.files] == [None]
    assert check.unexplained == []
    assert set(check.by_gap) == ({"icmp-quotes"} if "icmp" in name else set())
    assert check.files[0].messages > 0


@pytest.mark.parametrize("name", _captures("public"))
def test_public_capture(name: str) -> None:
    check = crosscheck(shared_folder("public") / name)
    assert [file.error for file in check.files] == [None]
    assert check.unexplained == []
