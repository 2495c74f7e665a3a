"""The IKE parser against an encoder of its own, against scapy, and against octets that are anything."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.ike.header import NotIkeError, parse_header
from pqaudit.ike.ikev1 import Phase1Transform, parse_v1_message
from pqaudit.ike.message import MOST_PAYLOADS, Message, parse_message
from pqaudit.ike.payloads import (
    DeletePayload,
    EncryptedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    OtherPayload,
    SecurityAssociationPayload,
    VendorIdPayload,
)
from tests import build as b

PLAIN: tuple[b.Transform, ...] = (*b.SUITE, (b.KE, 31))


def parse(octets: bytes, *, truncated: bool = False) -> Message:
    return parse_message(parse_header(octets, truncated=truncated), octets)


def test_header_fields() -> None:
    # RFC 7296 section 3.1
    header = parse_header(b.message(b.INIT, [b.nonce()], spi_r=b.SPI_R, flags=0x28, message_id=7))
    assert header.initiator_spi == b.SPI_I
    assert header.responder_spi == b.SPI_R
    assert (header.major, header.exchange_type, header.message_id) == (2, 34, 7)
    assert header.is_response
    assert header.from_initiator


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        (lambda m: m[:27], "short-message"),
        (lambda m: bytes(8) + m[8:], "zero-initiator-spi"),
        (lambda m: m[:17] + b"\x30" + m[18:], "unknown-version"),
        (lambda m: m[:18] + b"\x21" + m[19:], "exchange-type-of-ikev1"),
        (lambda m: m[:17] + b"\x10" + m[18:], "exchange-type-of-ikev2"),
        (lambda m: m[:24] + struct.pack("!I", 27) + m[28:], "length-too-small"),
        (lambda m: m[:24] + struct.pack("!I", len(m) + 1) + m[28:], "length-beyond-datagram"),
    ],
)
def test_what_is_not_ike(change: object, slug: str) -> None:
    octets = change(b.init_request(PLAIN))  # type: ignore[operator]
    with pytest.raises(NotIkeError) as caught:
        parse_header(octets)
    assert caught.value.slug == slug


def test_every_payload() -> None:
    octets = b.message(
        b.INIT,
        [
            b.sa(PLAIN),
            b.ke(31, 32),
            b.nonce(24),
            (41, struct.pack("!BBH", 3, 4, 11) + b"spi!" + b"data"),
            b.vendor_id(b"vendor"),
            (42, struct.pack("!BBH", 3, 4, 2) + bytes(8)),
            (200, b"unknown"),
        ],
    )
    message = parse(octets)
    assert message.complete
    assert message.faults == ()
    sa, *rest = message.payloads
    assert isinstance(sa, SecurityAssociationPayload)
    assert [tuple(t) for t in sa.proposals[0].transforms] == [(1, 20, 256), (2, 5, None), (4, 31, None)]
    assert rest == [
        KeyExchangePayload(31, 32),
        NoncePayload(24),
        NotifyPayload(3, b"spi!", 11, b"data"),
        VendorIdPayload(b"vendor"),
        DeletePayload(3, 4, 2),
        OtherPayload(200, 11),
    ]


def test_encrypted_payloads_show_their_inner_type() -> None:
    # RFC 7296 section 3.14 and RFC 7383 section 2.5: the Next Payload octet is that of the first payload inside.
    assert parse(b.encrypted(b.INTERMEDIATE, 1, octets=60)).payloads == (EncryptedPayload(34, 60, 0, 0),)
    first = parse(b.encrypted(b.INTERMEDIATE, 1, octets=60, fragment=(1, 3)))
    assert first.payloads == (EncryptedPayload(34, 60, 1, 3),)
    later = parse(b.encrypted(b.INTERMEDIATE, 1, octets=60, fragment=(3, 3)))
    assert later.payloads == (EncryptedPayload(0, 60, 3, 3),)


@pytest.mark.parametrize("fragment", [(0, 2), (3, 2), (1, 0)])
def test_impossible_fragment_numbers(fragment: tuple[int, int]) -> None:
    message = parse(b.encrypted(b.INTERMEDIATE, 1, octets=60, fragment=fragment))
    assert "fragment-number" in message.faults
    assert not any(isinstance(p, EncryptedPayload) for p in message.payloads)


@pytest.mark.parametrize("count", [200, 255])
def test_no_transform_is_lost(count: int) -> None:
    # The transform count is one octet (RFC 7296 section 3.3.1); scapy keeps 194 of them.
    transforms: list[b.Transform] = [(b.KE, 1000 + number) for number in range(count)]
    (sa, *_) = parse(b.message(b.INIT, [b.sa(transforms), b.nonce()])).payloads
    assert isinstance(sa, SecurityAssociationPayload)
    assert sa.complete
    assert [t.id for t in sa.proposals[0].transforms] == [1000 + number for number in range(count)]


def test_variable_length_attributes_are_passed_over() -> None:
    # RFC 7296 section 3.3.5: TLV where the format bit is 0, TV where it is 1.
    attributes = struct.pack("!HH", 99, 5) + b"abcde" + struct.pack("!HH", 0x800E, 192)
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(attributes), 1, 0, 12) + attributes
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
    (sa,) = parse(b.message(b.INIT, [(33, proposal)])).payloads
    assert isinstance(sa, SecurityAssociationPayload)
    assert sa.complete
    assert tuple(sa.proposals[0].transforms[0]) == (1, 12, 192)


@pytest.mark.parametrize(
    ("octets", "fault"),
    [
        (struct.pack("!BBHBBBB", 0, 0, 7, 1, 1, 0, 0), "proposal-length"),
        (struct.pack("!BBHBBBB", 0, 0, 9, 1, 1, 0, 0), "proposal-cut-off"),
        (struct.pack("!BBHBBBB", 0, 0, 8, 1, 1, 4, 0), "proposal-length"),
        (struct.pack("!BBHBBBB", 0, 0, 8, 1, 1, 0, 1), "transform-count"),
        (struct.pack("!BBHBBBBBBHBBH", 0, 0, 16, 1, 1, 0, 1, 0, 0, 7, 4, 0, 31), "transform-length"),
        (struct.pack("!BBHBBBBBBHBBH", 0, 0, 16, 1, 1, 0, 1, 0, 0, 9, 4, 0, 31), "transform-cut-off"),
        (struct.pack("!BBHBBBBB", 0, 0, 9, 1, 1, 0, 1, 0), "transform-cut-off"),
        (b"\x00\x00\x00", "proposal-cut-off"),
        (b"", "no-proposal"),
    ],
)
def test_damaged_proposals_are_named_and_incomplete(octets: bytes, fault: str) -> None:
    message = parse(b.message(b.INIT, [(33, octets), b.nonce()]))
    sa = message.payloads[0]
    assert isinstance(sa, SecurityAssociationPayload)
    assert fault in message.faults
    assert not sa.complete


def test_a_chain_of_tiny_payloads_is_bounded() -> None:
    message = parse(b.message(b.INIT, [(200, b"")] * 10_000))
    assert len(message.payloads) == MOST_PAYLOADS
    assert "too-many-payloads" in message.faults
    assert not message.complete


@given(st.binary(max_size=300))
def test_any_octets(octets: bytes) -> None:
    try:
        header = parse_header(octets, truncated=True)
    except NotIkeError:
        return
    if header.major == 2:
        parse_message(header, octets)
    else:
        parse_v1_message(header, octets)


@given(st.binary(max_size=300), st.sampled_from([33, 34, 40, 41, 42, 43, 46, 53, 200]), st.sampled_from([0x20, 0x10]))
def test_any_octets_behind_a_good_header(body: bytes, first: int, version: int) -> None:
    exchange = 34 if version == 0x20 else 2
    octets = b.SPI_I + bytes(8) + struct.pack("!BBBBII", first, version, exchange, 8, 0, 28 + len(body)) + body
    header = parse_header(octets)
    if version == 0x20:
        message = parse_message(header, octets)
        assert len(message.payloads) <= len(body) // 4 + 1
        assert parse_message(header, octets) == message
    else:
        parse_v1_message(header, octets)


@given(st.data())
def test_a_cut_message_gives_the_first_of_its_payloads(data: st.DataObject) -> None:
    whole = b.init_request(PLAIN, (*PLAIN, b.addke(1, 36)))
    cut = data.draw(st.integers(28, len(whole) - 1))
    complete, part = parse(whole), parse(whole[:cut], truncated=True)
    assert not part.complete
    # All but the last payload are as they were; the last may be a part.
    assert part.payloads[:-1] == complete.payloads[: max(0, len(part.payloads) - 1)]


transforms = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 65535), st.none() | st.integers(0, 65535)), max_size=12
)


@given(st.lists(st.tuples(st.integers(0, 255), transforms), min_size=1, max_size=6))
def test_proposals_come_back_as_they_were_written(
    proposals: list[tuple[int, list[tuple[int, int, int | None]]]],
) -> None:
    written: list[tuple[int, list[b.Transform]]] = [
        (number, [(k, i) if bits is None else (k, i, bits) for k, i, bits in listed]) for number, listed in proposals
    ]
    (sa,) = parse(b.message(b.INIT, [b.sa_numbered(written)])).payloads
    assert isinstance(sa, SecurityAssociationPayload)
    assert sa.complete
    assert [(p.number, [tuple(t) for t in p.transforms]) for p in sa.proposals] == proposals


def test_scapy_reads_and_writes_the_same() -> None:
    # Another implementation as the encoder.
    from scapy.contrib import ikev2 as s

    packet = s.IKEv2(init_SPI=b.SPI_I, next_payload="SA", exch_type="IKE_SA_INIT", flags="Initiator") / s.IKEv2_SA(
        next_payload="KE",
        prop=s.IKEv2_Proposal(
            trans_nb=3,
            trans=s.IKEv2_Transform(transform_type="Encryption", transform_id=12, length=12, key_length=256)
            / s.IKEv2_Transform(transform_type="PRF", transform_id=5)
            / s.IKEv2_Transform(transform_type="GroupDesc", transform_id=19),
        ),
    )
    packet /= s.IKEv2_KE(next_payload="Nonce", group=19, ke=bytes(64)) / s.IKEv2_Nonce(nonce=bytes(32))
    message = parse(bytes(packet))
    assert message.faults == ()
    sa, ke, nonce = message.payloads
    assert isinstance(sa, SecurityAssociationPayload)
    assert [tuple(t) for t in sa.proposals[0].transforms] == [(1, 12, 256), (2, 5, None), (4, 19, None)]
    assert (ke, nonce) == (KeyExchangePayload(19, 64), NoncePayload(32))


def v1_message(payloads: bytes, first: int = 1, flags: int = 0) -> bytes:
    return b.SPI_I + bytes(8) + struct.pack("!BBBBII", first, 0x10, 2, flags, 0, 28 + len(payloads)) + payloads


def test_ikev1_phase_1() -> None:
    # RFC 2408 section 3 and RFC 2409 appendix A: AES-CBC (7), SHA (2), group 14, key length 256.
    attributes = b"".join(struct.pack("!HH", 0x8000 | k, v) for k, v in ((1, 7), (2, 2), (4, 14), (14, 256)))
    transform = struct.pack("!BBHBBH", 0, 0, 8 + len(attributes), 1, 1, 0) + attributes
    proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
    sa = struct.pack("!BBHII", 0, 0, 12 + len(proposal), 1, 1) + proposal
    octets = v1_message(sa)
    message = parse_v1_message(parse_header(octets), octets)
    assert message.transforms == (Phase1Transform(7, 2, 14, 256),)
    assert message.faults == ()


def test_an_encrypted_ikev1_message_is_not_read() -> None:
    octets = v1_message(b"\xff" * 40, flags=1)
    message = parse_v1_message(parse_header(octets), octets)
    assert message.encrypted
    assert message.transforms == ()
