"""Signatures of manifests, detached and raw, as OpenSSL checks them too. The kind of the key decides the scheme."""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

SUFFIX = ".sig"
"""A signature stands beside its manifest, under its name with this."""

MOST_OCTETS = 64 * 1024
"""Of a key or a signature; those of ML-DSA have some 5,000."""

# Scheme, private and public key.
_SCHEMES: list[tuple[str, type, type]] = [("Ed25519", ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)]
try:
    from cryptography.hazmat.primitives.asymmetric import mldsa
except ImportError:  # a version of the library that is older than the standard
    pass
else:
    _SCHEMES += [
        ("ML-DSA-44", mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey),
        ("ML-DSA-65", mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey),
        ("ML-DSA-87", mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey),
    ]
_WANTED = f"neither a key of Ed25519 nor one of ML-DSA{'' if len(_SCHEMES) > 1 else ', which needs cryptography 47'}"


class SigningKeyError(Exception):
    """A key cannot be used; says in one sentence why."""


class LockedKeyError(SigningKeyError):
    """The key is locked, and no passphrase was given."""


class SigningKey:
    """A private key, of which nothing is ever shown.

    Args:
        pem: PKCS #8.
        passphrase: None for a key that is not locked.

    Attributes:
        scheme: ``Ed25519``, or the parameter set of ML-DSA.

    Raises:
        LockedKeyError: it is locked and there is no passphrase.
        SigningKeyError: it is none that signs manifests, or the passphrase is wrong.
    """

    def __init__(self, pem: bytes, passphrase: str | None) -> None:
        try:
            self._key: Any = load_pem_private_key(pem, None if passphrase is None else passphrase.encode())
        except TypeError as error:
            if passphrase is None:
                raise LockedKeyError("it is locked with a passphrase") from error
            raise SigningKeyError("it is not locked, so give no passphrase") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            if passphrase is not None:
                raise SigningKeyError("the passphrase is wrong, or the file is damaged") from error
            raise SigningKeyError("it holds no private key in PEM that can be read; --help says how to make one") from (
                error
            )
        found = next((scheme for scheme, private, _ in _SCHEMES if isinstance(self._key, private)), None)
        if found is None:
            raise SigningKeyError(f"it holds {_WANTED}")
        self.scheme = found

    def sign(self, octets: bytes) -> bytes:
        """The signature. Those of ML-DSA differ each time, as its standard recommends."""
        signature: bytes = self._key.sign(octets)
        return signature


class VerifyingKey:
    """A public key.

    Args:
        pem: SubjectPublicKeyInfo.

    Attributes:
        scheme: as of `SigningKey`.

    Raises:
        SigningKeyError: it is none that checks manifests.
    """

    def __init__(self, pem: bytes) -> None:
        if b"PRIVATE KEY-----" in pem:
            raise SigningKeyError("it holds a private key; `openssl pkey -in key.pem -pubout` gives the public one")
        try:
            self._key: Any = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SigningKeyError("it holds no public key in PEM that can be read") from error
        found = next((scheme for scheme, _, public in _SCHEMES if isinstance(self._key, public)), None)
        if found is None:
            raise SigningKeyError(f"it holds {_WANTED}")
        self.scheme = found

    def verifies(self, signature: bytes, octets: bytes) -> bool:
        """Whether the private key made this signature of these octets."""
        try:
            self._key.verify(signature, octets)
        except InvalidSignature:
            return False
        return True
