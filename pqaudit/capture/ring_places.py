"""From the numbers that frames had when they were captured to where a ring keeps them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

MOST_PLACES = 16_384
"""Latest frames whose place is remembered. Those of one message come within moments; this takes 4 MB."""


class Place(NamedTuple):
    """Where a packet is kept: the path of the file, as the folder was named, and the number of the frame in it."""

    file: str
    frame: int


class Places:
    """The places of the latest frames."""

    def __init__(self, most: int = MOST_PLACES) -> None:
        self._most = most
        self._places: OrderedDict[tuple[str, int], Place] = OrderedDict()

    def add(self, source: str, number: int, place: Place) -> None:
        """Remember where the frame of that number is."""
        self._places[source, number] = place
        if len(self._places) > self._most:
            self._places.popitem(last=False)

    def locate(self, source: str, numbers: Iterable[int]) -> tuple[str, tuple[int, ...]] | None:
        """The file that holds the last of these frames, and the numbers there of all that it holds.

        None when the last one was not kept or is not remembered. The others can lie in the file before, as a new file
        begins between two frames whatever they hold.
        """
        places = [self._places.get((source, number)) for number in sorted(numbers)]
        last = places[-1] if places else None
        if last is None:
            return None
        return last.file, tuple(place.frame for place in places if place is not None and place.file == last.file)
