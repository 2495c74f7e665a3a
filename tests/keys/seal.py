"""Encrypted IKEv2 messages by hand, from RFC 7296 section 3.14, 5282, 7383 and 7634, sharing no code with pqaudit."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from pqaudit.keys.table import KeyTable
from pqaudit.keys.table_file import read_decryption_table
from tests import build as b


@dataclass(frozen=True)
class Suite:
    """Names as Wireshark's table has them, lengths in octets of SK_e (salt and all) and SK_a."""

    encryption: str
    integrity: str
    sk_e: int
    sk_a: int
    iv: int
    icv: int
    salt: int = 0
    digest: str = ""


NONE = "NONE [RFC4306]"
CBC = Suite("AES-CBC-256 [RFC3602]", "HMAC_SHA2_256_128 [RFC4868]", 32, 32, 16, 16, digest="sha256")
GCM = Suite("AES-GCM-256 with 16 octet ICV [RFC5282]", NONE, 36, 0, 8, 16, 4)
SUITES = (
    CBC,
    Suite("AES-CBC-192 [RFC3602]", "HMAC_SHA2_384_192 [RFC4868]", 24, 48, 16, 24, digest="sha384"),
    Suite("AES-CBC-128 [RFC3602]", "HMAC_SHA1_96 [RFC2404]", 16, 20, 16, 12, digest="sha1"),
    Suite("AES-CBC-128 [RFC3602]", "HMAC_SHA2_256_96 [draft-ietf-ipsec-ciph-sha-256-00]", 16, 32, 16, 12, 0, "sha256"),
    Suite("AES-CBC-128 [RFC3602]", "AES_CMAC_96 [RFC4494]", 16, 16, 16, 12),
    Suite("3DES [RFC2451]", "HMAC_MD5_96 [RFC2403]", 24, 16, 8, 12, digest="md5"),
    Suite("3DES [RFC2451]", "HMAC_MD5_128 [RFC4595]", 24, 16, 8, 16, digest="md5"),
    Suite("3DES [RFC2451]", "HMAC_SHA1_160 [RFC4595]", 24, 20, 8, 20, digest="sha1"),
    Suite("NULL [RFC2410]", "HMAC_SHA2_512_256 [RFC4868]", 0, 64, 0, 32, digest="sha512"),
    *(
        Suite(f"AES-CTR-{bits} [RFC5930]", "HMAC_SHA2_512_256 [RFC4868]", bits // 8 + 4, 64, 8, 32, 4, "sha512")
        for bits in (128, 192, 256)
    ),
    *(
        Suite(f"AES-{mode}-{bits} with {icv} octet ICV [RFC5282]", NONE, bits // 8 + salt, 0, 8, icv, salt)
        for mode, salt in (("GCM", 4), ("CCM", 3))
        for bits in (128, 192, 256)
        for icv in (8, 12, 16)
    ),
    Suite("ChaCha20-Poly1305 [RFC7634]", NONE, 36, 0, 8, 16, 4),
)


@dataclass(frozen=True)
class Keys:
    """Keys of one SA and stage, all made from ``seed``."""

    suite: Suite
    seed: bytes = b"1"
    spi_i: bytes = b.SPI_I
    spi_r: bytes = b.SPI_R

    def secret(self, name: str) -> bytes:
        octets = self.suite.sk_e if name in ("ei", "er") else self.suite.sk_a
        return hashlib.shake_256(self.seed + name.encode()).digest(octets)

    @property
    def columns(self) -> list[str]:
        secret = {name: self.secret(name).hex() for name in ("ei", "er", "ai", "ar")}
        spis = [self.spi_i.hex(), self.spi_r.hex()]
        encryption, integrity = f'"{self.suite.encryption}"', f'"{self.suite.integrity}"'
        return [*spis, secret["ei"], secret["er"], encryption, secret["ai"], secret["ar"], integrity]

    @property
    def line(self) -> str:
        return ",".join(self.columns)


def table_of_lines(*lines: str) -> KeyTable:
    """The keys of a table with those lines, in a file ``keys`` that was removed again."""
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("keys").write_text("\n".join(lines))
        table, faults = read_decryption_table("keys")
    assert not faults
    return table


def table_of(*keys: Keys) -> KeyTable:
    return table_of_lines(*(each.line for each in keys))


def chain(payloads: Sequence[b.Payload]) -> tuple[int, bytes]:
    """First type and octets of payloads behind one another."""
    octets = b""
    for index, (_, body) in enumerate(payloads):
        following = payloads[index + 1][0] if index + 1 < len(payloads) else 0
        octets += struct.pack("!BBH", following, 0, 4 + len(body)) + body
    return (payloads[0][0] if payloads else 0), octets


def sealed(
    keys: Keys,
    exchange: int,
    payloads: Sequence[b.Payload],
    *,
    message_id: int = 1,
    from_initiator: bool = True,
    response: bool = False,
) -> bytes:
    """A message whose payloads are in one SK."""
    first, plain = chain(payloads)
    flags = (b.INITIATOR if from_initiator else 0) | (b.RESPONSE if response else 0)
    return seal(keys, exchange, first, plain, flags, message_id)


def fragments(
    keys: Keys,
    exchange: int,
    payloads: Sequence[b.Payload],
    *,
    size: int = 400,
    message_id: int = 1,
    from_initiator: bool = True,
    response: bool = False,
) -> list[bytes]:
    """The same in SKF fragments of ``size`` octets of plaintext (RFC 7383 section 2.5)."""
    first, plain = chain(payloads)
    flags = (b.INITIATOR if from_initiator else 0) | (b.RESPONSE if response else 0)
    pieces = [plain[at : at + size] for at in range(0, len(plain), size)]
    return [
        seal(keys, exchange, first if number == 1 else 0, piece, flags, message_id, (number, len(pieces)))
        for number, piece in enumerate(pieces, start=1)
    ]


def seal(
    keys: Keys,
    exchange: int,
    inner: int,
    plain: bytes,
    flags: int,
    message_id: int,
    fragment: tuple[int, int] | None = None,
    *,
    padded: bool = True,
) -> bytes:
    """Encrypt ``plain``; ``padded`` False leaves out padding and its length."""
    suite = keys.suite
    side = "i" if flags & b.INITIATOR else "r"
    sk_e, sk_a = keys.secret("e" + side), keys.secret("a" + side)
    name = suite.encryption
    block = 16 if "CBC" in name else 8 if "3DES" in name else 1
    if padded:
        padding = -(len(plain) + 1) % block
        plain += bytes(padding) + bytes([padding])
    iv = hashlib.shake_128(plain).digest(suite.iv)
    head = b"" if fragment is None else struct.pack("!HH", *fragment)
    body_octets = 4 + len(head) + suite.iv + len(plain) + suite.icv
    kind = 46 if fragment is None else 53
    clear = keys.spi_i + keys.spi_r
    clear += struct.pack("!BBBBII", kind, 0x20, exchange, flags, message_id, 28 + body_octets)
    clear += struct.pack("!BBH", inner, 0, body_octets) + head
    key, salt = sk_e[: suite.sk_e - suite.salt], sk_e[suite.sk_e - suite.salt :]
    if "GCM" in name:
        # The tag of GCM is cut from the left (RFC 4106 section 6).
        return clear + iv + AESGCM(key).encrypt(salt + iv, plain, clear)[: len(plain) + suite.icv]
    if "CCM" in name:
        return clear + iv + AESCCM(key, tag_length=suite.icv).encrypt(salt + iv, plain, clear)
    if "ChaCha" in name:
        return clear + iv + ChaCha20Poly1305(key).encrypt(salt + iv, plain, clear)
    if "CTR" in name:
        cipher = Cipher(AES(key), modes.CTR(salt + iv + bytes((0, 0, 0, 1)))).encryptor()
        plain = cipher.update(plain)
    elif "CBC" in name:
        plain = Cipher(AES(key), modes.CBC(iv)).encryptor().update(plain)
    elif "3DES" in name:
        plain = Cipher(TripleDES(key), modes.CBC(iv)).encryptor().update(plain)
    signed = clear + iv + plain
    if "CMAC" in suite.integrity:
        cmac = CMAC(AES(sk_a))
        cmac.update(signed)
        return signed + cmac.finalize()[: suite.icv]
    return signed + hmac.digest(sk_a, signed, suite.digest)[: suite.icv]
