"""Initiator SPIs that the sensor follows, within a bound that a flood cannot use to push out what matters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import IntEnum

from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import Message
from pqaudit.ike.numbers import MAJOR_IKEV1, MAJOR_IKEV2, ZERO_SPI, Exchange
from pqaudit.sa.group import Group
from pqaudit.sa.lineage import Origin

Key = tuple[int, bytes]  # major version, initiator SPI

EVICTED = "attempts-evicted"
UNASKED_EVICTED = "responses-evicted"
REFUSED = "sas-refused"

_UNANSWERED_SHARE = 4


class Tier(IntEnum):
    """How much stands behind an initiator SPI; a lower tier makes room for others."""

    UNANSWERED = 0  # nobody but the sender of a request vouches for it
    ANSWERED = 1  # a response was seen
    USED = 2  # and traffic after it


class Tracked:
    """One initiator SPI.

    Attributes:
        group: its evidence, or None while that is only in the checkpoint.
        tier: how much stands behind it.
        last: second of the wall clock at which its last packet was taken in.
        due: second at which it is to be looked at next.
        emitted: for each finding by ``event.id`` what was material in it when it was last emitted.
        origins: by responder SPI the SA that it was probably rekeyed from, where one was found.
        news: packets came since the last look.
        untold: packets came that no finding that was emitted tells of.
        saved: the checkpoint has a row of it.
    """

    __slots__ = ("due", "emitted", "group", "last", "news", "origins", "saved", "tier", "untold")

    def __init__(self, group: Group | None, tier: Tier, last: float) -> None:
        self.group = group
        self.tier = tier
        self.last = last
        self.due = 0.0
        self.emitted: dict[str, bytes] = {}
        self.origins: dict[bytes, Origin] = {}
        self.news = False
        self.untold = False
        self.saved = False


class TrackedTable:
    """At most ``most`` initiator SPIs, of which at most a quarter may be unanswered.

    When there is no room, a new one takes the place of the oldest that nobody answered, else of the oldest response to
    IKE_SA_INIT that nothing came before or after. When there is none of these, the new one is refused: no number of
    single packets that somebody makes up pushes out an SA that has a request and a response. All are counted.

    Args:
        most: the bound.
        evicted: called with each one that had to go.
    """

    def __init__(self, most: int, evicted: Callable[[Key, Tracked], None]) -> None:
        self._most = max(1, most)
        self._most_unanswered = max(1, most // _UNANSWERED_SHARE)
        self._evicted = evicted
        self._all: dict[Key, Tracked] = {}
        self._unanswered: dict[Key, None] = {}  # oldest first
        self._unasked: dict[Key, None] = {}  # responses without a request, oldest first
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._all)

    @property
    def unanswered(self) -> int:
        """How many wait for a response."""
        return len(self._unanswered)

    def get(self, key: Key) -> Tracked | None:
        """What is followed under that key."""
        return self._all.get(key)

    def admit(self, key: Key, now: float) -> Tracked | None:
        """Begin to follow a new initiator SPI; None when there is no room."""
        if len(self._all) >= self._most or len(self._unanswered) >= self._most_unanswered:
            oldest = next(iter(self._unanswered), None)
            event = EVICTED
            if oldest is None:
                oldest, event = next(iter(self._unasked), None), UNASKED_EVICTED
            if oldest is None:
                self.counters[REFUSED] += 1
                return None
            self._evicted(oldest, self._all[oldest])
            self.remove(oldest)
            self.counters[event] += 1
        tracked = Tracked(Group(*key), Tier.UNANSWERED, now)
        self._all[key] = tracked
        self._unanswered[key] = None
        return tracked

    def restore(self, key: Key, tracked: Tracked) -> None:
        """Take in what a checkpoint held."""
        self._all[key] = tracked
        if tracked.tier is Tier.UNANSWERED:
            self._unanswered[key] = None

    def raise_tier(self, key: Key, tracked: Tracked, message: Message | V1Message, *, first: bool = False) -> None:
        """See whether a message lets more stand behind an SPI; whether it is the first one of it."""
        header = message.header
        if key in self._unasked and not (header.is_response and header.exchange_type == Exchange.IKE_SA_INIT):
            del self._unasked[key]
        if tracked.tier is Tier.UNANSWERED:
            # IKEv1 has no flag for responses: one that names both cookies was answered.
            answered = header.responder_spi != ZERO_SPI and (header.major == MAJOR_IKEV1 or header.is_response)
            if answered:
                tracked.tier = Tier.ANSWERED
                self._unanswered.pop(key, None)
                if first:
                    self._unasked[key] = None
        elif tracked.tier is Tier.ANSWERED and header.exchange_type != Exchange.IKE_SA_INIT:
            tracked.tier = Tier.USED

    def remove(self, key: Key) -> None:
        """Follow it no longer."""
        self._all.pop(key, None)
        self._unanswered.pop(key, None)
        self._unasked.pop(key, None)


def key_of(message: Message | V1Message) -> Key:
    """The key under which a message is followed."""
    version = MAJOR_IKEV1 if isinstance(message, V1Message) else MAJOR_IKEV2
    return (version, message.header.initiator_spi)
