"""What runs on the workers of a cluster: reading captures, and merging what was read.

A worker that dies takes along what it was doing, and the scheduler gives that to another one. To tell which capture
kills workers, a task counts its start with the scheduler, and takes it back at its end: what is left are starts that
had no end. Only one task of ours runs in a process at a time, so that no other one is blamed.
"""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from distributed import get_worker
from distributed.utils import sync

import pqaudit
from pqaudit.archive.partial import PROTOCOL, merged, packed
from pqaudit.parallel import died
from pqaudit.pipeline import AuditRun, ReadOptions, new_run, read_inputs
from pqaudit.sa.record import VERSION

MOST_TRIES: Final = 3
"""A capture that has killed so many workers is set aside."""
STARTS_KEPT_TOGETHER: Final = 1000
"""Starts of so many neighbouring tasks are forgotten together."""
_CHECKED_OCTETS: Final = 1 << 24

_one_at_a_time = threading.Lock()


class Edition(NamedTuple):
    """What must be the same everywhere: the version of pqaudit, and that of the evidence it keeps."""

    pqaudit: str
    record: int


class OtherEditionError(Exception):
    """A worker with another edition: its address and the edition."""


class StartedBeforeError(Exception):
    """A task of several captures was started before and did not end: each capture must be read by itself."""


class _CancelledError(Exception):
    """Nobody waits for the task any more."""


@dataclass(frozen=True, slots=True)
class Job:
    """Captures that one task reads.

    Attributes:
        run: the run it belongs to, under which the scheduler keeps its starts.
        number: of the task within its run; a task that is submitted anew keeps it.
        sources: paths or URLs that the worker can open.
        pack: a function of a module; each capture is given by itself, as what this makes of it. None for partials.
        tries: how often its capture killed a worker already, in a task with others.
        aside: when not None, the capture is not read, and this says why.
        edition: that of the client.
    """

    run: str
    number: int
    sources: tuple[str, ...]
    options: ReadOptions
    pack: Callable[[AuditRun], object] | None
    edition: Edition
    tries: int = 0
    aside: str | None = None

    @property
    def starts(self) -> list[str]:
        """Where the scheduler keeps how often it was started and did not end."""
        return [self.run, str(self.number // STARTS_KEPT_TOGETHER), str(self.number)]


def edition() -> Edition:
    """That of this process."""
    return Edition(pqaudit.__version__, VERSION)


def read_captures(job: Job) -> list[bytes]:
    """What was read, in octets: a partial of all, or of each capture what ``pack`` makes of it, pickled."""
    worker: Any = get_worker()
    if edition() != job.edition:
        raise OtherEditionError(worker.address, edition())
    if job.aside is not None:
        return [_as_asked(died(job.sources[0], job.aside), job)]
    with _alone():
        starts = _ask(worker, worker.scheduler.get_metadata, keys=job.starts, default=0)
        if starts and len(job.sources) > 1:
            raise StartedBeforeError
        if job.tries + starts >= MOST_TRIES:
            return [_as_asked(died(job.sources[0], f" {job.tries + starts} times"), job)]
        _ask(worker, worker.scheduler.set_metadata, keys=job.starts, value=starts + 1)
        try:
            return _read(job, worker)
        finally:
            _ask(worker, worker.scheduler.set_metadata, keys=job.starts, value=starts)


def merge_partials(parts: Sequence[list[bytes]], options: ReadOptions) -> list[bytes]:
    """One partial of those of neighbours."""
    with _alone():
        return [merged((octets for part in parts for octets in part), options)]


def _read(job: Job, worker: Any) -> list[bytes]:
    key = worker.get_current_task()
    octets = 0

    def advance(taken: int) -> None:
        nonlocal octets
        octets += taken
        if octets >= _CHECKED_OCTETS:
            octets = 0
            task = worker.state.tasks.get(key)
            if task is None or task.state == "cancelled":
                raise _CancelledError

    found: list[bytes] = []
    for unit in [job.sources] if job.pack is None else [(source,) for source in job.sources]:
        run: AuditRun = new_run(job.options)
        read_inputs(unit, run, job.options, progress=advance)
        found.append(_as_asked(run, job))
    return found


def _as_asked(run: AuditRun, job: Job) -> bytes:
    return packed(run) if job.pack is None else pickle.dumps(job.pack(run), PROTOCOL)


def _ask(worker: Any, question: Any, **arguments: Any) -> Any:
    return sync(worker.loop, question, **arguments)


@contextmanager
def _alone() -> Iterator[None]:
    """One task of ours at a time, without the collector of cycles, which the process has back afterwards."""
    with _one_at_a_time:
        collecting = gc.isenabled()
        gc.disable()  # as in the main process: evidence holds no cycles
        try:
            yield
        finally:
            if collecting:
                gc.enable()
