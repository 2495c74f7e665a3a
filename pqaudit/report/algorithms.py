"""The algorithms of a suite, told apart, with what their names say of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pqaudit.outputs.escape import printable
from pqaudit.report.model import Case

KINDS = ("encryption", "prf", "integrity", "key_exchange")
"""In this order."""

_MODES = ("gcm", "ccm", "cbc", "ctr")
_NONE = 0


@dataclass(frozen=True, slots=True, order=True)
class Algorithm:
    """A transform that was selected.

    Attributes:
        kind: one of `KINDS`.
        number: in the registry of its kind; of IKEv1 with ``v1``.
        key_bits: 0 where none was negotiated.
        name: safe to show.
    """

    kind: str
    v1: bool
    number: int
    key_bits: int
    name: str

    @property
    def ref(self) -> str:
        """What others refer to it by."""
        bits = f"/{self.key_bits}" if self.key_bits else ""
        return f"algorithm/ikev{1 if self.v1 else 2}/{self.kind}/{self.number}/{self.name}{bits}"

    @property
    def shown(self) -> str:
        """Name and key length."""
        return f"{self.name}-{self.key_bits}" if self.key_bits else self.name

    @property
    def primitive(self) -> str:
        """As CycloneDX calls it; ``unknown`` for numbers that are private or not assigned."""
        name = self.name.casefold()
        if name.startswith(("private-use", "unassigned")):
            return "unknown"
        if self.kind == "key_exchange":
            return "kem" if name.startswith("ml-kem") else "key-agree"
        if self.kind == "encryption":
            aead = any(part in name for part in ("gcm", "ccm", "poly1305", "mgm"))
            return "ae" if aead else "other" if "null" in name else "block-cipher"
        return "hash" if self.v1 else "mac"

    @property
    def mode(self) -> str | None:
        """Of a block cipher, where its name tells it."""
        if self.kind != "encryption":
            return None
        return next((mode for mode in _MODES if mode in self.name.casefold()), None)

    @property
    def parameter_set(self) -> str | None:
        """The key length, or the number in the name of an ML-KEM."""
        if self.key_bits:
            return str(self.key_bits)
        name, _, size = self.name.rpartition("-")
        return size if self.kind == "key_exchange" and name == "ml-kem" else None


def algorithms(case: Case) -> Iterator[Algorithm]:
    """Those of a case by kind, key exchanges in the order of their slots; NONE is none."""
    v1 = case.ike_version == "1.0"
    for kind in KINDS:
        found: list[dict[str, Any] | None] = [case.selected[kind]]
        if kind == "key_exchange":
            found += case.selected["additional_key_exchanges"]
        for entry in found:
            if entry is not None and entry["id"] != _NONE:
                name = printable(entry["name"]) or "unknown"
                yield Algorithm(kind, v1, entry["id"], entry.get("key_bits") or 0, name)
