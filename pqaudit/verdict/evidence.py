"""Evidence: what a person can look up in the capture."""

from __future__ import annotations

from dataclasses import dataclass

from pqaudit.sa.reference import Reference


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation: a frame and what it shows."""

    reference: Reference
    what: str
