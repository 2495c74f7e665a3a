"""The identity of a finding, and the month it belongs to: the same in every run, file and sensor."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from pqaudit.ike.numbers import ZERO_SPI
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.reference import Path

_HEX_DIGITS = 40
_MONTH = re.compile(r"(\d{4})-(\d{2})-")


def finding_id(sa: SecurityAssociation, path: Path) -> str:
    """Identity from version and SPIs; the addresses take part only while the responder's SPI is unknown."""
    parts = [f"ike{sa.version}", sa.initiator_spi.hex(), sa.responder_spi.hex()]
    if sa.responder_spi == ZERO_SPI:
        parts += [path.source.address.hex(), path.destination.address.hex()]
    return sha256("|".join(parts).encode()).hexdigest()[:_HEX_DIGITS]


def first_month(document: dict[str, Any]) -> str:
    """The month of the SA's first packet in UTC, as ``2026.11``.

    Raises:
        ValueError: the finding has no usable ``@timestamp``.
    """
    match = _MONTH.match(document["@timestamp"])
    if match is None:
        raise ValueError("the finding has no time")
    return f"{match[1]}.{match[2]}"
