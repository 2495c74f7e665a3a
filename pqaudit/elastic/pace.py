"""How much is sent at once and how long is waited after a refusal."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

MOST_DOCUMENTS: Final = 500
MOST_OCTETS: Final = 5 << 20
_FEWEST_OCTETS = 64 << 10
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 30.0
_GROWTH = 1.25


@dataclass(slots=True)
class Pace:
    """Size of batches and length of pauses; a refusal halves the one and doubles the other."""

    documents: int = MOST_DOCUMENTS
    octets: int = MOST_OCTETS
    refusals: int = 0

    def accepted(self) -> None:
        """The server took a batch: grow slowly back to full size."""
        self.refusals = 0
        self.documents = min(MOST_DOCUMENTS, max(self.documents + 1, int(self.documents * _GROWTH)))
        self.octets = min(MOST_OCTETS, int(self.octets * _GROWTH))

    def shrink(self) -> None:
        """Halve the next batches."""
        self.documents = max(1, self.documents // 2)
        self.octets = max(_FEWEST_OCTETS, self.octets // 2)

    def pause(self) -> float:
        """Seconds to wait before the next try: random up to a bound that doubles, so that senders do not meet again."""
        bound = min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2 ** min(self.refusals, 16)))
        self.refusals += 1
        return random.uniform(bound / 4, bound)
