"""Opening the messages of captures: facts by SA, and what to tell the user of his keys."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pqaudit.decode.datagram import Datagram
from pqaudit.ike.header import Header
from pqaudit.ike.numbers import MAJOR_IKEV2, Exchange
from pqaudit.keys.facts import OPENED, OpenedFacts
from pqaudit.keys.table import Closed, KeySource, KeyTable, SaKeys, SpiPair
from pqaudit.sa.reference import Reference

_FAILED = (Closed.INTEGRITY, Closed.OTHER_DIRECTION)
_IN_THE_CLEAR = (Exchange.IKE_SA_INIT, Exchange.IKE_SESSION_RESUME)
_MOST_LINES_NAMED = 8


class KeyNote(NamedTuple):
    """Something to tell the user of the keys of one SA.

    Attributes:
        slug: stable name of what is told.
        source: the first line of the table that it is about.
        initiator_spi, responder_spi: as the table has them.
        text: sentences for a person. No key is in them.
    """

    slug: str
    source: KeySource
    initiator_spi: bytes
    responder_spi: bytes
    text: str

    def __str__(self) -> str:
        return f"{self.source.file}:{self.source.line}: {self.text}"


class OpenedTable:
    """What keys opened, by SPI pair. Merges in any order."""

    def __init__(self) -> None:
        self._facts: dict[SpiPair, OpenedFacts] = {}
        self._reversed: set[SpiPair] = set()
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._facts)

    def add(self, datagram: Datagram, header: Header, keys: KeyTable) -> None:
        """Open the message of ``datagram`` with ``keys``; any message may be given, those of IKEv1 are passed over.

        Messages of SAs without keys are counted in ``counters["messages-without-keys"]``.
        """
        if header.major != MAJOR_IKEV2:
            return
        outcome = keys.open(header, datagram.payload)
        pair = (header.initiator_spi, header.responder_spi)
        if outcome is Closed.NOT_ENCRYPTED:
            return
        if outcome is Closed.NO_KEYS:
            turned = (pair[1], pair[0])
            if turned in keys:
                self._reversed.add(turned)
            if header.exchange_type not in _IN_THE_CLEAR:
                self.counters["messages-without-keys"] += 1
            return
        facts = self._facts.get(pair)
        if facts is None:
            facts = self._facts[pair] = OpenedFacts()
        facts.add(header, outcome, Reference(datagram.time, datagram.file, datagram.frames[-1], datagram.digits))

    def merge(self, other: OpenedTable) -> None:
        """Take over what another reader opened."""
        for pair, facts in other._facts.items():
            self._facts.setdefault(pair, OpenedFacts()).merge(facts)
        self._reversed |= other._reversed
        self.counters.update(other.counters)

    def facts(self, initiator_spi: bytes, responder_spi: bytes) -> OpenedFacts | None:
        """What was tried and opened of that IKE SA, or None where the table has no keys of it or nothing was seen."""
        return self._facts.get((initiator_spi, responder_spi))

    def notes(self, keys: KeyTable) -> list[KeyNote]:
        """What to tell of keys that did not open all that they were given for, in the order of the table."""
        found: list[KeyNote] = []
        for pair, lines in keys.pairs():
            found += [
                KeyNote(slug, source, *pair, f"IKE SA {pair[0].hex()}/{pair[1].hex()}: {text}")
                for slug, source, text in self._about(pair, lines)
            ]
        return found

    def _about(self, pair: SpiPair, lines: tuple[SaKeys, ...]) -> list[tuple[str, KeySource, str]]:
        facts = self._facts.get(pair)
        first = lines[0].source
        if facts is None and pair in self._reversed:
            text = "the SPIs are the wrong way round. Write the initiator's first, and its keys before the responder's."
            return [("spis-reversed", first, text)]
        if facts is None:
            text = (
                "no encrypted message of it is in the captures. Are both SPIs right, and those of this SA, not of the "
                "one before a rekey?"
            )
            return [("keys-of-unseen-sa", first, text)]
        found: list[tuple[str, KeySource, str]] = []
        failed = facts.count(*_FAILED)
        opened = facts.count(OPENED)
        if failed and facts.count(Closed.OTHER_DIRECTION) == failed and not opened:
            text = (
                "the keys of the two directions are the wrong way round. Write SK_ei and SK_ai of the original "
                "initiator before SK_er and SK_ar. Nothing was opened, and the verdict rests on what is in the clear."
            )
            found.append(("keys-reversed", first, text))
        elif failed and not opened:
            text = (
                f"none of its {failed} encrypted packets passes the integrity check with the keys of {_named(lines)}: "
                "wrong keys or wrong algorithms. Nothing was opened, and the verdict rests on what is in the clear."
            )
            found.append(("keys-wrong", first, text))
        elif failed:
            where = _exchanges(facts)
            text = (
                f"{opened} packets were opened, {failed} do not pass the integrity check ({where}). After each "
                "IKE_INTERMEDIATE there are new keys: does the table have a line for every stage?"
            )
            found.append(("keys-incomplete", first, text))
        unreadable = facts.count(Closed.UNREADABLE) + len(facts.unreadable)
        if unreadable:
            text = (
                f"{unreadable} messages pass the integrity check but hold no payloads that fit together: "
                "SK_ai and SK_ar are right, SK_ei, SK_er or the encryption algorithm is not. Nothing of them is used."
            )
            found.append(("encryption-keys-wrong", first, text))
        if facts.count(Closed.UNAVAILABLE):
            text = (
                f"the cryptographic library here does not do {lines[0].encryption.name} with {lines[0].integrity.name}."
            )
            found.append(("algorithm-unavailable", first, text))
        if facts.count(Closed.CUT_OFF):
            text = (
                f"{facts.count(Closed.CUT_OFF)} encrypted packets were captured only in part and cannot be opened. "
                "Capture with a larger snapshot length."
            )
            found.append(("packets-cut-off", first, text))
        unused = [each for each in lines if each.source not in facts.sources]
        if opened and unused:
            text = f"the keys of {_named(tuple(unused))} open nothing. Are they of this SA?"
            found.append(("keys-unused", unused[0].source, text))
        if facts.fragments_missing:
            text = f"fragments are missing of {len(facts.fragments_missing)} messages, which therefore stay closed."
            found.append(("fragments-missing", first, text))
        return found


def _named(lines: tuple[SaKeys, ...]) -> str:
    numbers = [str(each.source.line) for each in lines[:_MOST_LINES_NAMED]]
    more = ", ..." if len(lines) > _MOST_LINES_NAMED else ""
    files = {each.source.file for each in lines}
    if len(files) == 1:
        return f"line{'s' if len(lines) > 1 else ''} {', '.join(numbers)}{more}"
    places = [f"{each.source.file}:{each.source.line}" for each in lines[:_MOST_LINES_NAMED]]
    return ", ".join(places) + more


def _exchanges(facts: OpenedFacts) -> str:
    failed: Counter[int] = Counter()
    for (_, exchange_type, outcome), count in facts.packets.items():
        if outcome in _FAILED:
            failed[exchange_type] += count
    return ", ".join(f"{_exchange(kind)}: {count}" for kind, count in sorted(failed.items()))


def _exchange(kind: int) -> str:
    try:
        return Exchange(kind).name
    except ValueError:
        return f"exchange type {kind}"
