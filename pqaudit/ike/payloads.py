"""Payloads of an IKEv2 message as far as they are in the clear."""

from __future__ import annotations

from typing import NamedTuple


class Transform(NamedTuple):
    """One transform of a proposal (RFC 7296 section 3.3.2). ``key_bits`` is the Key Length attribute, or None."""

    type: int
    id: int
    key_bits: int | None


class Proposal(NamedTuple):
    """One proposal (RFC 7296 section 3.3.1). ``spi`` is empty in IKE_SA_INIT."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]


class SecurityAssociationPayload(NamedTuple):
    """SA payload. ``complete`` is False when octets were missing or a length inside did not fit."""

    proposals: tuple[Proposal, ...]
    complete: bool


class KeyExchangePayload(NamedTuple):
    """KE payload (RFC 7296 section 3.4). ``octets`` is the length of the key exchange data that the header states."""

    method: int
    octets: int


class NoncePayload(NamedTuple):
    """Nonce payload; ``octets`` is its length."""

    octets: int


class NotifyPayload(NamedTuple):
    """Notify payload (RFC 7296 section 3.10)."""

    protocol: int
    spi: bytes
    type: int
    data: bytes


class VendorIdPayload(NamedTuple):
    """Vendor ID payload."""

    data: bytes


class DeletePayload(NamedTuple):
    """Delete payload (RFC 7296 section 3.11); seen only where a message is not encrypted."""

    protocol: int
    spi_octets: int
    spis: int


class EncryptedPayload(NamedTuple):
    """SK or SKF payload (RFC 7296 section 3.14, RFC 7383 section 2.5).

    Attributes:
        inner_type: the Next Payload octet, in the clear: type of the first payload inside (0 in later fragments).
        octets: payload length with its generic header, as stated.
        fragment, fragments: number and total of an SKF payload; 0 and 0 for SK.
    """

    inner_type: int
    octets: int
    fragment: int
    fragments: int


class OtherPayload(NamedTuple):
    """Any payload whose content is not read."""

    type: int
    octets: int


AnyPayload = (
    SecurityAssociationPayload
    | KeyExchangePayload
    | NoncePayload
    | NotifyPayload
    | VendorIdPayload
    | DeletePayload
    | EncryptedPayload
    | OtherPayload
)
