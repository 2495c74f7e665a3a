"""IP datagrams put together again from their fragments, with everything held bounded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from pqaudit.decode.anomaly import AnomalyLog
from pqaudit.decode.limits import Limits
from pqaudit.decode.numbers import GREATEST_IP_LENGTH

NANOSECONDS = 1_000_000_000

MOST_COMPARED = 1024
"""Parts of one datagram that overlapping fragments are compared with, all in all. A cut-off frame of few octets may
claim to overlap thousands, again and again; fragments that two routers cut differently overlap two or three each."""

PART_COST = 256
"""What holding a part takes beside its octets: without it, pieces of 8 octets would take forty times the bound."""

MOST_DIGESTS = 64
"""Parts of a finished datagram that are remembered, to know repetitions by; 65,535 octets at the MTU of IPv6 are 52."""

Key = tuple[bytes, bytes, int, int]
"""Source, destination, protocol and identification (RFC 791 section 2.3; RFC 8200 section 4.5 without the protocol)."""


_OPEN = 0
_DONE = 1
"""Put together; exact repetitions of its fragments are ignored."""
_SPOILT = 2
_FOREIGN = 3
"""Its first fragment showed that it holds nothing of interest."""


class Piece(NamedTuple):
    """A fragment as it arrived. ``missing`` octets behind ``data`` were sent and not captured."""

    offset: int
    data: bytes
    missing: int
    more: bool
    protocol: int


class Whole(NamedTuple):
    """A datagram put together. ``missing`` octets behind ``data`` are in no capture."""

    protocol: int
    data: bytes
    missing: int
    frames: tuple[int, ...]


class Remains(NamedTuple):
    """The beginning of a datagram whose other fragments never came: a capture filter on ports drops them.

    ``time``, ``digits`` and ``vlan`` are those of its first fragment in the capture.
    """

    key: Key
    whole: Whole
    time: int
    digits: int
    vlan: int | None
    file: str


class _Partial:
    """A datagram of which parts are there.

    ``starts`` is sorted, and parts do not overlap, so the datagram is complete when their lengths add up to the total:
    no list of holes is walked.
    """

    __slots__ = (
        "compared",
        "data",
        "digests",
        "digits",
        "first_file",
        "first_frame",
        "first_time",
        "frames",
        "lengths",
        "octets",
        "protocol",
        "received",
        "repeats",
        "starts",
        "state",
        "total",
        "vlan",
    )

    def __init__(self, time: int, file: str, frame: int, digits: int, vlan: int | None) -> None:
        self.digits = digits
        self.vlan = vlan
        self.first_time = time
        self.first_file = file
        self.first_frame = frame
        self.starts: list[int] = []
        self.data: dict[int, bytes] = {}
        self.lengths: dict[int, int] = {}
        self.frames: set[int] = set()
        self.digests: set[tuple[int, int]] | None = None
        self.protocol = -1
        self.compared = 0
        self.received = 0
        self.octets = 0
        self.total: int | None = None
        self.state = _OPEN
        # Fragments of a datagram that is whole already, cut otherwise: their beginning tells nothing new.
        self.repeats = False

    def release(self, state: int) -> None:
        """Drop the octets, and keep only what recognises latecomers."""
        self.state = state
        self.starts.clear()
        self.data.clear()
        self.lengths.clear()
        self.frames.clear()
        self.octets = 0


class Reassembler:
    """Puts datagrams together.

    Args:
        limits: bounds on time, number and octets.
        log: where to count and report what was given up.
        foreign: ``foreign(protocol, octets)`` says of the start of a datagram that it surely holds nothing of interest.
    """

    def __init__(self, limits: Limits, log: AnomalyLog, foreign: Callable[[int, bytes], bool]) -> None:
        self._timeout = limits.fragment_seconds * NANOSECONDS
        self._most = limits.fragment_datagrams
        self._most_octets = limits.fragment_octets
        self._log = log
        self._foreign = foreign
        self._held: OrderedDict[Key, _Partial] = OrderedDict()
        self._octets = 0
        self._previous_time = 0
        self._remains: list[Remains] = []

    @property
    def octets(self) -> int:
        """Octets of fragments held, with what holding them takes."""
        return self._octets

    def __len__(self) -> int:
        """Datagrams held, those among them of which only a trace is kept."""
        return len(self._held)

    def add(
        self, key: Key, piece: Piece, time: int, file: str, frames: tuple[int, ...], digits: int, vlan: int | None
    ) -> Whole | None:
        """Add a fragment; the datagram when this completes it."""
        self._expire(time)
        length = len(piece.data) + piece.missing
        repeats = False
        partial = self._held.get(key)
        if partial is not None and abs(time - partial.first_time) > self._timeout:
            self._give_up(key, partial, "fragments-timed-out")
            partial = None
        if partial is not None and partial.state != _OPEN:
            if self._ignored(partial, piece, length):
                if partial.state == _FOREIGN and partial.total is not None and partial.received >= partial.total:
                    del self._held[key]  # so that the next datagram of this identification starts afresh
                return None
            repeats = partial.state == _DONE
            del self._held[key]
            partial = None
        if not self._valid(piece, length, file, frames[-1]):
            return None
        if partial is None:
            partial = _Partial(time, file, frames[0], digits, vlan)
            partial.repeats = repeats
            self._held[key] = partial
        fault = self._insert(partial, piece, length, frames)
        if fault is not None:
            self._log.add("fragments-overlapping", file, frames[-1], fault)
            self._octets -= partial.octets
            partial.release(_SPOILT)
            return None
        if partial.state == _OPEN and partial.total is not None and partial.received >= partial.total:
            whole = self._join(partial)
            self._octets -= partial.octets
            if len(partial.data) <= MOST_DIGESTS:
                partial.digests = {(start, hash(data)) for start, data in partial.data.items()}
            partial.release(_DONE)
            self._log.count("fragments-reassembled")
            return whole
        self._evict()
        return None

    def remains(self) -> list[Remains]:
        """Beginnings of datagrams that were given up since the last call."""
        found, self._remains = self._remains, []
        return found

    def flush(self) -> None:
        """End of input: what is incomplete stays so."""
        for key, partial in list(self._held.items()):
            self._give_up(key, partial, "fragments-unfinished")

    def _ignored(self, partial: _Partial, piece: Piece, length: int) -> bool:
        """True when the fragment belongs to what is already settled; False when a new datagram begins with it."""
        if partial.state == _SPOILT:
            return True
        if partial.state == _DONE:
            return partial.digests is not None and (piece.offset, hash(piece.data)) in partial.digests
        if piece.offset == 0:
            return False
        partial.received += length
        if not piece.more:
            partial.total = piece.offset + length
        return True

    def _valid(self, piece: Piece, length: int, file: str, frame: int) -> bool:
        if piece.offset + length > GREATEST_IP_LENGTH:
            self._log.add("malformed-frames", file, frame, "A fragment reaches beyond the greatest IP packet.")
            return False
        if piece.more and (length % 8 or not length):
            self._log.add("malformed-frames", file, frame, "A fragment before the last has no multiple of 8 octets.")
            return False
        return length > 0

    def _insert(self, partial: _Partial, piece: Piece, length: int, frames: tuple[int, ...]) -> str | None:
        """Put a fragment in its place; a sentence when it contradicts what is there."""
        start, stop = piece.offset, piece.offset + length
        starts = partial.starts
        first = bisect_right(starts, start) - 1
        if first >= 0 and starts[first] + partial.lengths[starts[first]] > start:
            if starts[first] == start and partial.lengths[start] == length and partial.data[start] == piece.data:
                return None
        else:
            first += 1
        last = bisect_left(starts, stop)
        partial.compared += last - first
        if partial.compared > MOST_COMPARED:
            return f"Fragments of a datagram overlap more than {MOST_COMPARED} others."
        if not piece.more:
            if partial.total is not None and partial.total != stop:
                return f"Two last fragments of a datagram end at {partial.total} and at {stop}."
            if starts and starts[-1] + partial.lengths[starts[-1]] > stop:
                return f"The last fragment ends at {stop}, before the end of another."
            partial.total = stop
        elif partial.total is not None and stop > partial.total:
            return f"A fragment ends at {stop}, beyond the last one, which ends at {partial.total}."
        if start == 0:
            partial.protocol = piece.protocol
            if self._foreign(piece.protocol, piece.data):
                self._octets -= partial.octets
                received, total = partial.received + length, partial.total
                partial.release(_FOREIGN)
                partial.received, partial.total = received, total
                return None
        position = start
        for existing in starts[first:last]:
            existing_stop = existing + partial.lengths[existing]
            common_start, common_stop = max(start, existing), min(stop, existing_stop)
            ours = piece.data[common_start - start : common_stop - start]
            theirs = partial.data[existing][common_start - existing : common_stop - existing]
            common = min(len(ours), len(theirs))
            if ours[:common] != theirs[:common]:
                return f"Fragments of a datagram overlap with different content at {common_start}."
            if position < existing:
                self._place(partial, position, existing, piece, frames)
            position = max(position, existing_stop)
        if position < stop:
            self._place(partial, position, stop, piece, frames)
        return None

    def _place(self, partial: _Partial, start: int, stop: int, piece: Piece, frames: tuple[int, ...]) -> None:
        data = piece.data[start - piece.offset : stop - piece.offset]
        partial.starts.insert(bisect_left(partial.starts, start), start)
        partial.data[start] = data
        partial.lengths[start] = stop - start
        partial.received += stop - start
        partial.octets += len(data) + PART_COST
        self._octets += len(data) + PART_COST
        partial.frames.update(frames)

    @staticmethod
    def _join(partial: _Partial) -> Whole:
        """The octets up to the first that no frame holds."""
        parts: list[bytes] = []
        present = 0
        for start in partial.starts:
            data = partial.data[start]
            parts.append(data)
            present += len(data)
            if len(data) < partial.lengths[start]:
                break
        missing = (partial.total or present) - present
        return Whole(partial.protocol, b"".join(parts), missing, tuple(sorted(partial.frames)))

    def _expire(self, time: int) -> None:
        # One frame with a wrong clock must not time out all that is held: two in a row have to agree.
        now = min(time, self._previous_time)
        self._previous_time = time
        while self._held:
            key, oldest = next(iter(self._held.items()))
            if oldest.first_time + self._timeout >= now:
                break
            self._give_up(key, oldest, "fragments-timed-out")

    def _evict(self) -> None:
        while self._held and (len(self._held) > self._most or self._octets > self._most_octets):
            key, oldest = next(iter(self._held.items()))
            self._give_up(key, oldest, "fragments-evicted")

    def _give_up(self, key: Key, partial: _Partial, slug: str) -> None:
        del self._held[key]
        self._octets -= partial.octets
        if partial.state == _OPEN:
            if partial.starts and partial.starts[0] == 0 and not partial.repeats:
                self._keep_beginning(key, partial)
            self._log.add(
                slug,
                partial.first_file,
                partial.first_frame,
                f"Of an IP datagram in fragments {partial.received} octets were captured and the rest never came.",
            )

    def _keep_beginning(self, key: Key, partial: _Partial) -> None:
        parts: list[bytes] = []
        position = 0
        for start in partial.starts:
            if start != position:
                break
            parts.append(partial.data[start])
            position += partial.lengths[start]
            if len(partial.data[start]) < partial.lengths[start]:
                break
        data = b"".join(parts)
        # How much is missing is not known where the last fragment never came; one octet says that something is.
        missing = max(1, (partial.total or 0) - len(data))
        whole = Whole(partial.protocol, data, missing, tuple(sorted(partial.frames)))
        self._remains.append(Remains(key, whole, partial.first_time, partial.digits, partial.vlan, partial.first_file))
