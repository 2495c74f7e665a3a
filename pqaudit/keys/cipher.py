"""Decryption of one encrypted payload: the integrity check first, then the plaintext (RFC 7296 section 3.14)."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from pqaudit.keys.algorithms import Encryption, Integrity, Mac, Mode
from pqaudit.keys.table import Closed, SaKeys

_CTR_FIRST_BLOCK = b"\x00\x00\x00\x01"  # RFC 5930 section 2.3
_AES_BLOCK_OCTETS = 16


def unseal(keys: SaKeys, from_initiator: bool, message: bytes, start: int) -> bytes | Closed:
    """Check and decrypt the body of an encrypted payload, which goes from ``start`` to the end of ``message``.

    Returns:
        The plaintext without padding, or why there is none: nothing is decrypted before the check passed.
    """
    try:
        padded = _unseal(keys, from_initiator, message, start)
    except (UnsupportedAlgorithm, ValueError):
        # A library built without old algorithms, or one that refuses them: OpenSSL in FIPS mode.
        return Closed.UNAVAILABLE
    if padded is None:
        return Closed.INTEGRITY
    # RFC 7296 section 3.14: the last octet says how many octets of padding stand before it.
    if not padded or padded[-1] + 1 > len(padded):
        return Closed.UNREADABLE
    return padded[: len(padded) - 1 - padded[-1]]


def is_from_other_direction(keys: SaKeys, from_initiator: bool, message: bytes, start: int) -> bool:
    """True when the check passes with the keys of the other direction: the table has them the wrong way round."""
    try:
        return _unseal(keys, not from_initiator, message, start) is not None
    except (UnsupportedAlgorithm, ValueError):
        return False


def _unseal(keys: SaKeys, from_initiator: bool, message: bytes, start: int) -> bytes | None:
    encryption = keys.encryption
    stop = len(message) - (encryption.tag_octets or keys.integrity.icv_octets)
    begin = start + encryption.iv_octets
    if stop - begin < encryption.block_octets or (stop - begin) % encryption.block_octets:
        return None
    iv, text, tag = message[start:begin], message[begin:stop], message[stop:]
    key = keys.encryption_key(from_initiator)
    if encryption.authenticates:
        return _open_aead(encryption, key, iv, text, tag, message[:start])
    expected = integrity_check_value(keys.integrity, keys.integrity_key(from_initiator), message[:stop])
    if not expected or not hmac.compare_digest(expected, tag):
        return None
    return _decrypt(encryption, key, iv, text)


def _open_aead(encryption: Encryption, key: bytes, iv: bytes, text: bytes, tag: bytes, clear: bytes) -> bytes | None:
    secret, nonce = key[: encryption.key_octets], key[encryption.key_octets :] + iv
    try:
        if encryption.mode is Mode.AES_CCM:
            return AESCCM(secret, tag_length=encryption.tag_octets).decrypt(nonce, text + tag, clear)
        if encryption.mode is Mode.CHACHA20_POLY1305:
            return ChaCha20Poly1305(secret).decrypt(nonce, text + tag, clear)
        mode = modes.GCM(nonce, tag, min_tag_length=encryption.tag_octets)
        decryptor = Cipher(AES(secret), mode).decryptor()
        decryptor.authenticate_additional_data(clear)
        plain = decryptor.update(text)
        return plain + decryptor.finalize()
    except InvalidTag:
        return None


def _decrypt(encryption: Encryption, key: bytes, iv: bytes, text: bytes) -> bytes:
    if encryption.mode is Mode.NULL:
        return text
    secret, salt = key[: encryption.key_octets], key[encryption.key_octets :]
    mode: modes.Mode
    algorithm: CipherAlgorithm = AES(secret) if encryption.mode is not Mode.TRIPLE_DES_CBC else TripleDES(secret)
    mode = modes.CTR(salt + iv + _CTR_FIRST_BLOCK) if encryption.mode is Mode.AES_CTR else modes.CBC(iv)
    decryptor = Cipher(algorithm, mode).decryptor()
    return decryptor.update(text) + decryptor.finalize()


def integrity_check_value(integrity: Integrity, key: bytes, data: bytes) -> bytes:
    """The integrity check value of ``data``; empty for no algorithm."""
    if integrity.mac is Mac.HMAC:
        return hmac.new(key, data, getattr(hashlib, integrity.digest)).digest()[: integrity.icv_octets]
    if integrity.mac is Mac.CMAC:
        cmac = CMAC(AES(key))
        cmac.update(data)
        return cmac.finalize()[: integrity.icv_octets]
    if integrity.mac is Mac.XCBC:
        return _xcbc(key, data)[: integrity.icv_octets]
    return b""


def _xcbc(key: bytes, data: bytes) -> bytes:
    """AES-XCBC-MAC (RFC 3566 section 4), before it is cut."""
    derive = Cipher(AES(key), modes.ECB()).encryptor()
    key_1, key_2, key_3 = (derive.update(bytes([number]) * _AES_BLOCK_OCTETS) for number in (1, 2, 3))
    whole = len(data) > 0 and len(data) % _AES_BLOCK_OCTETS == 0
    cut = (len(data) - 1) // _AES_BLOCK_OCTETS * _AES_BLOCK_OCTETS if data else 0
    last = data[cut:] if whole else (data[cut:] + b"\x80").ljust(_AES_BLOCK_OCTETS, b"\x00")
    mask = key_2 if whole else key_3
    last = bytes(a ^ b for a, b in zip(last, mask, strict=True))
    # CBC with an initialisation vector of zero: the last block is the code.
    chain = Cipher(AES(key_1), modes.CBC(bytes(_AES_BLOCK_OCTETS))).encryptor()
    return chain.update(data[:cut] + last)[-_AES_BLOCK_OCTETS:]
