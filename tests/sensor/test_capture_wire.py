"""What travels between the capturing process and the analysis, without a capture."""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.capture.devices import DeviceState
from pqaudit.capture.frame import Frame
from pqaudit.capture.live import LEAST_BUFFER, Statistics
from pqaudit.capture.loss import Loss
from pqaudit.capture.privileges import Account
from pqaudit.capture.ring import RingOptions, RingState
from pqaudit.capture.ring_places import Place
from pqaudit.sensor.capture_options import LEAST_BACKLOG, CaptureOptions, pack_options, unpack_options
from pqaudit.sensor.capture_wire import (
    Kind,
    Unpacker,
    message,
    pack_frames,
    pack_report,
    unpack_frames,
    unpack_report,
)
from pqaudit.sensor.outbox import Outbox
from pqaudit.sensor.source import CaptureReport, InterfaceReport

FRAMES = st.lists(
    st.builds(
        Frame,
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.sampled_from((6, 9)),
        st.integers(0, (1 << 16) - 1),
        st.binary(max_size=80),
        st.integers(0, (1 << 32) - 1),
        st.sampled_from(("interface:b0", "interface:ä", "interface:\udcff", "")),
        st.integers(0, (1 << 64) - 1),
    ),
    max_size=30,
)


PLACES = st.none() | st.builds(
    Place, st.sampled_from(("/ring/ä 1.pcapng", "/ring/\udcff.pcapng")), st.integers(1, (1 << 32) - 1)
)


@given(FRAMES, st.lists(PLACES, min_size=30, max_size=30))
def test_frames_arrive_as_they_were_packed(frames: list[Frame], places: list[Place | None]) -> None:
    kept = list(zip(frames, places, strict=False))
    [(kind, octets)] = Unpacker().feed(pack_frames(kept))
    assert kind is Kind.FRAMES
    assert unpack_frames(octets) == kept


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(1, 17))
def test_messages_arrive_whole_however_the_stream_is_cut(messages: list[bytes], step: int) -> None:
    stream = b"".join(message(Kind.REPORT, octets) for octets in messages)
    unpacker = Unpacker()
    found: list[bytes] = []
    for start in range(0, len(stream), step):
        found += (octets for _, octets in unpacker.feed(stream[start : start + step]))
    assert found == messages
    assert len(unpacker) == 0


@given(st.binary(max_size=200))
def test_other_octets_do_no_more_than_raise(octets: bytes) -> None:
    for unpack in (unpack_frames, unpack_report, lambda octets: list(Unpacker().feed(octets))):
        try:
            unpack(octets)
        except (ValueError, KeyError, TypeError, IndexError, struct.error):
            continue


def test_a_report_arrives_as_it_was_packed() -> None:
    report = CaptureReport(
        (
            InterfaceReport("b0", DeviceState.UP, Statistics(1 << 40, 2, 3), 4),
            InterfaceReport("b1", DeviceState.GONE, Statistics(), problem="It is gone."),
        ),
        (("b0", Loss(1, 2, 3, 4)), ("b1", Loss(5, 6, 0, 0, blind=True))),
        RingState(1, 2, 3, 4, 5, "full"),
        17,
        ("Ein Satz.", "another"),
    )
    [(kind, octets)] = Unpacker().feed(pack_report(report))
    assert kind is Kind.REPORT
    assert unpack_report(octets) == report
    [(_, octets)] = Unpacker().feed(pack_report(CaptureReport(())))
    assert unpack_report(octets) == CaptureReport(())


def test_options_arrive_as_they_were_packed() -> None:
    for options in (
        CaptureOptions(("b0",)),
        CaptureOptions(
            ("b0", "b1"),
            frozenset((5500, 5501)),
            tunnels=True,
            buffer_octets=2 * LEAST_BUFFER,
            promiscuous=False,
            snapshot_length=1000,
            ring_folder="/var/\udcff",
            ring=RingOptions(keep=3600.0),
            account=Account("sensor", 900, 901, (901, 902)),
            backlog_octets=LEAST_BACKLOG,
            wait=True,
        ),
    ):
        assert unpack_options(pack_options(options)) == options


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"interfaces": ()}, "At least one"),
        ({"interfaces": ("b0", "b0")}, "only once"),
        ({"backlog_octets": LEAST_BACKLOG - 1}, "backlog"),
        ({"buffer_octets": 1}, "buffer"),
        ({"snapshot_length": 0}, "snapshot"),
        ({"ports": frozenset(range(6000, 6017))}, "At most 16 ports"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_started(
    change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        CaptureOptions(**{"interfaces": ("b0",), **change})  # type: ignore[arg-type]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        yield ours, theirs


def test_the_outbox_takes_no_more_than_its_bound_but_always_one(ends: tuple[socket.socket, socket.socket]) -> None:
    outbox = Outbox(ends[0], 1000)
    assert outbox.add(bytes(5000))
    assert not outbox.add(bytes(1))
    assert outbox.octets >= 5000
    outbox.send()
    assert outbox.add(bytes(400))
    assert outbox.add(bytes(300))
    assert not outbox.add(bytes(300))


def test_an_urgent_message_overtakes_and_tears_none_apart(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    outbox = Outbox(ours, 1 << 20)
    sent = deque(message(Kind.FRAMES, bytes([number]) * 50_000) for number in range(3))
    for each in sent:
        assert outbox.add(each)
    outbox.send()
    outbox.add_urgent(message(Kind.REPORT, b"urgent"))
    assert outbox.urgent == 1
    unpacker = Unpacker()
    found: list[tuple[Kind, bytes]] = []
    while outbox:
        found += unpacker.feed(theirs.recv(3000))
        outbox.send()
    while len(found) < 4:
        found += unpacker.feed(theirs.recv(3000))
    assert [octets[0] for kind, octets in found if kind is Kind.FRAMES] == [0, 1, 2]
    assert found[1] == (Kind.REPORT, b"urgent")
    assert outbox.octets == 0


def test_the_outbox_tells_that_nobody_receives(ends: tuple[socket.socket, socket.socket]) -> None:
    outbox = Outbox(ends[0], 1000)
    outbox.add(b"something")
    ends[1].close()
    with pytest.raises(ConnectionError):
        outbox.send()
