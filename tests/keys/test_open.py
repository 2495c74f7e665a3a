"""Opening single messages: vectors of the RFCs, captures, all algorithms, wrong keys, octets that are anything."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.decode.datagram import Datagram
from pqaudit.ike.header import NotIkeError, parse_header
from pqaudit.ike.message import Message
from pqaudit.ike.payloads import KeyExchangePayload, NotifyPayload
from pqaudit.keys.algorithms import integrity_named
from pqaudit.keys.cipher import integrity_check_value
from pqaudit.keys.inner import parse_inner
from pqaudit.keys.table import Closed, KeySource, KeyTable, Opened, SaKeys
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from tests import build as b
from tests.conftest import shared_folder
from tests.keys.seal import CBC, GCM, SUITES, Keys, Suite, chain, fragments, seal, sealed, table_of, table_of_lines

PAYLOADS = [b.ke(36, 1184), b.nonce(), b.notify(16441, b"link")]


def opened(table: KeyTable, message: bytes) -> Opened | Closed:
    return table.open(parse_header(message, truncated=True), message)


@pytest.mark.parametrize("from_initiator", [True, False])
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.encryption} {suite.integrity}")
def test_every_algorithm(suite: Suite, from_initiator: bool) -> None:
    keys = Keys(suite)
    table = table_of(Keys(suite, b"other"), keys)
    message = sealed(keys, b.INTERMEDIATE, PAYLOADS, from_initiator=from_initiator)
    result = opened(table, message)
    assert isinstance(result, Opened)
    assert (result.inner_type, result.octets) == chain(PAYLOADS)
    assert result.source.line == 2
    assert result.inner is not None
    assert result.inner.payloads[0] == KeyExchangePayload(36, 1184)
    # One bit less or other anywhere and it stays closed.
    for at in (17, 21, 29, 40, len(message) - 40, len(message) - 1):
        broken = message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :]
        assert isinstance(opened(table, broken), Closed)
    assert opened(table, message[:-1]) is Closed.CUT_OFF
    assert opened(table_of(Keys(suite, b"other")), message) is Closed.INTEGRITY


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.encryption} {suite.integrity}")
def test_fragments(suite: Suite) -> None:
    table = table_of(Keys(suite))
    first, second, *_ = messages = fragments(Keys(suite), b.INTERMEDIATE, PAYLOADS)
    results = [opened(table, message) for message in messages]
    assert all(isinstance(result, Opened) for result in results)
    assert b"".join(r.octets for r in results if isinstance(r, Opened)) == chain(PAYLOADS)[1]
    # The fragment number is under the check (RFC 7383 section 2.5).
    assert opened(table, first[:32] + second[32:34] + first[34:]) is Closed.INTEGRITY


def test_other_outcomes() -> None:
    keys = Keys(CBC)
    table = table_of(keys)
    message = sealed(keys, b.AUTH, PAYLOADS)
    assert opened(table, b.message(b.INIT, [b.nonce()])) is Closed.NO_KEYS
    assert opened(table, b.message(b.INFO, [b.notify(7)], spi_r=b.SPI_R)) is Closed.NOT_ENCRYPTED
    assert opened(table, message[:30]) is Closed.CUT_OFF
    assert opened(table, message[:30] + b"\x00\x03" + message[32:]) is Closed.DAMAGED
    longer = message[:24] + struct.pack("!I", len(message) + 4) + message[28:] + bytes(4)
    assert opened(table, longer) is Closed.DAMAGED
    unnumbered = fragments(keys, b.AUTH, PAYLOADS)[0]
    assert opened(table, unnumbered[:32] + bytes(2) + unnumbered[34:]) is Closed.DAMAGED
    # Octets behind the message are none of it.
    assert isinstance(opened(table, message + b"tail"), Opened)
    empty = opened(table, sealed(keys, b.INFO, []))
    assert isinstance(empty, Opened)
    assert (empty.octets, empty.inner and empty.inner.payloads) == (b"", ())


def test_keys_of_the_other_direction() -> None:
    for suite in (CBC, GCM):
        message = sealed(Keys(suite), b.AUTH, PAYLOADS, from_initiator=False)
        columns = Keys(suite).columns
        columns[2], columns[3], columns[5], columns[6] = columns[3], columns[2], columns[6], columns[5]
        table = table_of_lines(",".join(columns))
        assert opened(table, message) is Closed.OTHER_DIRECTION


def test_wrong_encryption_key_beside_the_right_integrity_key() -> None:
    """The integrity check passes, so only payloads that do not fit together show it."""
    (entry,) = table_of(Keys(CBC))
    for number in range(200):
        wrong = replace(entry, sk_ei=bytes([number]) * 32)
        message = sealed(Keys(CBC), b.INTERMEDIATE, PAYLOADS, message_id=number)
        assert opened(KeyTable([wrong]), message) is Closed.UNREADABLE
        # The right line is found behind the wrong one.
        assert isinstance(opened(KeyTable([wrong, entry]), message), Opened)


def test_padding_longer_than_the_plaintext() -> None:
    table = table_of(Keys(GCM))
    message = seal(Keys(GCM), b.INFO, 0, b"\x05\x05\x05", b.INITIATOR, 1, padded=False)
    assert opened(table, message) is Closed.UNREADABLE
    short = seal(Keys(GCM), b.INFO, 0, b"\x02\x02\x02", b.INITIATOR, 1, padded=False)
    result = opened(table, short)
    assert isinstance(result, Opened)
    assert result.octets == b""


def test_rfc_7634_example() -> None:
    """RFC 7634 appendix B: an IKEv2 message under ChaCha20-Poly1305, its notify SET_WINDOW_SIZE."""
    key = bytes(range(0x80, 0xA0)) + bytes(range(0xA0, 0xA4))
    message = bytes.fromhex(
        "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e20250000000009000000452900 0029"
        "1011121314151617 61039470 1f8d017f 7c129248 89 6b71bfe2 5236efd7 cdc67066 906315b2"
    )
    line = f'c0c1c2c3c4c5c6c7,d0d1d2d3d4d5d6d7,{key.hex()},{key.hex()},"ChaCha20-Poly1305 [RFC7634]",,,"NONE [RFC4306]"'
    result = opened(table_of_lines(line), message)
    assert isinstance(result, Opened)
    assert result.octets == bytes.fromhex("0000000c000040010000000a")
    assert result.inner is not None
    assert result.inner.payloads == (NotifyPayload(0, b"", 16385, b"\x00\x00\x00\x0a"),)


@pytest.mark.parametrize(
    ("name", "key", "data", "expected"),
    [
        # RFC 3566 section 4.6
        ("AES_XCBC_96", bytes(range(16)), b"", "75f0251d528ac01c4573dfd5"),
        ("AES_XCBC_96", bytes(range(16)), bytes(range(3)), "5b376580ae2f19afe7219cee"),
        ("AES_XCBC_96", bytes(range(16)), bytes(range(16)), "d2a246fa349b68a79998a439"),
        ("AES_XCBC_96", bytes(range(16)), bytes(range(20)), "47f51b4564966215b8985c63"),
        ("AES_XCBC_96", bytes(range(16)), bytes(range(32)), "f54f0ec8d2b9f3d36807734b"),
        # RFC 4494 section 4
        ("AES_CMAC_96", "2b7e151628aed2a6abf7158809cf4f3c", b"", "bb1d6929e95937287fa37d12"),
        (
            "AES_CMAC_96",
            "2b7e151628aed2a6abf7158809cf4f3c",
            bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"),
            "070a16b46b4d4144f79bdd9d",
        ),
        # RFC 4868 section 2.7.2
        ("HMAC_SHA2_256_128", b"\x0b" * 32, b"Hi There", "198a607eb44bfbc69903a0f1cf2bbdc5"),
        ("HMAC_SHA2_384_192", b"\x0b" * 48, b"Hi There", "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (
            "HMAC_SHA2_512_256",
            b"\x0b" * 64,
            b"Hi There",
            "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
        ),
        # RFC 2202, cut to 96 bits (RFC 2403, RFC 2404)
        ("HMAC_MD5_96", b"\x0b" * 16, b"Hi There", "9294727a3638bb1c13f48ef8"),
        ("HMAC_SHA1_96", b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6"),
    ],
)
def test_integrity_vectors(name: str, key: bytes | str, data: bytes, expected: str) -> None:
    algorithm = integrity_named(name)
    assert algorithm is not None
    octets = bytes.fromhex(key) if isinstance(key, str) else key
    assert integrity_check_value(algorithm, octets, data).hex() == expected


# Keys and the AUTH data they open, as Wireshark's own tests have them (test/config/ikev2_decryption_table.tmpl and
# test/suite_decryption.py).
WIRESHARK = [
    (
        "3des-sha1_160.pcap",
        "19ab98963486359f,78f13157ccd3b3d8,2e0e194070fc658c2bfbfdbf8b956be4b2eaa33d02a43cca,"
        '219f3080e631774b8d5836d3a675b099b1e271c9bdcf6e15,"3DES [RFC2451]",c96f5bad08aebbff60509c7495f11c183818b916,'
        'e742ac415cdfdd709c9de92769a169e0a5224f79,"HMAC_SHA1_160 [RFC4595]"',
        "02f7a0d5f1fdc8ea81039818c65bb9bd09af9b8917319b887ff9ba3046c344c7",
    ),
    (
        "aes128ccm12.pcap",
        "ea684d21597afd36,d9fe2ab22dac23ac,be83fe15f6a9976941870830fe26c014b863b3,"
        '79e0f4476861a76e64329e787b1c4ff38d732f,"AES-CCM-128 with 12 octet ICV [RFC5282]",,,"NONE [RFC4306]"',
        "c2104394299e1ffe7908ea720ad5d13717a0d454e4fa0a2128ea689411f479c4",
    ),
    (
        "aes192ctr.pcap",
        "81f24c0acd8fa55c,192383172724c706,aaa06839eaf0959d486eeecda7a48b23080963b5fd7217928e8fbf58,"
        '92dc96ec87076caa84e26b3621c7c469427e2e4bcc1b962362a3dde3,"AES-CTR-192 [RFC5930]",'
        "65777be31ee2137f31cf23fa0ee834dfede11cc0adc9a84541026642c09df2bf"
        "96056a2036e97a67ce7d3c5b6f37e17e8fe64f4ef23e14f5997fb7671df3adaf,"
        "42abd4709f1b94fd8c2270c74aae3fbe61c0b9c109c55f3e3b9ed7e480bc75c3"
        '985c15234caa623c8ca0606c303921d7cfd44861df1e798370b2ee95fe712e52,"HMAC_SHA2_512_256 [RFC4868]"',
        "3ec23dcf9348485638407c754547aeb3085290082c49f583fdbae59263a20b4a",
    ),
    (
        "aes256cbc.pcapng",
        "191ccd371a7a1f7b,bc123d15e4af593f,9096ddd2933620e8f48122c53a3f562cb0222c1cf97ce41fcc874ea2582a89ac,"
        '6718c6b2bbef2f234eac4c13832f885d87b574afd2af0111161e99b5dc61b4d4,"AES-CBC-256 [RFC3602]",'
        "12d532c3e83c757906af548dfe1ccf223ca5507af77898454e2d55c8ace57a17,"
        '30c4ead18c93024b58a86c1e3db60f550221801026853170b4cb0248d3a95329,"HMAC_SHA2_256_128 [RFC4868]"',
        "e1a8d550064201a7ec024a85758d0673c61c5c510ac13bcd225d6327f50da3d3",
    ),
    (
        "aes256gcm16.pcap",
        "0158b8fb90b7623d,13514610cea16160,"
        "647075bf167447a1c8683e8dbe4794b4cfe73799cc6bec34905441159ce13705c8dfb3a9,"
        "15c9eae6f94631d63068bf44bb69999abc07b3d15e915fd8f0ed99ad481efd75deb02a5e,"
        '"AES-GCM-256 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"',
        "9ab71f14ab553cad873a1aa70b99df155dee77cdcf3694b3b7527acbb9712ded",
    ),
]


@pytest.mark.parametrize(("name", "line", "auth"), WIRESHARK, ids=[name for name, _, _ in WIRESHARK])
def test_captures_of_wireshark(name: str, line: str, auth: str) -> None:
    capture = shared_folder("public") / f"wireshark__ikev2-decrypt-{name}"
    table = table_of_lines(line)
    results: list[Opened | Closed] = []

    def look(datagram: Datagram, message: object) -> None:
        assert isinstance(message, Message)
        results.append(table.open(message.header, datagram.payload))

    read_inputs([str(capture)], AuditRun(), ReadOptions(), on_message=look)
    plain = [result for result in results if isinstance(result, Opened)]
    assert plain
    assert {r for r in results if isinstance(r, Closed)} <= {Closed.NO_KEYS, Closed.NOT_ENCRYPTED}
    assert any(bytes.fromhex(auth) in each.octets for each in plain)
    assert all(each.inner is not None and each.inner.complete for each in plain)


@given(st.binary(max_size=200), st.sampled_from([Keys(suite) for suite in SUITES]))
def test_any_octets(octets: bytes, keys: Keys) -> None:
    table = table_of(keys)
    body = keys.spi_i + keys.spi_r + octets
    for message in (body, body[:17] + b"\x20" + body[18:24] + struct.pack("!I", len(body)) + body[28:]):
        try:
            header = parse_header(message, truncated=True)
        except NotIkeError:
            continue
        assert isinstance(table.open(header, message), Closed)


@given(st.binary(max_size=200), st.integers(0, 255), st.sampled_from([Keys(suite) for suite in SUITES]))
def test_any_plaintext(octets: bytes, inner: int, keys: Keys) -> None:
    """What a peer, or a wrong key beside the right integrity key, can make of a plaintext."""
    for fragment in (None, (1, 1)):
        block = 16 if "CBC" in keys.suite.encryption else 8
        message = seal(keys, b.AUTH, inner, octets.ljust(-(-len(octets) // block) * block or block), 8, 1, fragment)
        opened(table_of(keys), message)
    header = parse_header(seal(keys, b.AUTH, inner, octets, 8, 1))
    found = parse_inner(header, inner, octets)
    assert len(found.payload_types) == len(found.payloads)
    assert found.notifies is not None
    assert found.proposals is None or found.proposals is not None


def test_secrets_stay_out_of_repr() -> None:
    result = opened(table_of(Keys(CBC)), sealed(Keys(CBC), b.AUTH, [(35, b"name of a person")]))
    assert isinstance(result, Opened)
    assert "person" not in repr(result)
    entry: SaKeys = next(iter(table_of(Keys(CBC))))
    assert entry.source == KeySource("keys", 1)
    assert repr(entry.sk_ei)[2:-1] not in repr(entry)
