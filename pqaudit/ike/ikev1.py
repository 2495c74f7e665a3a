"""IKEv1, as far as naming it and its phase 1 choice needs (RFC 2408, RFC 2409).

IKEv1 is Historic (RFC 9395) and has no post-quantum key exchange; what the audit wants from it is who still speaks it
and with which group.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from pqaudit.ike.header import Header
from pqaudit.ike.numbers import (
    ATTRIBUTE_FORMAT_TV,
    ATTRIBUTE_HEADER_OCTETS,
    GENERIC_HEADER_OCTETS,
    HEADER_OCTETS,
    PROPOSAL_HEADER_OCTETS,
    V1_ATTRIBUTE_ENCRYPTION,
    V1_ATTRIBUTE_GROUP,
    V1_ATTRIBUTE_HASH,
    V1_ATTRIBUTE_KEY_LENGTH,
    V1_DOI_IPSEC,
    V1_FLAG_ENCRYPTION,
    V1_SA_HEADER_OCTETS,
    V1Payload,
)

_GENERIC = Struct("!BxH")
_PROPOSAL = Struct("!BBBB")
_ATTRIBUTE = Struct("!HH")
_DOI = Struct("!I")

MOST_PAYLOADS = 128
_V1_TRANSFORM_HEADER_OCTETS = 8  # RFC 2408 section 3.6
_WIDEST_NUMBER_OCTETS = 4


class Phase1Transform(NamedTuple):
    """One phase 1 transform: numbers of RFC 2409 appendix A, None where the attribute is missing."""

    encryption: int | None
    hash: int | None
    group: int | None
    key_bits: int | None


class V1Message(NamedTuple):
    """One IKEv1 message. ``transforms`` holds those of a phase 1 SA payload in the clear, in order."""

    header: Header
    encrypted: bool
    transforms: tuple[Phase1Transform, ...]
    vendor_ids: tuple[bytes, ...]
    faults: tuple[str, ...]
    complete: bool


def parse_v1_message(header: Header, data: bytes) -> V1Message:
    """Read what an IKEv1 message shows in the clear. Never raises on any octets."""
    end = min(header.length, len(data))
    encrypted = header.flags & V1_FLAG_ENCRYPTION != 0
    transforms: list[Phase1Transform] = []
    vendor_ids: list[bytes] = []
    faults: list[str] = []
    complete = header.length <= len(data)
    kind, offset, count = header.next_payload, HEADER_OCTETS, 0
    while kind and not encrypted:
        if end - offset < GENERIC_HEADER_OCTETS:
            faults.append("payload-cut-off")
            complete = False
            break
        next_kind, length = _GENERIC.unpack_from(data, offset)
        if length < GENERIC_HEADER_OCTETS or count >= MOST_PAYLOADS:
            faults.append("payload-length" if count < MOST_PAYLOADS else "too-many-payloads")
            complete = False
            break
        stop = offset + length
        if stop > end:
            faults.append("payload-cut-off")
            complete = False
            stop = end
        start = offset + GENERIC_HEADER_OCTETS
        if kind == V1Payload.SA:
            _parse_sa(data, start, stop, transforms, faults)
        elif kind == V1Payload.VENDOR_ID:
            vendor_ids.append(data[start:stop])
        kind, offset, count = next_kind, stop, count + 1
    return V1Message(header, encrypted, tuple(transforms), tuple(vendor_ids), tuple(dict.fromkeys(faults)), complete)


def _parse_sa(data: bytes, start: int, stop: int, out: list[Phase1Transform], faults: list[str]) -> None:
    if stop - start < V1_SA_HEADER_OCTETS or _DOI.unpack_from(data, start)[0] != V1_DOI_IPSEC:
        faults.append("sa-doi")
        return
    offset = start + V1_SA_HEADER_OCTETS
    while stop - offset >= PROPOSAL_HEADER_OCTETS:
        more, length = _GENERIC.unpack_from(data, offset)
        _, _, spi_octets, _ = _PROPOSAL.unpack_from(data, offset + GENERIC_HEADER_OCTETS)
        end = offset + length
        if length < PROPOSAL_HEADER_OCTETS + spi_octets or end > stop:
            faults.append("proposal-length")
            return
        _parse_transforms(data, offset + PROPOSAL_HEADER_OCTETS + spi_octets, end, out, faults)
        offset = end
        if not more:
            return


def _parse_transforms(data: bytes, offset: int, stop: int, out: list[Phase1Transform], faults: list[str]) -> None:
    while stop - offset >= _V1_TRANSFORM_HEADER_OCTETS:
        more, length = _GENERIC.unpack_from(data, offset)
        end = offset + length
        if length < _V1_TRANSFORM_HEADER_OCTETS or end > stop:
            faults.append("transform-length")
            return
        values = _attributes(data, offset + _V1_TRANSFORM_HEADER_OCTETS, end, faults)
        out.append(
            Phase1Transform(
                values.get(V1_ATTRIBUTE_ENCRYPTION),
                values.get(V1_ATTRIBUTE_HASH),
                values.get(V1_ATTRIBUTE_GROUP),
                values.get(V1_ATTRIBUTE_KEY_LENGTH),
            )
        )
        offset = end
        if not more:
            return


def _attributes(data: bytes, offset: int, end: int, faults: list[str]) -> dict[int, int]:
    values: dict[int, int] = {}
    while end - offset >= ATTRIBUTE_HEADER_OCTETS:
        kind, value = _ATTRIBUTE.unpack_from(data, offset)
        offset += ATTRIBUTE_HEADER_OCTETS
        if kind & ATTRIBUTE_FORMAT_TV:
            values.setdefault(kind ^ ATTRIBUTE_FORMAT_TV, value)
            continue
        if offset + value > end:
            faults.append("attribute-cut-off")
            break
        if value <= _WIDEST_NUMBER_OCTETS:
            values.setdefault(kind, int.from_bytes(data[offset : offset + value], "big"))
        offset += value
    return values
