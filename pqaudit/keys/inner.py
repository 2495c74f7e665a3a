"""The payloads inside an opened message."""

from __future__ import annotations

from typing import Final, NamedTuple

from pqaudit.ike.header import Header
from pqaudit.ike.message import parse_message
from pqaudit.ike.numbers import FIRST_STATUS_NOTIFY, HEADER_OCTETS, NOTIFIES_WITH_DATA, Payload
from pqaudit.ike.payloads import (
    AnyPayload,
    DeletePayload,
    EncryptedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    OtherPayload,
    Proposal,
    SecurityAssociationPayload,
    VendorIdPayload,
)
from pqaudit.sa.bounds import MOST_NOTIFIES, NOTIFY_DATA_OCTETS

PROTOCOL_IKE: Final = 1  # RFC 7296 section 3.3.1
NOTIFY_REKEY_SA: Final = 16393  # RFC 7296 section 3.10.1
NOTIFY_ADDITIONAL_KEY_EXCHANGE: Final = 16441  # RFC 9370 section 2.2.4

_WITH_DATA = NOTIFIES_WITH_DATA | {NOTIFY_ADDITIONAL_KEY_EXCHANGE}
_MOST_PROPOSALS = 64
_SPI_OCTETS_KEPT = 8
_TYPES: Final = {
    SecurityAssociationPayload: Payload.SA,
    KeyExchangePayload: Payload.KE,
    NoncePayload: Payload.NONCE,
    NotifyPayload: Payload.NOTIFY,
    VendorIdPayload: Payload.VENDOR_ID,
    DeletePayload: Payload.DELETE,
}


class OpenedNotify(NamedTuple):
    """A notify that was encrypted. ``data`` is kept for types that are read, and cut to ``NOTIFY_DATA_OCTETS``."""

    type: int
    protocol: int
    spi: bytes
    data: bytes

    @property
    def is_error(self) -> bool:
        """True for an error type (RFC 7296 section 3.10.1)."""
        return self.type < FIRST_STATUS_NOTIFY


class InnerMessage(NamedTuple):
    """What an encrypted message holds.

    Attributes:
        header: the header of the message.
        payloads: the payloads inside, in order.
        faults: slugs of what was wrong, as of a message in the clear.
        complete: True when every length fitted and the payloads took all octets.
    """

    header: Header
    payloads: tuple[AnyPayload, ...]
    faults: tuple[str, ...]
    complete: bool

    @property
    def payload_types(self) -> tuple[int, ...]:
        """Types of the payloads, in order."""
        return tuple(_type(payload) for payload in self.payloads)

    @property
    def key_exchange(self) -> KeyExchangePayload | None:
        """The KE payload."""
        return next((p for p in self.payloads if isinstance(p, KeyExchangePayload)), None)

    @property
    def security_association(self) -> SecurityAssociationPayload | None:
        """The SA payload."""
        return next((p for p in self.payloads if isinstance(p, SecurityAssociationPayload)), None)

    @property
    def proposals(self) -> tuple[Proposal, ...] | None:
        """Proposals of the SA payload, additional key exchanges among their transforms; None without that payload."""
        payload = self.security_association
        return None if payload is None else payload.proposals[:_MOST_PROPOSALS]

    @property
    def notifies(self) -> tuple[OpenedNotify, ...]:
        """The notifies, at most ``MOST_NOTIFIES``."""
        found = [p for p in self.payloads if isinstance(p, NotifyPayload)]
        return tuple(
            OpenedNotify(
                p.type,
                p.protocol,
                p.spi[:_SPI_OCTETS_KEPT],
                p.data[:NOTIFY_DATA_OCTETS] if p.type in _WITH_DATA else b"",
            )
            for p in found[:MOST_NOTIFIES]
        )


def parse_inner(header: Header, inner_type: int, octets: bytes) -> InnerMessage:
    """Read the payloads of a decrypted message. Never raises on any octets.

    Args:
        header: header of the message (of any fragment).
        inner_type: type of the first payload: Next Payload of SK, or of the first SKF.
        octets: all of the plaintext without padding.
    """
    # The chain has the form of that of a message in the clear, so it is read as one.
    outer = header._replace(next_payload=inner_type, length=HEADER_OCTETS + len(octets))
    message = parse_message(outer, bytes(HEADER_OCTETS) + octets)
    fits = message.complete and "octets-after-payloads" not in message.faults
    nested = any(isinstance(payload, EncryptedPayload) for payload in message.payloads)
    return InnerMessage(header, message.payloads, message.faults, fits and not nested)


def _type(payload: AnyPayload) -> int:
    if isinstance(payload, OtherPayload):
        return payload.type
    if isinstance(payload, EncryptedPayload):
        return Payload.SKF if payload.fragments else Payload.SK
    return _TYPES[type(payload)]
