"""Reading many captures side by side, one process for each at a time.

A capture is never cut: guessing record borders inside a file goes wrong where payloads hold captures themselves. Every
process gives the SAs it saw as evidence, and evidence merges to the same SAs whatever the order.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import Synchronized

from pqaudit.capture.note import InputNote
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs

# Below this, starting processes takes longer than reading.
LEAST_PARALLEL_OCTETS = 128 * 1024 * 1024
_MOST_BATCH = 64
_BATCHES_FOR_EACH_WORKER = 8
_POLL_SECONDS = 0.1
_PROGRESS_STEP = 1 << 20

_taken: Synchronized[int] | None = None


def read_side_by_side(
    sources: Sequence[str],
    run: AuditRun,
    options: ReadOptions,
    *,
    workers: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Read captures into ``run`` with up to ``workers`` processes; as ``read_inputs`` where that is no gain.

    A process that dies (out of memory, killed) costs only the captures that kill it again when read alone; each of them
    gets a fatal note.
    """
    if workers < 2 or len(sources) < 2 or "-" in sources or _octets(sources) < LEAST_PARALLEL_OCTETS:
        read_inputs(sources, run, options, progress=progress)
        return
    lost = _read_batches(_batches(sources, workers), run, options, workers, progress)
    for source in lost:
        if run.interrupted:
            break
        if _read_batches([[source]], run, options, 1, progress):
            text = "The process that read it died; nothing of it is in the result. Is there enough memory?"
            run.notes.append(InputNote(source, None, "reader-died", text, True))
    order = {source: index for index, source in enumerate(sources)}
    run.files.sort(key=lambda file: order.get(file.name, len(order)))
    run.notes.sort(key=lambda note: (order.get(note.source, -1), note.frame or 0, note.kind))
    run.anomalies.sort(key=lambda anomaly: (order.get(anomaly.file, -1), anomaly.frame, anomaly.slug))


def _octets(sources: Sequence[str]) -> int:
    total = 0
    for source in sources:
        try:
            total += os.path.getsize(source)
        except OSError:  # reported by the reader
            continue
    return total


def _batches(sources: Sequence[str], workers: int) -> list[list[str]]:
    """Small files travel together: a task costs more than reading one of them."""
    size = max(1, min(_MOST_BATCH, len(sources) // (workers * _BATCHES_FOR_EACH_WORKER)))
    return [list(sources[start : start + size]) for start in range(0, len(sources), size)]


def _read_batches(
    batches: list[list[str]],
    run: AuditRun,
    options: ReadOptions,
    workers: int,
    progress: Callable[[int], None] | None,
) -> list[str]:
    """Read batches into ``run``; gives the sources of those whose process died."""
    # Spawned, not forked: the progress bar draws from a thread, and forking with threads may deadlock.
    context = multiprocessing.get_context("spawn")
    taken: Synchronized[int] = context.Value("q", 0)
    shown = 0
    lost: list[str] = []
    with ProcessPoolExecutor(workers, context, _start_worker, (taken,)) as pool:
        pending: dict[Future[AuditRun], list[str]] = {}
        try:
            for batch in batches:
                pending[pool.submit(_read_batch, batch, options)] = batch
        except BrokenProcessPool:
            submitted = {source for batch in pending.values() for source in batch}
            lost += [source for batch in batches for source in batch if source not in submitted]
        while pending:
            try:
                done, _ = wait(pending, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
            except KeyboardInterrupt:
                # The workers got the interrupt too and hand over what they have.
                run.interrupted = True
                for future in [f for f in pending if f.cancel()]:
                    del pending[future]
                continue
            for future in done:
                batch = pending.pop(future)
                try:
                    run.merge(future.result())
                except BrokenProcessPool:
                    lost += batch
                except KeyboardInterrupt:
                    run.interrupted = True
            if progress is not None:
                now = taken.value
                progress(now - shown)
                shown = now
    return lost


def _start_worker(taken: Synchronized[int]) -> None:
    global _taken
    gc.disable()  # as in the main process: evidence holds no cycles
    _taken = taken


def _read_batch(sources: list[str], options: ReadOptions) -> AuditRun:
    run = AuditRun()
    waiting = 0

    def advance(octets: int) -> None:
        nonlocal waiting
        waiting += octets
        if waiting >= _PROGRESS_STEP:
            publish()

    def publish() -> None:
        nonlocal waiting
        if _taken is not None:
            with _taken.get_lock():
                _taken.value += waiting
        waiting = 0

    read_inputs(sources, run, options, progress=advance)
    publish()
    return run
