"""Findings of a whole table, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from pqaudit.finding.document import Document, Observer, build_finding
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.lineage import with_origins
from pqaudit.sa.table import SaTable


def drain_findings(table: SaTable, rulebook: Rulebook, observer: Observer) -> Iterator[Document]:
    """The finding of every SA, in the order of first packets; the table is used up."""
    for sa, origin in with_origins(table.drain(), rulebook.rekey_within):
        yield build_finding(sa, rulebook, observer, origin)
