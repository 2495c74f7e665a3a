"""Comparing two readings of the same capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from pqaudit.crosscheck.reading import Reading, Value, payload_index

MESSAGE = "message"
PAYLOADS = "payloads"
IS_IKE = "IKE"


class Difference(NamedTuple):
    """A field on which the two readers differ. ``readings`` are both messages, None where one reader saw none."""

    file: str
    frame: int
    field: str
    own: Value
    tshark: Value
    readings: tuple[Reading | None, Reading | None]


class Comparison:
    """Compares readings as they come: frames of tshark in order, our own pulled along.

    Only what one of the two has not yet reached is kept, so memory does not grow with the capture.
    """

    def __init__(self, file: str, own: Iterator[Reading], report: Callable[[Difference], None]) -> None:
        self._file = file
        self._own = own
        self._report = report
        self._ahead: dict[int, list[Reading]] = {}
        self._alone: dict[int, list[Reading]] = {}
        self._reached = 0
        self.messages = 0
        self.fields = 0

    def frame(self, number: int, readings: list[Reading]) -> None:
        """Take what tshark reads in a frame."""
        # Strictly beyond: a frame may give several messages.
        while self._reached <= number and self._pull():
            pass
        own = self._ahead.pop(number, [])
        if own:
            self._match(number, own, readings)
        else:
            self._alone[number] = readings

    def finish(self) -> None:
        """Compare what is left at the end of the capture."""
        while self._pull():
            pass
        for number in sorted(self._ahead.keys() | self._alone.keys()):
            self._match(number, self._ahead.pop(number, []), self._alone.pop(number, []))

    def _pull(self) -> bool:
        reading = next(self._own, None)
        if reading is None:
            return False
        self._ahead.setdefault(reading.frame, []).append(reading)
        self._reached = max(self._reached, reading.frame)
        return True

    def _match(self, number: int, own: list[Reading], other: list[Reading]) -> None:
        accepted = [reading for reading in own if reading.fields]
        refused = [reading for reading in own if not reading.fields]
        for place in range(max(len(accepted), len(other))):
            mine = accepted[place] if place < len(accepted) else None
            theirs = other[place] if place < len(other) else None
            if mine is not None and theirs is not None:
                self.messages += 1
                self._fields(number, mine, theirs)
                continue
            if mine is None and refused:
                mine = refused.pop(0)
            value: Value = IS_IKE if mine is not None and mine.fields else None
            if mine is not None and not mine.fields:
                value = f"not IKE: {mine.about['refused']}"
            self._report(
                Difference(self._file, number, MESSAGE, value, None if theirs is None else IS_IKE, (mine, theirs))
            )

    def _fields(self, number: int, mine: Reading, theirs: Reading) -> None:
        both = (mine, theirs)
        alike = None  # payloads that both see under the same number
        if mine.payloads is not None and theirs.payloads is not None:
            self.fields += 1
            if mine.payloads != theirs.payloads:
                alike = _common(mine.payloads, theirs.payloads)
                own, other = _chain(mine.payloads), _chain(theirs.payloads)
                self._report(Difference(self._file, number, PAYLOADS, own, other, both))
        for path in dict.fromkeys((*mine.fields, *theirs.fields)):
            index = payload_index(path)
            if alike is not None and index is not None and index >= alike:
                continue
            self.fields += 1
            own_value, their_value = mine.fields.get(path), theirs.fields.get(path)
            if own_value != their_value:
                self._report(Difference(self._file, number, path, own_value, their_value, both))


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return place
    return min(len(one), len(other))


def _chain(payloads: tuple[int, ...]) -> str:
    return " ".join(map(str, payloads)) or "none"
