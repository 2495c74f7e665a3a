"""Findings of all SAs that were seen, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pqaudit.finding.document import Document, Observer, build_finding
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.group import Group
from pqaudit.sa.lineage import Origin, with_origins
from pqaudit.sa.table import SaTable

if TYPE_CHECKING:
    from pqaudit.keys.opened import OpenedTable

Wanted = Callable[[SecurityAssociation, Origin | None], bool]
"""Whether the finding of an SA, with the one it was probably rekeyed from, is asked for."""


def drain_findings(
    table: SaTable, rulebook: Rulebook, observer: Observer, opened: OpenedTable | None = None
) -> Iterator[Document]:
    """The finding of every SA of a table, in the order of first packets; the table is used up.

    ``opened`` adds what keys of the user opened.
    """
    return findings_of(table.drain(), rulebook, observer, opened)


def findings_of(
    groups: Iterable[Group],
    rulebook: Rulebook,
    observer: Observer,
    opened: OpenedTable | None = None,
    wanted: Wanted | None = None,
) -> Iterator[Document]:
    """The finding of every SA, or of those that are wanted; ``groups`` come in the order of their first packets."""
    for sa, origin in with_origins(groups, rulebook.rekey_within):
        if wanted is not None and not wanted(sa, origin):
            continue
        finding = build_finding(sa, rulebook, observer, origin)
        facts = None if opened is None else opened.facts(sa.initiator_spi, sa.responder_spi)
        if facts is not None:
            # Imported here: it brings ciphers along, which an audit without keys has no use for.
            from pqaudit.finding.opened import opened_document

            own = finding["pqaudit"]
            own["opened"] = opened_document(facts, own["selected"], rulebook.registry)
        yield finding
