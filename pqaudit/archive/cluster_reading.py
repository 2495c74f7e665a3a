"""One run on a cluster: hands out captures, has what was read merged, and does again what a worker took along."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final
from uuid import uuid4

from pqaudit.archive.cluster_errors import ClusterAwayError, ClusterSetupError
from pqaudit.archive.cluster_tasks import (
    STARTS_KEPT_TOGETHER,
    Job,
    OtherEditionError,
    StartedBeforeError,
    edition,
    merge_partials,
    read_captures,
)
from pqaudit.archive.cluster_tree import FAN_IN, Node, Tree
from pqaudit.capture.stamp import size
from pqaudit.interrupts import held_interrupts
from pqaudit.parallel import Batch, batches
from pqaudit.pipeline import AuditRun, ReadOptions

MOST_FILES: Final = 64
_POLL_SECONDS: Final = 0.1
_ANSWER_SECONDS: Final = 10.0
_COUNT_SECONDS: Final = 2.0  # workers are counted again
_ALONE_SECONDS: Final = 600.0  # without any worker, in the middle of a run
_TASKS_FOR_EACH_THREAD: Final = 2  # one that runs and one that waits, so that no worker is idle
_UNTAKEN_FOR_EACH_THREAD: Final = 4  # results that wait for this process
_FETCHES: Final = 2
_MOST_ATTEMPTS: Final = 5
"""A task is submitted so often; each time the scheduler itself tries it anew when its worker dies."""

Taken = Callable[[int, int, list[bytes]], None]
"""Called with the first source, the number of sources, and what came of them, in octets."""


class ClusterReading:
    """One run.

    Args:
        client: connected; it stays open.
        taken: called in the main thread with each result, in any order.
        pack: each capture comes by itself, as what this function of a module makes of it, pickled. With None partials
            come, merged by the workers.
        tell: called with a sentence about what is going on.
        most_files: small captures that one task reads.
    """

    def __init__(
        self,
        client: Any,
        options: ReadOptions,
        *,
        pack: Callable[[AuditRun], object] | None,
        taken: Taken,
        tell: Callable[[str], None],
        progress: Callable[[int], None] | None,
        most_files: int = MOST_FILES,
    ) -> None:
        self._client = client
        self._options = options
        self._pack = pack
        self._taken = taken
        self._tell = tell
        self._progress = progress
        self._most_files = most_files
        self._run = f"pqaudit-{uuid4().hex[:12]}"
        self._edition = edition()
        self._events: SimpleQueue[tuple[Node, Any, Any]] = SimpleQueue()
        self._threads = 0
        self._counted = 0.0
        self._alone_since: float | None = None
        self._told_alone = False
        self._reading: set[Node] = set()  # leaves whose task is submitted
        self._merging: set[Node] = set()
        self._held: set[Node] = set()  # done, and not merged or taken yet
        self._ready: deque[Node] = deque()  # of these, the ones that this process takes
        self._fetching = 0
        self._submitted = 0
        self._numbers = 0
        self._ended: Counter[int] = Counter()

    def read(self, sources: Sequence[str], threads: int) -> bool:
        """Read them all; True when interrupted.

        Raises:
            ClusterAwayError: the scheduler is lost, or no workers came back.
            ClusterSetupError: the workers cannot do this work.
        """
        self._threads = threads
        waiting = deque(batches(sources, threads, most=self._most_files))
        self._numbers = len(waiting)
        tree = Tree(len(waiting), len(waiting) if self._pack is not None else max(FAN_IN, threads))
        with held_interrupts() as interrupted, ThreadPoolExecutor(_FETCHES, "pqaudit-fetch") as fetching:
            try:
                while waiting or self._reading or self._merging or self._ready or self._fetching:
                    if interrupted():
                        self._hand_over(interrupted)
                        return True
                    self._check()
                    self._submit_leaves(waiting, tree)
                    while self._ready and self._fetching < _FETCHES:
                        self._fetch(self._ready.popleft(), fetching)
                    self._wait()
            finally:
                self._leave()
        return False

    # -- handing out -----------------------------------------------------------------------------------------------

    def _submit_leaves(self, waiting: deque[Batch], tree: Tree) -> None:
        most = _TASKS_FOR_EACH_THREAD * self._threads
        while waiting and len(self._reading) < most:
            if len(self._ready) >= _UNTAKEN_FOR_EACH_THREAD * self._threads:
                return  # this process is slower than the workers
            batch = waiting.popleft()
            self._submit(tree.leaf(batch, sum(size(source) or 0 for source in batch.sources)))

    def _submit(self, node: Node) -> None:
        node.attempts += 1
        node.done = False
        self._submitted += 1
        if node.batch is not None:
            job = Job(
                self._run,
                node.number,
                node.batch.sources,
                self._options,
                self._pack,
                self._edition,
                node.tries,
                node.aside,
            )
            task: tuple[Any, ...] = (read_captures, job)
            name, priority = "read", 0
            self._reading.add(node)
        else:
            task = (merge_partials, [child.future for child in node.children], self._options)
            name, priority = "merge", 1  # before more is read
            self._merging.add(node)
        key = f"{self._run}-{name}-{self._submitted}"
        future = self._client.submit(*task, key=key, priority=priority, pure=False)
        node.future = future
        future.add_done_callback(lambda ended: self._events.put((node, ended, None)))

    def _fetch(self, node: Node, fetching: ThreadPoolExecutor) -> None:
        future = node.future
        self._fetching += 1

        def fetch() -> None:
            try:
                found = future.result()
            except BaseException as error:  # of the task, or of the way here; the main thread decides
                found = error
            self._events.put((node, future, found))

        fetching.submit(fetch)

    # -- what comes back -------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        try:
            event = self._events.get(timeout=_POLL_SECONDS)
            while True:
                self._handle(*event)
                event = self._events.get_nowait()
        except Empty:
            return

    def _handle(self, node: Node, future: Any, found: Any) -> None:
        if found is not None:
            self._fetching -= 1
            if isinstance(found, BaseException):
                self._held.discard(node)
                self._failed(node, found)
            else:
                self._take(node, found)
            return
        if future is not node.future or node.done:
            return
        self._reading.discard(node)
        self._merging.discard(node)
        if future.status == "finished":
            self._done(node)
        else:
            self._failed(node, _error_of(future))

    def _done(self, node: Node) -> None:
        node.done = True
        self._held.add(node)
        if node.batch is not None:
            self._forget_starts(node)
            if self._progress is not None:
                self._progress(node.octets)
            node.octets = 0  # it may be done again
        for child in node.children:
            self._release(child)  # the scheduler keeps how it is made until this node is taken
        parent = node.parent
        if parent is None:
            self._ready.append(node)
            return
        parent.waiting -= 1
        if not parent.waiting:
            self._submit(parent)

    def _take(self, node: Node, found: list[bytes]) -> None:
        self._taken(node.first, node.sources, found)
        self._release(node)
        node.children = []

    def _release(self, node: Node) -> None:
        self._held.discard(node)
        if node.future is not None:
            node.future.release()
            node.future = None

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def _failed(self, node: Node, error: BaseException) -> None:
        """Do again what came to nothing: a task failed, its worker died too often, or its result was lost for good."""
        self._check()
        _judge(error)
        node.done = False
        if node.batch is not None:
            self._again(node, error)
            return
        lost = [child for child in node.children if _is_lost(child.future)]
        if lost:
            node.waiting = len(lost)
            for child in lost:
                self._held.discard(child)
                self._failed(child, _error_of(child.future))
        elif node.attempts < _MOST_ATTEMPTS:
            self._submit(node)
        else:
            self._give_up_merging(node)

    def _again(self, node: Node, error: BaseException) -> None:
        batch = node.batch
        assert batch is not None
        started = isinstance(error, StartedBeforeError)
        if len(batch.sources) > 1 and (started or node.attempts >= _MOST_ATTEMPTS):
            self._split(node, batch, tries=int(started))
            return
        if node.attempts >= _MOST_ATTEMPTS:
            node.aside = f" or failed {node.attempts} times ({type(error).__name__})"
        if node.attempts >= 2 * _MOST_ATTEMPTS:
            raise ClusterAwayError(f"The workers cannot even set a capture aside ({error}); look into their logs.")
        self._submit(node)

    def _split(self, node: Node, batch: Batch, tries: int) -> None:
        """Make a node of children out of a leaf, one for each capture."""
        node.batch = None
        node.attempts = 0
        node.waiting = len(batch.sources)
        for index, source in enumerate(batch.sources, batch.first):
            octets = size(source) or 0 if node.octets else 0
            single = Batch(index, (source,))
            child = Node(index, 1, node, single, octets=octets, tries=tries, number=self._numbers)
            self._numbers += 1
            node.children.append(child)
        children = list(node.children)
        if self._pack is not None:
            node.replace_by_children()
        for child in children:
            self._submit(child)

    def _give_up_merging(self, node: Node) -> None:
        """Leave it to who is above: the client in the end, which takes the children one by one."""
        self._tell("a worker could not merge what others had read; this process does it")
        children = list(node.children)
        parent = node.parent
        node.replace_by_children()
        node.children = []
        if parent is None:
            self._ready.extend(children)
        elif not parent.waiting:
            self._submit(parent)

    def _check(self) -> None:
        """Raise when the cluster is lost; count workers now and then."""
        if self._client.status != "running":
            raise ClusterAwayError(
                "The scheduler of the cluster went away, and what was read is lost, but for what a journal keeps; run "
                "it again when the cluster is back."
            )
        now = monotonic()
        if now - self._counted < _COUNT_SECONDS:
            return
        self._counted = now
        try:
            counted = self._client.sync(self._client.scheduler.ncores, workers=None, callback_timeout=_ANSWER_SECONDS)
            threads = sum(counted.values())
        except (OSError, TimeoutError):
            return  # the state of the client tells it
        if threads:
            self._threads = threads
            self._alone_since = None
            self._told_alone = False
            return
        if self._alone_since is None:
            self._alone_since = now
        alone = now - self._alone_since
        if alone >= _ALONE_SECONDS:
            raise ClusterAwayError(
                "All workers of the cluster are gone and none came back; start some, and run it again."
            )
        if alone >= 3 * _COUNT_SECONDS and not self._told_alone:
            self._told_alone = True
            self._tell("all workers of the cluster are gone; waiting for others to come")

    # -- the end ---------------------------------------------------------------------------------------------------

    def _hand_over(self, interrupted: Callable[[], int]) -> None:
        """After an interrupt: end what runs, and take what is done; a second interrupt leaves that too."""
        unfinished = [node.future for node in self._reading | self._merging]
        self._cancel(unfinished)
        while self._fetching and interrupted() < 2:
            try:
                node, _, found = self._events.get(timeout=_POLL_SECONDS)
            except Empty:
                continue
            if found is not None:
                self._fetching -= 1
                if not isinstance(found, BaseException):
                    self._take(node, found)
        for node in sorted(self._held, key=lambda node: node.first):
            if interrupted() > 1:
                return
            try:
                found = node.future.result(timeout=60)
            except Exception:  # lost with the worker that had it
                continue
            self._take(node, found)

    def _leave(self) -> None:
        """Leave nothing of this run on the cluster."""
        nodes = self._reading | self._merging | self._held | set(self._ready)
        self._cancel([node.future for node in nodes if node.future is not None])
        if self._client.status == "running":
            try:
                self._client.set_metadata([self._run], {})
            except (OSError, TimeoutError):
                return

    def _cancel(self, futures: Iterable[Any]) -> None:
        if self._client.status != "running":
            return
        try:
            self._client.cancel(list(futures))
        except (OSError, TimeoutError):
            return  # it is away, and our tasks with it

    def _forget_starts(self, node: Node) -> None:
        group = node.number // STARTS_KEPT_TOGETHER
        self._ended[group] += 1
        if self._ended[group] == STARTS_KEPT_TOGETHER:
            del self._ended[group]
            self._client.set_metadata([self._run, str(group)], {})


def _is_lost(future: Any) -> bool:
    return future is None or future.status not in ("finished", "pending")


def _error_of(future: Any) -> BaseException:
    if future is not None and future.status == "error":
        error = future.exception()
        if isinstance(error, BaseException):
            return error
    return RuntimeError("its result is lost")


def _judge(error: BaseException) -> None:
    """Raise what no other attempt can mend."""
    if isinstance(error, OtherEditionError):
        address, other = error.args
        raise ClusterSetupError(
            f"The worker {address} has pqaudit {other.pqaudit} and this machine {edition().pqaudit}; install the same "
            "version everywhere."
        ) from error
    if isinstance(error, (ImportError, AttributeError)):
        raise ClusterSetupError(
            f"A worker cannot run pqaudit's tasks ({error}); install the same version of pqaudit everywhere."
        ) from error
