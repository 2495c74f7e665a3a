"""The identity of a finding: the same SA has the same one in every run, file and sensor."""

from __future__ import annotations

from hashlib import sha256

from pqaudit.ike.numbers import ZERO_SPI
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.reference import Path

_HEX_DIGITS = 40


def finding_id(sa: SecurityAssociation, path: Path) -> str:
    """Identity from version and SPIs; the addresses take part only while the responder's SPI is unknown."""
    parts = [f"ike{sa.version}", sa.initiator_spi.hex(), sa.responder_spi.hex()]
    if sa.responder_spi == ZERO_SPI:
        parts += [path.source.address.hex(), path.destination.address.hex()]
    return sha256("|".join(parts).encode()).hexdigest()[:_HEX_DIGITS]
