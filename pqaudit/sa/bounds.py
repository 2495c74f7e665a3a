"""How much evidence one SA may hold, and sets that keep to it.

Every bounded set keeps its smallest members, so that the union of two bounded sets is the same whatever the order in
which their members came: ``merge`` stays associative, commutative and idempotent at the bound too.
"""

from __future__ import annotations

from typing import Final, Protocol, Self, TypeVar

MOST_INIT_MESSAGES: Final = 16  # distinct IKE_SA_INIT requests, and responses, of one SA
MOST_PROTECTED_MESSAGES: Final = 32  # per exchange type whose messages are looked at one by one
MOST_FRAGMENTS: Final = 256  # RFC 7383 allows 65,535; a KEM of 22 kB in 400-octet fragments needs some 60
MOST_RESPONDER_SPIS: Final = 64  # under one initiator SPI; more than one is rare
MOST_PATHS: Final = 16
MOST_REFERENCES: Final = 8  # references kept for one anomaly
MOST_VENDOR_IDS: Final = 32
MOST_NOTIFIES: Final = 64
MOST_MESSAGE_ID_BLOCKS: Final = 256  # of 1024 message IDs
MOST_SIGHTINGS: Final = 10_000  # timeline of ``pqaudit explain``
NOTIFY_DATA_OCTETS: Final = 64  # what is kept of a notify's data
VENDOR_ID_OCTETS: Final = 256  # what is kept of a vendor ID
DIGEST_OCTETS: Final = 16  # of a message


class _Ordered(Protocol):
    def __lt__(self, other: Self, /) -> bool: ...


K = TypeVar("K", bound=_Ordered)
V = TypeVar("V")


def keep_smallest(table: dict[K, V], most: int) -> bool:
    """Drop the largest keys until at most ``most`` are left; True when any was dropped."""
    dropped = False
    while len(table) > most:
        del table[max(table)]
        dropped = True
    return dropped
