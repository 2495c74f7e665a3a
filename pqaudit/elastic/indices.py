"""Which index a finding lives in: that of the month of its SA's first packet, so that it always meets itself."""

from __future__ import annotations

from typing import Final

from pqaudit.finding.document import Document
from pqaudit.finding.identity import first_month

PREFIX: Final = "pqaudit-sa-"
PATTERN: Final = PREFIX + "*"


def index_of(finding: Document) -> str:
    """Name of the index.

    Raises:
        ValueError: the finding has no usable ``@timestamp``.
    """
    return PREFIX + first_month(finding)
