"""What a sensor shows of itself; nothing from the wire reaches a terminal or breaks a line."""

from __future__ import annotations

import copy
import io
import json
from collections import Counter

import pytest
from rich.console import Console

from pqaudit.capture.devices import DeviceState
from pqaudit.capture.live import Statistics
from pqaudit.finding.document import Document
from pqaudit.sensor.log import Log
from pqaudit.sensor.source import CaptureReport, InterfaceReport
from pqaudit.sensor.status import ExposureStatus, Status
from pqaudit.sensor.view import LiveView
from tests.conftest import SAMPLES, audit, rulebook_cached

HOSTILE = "evil\x1b]0;owned\x07\nname\u202e"


@pytest.fixture
def finding() -> Document:
    (found,), _ = audit(SAMPLES / "hybrid_x25519_mlkem768.pcap")
    return copy.deepcopy(found)


@pytest.fixture
def status(finding: Document) -> Status:
    made = Status(started=0.0, observer=HOSTILE, server="https://search.example:9200")
    interface = InterfaceReport(HOSTILE, DeviceState.DOWN, Statistics(1000, 20, 3), 4, "it is down")
    made.capture = CaptureReport((interface,))
    made.findings["hybrid-ml-kem"] = 7
    made.latest.appendleft(finding)
    made.notes.append((0.0, HOSTILE))
    made.counters["attempts-evicted"] = 5
    made.trouble = HOSTILE
    made.exposure = ExposureStatus(
        64,
        running=True,
        pairs=3,
        packets=Counter({"classical-only": 128, "no-ike-seen": 64}),
        octets=Counter({"classical-only": 1_234_567, "no-ike-seen": 64_000}),
        interfaces=(InterfaceReport(HOSTILE, DeviceState.UP, Statistics(3, 2, 0)),),
        top=((("192.0.2.1", "192.0.2.2"), "classical-only", 1_234_567, 128),),
    )
    return made


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (20, 5)])
def test_the_view(size: tuple[int, int], status: Status) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=size[0], height=size[1], color_system=None)
    with LiveView(status, rulebook_cached().registry, console) as view:
        view.update()
        view.update()
    shown = out.getvalue()
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    if size[0] == 200:
        for part in ("7 hybrid-ml-kem", "1,000", "x25519 + ml-kem-768", "5 attempts-evicted", "down"):
            assert part in shown
        for part in (
            "1 packet in 64",
            "1,298,567 octets",
            "3 taken, 2 of them dropped",
            "192.0.2.1 - 192.0.2.2",
            "1,234,567",
        ):
            assert part in shown


def test_the_terminal_is_given_back_after_a_failure(status: Status) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24)

    def fail() -> None:
        with LiveView(status, rulebook_cached().registry, console) as view:
            view.update()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert out.getvalue().rindex("\x1b[?25h") > out.getvalue().rindex("\x1b[?25l")  # the cursor is shown again


def test_every_event_is_one_line_of_json(status: Status, finding: Document) -> None:
    out = io.StringIO()
    log = Log(out)
    log.started(status)
    log.note(HOSTILE)
    log.finding(finding)
    log.summary(status)
    log.stopped(status)
    assert "\x1b" not in out.getvalue()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [
        "started",
        "note",
        "finding",
        "summary",
        "exposure",
        "exposure",
        "stopped",
    ]
    assert lines[1]["message"] == HOSTILE
    assert lines[2]["verdict"] == "hybrid-ml-kem"
    assert lines[3]["interfaces"][0]["dropped"] == 20
    assert lines[4]["esp_octets"] == {"classical-only": 1_234_567, "no-ike-seen": 64_000}
    assert lines[4]["interfaces"][0]["dropped"] == 2


def test_a_quiet_log_has_no_findings(finding: Document) -> None:
    out = io.StringIO()
    Log(out, quiet=True).finding(finding)
    assert out.getvalue() == ""
