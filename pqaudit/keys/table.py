"""Keys of the user, and opening one encrypted message with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from struct import Struct
from typing import NamedTuple

from pqaudit.ike.header import Header
from pqaudit.ike.numbers import FRAGMENT_HEADER_OCTETS, GENERIC_HEADER_OCTETS, HEADER_OCTETS, Payload
from pqaudit.keys.algorithms import Encryption, Integrity
from pqaudit.keys.inner import InnerMessage, parse_inner

_GENERIC = Struct("!BxH")
_FRAGMENT = Struct("!HH")

SpiPair = tuple[bytes, bytes]


class KeySource(NamedTuple):
    """A line of a file of keys."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class SaKeys:
    """One line of a decryption table. What is secret stays out of ``repr``."""

    initiator_spi: bytes
    responder_spi: bytes
    encryption: Encryption
    integrity: Integrity
    sk_ei: bytes = field(repr=False)
    sk_er: bytes = field(repr=False)
    sk_ai: bytes = field(repr=False)
    sk_ar: bytes = field(repr=False)
    source: KeySource = field(compare=False)

    def encryption_key(self, from_initiator: bool) -> bytes:
        """SK_ei or SK_er."""
        return self.sk_ei if from_initiator else self.sk_er

    def integrity_key(self, from_initiator: bool) -> bytes:
        """SK_ai or SK_ar."""
        return self.sk_ai if from_initiator else self.sk_ar


class Closed(StrEnum):
    """Why a message was not opened."""

    NO_KEYS = "no-keys"
    NOT_ENCRYPTED = "not-encrypted"
    CUT_OFF = "cut-off"
    DAMAGED = "damaged"
    INTEGRITY = "integrity-check-failed"
    OTHER_DIRECTION = "keys-of-other-direction"
    UNREADABLE = "plaintext-unreadable"
    UNAVAILABLE = "algorithm-unavailable"


@dataclass(frozen=True, slots=True)
class Opened:
    """Plaintext of an SK payload, or of one SKF fragment, whose integrity was checked.

    Attributes:
        inner_type: type of the first payload inside; says nothing in fragments after the first.
        fragment, fragments: number and total of an SKF payload; 0 and 0 for SK.
        octets: the payloads, or the fragment's part of them, without padding.
        inner: the payloads of SK; None for a fragment.
        plaintext_checked: True when the check covers the decryption (an AEAD). Otherwise a wrong encryption key beside
            a right integrity key shows only in payloads that do not fit together.
        source: the line whose keys opened it.
    """

    header: Header
    inner_type: int
    fragment: int
    fragments: int
    octets: bytes = field(repr=False)
    inner: InnerMessage | None = field(repr=False)
    plaintext_checked: bool
    source: KeySource


class Sealed(NamedTuple):
    """Where an encrypted payload stands.

    ``message[:start]`` is in the clear, from ``start`` on there are its initialisation vector, the ciphertext and the
    integrity check value.
    """

    inner_type: int
    fragment: int
    fragments: int
    start: int


class KeyTable:
    """Keys by SPI pair. The IKE SA of one pair has several sets after IKE_INTERMEDIATE: all are tried."""

    def __init__(self, keys: Iterable[SaKeys] = ()) -> None:
        self._by_pair: dict[SpiPair, tuple[SaKeys, ...]] = {}
        for each in keys:
            known = self._by_pair.get((each.initiator_spi, each.responder_spi), ())
            if each not in known:
                self._by_pair[each.initiator_spi, each.responder_spi] = (*known, each)

    def __len__(self) -> int:
        return sum(map(len, self._by_pair.values()))

    def __repr__(self) -> str:
        return f"KeyTable({len(self)} sets of keys for {len(self._by_pair)} SAs)"

    def __contains__(self, pair: SpiPair) -> bool:
        return pair in self._by_pair

    def __iter__(self) -> Iterator[SaKeys]:
        for keys in self._by_pair.values():
            yield from keys

    def pairs(self) -> Iterator[tuple[SpiPair, tuple[SaKeys, ...]]]:
        """SPIs of each SA with its keys, in the order of the file."""
        yield from self._by_pair.items()

    def joined(self, other: KeyTable) -> KeyTable:
        """The keys of both tables."""
        return KeyTable((*self, *other))

    def open(self, header: Header, message: bytes) -> Opened | Closed:
        """Open the encrypted payload of ``message``. Never raises on any octets.

        Args:
            header: the message's header.
            message: the whole message from its header on, as sent: all of it is under the integrity check.
        """
        keys = self._by_pair.get((header.initiator_spi, header.responder_spi))
        if keys is None:
            return Closed.NO_KEYS
        sealed = find_encrypted(header, message)
        if isinstance(sealed, Closed):
            return sealed
        # Here, so that a run without keys does not load the ciphers.
        from pqaudit.keys.cipher import is_from_other_direction, unseal

        from_initiator = header.from_initiator
        message = message[: header.length]
        why = Closed.INTEGRITY
        for each in keys:
            plain = unseal(each, from_initiator, message, sealed.start)
            if isinstance(plain, bytes):
                opened = _opened(header, sealed, plain, each)
                if opened is not None:
                    return opened
                plain = Closed.UNREADABLE
            if plain is not Closed.INTEGRITY:
                why = plain
        if why is Closed.INTEGRITY and any(
            is_from_other_direction(each, from_initiator, message, sealed.start) for each in keys
        ):
            return Closed.OTHER_DIRECTION
        return why


def _opened(header: Header, sealed: Sealed, plain: bytes, keys: SaKeys) -> Opened | None:
    """The opened payload, or None when its payloads show that the encryption key is wrong."""
    checked = keys.encryption.authenticates
    inner = None
    if not sealed.fragments:
        inner = parse_inner(header, sealed.inner_type, plain)
        if not inner.complete and not checked:
            return None
    return Opened(header, sealed.inner_type, sealed.fragment, sealed.fragments, plain, inner, checked, keys.source)


def find_encrypted(header: Header, message: bytes) -> Sealed | Closed:
    """Find the SK or SKF payload, the last of its message (RFC 7296 section 3.14)."""
    end = header.length
    kind, offset = header.next_payload, HEADER_OCTETS
    while kind:
        if offset + GENERIC_HEADER_OCTETS > min(end, len(message)):
            return Closed.CUT_OFF if end > len(message) else Closed.DAMAGED
        next_kind, length = _GENERIC.unpack_from(message, offset)
        body = offset + GENERIC_HEADER_OCTETS
        stop = offset + length
        if length < GENERIC_HEADER_OCTETS or stop > end:
            return Closed.DAMAGED
        if kind not in (Payload.SK, Payload.SKF):
            kind, offset = next_kind, stop
            continue
        if stop != end:
            return Closed.DAMAGED
        if end > len(message):
            return Closed.CUT_OFF
        if kind == Payload.SK:
            return Sealed(next_kind, 0, 0, body)
        if stop - body < FRAGMENT_HEADER_OCTETS:
            return Closed.DAMAGED
        number, total = _FRAGMENT.unpack_from(message, body)
        if not 1 <= number <= total:
            return Closed.DAMAGED
        return Sealed(next_kind, number, total, body + FRAGMENT_HEADER_OCTETS)
    return Closed.NOT_ENCRYPTED
