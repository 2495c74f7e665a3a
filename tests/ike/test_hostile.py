"""Lengths, counts and types that lie, and what another implementation writes."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.ike.header import NotIkeError, parse_header
from pqaudit.ike.ikev1 import MOST_PAYLOADS as MOST_V1_PAYLOADS
from pqaudit.ike.ikev1 import Phase1Transform, V1Message, parse_v1_message
from pqaudit.ike.message import Message, parse_message
from pqaudit.ike.payloads import (
    AnyPayload,
    EncryptedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    OtherPayload,
    SecurityAssociationPayload,
    VendorIdPayload,
)
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from tests import build as b
from tests.conftest import SAMPLES

PLAIN: tuple[b.Transform, ...] = (*b.SUITE, (b.KE, 31))


def parse(octets: bytes, *, truncated: bool = False) -> Message:
    return parse_message(parse_header(octets, truncated=truncated), octets)


def chain(first: int, body: bytes, *, length: int | None = None) -> bytes:
    """A message whose octets behind the header are ``body``."""
    stated = 28 + len(body) if length is None else length
    return b.SPI_I + bytes(8) + struct.pack("!BBBBII", first, 0x20, 34, 8, 0, stated) + body


def generic(following: int, stated: int, body: bytes = b"", *, flags: int = 0) -> bytes:
    return struct.pack("!BBH", following, flags, stated) + body


# -- the header (RFC 7296 section 3.1) -----------------------------------------------------------------------------


@pytest.mark.parametrize("minor", [0, 1, 15])
def test_a_minor_version_is_ignored(minor: int) -> None:
    # "MUST ignore the minor version number": only the major one decides.
    octets = bytearray(b.init_request(PLAIN))
    octets[17] = 0x20 | minor
    assert parse(bytes(octets)).complete


@pytest.mark.parametrize("major", [0, 3, 4, 15])
def test_other_major_versions_are_not_ike(major: int) -> None:
    octets = bytearray(b.init_request(PLAIN))
    octets[17] = major << 4
    with pytest.raises(NotIkeError) as caught:
        parse_header(bytes(octets))
    assert caught.value.slug == "unknown-version"


@given(st.binary(max_size=80), st.booleans())
def test_a_header_or_one_kind_of_error(octets: bytes, truncated: bool) -> None:
    try:
        header = parse_header(octets, truncated=truncated)
    except NotIkeError:
        return
    assert header.initiator_spi != bytes(8)
    assert (header.version >> 4, header.exchange_type < 34) in {(1, True), (2, False)}
    assert truncated or header.length <= len(octets)


@pytest.mark.parametrize("length", [0, 27, 2**31, 2**32 - 1])
def test_impossible_lengths_are_not_ike(length: int) -> None:
    with pytest.raises(NotIkeError):
        parse_header(chain(40, generic(0, 8, b"abcd"), length=length))


def test_octets_behind_the_message_are_not_read() -> None:
    octets = b.message(b.INIT, [b.nonce(16)])
    message = parse(octets + generic(0, 8, b"more"))
    assert message.payloads == (NoncePayload(16),)
    assert message.faults == ("octets-after-message",)


def test_octets_between_the_last_payload_and_the_end() -> None:
    message = parse(chain(40, generic(0, 8, b"abcd") + b"tail"))
    assert message.payloads == (NoncePayload(4),)
    assert message.faults == ("octets-after-payloads",)


def test_a_message_without_payloads() -> None:
    message = parse(chain(0, b""))
    assert (message.payloads, message.faults, message.complete) == ((), (), True)


# -- the chain (section 3.2) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stated", [0, 1, 3])
def test_a_payload_shorter_than_its_header_ends_the_chain(stated: int) -> None:
    message = parse(chain(40, generic(40, 8, b"abcd") + generic(43, stated, b"xxxx")))
    assert message.payloads == (NoncePayload(4),)
    assert message.faults == ("payload-length",)
    assert not message.complete


def test_a_payload_beyond_the_end_is_kept_as_far_as_it_goes() -> None:
    message = parse(chain(40, generic(43, 8, b"abcd") + generic(40, 100, b"vendor")))
    assert message.payloads == (NoncePayload(4), VendorIdPayload(b"vendor"))
    assert message.faults == ("payload-cut-off",)
    assert not message.complete


def test_a_chain_that_goes_on_behind_the_end() -> None:
    message = parse(chain(40, generic(43, 8, b"abcd")))
    assert message.payloads == (NoncePayload(4),)
    assert not message.complete


@pytest.mark.parametrize("kind", [1, 13, 32, 54, 127, 128, 255])
@pytest.mark.parametrize("critical", [0, 0x80])
def test_unknown_payloads_are_passed_over(kind: int, critical: int) -> None:
    # An observer need not understand what a peer marks critical (section 2.5).
    message = parse(chain(kind, generic(40, 9, b"12345", flags=critical) + generic(0, 8, b"abcd")))
    assert message.payloads == (OtherPayload(kind, 9), NoncePayload(4))
    assert message.complete


@pytest.mark.parametrize(("kind", "room"), [(34, 3), (41, 3), (42, 3), (53, 3), (34, 0), (41, 0)])
def test_payloads_too_short_for_their_own_header(kind: int, room: int) -> None:
    message = parse(chain(kind, generic(0, 4 + room, bytes(room))))
    assert message.payloads == (OtherPayload(kind, 4 + room),)
    assert message.faults


def test_a_notify_whose_spi_is_longer_than_the_payload() -> None:
    message = parse(chain(41, generic(40, 10, struct.pack("!BBH", 3, 3, 16390) + b"ab") + generic(0, 8, b"abcd")))
    assert message.payloads == (OtherPayload(41, 10), NoncePayload(4))
    assert "notify-length" in message.faults


def test_nothing_is_read_behind_an_encrypted_payload() -> None:
    # Section 3.14: the encrypted payload is the last one; its Next Payload octet names what is inside.
    message = parse(chain(46, generic(33, 20, bytes(16)) + generic(0, 8, b"abcd")))
    assert message.payloads == (EncryptedPayload(33, 20, 0, 0),)
    assert "payload-after-encrypted" in message.faults


@pytest.mark.parametrize(
    ("fragment", "good"), [((1, 1), True), ((65535, 65535), True), ((2, 1), False), ((0, 0), False)]
)
def test_fragment_numbers(fragment: tuple[int, int], good: bool) -> None:
    # RFC 7383 section 2.5: from 1 to the total.
    (payload,) = parse(b.encrypted(b.AUTH, 1, octets=60, fragment=fragment)).payloads
    assert isinstance(payload, EncryptedPayload) == good


def test_clear_payloads_before_an_encrypted_one() -> None:
    # RFC 7383 section 2.5.3: payloads in the clear stand before the first fragment.
    message = parse(chain(43, generic(53, 6, b"vv") + generic(35, 12, struct.pack("!HH", 1, 2) + bytes(4))))
    assert message.payloads == (VendorIdPayload(b"vv"), EncryptedPayload(35, 12, 1, 2))


def test_the_work_grows_with_the_octets_and_no_faster() -> None:
    # One octet of body never costs more than a constant: the largest UDP message, in the worst shapes known.
    room = 65_000
    proposals = struct.pack("!BBHBBBB", 2, 0, 8, 1, 1, 0, 0) * (room // 8)
    transforms = struct.pack("!BBHBBH", 3, 0, 8, 4, 0, 31) * (room // 8)
    attributes = struct.pack("!HH", 0x8001, 1) * (room // 4)
    wide = struct.pack("!BBHBBH", 0, 0, 8 + len(attributes), 1, 0, 12) + attributes
    shapes = [
        (33, proposals),
        (33, struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, 255) + transforms),
        (33, struct.pack("!BBHBBBB", 0, 0, 8 + len(wide), 1, 1, 0, 1) + wide),
    ]
    start = time.process_time()
    for kind, body in shapes:
        parse(chain(kind, generic(0, 4 + len(body), body)))
    parse(chain(200, generic(200, 4) * (room // 4)))
    parse(chain(33, generic(33, 12, struct.pack("!BBHBBBB", 0, 0, 8, 1, 1, 0, 0)) * (room // 12)))
    assert time.process_time() - start < 5


# -- proposals (section 3.3) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [0, 4, 8, 255])
def test_proposals_with_an_spi(octets: int) -> None:
    # Section 3.3.1: 8 octets when an IKE SA is rekeyed, 4 for ESP and AH.
    spi = bytes(range(octets)) if octets < 256 else b""
    transform = struct.pack("!BBHBBH", 0, 0, 8, 4, 0, 31)
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + octets + 8, 7, 3, octets, 1) + spi + transform
    (payload,) = parse(b.message(b.INIT, [(33, proposal)])).payloads
    assert isinstance(payload, SecurityAssociationPayload)
    assert payload.complete
    (found,) = payload.proposals
    assert (found.number, found.protocol, found.spi) == (7, 3, spi)
    assert [tuple(t) for t in found.transforms] == [(4, 31, None)]


def test_what_stands_before_a_damaged_proposal_is_kept() -> None:
    good = struct.pack("!BBHBBBB", 2, 0, 16, 1, 1, 0, 1) + struct.pack("!BBHBBH", 0, 0, 8, 4, 0, 31)
    (payload,) = parse(b.message(b.INIT, [(33, good + b"\x00\x00\x00\x05\x02\x01\x00\x01")])).payloads
    assert isinstance(payload, SecurityAssociationPayload)
    assert [p.number for p in payload.proposals] == [1]
    assert not payload.complete


@pytest.mark.parametrize("stated", [0, 1, 3, 255])
def test_a_wrong_number_of_transforms_keeps_all_of_them(stated: int) -> None:
    transforms = struct.pack("!BBHBBH", 3, 0, 8, 4, 0, 31) + struct.pack("!BBHBBH", 0, 0, 8, 6, 0, 36)
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transforms), 1, 1, 0, stated) + transforms
    message = parse(b.message(b.INIT, [(33, proposal)]))
    (payload,) = message.payloads
    assert isinstance(payload, SecurityAssociationPayload)
    assert [t.id for t in payload.proposals[0].transforms] == [31, 36]
    assert "transform-count" in message.faults


@pytest.mark.parametrize("attribute", [struct.pack("!HH", 14, 2) + b"\x01\x00", struct.pack("!HH", 14, 0)])
def test_a_key_length_as_tlv_is_not_a_key_length(attribute: bytes) -> None:
    # Section 3.3.5: Key Length is TV; it has no variable-length form.
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(attribute), 1, 0, 12) + attribute
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
    (payload,) = parse(b.message(b.INIT, [(33, proposal)])).payloads
    assert isinstance(payload, SecurityAssociationPayload)
    assert tuple(payload.proposals[0].transforms[0]) == (1, 12, None)


@pytest.mark.parametrize("attribute", [b"\x80", b"\x80\x0e\x01", struct.pack("!HH", 99, 5) + b"abcd"])
def test_a_cut_attribute_is_a_fault(attribute: bytes) -> None:
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(attribute), 1, 0, 12) + attribute
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
    message = parse(b.message(b.INIT, [(33, proposal)]))
    assert "attribute-cut-off" in message.faults


# -- anything --------------------------------------------------------------------------------------------------------


def sample_messages() -> list[bytes]:
    found: list[bytes] = []
    sources = [str(path) for path in sorted(Path(SAMPLES).glob("*.pcap"))]
    read_inputs(sources, AuditRun(), ReadOptions(), on_message=lambda datagram, _: found.append(datagram.payload))
    return sorted(set(found))


MESSAGES = sample_messages()


def same_but_cut(part: AnyPayload, whole: AnyPayload) -> bool:
    """True when ``part`` can be what is left of ``whole``."""
    if part == whole:
        return True
    if isinstance(part, OtherPayload):  # too little is left to read its own header
        return True
    if isinstance(part, SecurityAssociationPayload) and isinstance(whole, SecurityAssociationPayload):
        cut = [t for p in part.proposals for t in p.transforms]
        return cut == [t for p in whole.proposals for t in p.transforms][: len(cut)] and not part.complete
    if isinstance(part, VendorIdPayload) and isinstance(whole, VendorIdPayload):
        return whole.data.startswith(part.data)
    if isinstance(part, NotifyPayload) and isinstance(whole, NotifyPayload):
        return part[:3] == whole[:3] and whole.data.startswith(part.data)
    return False


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_cut_of_a_real_message_gives_a_prefix(data: st.DataObject) -> None:
    octets = data.draw(st.sampled_from(MESSAGES))
    cut = data.draw(st.integers(28, len(octets) - 1))
    header = parse_header(octets)
    if header.major == 1:
        whole_v1, part_v1 = parse_v1_message(header, octets), parse_v1_message(header, octets[:cut])
        assert not part_v1.complete
        assert part_v1.transforms == whole_v1.transforms[: len(part_v1.transforms)]
        return
    whole, part = parse_message(header, octets), parse_message(header, octets[:cut])
    assert not part.complete
    assert len(part.payloads) <= len(whole.payloads)
    assert part.payloads[:-1] == whole.payloads[: max(0, len(part.payloads) - 1)]
    if part.payloads:
        assert same_but_cut(part.payloads[-1], whole.payloads[len(part.payloads) - 1])


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_damage_to_a_real_message_raises_one_kind_of_error(data: st.DataObject) -> None:
    octets = bytearray(data.draw(st.sampled_from(MESSAGES)))
    for _ in range(data.draw(st.integers(1, 8))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = parse_header(bytes(octets), truncated=data.draw(st.booleans()))
    except NotIkeError:
        return
    if header.major == 1:
        parse_v1_message(header, bytes(octets))
        return
    message = parse_message(header, bytes(octets))
    assert len(message.payloads) <= len(octets) // 4
    damaged_sa = any(isinstance(p, SecurityAssociationPayload) and not p.complete for p in message.payloads)
    assert message.faults or not damaged_sa  # nothing is incomplete without a reason


attributes = st.lists(
    st.tuples(st.integers(0, 0x7FFF).filter(lambda kind: kind != 14), st.binary(max_size=9) | st.integers(0, 65535)),
    max_size=3,
)
generated = st.lists(
    st.tuples(
        st.integers(0, 255),
        st.integers(0, 255),
        st.binary(max_size=16),
        st.lists(
            st.tuples(st.integers(0, 255), st.integers(0, 65535), st.none() | st.integers(0, 65535), attributes),
            max_size=8,
        ),
    ),
    min_size=1,
    max_size=5,
)
Written = list[tuple[int, int, bytes, list[tuple[int, int, int | None, list[tuple[int, bytes | int]]]]]]


@given(generated)
def test_proposals_of_any_content_come_back(proposals: Written) -> None:
    # An encoder of its own, by the figures of sections 3.3.1, 3.3.2 and 3.3.5.
    body = b""
    for index, (number, protocol, spi, transforms) in enumerate(proposals):
        inner = b""
        for position, (kind, identifier, bits, extra) in enumerate(transforms):
            tail = b"".join(
                struct.pack("!HH", 0x8000 | k, v) if isinstance(v, int) else struct.pack("!HH", k, len(v)) + v
                for k, v in extra
            )
            tail += b"" if bits is None else struct.pack("!HH", 0x800E, bits)
            more = 3 if position + 1 < len(transforms) else 0
            inner += struct.pack("!BBHBBH", more, 0, 8 + len(tail), kind, 0, identifier) + tail
        more = 2 if index + 1 < len(proposals) else 0
        length = 8 + len(spi) + len(inner)
        body += struct.pack("!BBHBBBB", more, 0, length, number, protocol, len(spi), len(transforms)) + spi + inner
    message = parse(b.message(b.INIT, [(33, body)]))
    (payload,) = message.payloads
    assert isinstance(payload, SecurityAssociationPayload)
    assert payload.complete
    assert message.faults == ()
    assert [(p.number, p.protocol, p.spi, [tuple(t) for t in p.transforms]) for p in payload.proposals] == [
        (number, protocol, spi, [(kind, identifier, bits) for kind, identifier, bits, _ in transforms])
        for number, protocol, spi, transforms in proposals
    ]


# -- another implementation as the encoder ---------------------------------------------------------------------------


def test_scapys_notifies_vendor_ids_and_encrypted_payloads() -> None:
    from scapy.contrib import ikev2 as s

    packet = s.IKEv2(init_SPI=b.SPI_I, resp_SPI=b.SPI_R, next_payload="Notify", exch_type=34, flags="Response", id=0)
    packet /= s.IKEv2_Notify(next_payload="Notify", type=17, notify=b"\x00\x1f")
    packet /= s.IKEv2_Notify(next_payload="VendorID", proto=3, SPIsize=4, SPI=b"\x01\x02\x03\x04", type=11)
    packet /= s.IKEv2_VendorID(vendorID=b"strongSwan")
    message = parse(bytes(packet))
    assert message.header.is_response
    assert message.header.responder_spi == b.SPI_R
    assert message.payloads == (
        NotifyPayload(0, b"", 17, b"\x00\x1f"),
        NotifyPayload(3, b"\x01\x02\x03\x04", 11, b""),
        VendorIdPayload(b"strongSwan"),
    )
    assert message.complete
    sealed = s.IKEv2(
        init_SPI=b.SPI_I, resp_SPI=b.SPI_R, next_payload="Encrypted", exch_type=35, flags="Initiator", id=1
    )
    sealed /= s.IKEv2_Encrypted(next_payload="IDi", load=bytes(60))
    assert parse(bytes(sealed)).payloads == (EncryptedPayload(35, 64, 0, 0),)


@given(st.lists(st.tuples(st.integers(1, 14), st.integers(0, 65535)), min_size=1, max_size=40))
def test_scapys_proposals(transforms: list[tuple[int, int]]) -> None:
    from scapy.contrib import ikev2 as s

    listed = [
        s.IKEv2_Transform(
            next_payload=3 if position + 1 < len(transforms) else 0, transform_type=kind, transform_id=number, length=8
        )
        for position, (kind, number) in enumerate(transforms)
    ]
    joined = listed[0]
    for one in listed[1:]:
        joined = joined / one
    packet = s.IKEv2(init_SPI=b.SPI_I, next_payload="SA", exch_type=34, flags="Initiator")
    packet /= s.IKEv2_SA(prop=s.IKEv2_Proposal(trans_nb=len(transforms), trans=joined))
    (payload,) = parse(bytes(packet)).payloads
    assert isinstance(payload, SecurityAssociationPayload)
    assert [(t.type, t.id) for t in payload.proposals[0].transforms] == transforms


def test_scapys_key_exchange() -> None:
    from scapy.contrib import ikev2 as s

    packet = s.IKEv2(init_SPI=b.SPI_I, next_payload="KE", exch_type=34, flags="Initiator")
    packet /= s.IKEv2_KE(group=36, ke=bytes(1184))  # an ML-KEM-768 key has 1184 octets (FIPS 203 table 3)
    assert parse(bytes(packet)).payloads == (KeyExchangePayload(36, 1184),)


# -- IKEv1 (RFC 2408 section 3, RFC 2409 appendix A) -----------------------------------------------------------------


def v1(first: int, body: bytes, *, exchange: int = 2, flags: int = 0, length: int | None = None) -> V1Message:
    stated = 28 + len(body) if length is None else length
    octets = b.SPI_I + bytes(8) + struct.pack("!BBBBII", first, 0x10, exchange, flags, 0, stated) + body
    return parse_v1_message(parse_header(octets, truncated=True), octets)


def v1_transform(*attributes: bytes, more: int = 0, number: int = 1) -> bytes:
    tail = b"".join(attributes)
    return struct.pack("!BBHBBH", more, 0, 8 + len(tail), number, 1, 0) + tail


def v1_sa(*transforms: bytes, following: int = 0, doi: int = 1) -> bytes:
    inner = b"".join(transforms)
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(inner), 1, 1, 0, len(transforms)) + inner
    return struct.pack("!BBHII", following, 0, 12 + len(proposal), doi, 1) + proposal


def tv(kind: int, value: int) -> bytes:
    return struct.pack("!HH", 0x8000 | kind, value)


def test_main_mode_keeps_all_transforms_in_order() -> None:
    transforms = [v1_transform(tv(1, 7), tv(4, group), more=3, number=group) for group in (14, 15, 16)]
    transforms.append(v1_transform(tv(1, 5), tv(2, 4), tv(4, 2), tv(14, 128), tv(11, 1)))
    message = v1(1, v1_sa(*transforms, following=13) + generic(0, 10, b"vendor"))
    assert message.transforms == (
        Phase1Transform(7, None, 14, None),
        Phase1Transform(7, None, 15, None),
        Phase1Transform(7, None, 16, None),
        Phase1Transform(5, 4, 2, 128),
    )
    assert message.vendor_ids == (b"vendor",)
    assert (message.faults, message.complete) == ((), True)


def test_aggressive_mode_has_more_payloads_behind_the_sa() -> None:
    body = v1_sa(v1_transform(tv(4, 2)), following=4) + generic(10, 132, bytes(128)) + generic(5, 24, bytes(20))
    message = v1(1, body + generic(0, 12, bytes(8)), exchange=4)
    assert message.transforms == (Phase1Transform(None, None, 2, None),)
    assert message.complete


def test_a_lifetime_of_four_octets_is_passed_over() -> None:
    # RFC 2409 appendix A: Life Duration (12) may be variable.
    transform = v1_transform(tv(1, 7), struct.pack("!HH", 12, 4) + b"\x00\x01\x51\x80", tv(4, 14))
    assert v1(1, v1_sa(transform)).transforms == (Phase1Transform(7, None, 14, None),)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (generic(0, 0), "payload-length"),
        (generic(0, 3), "payload-length"),
        (generic(0, 200, b"abc"), "payload-cut-off"),
        (b"\x00\x00", "payload-cut-off"),
        (v1_sa(v1_transform(tv(4, 14)), doi=7), "sa-doi"),
        (struct.pack("!BBHIIBBHBBBB", 0, 0, 20, 1, 1, 0, 0, 3, 1, 1, 0, 1), "proposal-length"),
        (v1_sa(struct.pack("!BBHBBH", 0, 0, 4, 1, 1, 0)), "transform-length"),
        (v1_sa(struct.pack("!BBHBBH", 0, 0, 90, 1, 1, 0)), "transform-length"),
        (v1_sa(v1_transform(struct.pack("!HH", 12, 90))), "attribute-cut-off"),
    ],
)
def test_damaged_ikev1_is_named(body: bytes, fault: str) -> None:
    assert fault in v1(1, body).faults


def test_an_ikev1_chain_is_bounded() -> None:
    message = v1(13, generic(13, 4) * 10_000)
    assert len(message.vendor_ids) == MOST_V1_PAYLOADS
    assert message.faults == ("too-many-payloads",)
    assert not message.complete


@given(st.binary(max_size=400), st.integers(1, 33), st.sampled_from([1, 4, 13]), st.integers(0, 255))
def test_any_octets_as_ikev1(body: bytes, exchange: int, first: int, flags: int) -> None:
    message = v1(first, body, exchange=exchange, flags=flags)
    assert len(message.vendor_ids) <= len(body) // 4
    assert not (message.encrypted and message.transforms)
