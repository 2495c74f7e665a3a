"""Findings of a whole table, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pqaudit.finding.document import Document, Observer, build_finding
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.lineage import with_origins
from pqaudit.sa.table import SaTable

if TYPE_CHECKING:
    from pqaudit.keys.opened import OpenedTable


def drain_findings(
    table: SaTable, rulebook: Rulebook, observer: Observer, opened: OpenedTable | None = None
) -> Iterator[Document]:
    """The finding of every SA, in the order of first packets; the table is used up.

    ``opened`` adds what keys of the user opened.
    """
    for sa, origin in with_origins(table.drain(), rulebook.rekey_within):
        finding = build_finding(sa, rulebook, observer, origin)
        facts = None if opened is None else opened.facts(sa.initiator_spi, sa.responder_spi)
        if facts is not None:
            # Imported here: it brings ciphers along, which an audit without keys has no use for.
            from pqaudit.finding.opened import opened_document

            own = finding["pqaudit"]
            own["opened"] = opened_document(facts, own["selected"], rulebook.registry)
        yield finding
