"""Which index a finding lives in: that of the month of its SA's first packet, so that it always meets itself."""

from __future__ import annotations

import re
from typing import Final

from pqaudit.finding.document import Document

PREFIX: Final = "pqaudit-sa-"
PATTERN: Final = PREFIX + "*"
_MONTH = re.compile(r"(\d{4})-(\d{2})-")


def index_of(finding: Document) -> str:
    """Name of the index.

    Raises:
        ValueError: the finding has no usable ``@timestamp``.
    """
    match = _MONTH.match(finding["@timestamp"])
    if match is None:
        raise ValueError("the finding has no time")
    return f"{PREFIX}{match[1]}.{match[2]}"
