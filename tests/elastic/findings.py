"""Findings for tests of delivery: as real ones are addressed, with a set that stands for evidence and merges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pqaudit.finding.document import Document

TEMPLATE = {
    "index_patterns": ["pqaudit-sa-*"],
    "template": {
        "settings": {"number_of_shards": 1, "number_of_replicas": 0},
        "mappings": {
            "dynamic": False,
            "properties": {
                "@timestamp": {"type": "date"},
                "event": {"properties": {"id": {"type": "keyword"}}},
                "source": {"properties": {"ip": {"type": "ip"}}},
            },
        },
    },
}


def finding(number: int, *seen: int, month: str = "2026-11", **more: Any) -> Document:
    """The finding of one SA; ``seen`` is the evidence it holds."""
    own = {"verdict": "classical-only", "seen": sorted(seen), "padding": "x" * 400}
    return {
        "@timestamp": f"{month}-0{1 + number % 9}T00:00:00.000000Z",
        "event": {"id": f"{number:040x}"},
        "source": {"ip": f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"},
        "pqaudit": own,
        **more,
    }


def findings(count: int) -> Iterator[Document]:
    for number in range(count):
        yield finding(number, 1)


def union(one: Document, other: Document) -> Document:
    """A merge as the real one is: associative, commutative, idempotent; the earlier time is the SA's."""
    assert one["event"]["id"] == other["event"]["id"]
    whole = min(one, other, key=lambda document: document["@timestamp"])
    seen = sorted({*one["pqaudit"]["seen"], *other["pqaudit"]["seen"]})
    return {**whole, "pqaudit": {**whole["pqaudit"], "seen": seen}}
