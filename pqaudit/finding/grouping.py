"""Findings gathered by peer or by tunnel: the current state of each, and whether it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pqaudit.finding.document import Document
from pqaudit.rules.rulebook import Rulebook

UNDETERMINED: Final = "undetermined"
GROUPS_FORGOTTEN: Final = "groups-forgotten"

_MOST_VENDORS = 8
_REMEMBERED = 8  # findings of a group that may be told again
_RESTORED = ""  # in place of an id that a document does not have


class _Negotiated(NamedTuple):
    """What one finding says of its tunnel. Of two, the later one counts: they are compared by time, then by id.

    ``time`` is without its Z, as times of different resolution then compare as text.
    """

    time: str
    id: str
    verdict: str
    reason: str
    selected: Any
    responsibility: Any


@dataclass(slots=True)
class _Group:
    verdicts: Counter[str] = field(default_factory=Counter)
    last: _Negotiated | None = None
    first: _Negotiated | None = None
    vendors: dict[str, None] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)


class Grouping:
    """Gathers findings; memory grows with peers or tunnels, not with findings.

    Args:
        by: ``peer`` for each address, ``tunnel`` for each pair of addresses whichever of the two initiated.
        rulebook: gives the order of verdicts.
        most_groups: for findings that come for months: beyond so many groups the one that was told of the longest ago
            is forgotten, those that show no negotiation first, and a finding told again replaces what it said before.
            None for findings of which each comes once.
    """

    def __init__(self, by: str, rulebook: Rulebook, most_groups: int | None = None) -> None:
        self._by = by
        self._rulebook = rulebook
        self._most_groups = most_groups
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._blank: dict[tuple[str, ...], None] = {}  # without a last negotiation, longest silent first
        self.counters: Counter[str] = Counter()

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
        group = self._groups.get(key)
        if group is None:
            self._make_room()
            group = self._groups[key] = _Group()
        own = finding["pqaudit"]
        group.verdicts[own["verdict"]] += 1
        for side in sides:
            for vendor_id in own["fingerprint"][side]:
                if vendor_id["vendor"] and len(group.vendors) < _MOST_VENDORS:
                    group.vendors[vendor_id["vendor"]] = None
        said = _Negotiated(
            finding["@timestamp"].removesuffix("Z"),
            finding["event"]["id"],
            own["verdict"],
            own["reason"],
            own["selected"],
            own["responsibility"],
        )
        if self._most_groups is not None:
            self._replace(group, said)
        # What was negotiated last counts. An SA that shows nothing, a rekey for one, does not hide what is known.
        # Nor does an attempt that was never answered, an IKEv1 probe for one.
        if own["verdict"] != UNDETERMINED and own["assurance"] != "offered":
            if group.last is None or said[:2] > group.last[:2]:
                group.last = said
            if group.first is None or said[:2] < group.first[:2]:
                group.first = said
        if self._most_groups is not None:
            self._touch(key, group)

    def _replace(self, group: _Group, said: _Negotiated) -> None:
        """Take back what this finding said before, when it is among the latest of its group."""
        before = group.told.pop(said.id, None)
        if before is None and group.last is not None and group.last[:2] == (said.time, _RESTORED):
            before = group.last.verdict
            group.last = None
        if before is not None:
            group.verdicts[before] -= 1
        group.told[said.id] = said.verdict
        if len(group.told) > _REMEMBERED:
            del group.told[next(iter(group.told))]
        if group.last is not None and group.last.id == said.id:
            group.last = None
        if group.first is not None and group.first.id == said.id:
            group.first = None

    def _touch(self, key: tuple[str, ...], group: _Group) -> None:
        self._groups[key] = self._groups.pop(key)
        self._blank.pop(key, None)
        if group.last is None:
            self._blank[key] = None

    def _make_room(self) -> None:
        if self._most_groups is not None and len(self._groups) >= self._most_groups:
            key = next(iter(self._blank or self._groups))
            self._blank.pop(key, None)
            del self._groups[key]
            self.counters[GROUPS_FORGOTTEN] += 1

    def verdict(self, key: tuple[str, ...]) -> str | None:
        """The verdict on what a peer or tunnel negotiated last; None when it showed no IKE."""
        group = self._groups.get(key)
        if group is None:
            return None
        return UNDETERMINED if group.last is None else group.last.verdict

    def restore(self, document: Document) -> None:
        """Take in a group as ``documents`` gave it; not one that was there for its traffic alone.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is no such document.
        """
        known = {verdict.id for verdict in self._rulebook.verdicts}
        counts = {str(name): int(count) for name, count in document["verdicts"].items() if name in known}
        if not counts:
            return
        group = _Group(Counter(counts), vendors=dict.fromkeys(map(str, document["vendors"][:_MOST_VENDORS])))
        time, first = document["last_negotiation"], document["first_verdict"]
        if time is not None and document["verdict"] in known:
            group.last = _Negotiated(
                str(time).removesuffix("Z"),
                _RESTORED,
                str(document["verdict"]),
                str(document["reason"]),
                document["selected"],
                document["responsibility"],
            )
            # When the first one was is not written down; it was before whatever comes.
            group.first = group.last._replace(time="", verdict=str(first))
        key = tuple(map(str, document[self._by] if self._by == "tunnel" else [document[self._by]]))
        self._make_room()
        self._groups[key] = group
        self._touch(key, group)

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
        last, first = group.last, group.first
        verdicts = {v.id: group.verdicts[v.id] for v in self._rulebook.verdicts if group.verdicts[v.id]}
        return {
            self._by: list(key) if self._by == "tunnel" else key[0],
            "sas": group.verdicts.total(),
            "verdict": UNDETERMINED if last is None else last.verdict,
            "reason": None if last is None else last.reason,
            "selected": None if last is None else last.selected,
            "last_negotiation": None if last is None else last.time + "Z",
            "changed": len(verdicts.keys() - {UNDETERMINED}) > 1,
            "first_verdict": None if first is None else first.verdict,
            "responsibility": None if last is None else last.responsibility,
            "verdicts": verdicts,
            "vendors": list(group.vendors),
        }


def _esp_octets(document: Document) -> int:
    exposure = document.get("exposure")
    return 0 if exposure is None else int(exposure["esp_octets"])
