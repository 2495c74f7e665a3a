"""Encryption and integrity algorithms of IKEv2 under the names that Wireshark's ``ikev2_decryption_table`` uses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_REFERENCE = re.compile(r"\[[^\]]*\]\s*$")
_SEPARATORS = re.compile(r"[\s_/-]+")


class Mode(StrEnum):
    """How a cipher is run."""

    NULL = "null"
    TRIPLE_DES_CBC = "3des-cbc"
    AES_CBC = "aes-cbc"
    AES_CTR = "aes-ctr"
    AES_GCM = "aes-gcm"
    AES_CCM = "aes-ccm"
    CHACHA20_POLY1305 = "chacha20-poly1305"


class Mac(StrEnum):
    """How an integrity check value is made."""

    NONE = "none"
    HMAC = "hmac"
    CMAC = "cmac"
    XCBC = "xcbc"


@dataclass(frozen=True, slots=True)
class Encryption:
    """An encryption algorithm.

    Attributes:
        name: as Wireshark writes it.
        key_octets: length of the cipher's key.
        salt_octets: what follows the key in SK_ei and SK_er and begins every nonce.
        iv_octets: initialisation vector at the head of the payload.
        block_octets: the ciphertext is a multiple of it.
        tag_octets: authentication tag at the end of the payload; 0 where an integrity algorithm is needed.
    """

    name: str
    mode: Mode
    key_octets: int
    salt_octets: int
    iv_octets: int
    block_octets: int
    tag_octets: int

    @property
    def material_octets(self) -> int:
        """Length of SK_ei and SK_er."""
        return self.key_octets + self.salt_octets

    @property
    def authenticates(self) -> bool:
        """True for an algorithm that needs no integrity algorithm beside it."""
        return self.tag_octets > 0


@dataclass(frozen=True, slots=True)
class Integrity:
    """An integrity algorithm; ``digest`` is the hash of an HMAC by its name in ``hashlib``."""

    name: str
    mac: Mac
    key_octets: int
    icv_octets: int
    digest: str = ""


def _encryptions() -> tuple[Encryption, ...]:
    found = [
        Encryption("NULL [RFC2410]", Mode.NULL, 0, 0, 0, 1, 0),
        Encryption("3DES [RFC2451]", Mode.TRIPLE_DES_CBC, 24, 0, 8, 8, 0),
    ]
    sizes = (128, 192, 256)
    found += [Encryption(f"AES-CBC-{bits} [RFC3602]", Mode.AES_CBC, bits // 8, 0, 16, 16, 0) for bits in sizes]
    found += [Encryption(f"AES-CTR-{bits} [RFC5930]", Mode.AES_CTR, bits // 8, 4, 8, 1, 0) for bits in sizes]
    for label, mode, salt in (("GCM", Mode.AES_GCM, 4), ("CCM", Mode.AES_CCM, 3)):  # RFC 5282 section 4
        for bits in sizes:
            for tag in (8, 12, 16):
                name = f"AES-{label}-{bits} with {tag} octet ICV [RFC5282]"
                found.append(Encryption(name, mode, bits // 8, salt, 8, 1, tag))
    found.append(Encryption("ChaCha20-Poly1305 [RFC7634]", Mode.CHACHA20_POLY1305, 32, 4, 8, 1, 16))
    return tuple(found)


ENCRYPTIONS: Final = _encryptions()
NO_INTEGRITY: Final = Integrity("NONE [RFC4306]", Mac.NONE, 0, 0)
INTEGRITIES: Final = (
    NO_INTEGRITY,
    Integrity("HMAC_MD5_96 [RFC2403]", Mac.HMAC, 16, 12, "md5"),
    Integrity("HMAC_MD5_128 [RFC4595]", Mac.HMAC, 16, 16, "md5"),
    Integrity("HMAC_SHA1_96 [RFC2404]", Mac.HMAC, 20, 12, "sha1"),
    Integrity("HMAC_SHA1_160 [RFC4595]", Mac.HMAC, 20, 20, "sha1"),
    Integrity("HMAC_SHA2_256_96 [draft-ietf-ipsec-ciph-sha-256-00]", Mac.HMAC, 32, 12, "sha256"),
    Integrity("HMAC_SHA2_256_128 [RFC4868]", Mac.HMAC, 32, 16, "sha256"),
    Integrity("HMAC_SHA2_384_192 [RFC4868]", Mac.HMAC, 48, 24, "sha384"),
    Integrity("HMAC_SHA2_512_256 [RFC4868]", Mac.HMAC, 64, 32, "sha512"),
    Integrity("AES_XCBC_96 [RFC3566]", Mac.XCBC, 16, 12),
    Integrity("AES_CMAC_96 [RFC4494]", Mac.CMAC, 16, 12),
)


def _folded(name: str) -> str:
    return _SEPARATORS.sub("-", _REFERENCE.sub("", name).strip().casefold())


_ENCRYPTION_BY_NAME: Final = {_folded(each.name): each for each in ENCRYPTIONS}
_INTEGRITY_BY_NAME: Final = {_folded(each.name): each for each in INTEGRITIES}


def encryption_named(name: str) -> Encryption | None:
    """The encryption algorithm of that name; case, separators and the reference in brackets do not matter."""
    return _ENCRYPTION_BY_NAME.get(_folded(name))


def integrity_named(name: str) -> Integrity | None:
    """The integrity algorithm of that name; case, separators and the reference in brackets do not matter."""
    return _INTEGRITY_BY_NAME.get(_folded(name))
