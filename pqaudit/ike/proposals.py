"""SA payload: proposals, transforms, attributes (RFC 7296 section 3.3)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct

from pqaudit.ike.numbers import (
    ATTRIBUTE_FORMAT_TV,
    ATTRIBUTE_HEADER_OCTETS,
    ATTRIBUTE_KEY_LENGTH,
    PROPOSAL_HEADER_OCTETS,
    TRANSFORM_HEADER_OCTETS,
)
from pqaudit.ike.payloads import Proposal, SecurityAssociationPayload, Transform

_PROPOSAL = Struct("!BxHBBBB")
_TRANSFORM = Struct("!BxHBxH")
_ATTRIBUTE = Struct("!HH")

# Peers repeat the same configured proposals in every negotiation, so most SA payloads were read before. Only short
# bodies are kept: the cache is a few megabytes at most.
_CACHED_BODY_OCTETS = 2048

# Proposals are numbered from 1 upwards in one octet (RFC 7296 section 3.3.1). 64 KiB would hold 8,192 empty ones, and
# comparing two such payloads takes time by the square.
MOST_PROPOSALS = 255


def parse_proposals(body: bytes) -> tuple[SecurityAssociationPayload, tuple[str, ...]]:
    """Read the body of an SA payload (after its generic header).

    Returns:
        The payload and the slugs of what was wrong in it; what could be read before a fault is kept.
    """
    if len(body) <= _CACHED_BODY_OCTETS:
        return _parse_cached(body)
    return _parse(body)


def _parse(body: bytes) -> tuple[SecurityAssociationPayload, tuple[str, ...]]:
    proposals: list[Proposal] = []
    faults: list[str] = []
    offset, end = 0, len(body)
    while offset < end:
        if end - offset < PROPOSAL_HEADER_OCTETS:
            faults.append("proposal-cut-off")
            break
        if len(proposals) >= MOST_PROPOSALS:
            faults.append("too-many-proposals")
            break
        last, length, number, protocol, spi_octets, count = _PROPOSAL.unpack_from(body, offset)
        stop = offset + length
        start = offset + PROPOSAL_HEADER_OCTETS + spi_octets
        if length < PROPOSAL_HEADER_OCTETS + spi_octets:
            faults.append("proposal-length")
            break
        if stop > end:
            faults.append("proposal-cut-off")
            stop = end
        transforms = _parse_transforms(body, start, stop, count, faults)
        proposals.append(Proposal(number, protocol, body[offset + PROPOSAL_HEADER_OCTETS : start], transforms))
        offset = stop
        if last == 0 and offset < end:
            faults.append("proposal-after-last")
    if not proposals and not faults:
        faults.append("no-proposal")
    return SecurityAssociationPayload(tuple(proposals), not faults), tuple(dict.fromkeys(faults))


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _parse_transforms(body: bytes, offset: int, stop: int, count: int, faults: list[str]) -> tuple[Transform, ...]:
    transforms: list[Transform] = []
    while offset < stop:
        if stop - offset < TRANSFORM_HEADER_OCTETS:
            faults.append("transform-cut-off")
            break
        _, length, kind, number = _TRANSFORM.unpack_from(body, offset)
        if length < TRANSFORM_HEADER_OCTETS:
            faults.append("transform-length")
            break
        end = offset + length
        if end > stop:
            faults.append("transform-cut-off")
            break
        key_bits = None
        if length > TRANSFORM_HEADER_OCTETS:
            key_bits = _key_length(body, offset + TRANSFORM_HEADER_OCTETS, end, faults)
        transforms.append(Transform(kind, number, key_bits))
        offset = end
    if len(transforms) != count:
        faults.append("transform-count")
    return tuple(transforms)


def _key_length(body: bytes, offset: int, end: int, faults: list[str]) -> int | None:
    found = None
    while offset < end:
        if end - offset < ATTRIBUTE_HEADER_OCTETS:
            faults.append("attribute-cut-off")
            break
        kind, value = _ATTRIBUTE.unpack_from(body, offset)
        offset += ATTRIBUTE_HEADER_OCTETS
        if kind & ATTRIBUTE_FORMAT_TV:
            if kind ^ ATTRIBUTE_FORMAT_TV == ATTRIBUTE_KEY_LENGTH:
                found = value
        else:
            if offset + value > end:
                faults.append("attribute-cut-off")
                break
            offset += value
    return found
