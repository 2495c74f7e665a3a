"""Findings of one SA from several files, sensors or runs, as the one that a single run over all of them gives."""

from __future__ import annotations

from pqaudit.finding.carried import MOST_OBSERVERS, MOST_ORIGINS, Carried, read_carried
from pqaudit.finding.custom_rules import CustomRules
from pqaudit.finding.document import Document, finding_of
from pqaudit.finding.identity import finding_id
from pqaudit.finding.opened_merging import canonical, merge_opened
from pqaudit.ike.numbers import ZERO_SPI
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.group import finish_merged
from pqaudit.sa.lineage import may_be_rekeyed
from pqaudit.sa.record import LaterRecordError, RecordError

_ASSURANCE = {"offered": 1, "selected": 2, "executed": 3, "contradicted": 3}


class Merger:
    """Merges findings; the order in which they come makes no difference, and the same one twice none either.

    Args:
        rulebook: judges the merged evidence anew.
        custom: rules of the user, applied anew; without them, those that matched any of the findings stay.
    """

    def __init__(self, rulebook: Rulebook, custom: CustomRules | None = None) -> None:
        self._rulebook = rulebook
        # What fails here failed on one of the findings before: it is not counted again.
        self._custom = None if custom is None else CustomRules(custom.rules)

    def merge(self, a: Document, b: Document) -> Document:
        """The finding of all evidence that two findings of one SA carry; neither is changed.

        A finding whose record cannot be read (of an older version, or not written by pqaudit) gives way to one whose
        record can.

        Raises:
            LaterRecordError: one was written by a later version of pqaudit, which has to do the merging.
            ValueError: they are not of the same SA.
        """
        identity = _identity(a)
        if identity is None or identity != _identity(b):
            raise ValueError("The two findings are not of the same SA: their event.id differs.")
        readable = [(carried, document) for document in (a, b) if (carried := _carried(document, identity))]
        if not readable or len({_names(carried.sa) for carried, _ in readable}) > 1:
            return max((a, b), key=_weight)
        merged = finding_of(_joined([carried for carried, _ in readable]), self._rulebook)
        # While the responder's SPI is unknown, the addresses of the initiator's last request are part of the identity,
        # and that request may not be the last one of both.
        merged["event"]["id"] = identity
        documents = [document for _, document in readable]
        own = merged["pqaudit"]
        opened = merge_opened([each["pqaudit"].get("opened") for each in documents], own["selected"])
        if opened is not None:
            own["opened"] = opened
        if self._custom is not None:
            (merged,) = self._custom.apply([merged])
        elif any("rules" in each["pqaudit"] for each in documents):
            own["rules"] = _rules([each["pqaudit"].get("rules") for each in documents])
        return merged


def _identity(document: Document) -> str | None:
    event = document.get("event")
    identity = event.get("id") if isinstance(event, dict) else None
    return identity if isinstance(identity, str) else None


def _carried(document: Document, identity: str) -> Carried | None:
    """What the document carries, or None where that cannot be read or is of another SA."""
    try:
        carried = read_carried(document)
    except LaterRecordError:
        raise
    except RecordError:
        return None
    return carried if _may_have(carried.sa, identity) else None


def _may_have(sa: SecurityAssociation, identity: str) -> bool:
    if sa.responder_spi == ZERO_SPI and "paths" in sa.overflow:
        return True  # the path that the identity was made with may be one of those left out
    ways = [way for path in sa.paths for way in (path, path.turned())]
    return any(finding_id(sa, way) == identity for way in ways)


def _names(sa: SecurityAssociation) -> tuple[int, bytes, bytes]:
    return (sa.version, sa.initiator_spi, sa.responder_spi)


def _joined(parts: list[Carried]) -> Carried:
    sa = parts[0].sa
    for part in parts[1:]:
        sa.merge(part.sa)
    finish_merged(sa)
    observers = sorted({name for part in parts for name in part.observers})
    # Each run chose among what it saw before the first packet that it saw; another run may have seen an earlier one.
    origins = {o for part in parts for o in part.origins if sa.first is not None and o.exchange <= sa.first}
    ordered = sorted(origins, key=lambda o: (o.exchange, o.initiator_spi, o.responder_spi))
    return Carried(sa, tuple(observers[:MOST_OBSERVERS]), tuple(ordered[-MOST_ORIGINS:]) if may_be_rekeyed(sa) else ())


def _weight(document: Document) -> tuple[int, int, str]:
    """Of findings without evidence, the one that says more stays."""
    own = document.get("pqaudit")
    assurance = own.get("assurance") if isinstance(own, dict) else None
    capture = own.get("capture") if isinstance(own, dict) else None
    packets = capture.get("packets") if isinstance(capture, dict) else None
    return (
        _ASSURANCE.get(assurance, 0) if isinstance(assurance, str) else 0,
        packets if type(packets) is int else 0,
        canonical(document),
    )


def _rules(parts: list[object]) -> list[Document]:
    """Rules that matched any of the findings, by identifier."""
    found: dict[str, tuple[str, Document]] = {}
    for part in parts:
        for rule in part if isinstance(part, list) else ():
            if isinstance(rule, dict) and isinstance(rule.get("id"), str):
                text = canonical(rule)
                if rule["id"] not in found or text > found[rule["id"]][0]:
                    found[rule["id"]] = (text, rule)
    return [found[identifier][1] for identifier in sorted(found)]
