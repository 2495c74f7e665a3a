"""An IKEv2 message: header and the chain of payloads that is in the clear (RFC 7296 sections 3.1 and 3.2)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from pqaudit.ike.header import Header
from pqaudit.ike.numbers import (
    DELETE_HEADER_OCTETS,
    FRAGMENT_HEADER_OCTETS,
    GENERIC_HEADER_OCTETS,
    HEADER_OCTETS,
    KE_HEADER_OCTETS,
    NOTIFY_HEADER_OCTETS,
    Payload,
)
from pqaudit.ike.payloads import (
    AnyPayload,
    DeletePayload,
    EncryptedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    OtherPayload,
    VendorIdPayload,
)
from pqaudit.ike.proposals import parse_proposals

_GENERIC = Struct("!BxH")
_KE = Struct("!Hxx")
_NOTIFY = Struct("!BBH")
_DELETE = Struct("!BBH")
_FRAGMENT = Struct("!HH")

# A payload takes at least 4 octets, so a chain is bounded by the message itself; real messages hold some thirty.
MOST_PAYLOADS = 512


class Message(NamedTuple):
    """One IKEv2 message.

    Attributes:
        header: its header.
        payloads: what stood in the clear, in order; an encrypted payload is the last.
        faults: slugs of what was wrong, empty when every length fitted.
        complete: False when octets were missing or a length did not fit; payloads before that point are kept.
    """

    header: Header
    payloads: tuple[AnyPayload, ...]
    faults: tuple[str, ...]
    complete: bool


def parse_message(header: Header, data: bytes) -> Message:
    """Read the payloads that follow ``header`` in ``data``. Never raises on any octets."""
    end = min(header.length, len(data))
    payloads: list[AnyPayload] = []
    faults: list[str] = []
    complete = header.length <= len(data)
    if header.length < len(data):
        faults.append("octets-after-message")
    kind, offset = header.next_payload, HEADER_OCTETS
    while kind:
        if len(payloads) >= MOST_PAYLOADS:
            faults.append("too-many-payloads")
            complete = False
            break
        if end - offset < GENERIC_HEADER_OCTETS:
            faults.append("payload-cut-off")
            complete = False
            break
        next_kind, length = _GENERIC.unpack_from(data, offset)
        if length < GENERIC_HEADER_OCTETS:
            faults.append("payload-length")
            complete = False
            break
        stop = offset + length
        if stop > end:
            faults.append("payload-cut-off")
            complete = False
            stop = end
        payloads.append(_parse_payload(kind, next_kind, length, data, offset + GENERIC_HEADER_OCTETS, stop, faults))
        if kind in (Payload.SK, Payload.SKF):
            if stop < end:
                faults.append("payload-after-encrypted")
            break
        kind, offset = next_kind, stop
    else:
        if offset < end:
            faults.append("octets-after-payloads")
    return Message(header, tuple(payloads), tuple(dict.fromkeys(faults)), complete)


def _parse_payload(
    kind: int, next_kind: int, length: int, data: bytes, start: int, stop: int, faults: list[str]
) -> AnyPayload:
    room = stop - start
    stated = length - GENERIC_HEADER_OCTETS
    if kind == Payload.NOTIFY:
        if room >= NOTIFY_HEADER_OCTETS:
            protocol, spi_octets, number = _NOTIFY.unpack_from(data, start)
            body = start + NOTIFY_HEADER_OCTETS
            if body + spi_octets <= stop:
                value = data[body + spi_octets : stop]
                return NotifyPayload(protocol, data[body : body + spi_octets], number, value)
        faults.append("notify-length")
    elif kind == Payload.SA:
        payload, inside = parse_proposals(data[start:stop])
        faults.extend(inside)
        # Cut off exactly behind a proposal, what is there looks whole.
        return payload if room == stated else payload._replace(complete=False)
    elif kind == Payload.KE:
        if room >= KE_HEADER_OCTETS:
            (method,) = _KE.unpack_from(data, start)
            return KeyExchangePayload(method, stated - KE_HEADER_OCTETS)
        faults.append("ke-length")
    elif kind == Payload.NONCE:
        return NoncePayload(stated)
    elif kind == Payload.VENDOR_ID:
        return VendorIdPayload(data[start:stop])
    elif kind == Payload.SK:
        return EncryptedPayload(next_kind, length, 0, 0)
    elif kind == Payload.SKF:
        if room >= FRAGMENT_HEADER_OCTETS:
            number, total = _FRAGMENT.unpack_from(data, start)
            # RFC 7383 section 2.5: both count from 1 and the number is not above the total.
            if 1 <= number <= total:
                return EncryptedPayload(next_kind, length, number, total)
        faults.append("fragment-number")
    elif kind == Payload.DELETE:
        if room >= DELETE_HEADER_OCTETS:
            return DeletePayload(*_DELETE.unpack_from(data, start))
        faults.append("delete-length")
    return OtherPayload(kind, length)
