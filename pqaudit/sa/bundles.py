"""Groups as octets, to travel between processes of one version of pqaudit.

They travel in bundles, each with the keys of what is in it, so that tables are merged without unpacking what only one
of them holds. Small bundles are also packed several times faster than a whole table: what pickle remembers stays in the
processor's cache. A bundle is a pickle, so it must come from a process that is trusted.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import islice
from operator import attrgetter
from typing import Any, Final, NamedTuple

from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.payloads import Proposal, Transform
from pqaudit.sa.association import Kept, SecurityAssociation
from pqaudit.sa.group import Group
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.messages import (
    FileCount,
    InitContent,
    KeptNotify,
    ProtectedKey,
    ProtectedMessage,
    Seen,
    V1Content,
)
from pqaudit.sa.reference import Endpoint, Path, Reference

Key = tuple[int, bytes]
"""Version and initiator SPI."""

_PROTOCOL: Final = 5  # of every Python that pqaudit runs on
_GROUPS: Final = 128  # in one bundle
_COMPRESSION: Final = 1  # the quickest, to a fifth
_MOST_OCTETS: Final = 1 << 31  # of one bundle, unpacked


class Bundle(NamedTuple):
    """Groups by key; ``data`` holds them, in the order of ``keys``."""

    keys: tuple[Key, ...]
    data: bytes


def bundled(groups: Iterable[tuple[Key, Group]]) -> Iterator[Bundle]:
    """Pack groups, in their order."""
    # Imported here: a run in one process needs none of it.
    import zstandard

    packer = zstandard.ZstdCompressor(_COMPRESSION)
    remaining = iter(groups)
    while some := list(islice(remaining, _GROUPS)):
        out = BytesIO()
        pickler = pickle.Pickler(out, _PROTOCOL)
        pickler.dispatch_table = _REDUCERS
        pickler.dump([group for _, group in some])
        yield Bundle(tuple(key for key, _ in some), packer.compress(out.getbuffer()))


def unbundled(bundles: Iterable[Bundle]) -> Iterator[tuple[Key, Group]]:
    """The groups of bundles, in their order."""
    import zstandard

    unpacker = zstandard.ZstdDecompressor()
    for bundle in bundles:
        groups = pickle.loads(unpacker.decompress(bundle.data, max_output_size=_MOST_OCTETS))
        yield from zip(bundle.keys, groups, strict=True)


# Far quicker than what pickle does for these classes of itself: their fields are all that they are made from.


def _of_tuple(made: tuple[Any, ...]) -> tuple[Any, ...]:
    return type(made), tuple(made)


def _of_fields(kind: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    fields = attrgetter(*kind.__dataclass_fields__)
    return lambda made: (kind, fields(made))


_TUPLES = (
    Endpoint,
    InitContent,
    KeptNotify,
    Path,
    Phase1Transform,
    Proposal,
    ProtectedKey,
    Reference,
    Transform,
    V1Content,
)
_RECORDS = (FileCount, Group, Kept, ProtectedMessage, SecurityAssociation, Seen)
_REDUCERS: Final[dict[type[Any], Callable[[Any], Any]]] = {
    **dict.fromkeys(_TUPLES, _of_tuple),
    **{kind: _of_fields(kind) for kind in _RECORDS},
    MessageIds: lambda ids: (MessageIds.from_bits, ids.bits),
}
