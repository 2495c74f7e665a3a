"""The IKE header, common to both versions, and the test that octets are IKE at all."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from pqaudit.ike.numbers import (
    FIRST_IKEV2_EXCHANGE,
    FLAG_INITIATOR,
    FLAG_RESPONSE,
    HEADER_OCTETS,
    MAJOR_IKEV1,
    MAJOR_IKEV2,
    ZERO_SPI,
)

_HEADER = Struct("!8s8sBBBBII")


class Header(NamedTuple):
    """Header of RFC 7296 section 3.1 (RFC 2408 section 3.1 for version 1, whose cookies stand where the SPIs do)."""

    initiator_spi: bytes
    responder_spi: bytes
    next_payload: int
    version: int
    exchange_type: int
    flags: int
    message_id: int
    length: int

    @property
    def major(self) -> int:
        """Major version."""
        return self.version >> 4

    @property
    def is_response(self) -> bool:
        """True for a response (IKEv2)."""
        return self.flags & FLAG_RESPONSE != 0

    @property
    def from_initiator(self) -> bool:
        """True when the original initiator of the IKE SA sent it (IKEv2)."""
        return self.flags & FLAG_INITIATOR != 0


class NotIkeError(Exception):
    """Octets on an IKE port that are not an IKE message. ``slug`` is stable, the text is for a person."""

    def __init__(self, slug: str, text: str) -> None:
        super().__init__(text)
        self.slug = slug


def parse_header(data: bytes, *, truncated: bool = False) -> Header:
    """Read and check the header.

    Args:
        data: octets of the message from its header on.
        truncated: the capture holds less than was sent, so a length beyond the data is no fault.

    Raises:
        NotIkeError: too short, an initiator SPI of zero, an unknown major version, an exchange type outside its
            range, or a length field that does not fit the octets.
    """
    if len(data) < HEADER_OCTETS:
        raise NotIkeError("short-message", f"{len(data)} octets are too few for an IKE header")
    header = Header._make(_HEADER.unpack_from(data))
    if header.initiator_spi == ZERO_SPI:
        raise NotIkeError("zero-initiator-spi", "the initiator SPI is zero")
    major = header.version >> 4
    if major == MAJOR_IKEV2:
        if header.exchange_type < FIRST_IKEV2_EXCHANGE:
            raise NotIkeError("exchange-type-of-ikev1", f"exchange type {header.exchange_type} does not exist in IKEv2")
    elif major == MAJOR_IKEV1:
        if not 0 < header.exchange_type < FIRST_IKEV2_EXCHANGE:
            raise NotIkeError("exchange-type-of-ikev2", f"exchange type {header.exchange_type} does not exist in IKEv1")
    else:
        raise NotIkeError("unknown-version", f"major version {major} is neither IKEv1 nor IKEv2")
    if header.length < HEADER_OCTETS:
        raise NotIkeError("length-too-small", f"the length field says {header.length}, less than the header itself")
    if header.length > len(data) and not truncated:
        raise NotIkeError(
            "length-beyond-datagram", f"the length field says {header.length}, the datagram has {len(data)}"
        )
    return header
