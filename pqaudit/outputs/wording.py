"""Findings in words, for people."""

from __future__ import annotations

from pqaudit.finding.document import Document
from pqaudit.rules.registry import Registry


def exchanges_text(selected: Document, registry: Registry) -> str:
    """The selected exchanges as ``x25519 + ml-kem-768``, or a dash where nothing was selected."""
    main = selected["key_exchange"]
    names = [registry.method(main["id"]).short] if main is not None else []
    names += [registry.method(entry["id"]).short for entry in selected["additional_key_exchanges"]]
    return " + ".join(names) or "-"


def endpoint_text(end: Document) -> str:
    """Address and port; IPv6 in brackets (RFC 3986)."""
    address = end["ip"]
    return f"[{address}]:{end['port']}" if ":" in address else f"{address}:{end['port']}"


def plural(count: int, word: str, several: str | None = None) -> str:
    """``1 SA``, ``2 SAs``."""
    return f"{count:,} {word if count == 1 else (several or word + 's')}"
