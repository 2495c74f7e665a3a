"""Findings gathered by peer or by tunnel: the current state of each, and whether it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pqaudit.finding.document import Document
from pqaudit.rules.rulebook import Rulebook

_UNDETERMINED = "undetermined"
_MOST_VENDORS = 8


@dataclass(slots=True)
class _Group:
    verdicts: Counter[str] = field(default_factory=Counter)
    last: Document | None = None
    last_key: tuple[str, str] = ("", "")
    first: Document | None = None
    first_key: tuple[str, str] = ("~", "")
    vendors: dict[str, None] = field(default_factory=dict)


class Grouping:
    """Gathers findings; memory grows with peers or tunnels, not with findings.

    Args:
        by: ``peer`` for each address, ``tunnel`` for each pair of addresses whichever of the two initiated.
        rulebook: gives the order of verdicts.
    """

    def __init__(self, by: str, rulebook: Rulebook) -> None:
        self._by = by
        self._rulebook = rulebook
        self._groups: dict[tuple[str, ...], _Group] = {}

    def add(self, finding: Document) -> None:
        """Take one finding into account."""
        ends = (finding["source"]["ip"], finding["destination"]["ip"])
        if self._by == "tunnel":
            self._add_to(tuple(sorted(ends)), finding, ("initiator", "responder"))
        else:
            self._add_to((ends[0],), finding, ("initiator",))
            if ends[1] != ends[0]:
                self._add_to((ends[1],), finding, ("responder",))

    def _add_to(self, key: tuple[str, ...], finding: Document, sides: tuple[str, ...]) -> None:
        group = self._groups.setdefault(key, _Group())
        own = finding["pqaudit"]
        group.verdicts[own["verdict"]] += 1
        for side in sides:
            for vendor_id in own["fingerprint"][side]:
                if vendor_id["vendor"] and len(group.vendors) < _MOST_VENDORS:
                    group.vendors[vendor_id["vendor"]] = None
        # Without the Z times of different resolution compare as text.
        order = (finding["@timestamp"].removesuffix("Z"), finding["event"]["id"])
        # What was negotiated last counts. An SA that shows nothing, a rekey for one, does not hide what is known.
        # Nor does an attempt that was never answered, an IKEv1 probe for one.
        if own["verdict"] != _UNDETERMINED and own["assurance"] != "offered":
            if group.last is None or order > group.last_key:
                group.last, group.last_key = finding, order
            if group.first is None or order < group.first_key:
                group.first, group.first_key = finding, order

    def documents(self, exposure: Mapping[tuple[str, ...], Document] | None = None) -> Iterator[Document]:
        """One document for each peer or tunnel, worst current state first.

        ``exposure`` gives the encrypted traffic of tunnels; of those in the same state the one with the most comes
        first, and pairs that send such traffic and showed no IKE come too.
        """
        documents = [self._document(key, group) for key, group in self._groups.items()]
        if exposure is not None:
            documents += [self._document(key, _Group()) for key in exposure.keys() - self._groups.keys()]
            for document in documents:
                document["exposure"] = exposure.get(tuple(document[self._by]))
        documents.sort(key=lambda d: (self._rulebook.rank(d["verdict"]), -_esp_octets(d), d[self._by]))
        return iter(documents)

    def _document(self, key: tuple[str, ...], group: _Group) -> Document:
        last = None if group.last is None else group.last["pqaudit"]
        first = None if group.first is None else group.first["pqaudit"]
        return {
            self._by: list(key) if self._by == "tunnel" else key[0],
            "sas": group.verdicts.total(),
            "verdict": _UNDETERMINED if last is None else last["verdict"],
            "reason": None if last is None else last["reason"],
            "selected": None if last is None else last["selected"],
            "last_negotiation": None if group.last is None else group.last["@timestamp"],
            "changed": len(set(group.verdicts) - {_UNDETERMINED}) > 1,
            "first_verdict": None if first is None else first["verdict"],
            "responsibility": None if last is None else last["responsibility"],
            "verdicts": {v.id: group.verdicts[v.id] for v in self._rulebook.verdicts if group.verdicts[v.id]},
            "vendors": list(group.vendors),
        }


def _esp_octets(document: Document) -> int:
    exposure = document.get("exposure")
    return 0 if exposure is None else int(exposure["esp_octets"])
