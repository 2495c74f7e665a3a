"""Each gap on a message made to show it, and what no gap may hide."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest

from pqaudit.crosscheck import own, run
from pqaudit.crosscheck.gaps import Gaps, load_gaps
from pqaudit.crosscheck.reading import Reading
from pqaudit.decode.datagram import Datagram
from pqaudit.rules.errors import RulesError
from tests import build
from tests.crosscheck.test_captures import crosscheck

pytestmark = pytest.mark.usefixtures("real_tshark", "no_child_left")

HYBRID = build.init_request((*build.SUITE, (build.KE, 31), build.addke(1, 36)))
OFFSET_OF_PAYLOADS = 28


def _ip(protocol: int, payload: bytes, *, offset: int = 0) -> bytes:
    addresses = bytes((192, 0, 2, 1, 192, 0, 2, 2))
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 7, offset, 64, protocol, 0) + addresses + payload


def _frame(ip: bytes) -> bytes:
    return bytes(12) + b"\x08\x00" + ip


def _udp(payload: bytes, source: int, destination: int) -> bytes:
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def _tcp(payload: bytes, sequence: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, 4500, sequence, 0, 0x50, flags, 8192, 0, 0) + payload


def _with(octets: bytes, offset: int, value: bytes) -> bytes:
    return octets[:offset] + value + octets[offset + len(value) :]


def _in_tcp() -> list[bytes]:
    stream = b"IKETCP" + struct.pack("!H", len(HYBRID) + 6) + bytes(4) + HYBRID
    return [_frame(_ip(6, _tcp(b"", 99, 2))), _frame(_ip(6, _tcp(stream, 100, 0x18)))]


CASES: dict[str, list[bytes]] = {
    "icmp-quotes": [_frame(_ip(1, struct.pack("!BBHI", 3, 3, 0, 0) + _ip(17, _udp(HYBRID, 500, 500))))],
    "no-plausibility-check": [
        build.udp_frame(_with(HYBRID, 0, bytes(8))),  # initiator SPI of zero
        build.udp_frame(_with(HYBRID, 17, b"\x30")),  # major version 3
        build.udp_frame(_with(HYBRID, 18, b"\x02")),  # main mode in IKEv2
        build.udp_frame(_with(HYBRID, 24, struct.pack("!I", 4000))),  # length beyond the datagram
    ],
    "no-ike-in-tcp": _in_tcp(),
    "marker-only-on-4500": [_frame(_ip(17, _udp(bytes(4) + HYBRID, 500, 500)))],
    "needs-all-ip-fragments": [_frame(_ip(17, _udp(HYBRID, 500, 500)[:80], offset=0x2000))],
    "stops-at-exception": [
        build.udp_frame(build.message(build.INIT, [build.notify(16407), build.notify(16438)]))  # REDIRECT, no data
    ],
    "goes-on-after-encrypted": [
        build.udp_frame(build.message(build.AUTH, [(46, bytes(80)), build.notify(16438)]))  # SK and then a notify
    ],
    "believes-transform-count": [
        build.udp_frame(_with(HYBRID, OFFSET_OF_PAYLOADS + 4 + 7, b"\x02"))  # two of four
    ],
    "stops-at-last-proposal": [
        build.udp_frame(build.message(build.INIT, [(33, build.sa(((build.KE, 31),))[1] * 2), build.nonce()]))
    ],
    "bad-length-inside": [
        build.udp_frame(_with(HYBRID, OFFSET_OF_PAYLOADS + 2, b"\x00\x02")),  # a payload of 2 octets
        build.udp_frame(_with(HYBRID, OFFSET_OF_PAYLOADS + 4 + 2, b"\x00\x02")),  # a proposal of 2 octets
    ],
    "shows-impossible-fragments": [
        build.udp_frame(build.encrypted(build.INTERMEDIATE, 1, fragment=(3, 2), octets=100)),
        build.udp_frame(build.encrypted(build.INTERMEDIATE, 1, fragment=(0, 2), octets=100)),
    ],
}


@pytest.mark.parametrize("gap", CASES)
def test_each_gap_is_named(gap: str, tmp_path: Path) -> None:
    check = crosscheck(build.pcap(CASES[gap], tmp_path / "made.pcap"))
    assert check.unexplained == []
    assert gap in check.by_gap
    assert not check.unreadable


def test_snapshot_length(tmp_path: Path) -> None:
    check = crosscheck(build.pcap([build.udp_frame(HYBRID)], tmp_path / "made.pcap", snaplen=120))
    assert check.unexplained == []
    assert set(check.by_gap) == {"stops-at-snapshot"}


@pytest.mark.parametrize("first_is_marked", [True, False])
def test_a_port_with_and_without_marker(first_is_marked: bool, tmp_path: Path) -> None:
    marked, bare = (_frame(_ip(17, _udp(marker + HYBRID, 5500, 5500))) for marker in (bytes(4), b""))
    order = [marked, bare] if first_is_marked else [bare, marked]
    check = crosscheck(build.pcap(order, tmp_path / "made.pcap"), ports=(5500,))
    assert check.unexplained == []
    assert set(check.by_gap) == {"one-dissector-per-port"}
    assert check.files[0].messages == 1


def test_every_gap_that_explains_something_has_a_case() -> None:
    tested = {*CASES, "stops-at-snapshot", "one-dissector-per-port", "no-fragment-numbers"}
    assert {gap.id for gap in load_gaps() if gap.explains} == tested


WHOLE: dict[str, bytes] = {
    "every transform type": build.message(build.INIT, [build.sa(tuple((kind, 1000 + kind) for kind in range(1, 256)))]),
    "255 transforms": build.message(build.INIT, [build.sa(tuple((build.KE, 1000 + k) for k in range(255)))]),
    "60 proposals": build.message(build.INIT, [build.sa(*[((build.KE, k),) for k in range(60)])]),
    "150 notifies": build.message(build.INIT, [build.notify(40960 + k) for k in range(150)]),
    "all flags": _with(HYBRID, 19, b"\xff"),
    "minor version": _with(HYBRID, 17, b"\x2f"),
    "unknown payloads": build.message(build.INIT, [(99, b"hello"), (200, b""), build.nonce()]),
    "notify with SPI": build.message(build.INFO, [(41, struct.pack("!BBH", 3, 4, 11) + b"abcdef")]),
    "delete": build.message(build.INFO, [(42, struct.pack("!BBH", 3, 4, 2) + bytes(8))]),
    "proposal with SPI": build.message(
        build.CHILD,
        [(33, struct.pack("!BBHBBBB", 0, 0, 20, 1, 3, 4, 1) + b"abcd" + struct.pack("!BBHBBH", 0, 0, 8, 4, 0, 36))],
    ),
    "vendor IDs": build.message(build.INIT, [build.vendor_id(b""), build.vendor_id(b"strongSwan")]),
    "fragment": build.encrypted(build.INTERMEDIATE, 1, fragment=(1, 65535)),
    "octets after the message": HYBRID + b"more",
    "no payload": build.message(build.INFO, []),
}


@pytest.mark.parametrize("name", WHOLE)
def test_sound_messages_are_read_alike(name: str, tmp_path: Path) -> None:
    check = crosscheck(build.pcap([build.udp_frame(WHOLE[name])], tmp_path / "made.pcap"))
    assert check.unexplained == []
    assert check.explained == []
    assert check.files[0].messages == 1


def test_two_lengths_of_a_key_are_a_difference_without_excuse(tmp_path: Path) -> None:
    transform = struct.pack("!BBHBBHHHHH", 0, 0, 16, 1, 0, 12, 0x800E, 128, 0x800E, 256)
    proposal = struct.pack("!BBHBBBB", 0, 0, 24, 1, 1, 0, 1) + transform
    path = build.pcap([build.udp_frame(build.message(build.INIT, [(33, proposal)]))], tmp_path / "made.pcap")
    check = crosscheck(path)
    (difference,) = check.unexplained
    assert (difference.file, difference.frame) == (str(path), 1)
    assert difference.field == "payload[0].proposal[0].transform[0].key_length"
    assert {difference.own, difference.tshark} == {128, 256}


def test_no_fault_of_a_message_excuses_a_number_that_both_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = own.own_reading
    misread = "payload[0].proposal[0].transform[0].id"

    def wrong(datagram: Datagram, *rest: object) -> Reading:
        reading = genuine(datagram, *rest)  # type: ignore[arg-type]
        return replace(reading, fields=reading.fields | {misread: 3, "message_id": 3})

    monkeypatch.setattr(own, "own_reading", wrong)
    for gap in ("stops-at-exception", "believes-transform-count", "stops-at-last-proposal"):
        check = crosscheck(build.pcap(CASES[gap], tmp_path / f"{gap}.pcap"))
        found = {each.field for each in check.unexplained}
        assert found == {"message_id", misread} or (gap == "stops-at-exception" and "message_id" in found)


# Every field that is compared, wrong on purpose: a comparison that misses one would pass all captures.
FIELDS = {
    "initiator_spi": "0000000000000001",
    "responder_spi": "0000000000000002",
    "next_payload": 1,
    "version": 0x21,
    "exchange_type": 35,
    "flags": 0,
    "message_id": 99,
    "length": 1,
    "payload[0].proposals": 9,
    "payload[0].proposal[0].number": 9,
    "payload[0].proposal[0].protocol": 9,
    "payload[0].proposal[0].spi": "ff",
    "payload[0].proposal[0].transforms": 9,
    "payload[0].proposal[0].transform[3].type": 7,
    "payload[0].proposal[0].transform[3].id": 35,
    "payload[0].proposal[0].transform[0].key_length": 128,
    "payload[1].ke.method": 19,
    "payload[1].length": 1,
    "payload[2].length": 1,
    "payload[3].notify.type": 1,
    "payload[3].notify.protocol": 9,
    "payload[3].notify.data": "ff",
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_misread_field_is_found(field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = own.own_reading

    def misread(datagram: Datagram, *rest: object) -> Reading:
        reading = genuine(datagram, *rest)  # type: ignore[arg-type]
        assert field in reading.fields
        return replace(reading, fields=reading.fields | {field: FIELDS[field]})

    monkeypatch.setattr(own, "own_reading", misread)
    check = crosscheck(build.pcap([build.udp_frame(HYBRID)], tmp_path / "made.pcap"))
    (difference,) = check.unexplained
    assert (difference.frame, difference.field, difference.own) == (1, field, FIELDS[field])
    assert check.differing == 1


def test_a_message_only_one_of_them_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.pcap([build.udp_frame(HYBRID)] * 3, tmp_path / "made.pcap")
    genuine = run.own_readings

    def without_second(*arguments: object):  # type: ignore[no-untyped-def]
        for reading in genuine(*arguments):  # type: ignore[arg-type]
            if reading.frame != 2:
                yield reading

    monkeypatch.setattr(run, "own_readings", without_second)
    check = crosscheck(path)
    assert [(each.frame, each.field, each.own, each.tshark) for each in check.unexplained] == [
        (2, "message", None, "IKE")
    ]


def test_versions_bound_what_a_gap_explains() -> None:
    gaps = load_gaps()
    known = {version: {gap.id for gap in Gaps(gaps, version).known} for version in ((1, 6, 5), (1, 6, 6), (4, 6, 4))}
    assert "no-fragment-numbers" in known[1, 6, 5]
    assert "no-fragment-numbers" not in known[1, 6, 6]
    assert "no-ike-in-tcp" in known[1, 6, 5]
    assert "no-ike-in-tcp" not in known[4, 6, 4]


def test_an_old_tshark_without_fragment_numbers() -> None:
    from pqaudit.crosscheck.compare import Comparison, Difference

    mine = Reading(1, {"version": 32, "payload[0].fragment.number": 1, "payload[0].fragment.total": 2}, (53,))
    theirs = Reading(1, {"version": 32}, (53,))
    found: list[Difference] = []
    comparison = Comparison("x", iter([mine]), found.append)
    comparison.frame(1, [theirs])
    comparison.finish()
    assert [each.field for each in found] == ["payload[0].fragment.number", "payload[0].fragment.total"]
    old, new = (Gaps(load_gaps(), version) for version in ((1, 6, 5), (4, 0, 17)))
    for each in found:
        gap = old.explain(each)
        assert gap is not None
        assert gap.id == "no-fragment-numbers"
        assert new.explain(each) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: 1\ngaps: {}", "gaps must be a list"),
        ("schema: 1\ngaps: [{id: a}]", "an id, a title and a source"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c, versions: {to: '4.0'}}]", "is no version"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c, versions: {until: '4.0.0'}}]", "versions may have"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c, explains: {field: [x]}}]", "explains may have"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c, explains: {fields: [x], own: no}}]", "own must be one of"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c, explains: {fields: x}}]", "must be a list"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c, explains: {fields: [x], own_is: [y]}}]", "a mapping to lists"),
        ("schema: 1\ngaps: [{id: a, title: b, source: c}, {id: a, title: b, source: c}]", "the same id"),
    ],
)
def test_faults_in_the_file_are_said(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "tshark_gaps.yaml").write_text(text)
    with pytest.raises(RulesError, match=said):
        load_gaps(tmp_path)
