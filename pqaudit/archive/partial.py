"""What one machine of a cluster read, as octets that other machines merge.

Octets and not objects, so that Dask knows their size, moves and spills them as they are, and a merge that is done again
finds its inputs unchanged. They are pickles: a cluster runs what its members send each other anyway.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable
from typing import Final

from pqaudit.pipeline import AuditRun, ReadOptions, new_run
from pqaudit.sa.bundles import Bundle, Key
from pqaudit.sa.table import SaTable

PROTOCOL: Final = 5
"""Of pickles; every Python that pqaudit runs on has it."""


def packed(run: AuditRun) -> bytes:
    """What was read; ``run`` is used up."""
    return _dumped(run, list(run.table.bundles()))


def take(octets: bytes, run: AuditRun) -> None:
    """Add a partial to ``run``, as what was read next."""
    part, bundles = _loaded(octets)
    run.table.take_bundles(bundles)
    run.take_over(part)


def unpacked(octets: bytes, options: ReadOptions) -> AuditRun:
    """The run that was packed."""
    run = new_run(options)
    take(octets, run)
    return run


def merged(parts: Iterable[bytes], options: ReadOptions) -> bytes:
    """One partial of neighbouring ones, in their order.

    Only bundles with SAs that several parts show are unpacked: most SAs are seen by one reader.
    """
    run = new_run(options)
    bundles: list[Bundle] = []
    for octets in parts:
        part, held = _loaded(octets)
        run.take_over(part)
        bundles += held
    shown: Counter[Key] = Counter()
    for bundle in bundles:
        shown.update(bundle.keys)
    if len(shown) > options.most_sas:
        run.table.take_bundles(bundles)  # it keeps to the bound and counts what it gives up
        return packed(run)
    shared = {key for key, count in shown.items() if count > 1}
    untouched = [bundle for bundle in bundles if shared.isdisjoint(bundle.keys)]
    run.table.take_bundles(bundle for bundle in bundles if not shared.isdisjoint(bundle.keys))
    return _dumped(run, [*untouched, *run.table.bundles()])


def _dumped(run: AuditRun, bundles: list[Bundle]) -> bytes:
    counters = run.table.counters
    run.table = SaTable()
    run.table.counters = counters
    return pickle.dumps((run, bundles), PROTOCOL)


def _loaded(octets: bytes) -> tuple[AuditRun, list[Bundle]]:
    run, bundles = pickle.loads(octets)
    return run, bundles
