"""Reading many captures side by side, one process for each at a time.

A capture is never cut: guessing record borders inside a file goes wrong where payloads hold captures themselves. Every
process gives the SAs it saw as evidence, and evidence merges to the same SAs whatever the order. What is listed (files,
notes, anomalies) is put into the order of the captures, so that a run is the same however many processes read it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import only_here
from pqaudit.capture.shown import scheme_of, shown_name
from pqaudit.capture.stamp import size as size_of
from pqaudit.interrupts import held_interrupts
from pqaudit.pipeline import AuditRun, ReadOptions, new_run, read_inputs

# Below this, starting processes takes longer than reading.
LEAST_PARALLEL_OCTETS = 128 * 1024 * 1024
# What is read of a local file in the time that a server far away takes to answer twice.
REMOTE_COST_OCTETS = 8 * 1024 * 1024
_MOST_BATCH = 64
_MOST_BATCH_OCTETS = 64 * 1024 * 1024
_BATCHES_FOR_EACH_WORKER = 8
_POLL_SECONDS = 0.1
_PROGRESS_STEP = 1 << 20

T = TypeVar("T")
Take = Callable[[int, AuditRun], None]
"""Called with the index of a source and what was read of it."""
Progress = Callable[[int], None]


class Batch(NamedTuple):
    """Neighbouring captures that one task reads; ``first`` is the index of the first of them."""

    first: int
    sources: tuple[str, ...]


def read_side_by_side(
    sources: Sequence[str],
    run: AuditRun,
    options: ReadOptions,
    *,
    workers: int,
    progress: Progress | None = None,
) -> None:
    """Read captures into ``run`` with up to ``workers`` processes; as ``read_inputs`` where that is no gain.

    A process that dies (out of memory, killed) costs only the captures that kill it again when read alone; each of them
    gets a fatal note.
    """
    if _alone(sources, workers):
        read_inputs(sources, run, options, progress=progress)
        return
    listings = Listings(run)

    def take(batch: Batch, runs: list[AuditRun]) -> None:
        for part in runs:
            listings.add(batch.first, len(batch.sources), part)

    run.interrupted = _Reading(options, None, take, progress).read(batches(sources, workers), workers)
    listings.finish()


def read_apart(
    sources: Sequence[str],
    options: ReadOptions,
    *,
    workers: int,
    pack: Callable[[AuditRun], T],
    take: Callable[[int, T], None],
    progress: Progress | None = None,
) -> bool:
    """Read each capture by itself and give what ``pack`` makes of it to ``take``, in any order; True when interrupted.

    A capture that kills its reader is given with nothing but a fatal note. After an interrupt only captures that were
    read to their end are given. ``take`` is never interrupted, and runs in this process.

    Args:
        pack: a function of a module; it runs in the process that read the capture.
    """
    if _alone(sources, workers):
        return _read_one_by_one(sources, options, pack, take, progress)

    def take_each(batch: Batch, parts: list[T]) -> None:
        for index, part in enumerate(parts, batch.first):
            take(index, part)

    return _Reading(options, pack, take_each, progress).read(batches(sources, workers), workers)


def died(source: str, detail: str = "") -> AuditRun:
    """What is known of a capture that killed its reader."""
    text = f"The process that read it died{detail}; nothing of it is in the result. Is there enough memory?"
    return AuditRun(notes=[InputNote(shown_name(source), None, "reader-died", text, True)])


def batches(
    sources: Sequence[str],
    workers: int,
    *,
    most: int = _MOST_BATCH,
    most_octets: int = _MOST_BATCH_OCTETS,
) -> Iterator[Batch]:
    """Small files travel together: a task costs more than reading one of them. What has no size here goes alone."""
    most = max(1, min(most, len(sources) // (workers * _BATCHES_FOR_EACH_WORKER)))
    first = 0
    held: list[str] = []
    octets = 0
    for index, source in enumerate(sources):
        size = size_of(source)
        size = most_octets if size is None else size
        if held and (len(held) >= most or octets + size > most_octets):
            yield Batch(first, tuple(held))
            first, held, octets = index, [], 0
        held.append(source)
        octets += size
    if held:
        yield Batch(first, tuple(held))


class Listings:
    """Puts what is listed of parts into the order of sources, in whatever order the parts come.

    What adds up goes into the run at once. Lists wait for their turn, those of neighbours joined, so that of many
    anomalies the same are kept as by one reader.
    """

    def __init__(self, run: AuditRun) -> None:
        self._run = run
        self._parts: dict[int, tuple[int, AuditRun]] = {}  # by first source: the end of the range, what is listed
        self._first_by_end: dict[int, int] = {}

    def add(self, first: int, sources: int, part: AuditRun) -> None:
        """Take what was read of so many sources from index ``first`` on; ``part`` is used up."""
        self._run.take_sums(part)
        end = first + sources
        before = self._first_by_end.pop(first, None)
        if before is not None:
            first, listed = before, self._parts.pop(before)[1]
            listed.take_lists(part)
            part = listed
        after = self._parts.pop(end, None)
        if after is not None:
            end = after[0]
            part.take_lists(after[1])
        self._parts[first] = (end, part)
        self._first_by_end[end] = first

    def finish(self) -> None:
        """Put the lists of all parts that came into the run."""
        for first in sorted(self._parts):
            self._run.take_lists(self._parts[first][1])


def _alone(sources: Sequence[str], workers: int) -> bool:
    if workers < 2 or len(sources) < 2 or any(map(only_here, sources)):
        return True
    octets = 0
    for source in sources:
        held = size_of(source)
        if scheme_of(source) is not None:
            if held is None:
                return False  # much may be behind it
            octets += REMOTE_COST_OCTETS
        octets += held or 0  # what is missing is reported by the reader
    return octets < LEAST_PARALLEL_OCTETS


def _read_one_by_one(
    sources: Sequence[str],
    options: ReadOptions,
    pack: Callable[[AuditRun], T],
    take: Callable[[int, T], None],
    progress: Progress | None,
) -> bool:
    for index, source in enumerate(sources):
        run = new_run(options)
        read_inputs([source], run, options, progress=progress)
        if run.interrupted:
            return True
        with held_interrupts() as interrupted:
            take(index, pack(run))
        if interrupted():
            return True
    return False


class _Reading(Generic[T]):
    """Batches in processes, results to ``take``: of each source what ``pack`` makes of it, or one run for the batch."""

    def __init__(
        self,
        options: ReadOptions,
        pack: Callable[[AuditRun], T] | None,
        take: Callable[[Batch, list[T]], None],
        progress: Progress | None,
    ) -> None:
        self._options = options
        self._pack = pack
        self._take = take
        self._progress = progress
        self._interrupted = False

    def read(self, all_batches: Iterable[Batch], workers: int) -> bool:
        """Read them all; True when interrupted."""
        waiting = deque(all_batches)
        with held_interrupts() as interrupted:
            while waiting and not self._interrupted:
                # Which of those that were under way killed the process is not known: they are read again alone.
                suspects = deque(self._pool(waiting, workers, 2 * workers, interrupted))
                while suspects and not self._interrupted:
                    for batch in self._pool(suspects, 1, 1, interrupted):
                        self._died(batch, suspects)
        return self._interrupted

    def _died(self, batch: Batch, suspects: deque[Batch]) -> None:
        if self._interrupted:
            return
        if len(batch.sources) == 1:
            run = died(batch.sources[0])
            self._take(batch, cast("list[T]", [run if self._pack is None else self._pack(run)]))
        else:
            singles = [Batch(index, (source,)) for index, source in enumerate(batch.sources, batch.first)]
            suspects.extendleft(reversed(singles))

    def _pool(
        self, waiting: deque[Batch], workers: int, most_under_way: int, interrupted: Callable[[], int]
    ) -> list[Batch]:
        """Read batches from ``waiting`` until a process dies; gives the batches that were under way then."""
        # Spawned, not forked: the progress bar draws from a thread, and forking with threads may deadlock.
        context = multiprocessing.get_context("spawn")
        taken: Synchronized[int] = context.Value("q", 0)
        stop = context.Event()
        shown = 0
        lost: list[Batch] = []
        under_way: dict[Future[_Parts], Batch] = {}
        with ProcessPoolExecutor(workers, context, _start_worker, (taken, stop)) as pool:
            while under_way or (waiting and not lost and not self._interrupted):
                while waiting and len(under_way) < most_under_way and not lost and not self._interrupted:
                    batch = waiting.popleft()
                    try:
                        under_way[pool.submit(_read_batch, batch.sources, self._options, self._pack)] = batch
                    except BrokenProcessPool:
                        lost.append(batch)
                finished, _ = wait(under_way, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
                if interrupted() and not stop.is_set():
                    self._interrupted = True
                    stop.set()  # the workers hand over what they have
                for future in finished:
                    batch = under_way.pop(future)
                    try:
                        parts, torn = future.result()
                    except (BrokenProcessPool, MemoryError):
                        lost.append(batch)
                    except KeyboardInterrupt:
                        self._interrupted = True
                    else:
                        self._interrupted = self._interrupted or torn
                        self._take(batch, parts)
                if self._progress is not None:
                    now = taken.value
                    self._progress(now - shown)
                    shown = now
        return lost


_taken: Synchronized[int] | None = None
_stop: Event | None = None


def _start_worker(taken: Synchronized[int], stop: Event) -> None:
    global _taken, _stop
    gc.disable()  # as in the main process: evidence holds no cycles
    # Ctrl-C reaches every process of a terminal, and may find this one between two tasks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _taken, _stop = taken, stop
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave no process behind when the one that started it was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


_Parts = tuple[list[Any], bool]
"""What was read of a batch, and whether it was interrupted."""


def _read_batch(sources: tuple[str, ...], options: ReadOptions, pack: Callable[[AuditRun], object] | None) -> _Parts:
    assert _taken is not None
    assert _stop is not None
    taken, stop = _taken, _stop
    parts: list[object] = []
    interrupted = False
    waiting = 0

    def advance(octets: int) -> None:
        nonlocal waiting
        waiting += octets
        if waiting >= _PROGRESS_STEP:
            publish()
            if stop.is_set():
                raise KeyboardInterrupt

    def publish() -> None:
        nonlocal waiting
        with taken.get_lock():
            taken.value += waiting
        waiting = 0

    # Ctrl-C ends a read that blocks, of a pipe for one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for unit in [sources] if pack is None else [(source,) for source in sources]:
            if stop.is_set():
                raise KeyboardInterrupt
            run = new_run(options)
            read_inputs(unit, run, options, progress=advance)
            interrupted = run.interrupted
            if pack is None:
                parts.append(run)
            elif not interrupted:
                parts.append(pack(run))
            if interrupted:
                break
        publish()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return parts, interrupted
