"""From the spool to the server, until nothing waits."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event

from pqaudit.elastic.bulk import Action, Fate, Outcome, send_bulk
from pqaudit.elastic.dead_letters import DeadLetters, Refusal
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.pace import Pace
from pqaudit.elastic.server import Server
from pqaudit.elastic.spool import DELIVERED, REJECTED, Entry, Spool
from pqaudit.elastic.stored import Merge, indices_elsewhere, merge_into_stored
from pqaudit.finding.document import Document

CREATED = "created"
MERGED = "merged"
SAME = "already-there"
RETRIED_ITEMS = "items-sent-again"
RETRIED_REQUESTS = "requests-sent-again"
_UNDER_WAY = 2  # bulk requests at a time


@dataclass(frozen=True, slots=True)
class _Sent:
    """A batch on its way: what was read behind ``after``, what of it was sent, and the answer once it is there."""

    batch: Sequence[Entry]
    after: int
    entries: Sequence[Entry]
    outcomes: Future[list[Outcome]]


@dataclass(slots=True)
class Delivery:
    """Sends what waits in a spool, the next batch while the server still works on the one before.

    Only sending is done beside; all else happens in the thread that calls, batch after batch.

    Attributes:
        connect: reaches the server; called again after it was lost.
        merge: gives the finding that holds what two findings of one SA hold.
        patience: seconds without any progress after which it gives up, or None to go on for ever.
        counters: what became of findings in this run.
        trouble: the last failure that may pass, or None while all goes well.
        tell: called with a failure that may pass when it begins, and with None when it is over.
    """

    spool: Spool
    connect: Callable[[], Server]
    merge: Merge
    dead_letters: DeadLetters
    patience: float | None = None
    progress: Callable[[int], None] | None = None
    tell: Callable[[ServerError | None], None] | None = None
    stopping: Event = field(default_factory=Event)
    counters: Counter[str] = field(default_factory=Counter)
    trouble: ServerError | None = None
    _server: Server | None = None
    _pace: Pace = field(default_factory=Pace)
    _quiet_since: float = field(default_factory=time.monotonic)

    def drain(self) -> None:
        """Deliver until the spool is empty or ``stopping`` is set.

        Raises:
            ServerError: a failure that waiting does not mend, or one that lasted longer than ``patience``. What was not
                confirmed is still in the spool.
            SpoolError: the spool cannot be read.
            OSError: the dead-letter file cannot be written.
        """
        self._quiet_since = time.monotonic()
        under_way: deque[_Sent] = deque()
        after = 0
        held = False
        with ThreadPoolExecutor(_UNDER_WAY, "bulk") as pool:
            while True:
                stopping = self.stopping.is_set()
                # While anything is wrong one request shows whether that is over.
                most = 1 if self.trouble is not None or self._server is None else _UNDER_WAY
                if not stopping and len(under_way) < most:
                    batch = self.spool.waiting(after, self._pace.documents, self._pace.octets)
                    if batch:
                        under_way.append(self._send(pool, batch, after))
                        after = batch[-1].seq
                        continue
                if not under_way:
                    if stopping or after == 0:
                        return
                    after = 0  # those that were passed over are sent again
                    if held:
                        held = False
                        self._rest()
                    continue
                sent = under_way.popleft()
                try:
                    held |= self._settle(sent)
                except ServerError as error:
                    for other in under_way:
                        with contextlib.suppress(ServerError):  # it stays in the spool, and fails again if it must
                            held |= self._settle(other)
                    under_way.clear()
                    after = sent.after
                    self._failed(error, sent.batch)

    def patient_for(self, seconds: float) -> None:
        """Give up after so many seconds, from now on, without any progress."""
        self._quiet_since = time.monotonic()
        self.patience = seconds

    def reach(self) -> Server:
        """The server, connected to when that was not done yet.

        Raises:
            ServerError: it cannot be reached or used.
        """
        if self._server is None:
            self._server = self.connect()
        return self._server

    def greet(self) -> None:
        """Reach the server once; a failure that may pass is told and left for later.

        Raises:
            ServerError: a failure that waiting does not mend.
        """
        try:
            self.reach()
        except ServerError as error:
            if not error.passing:
                raise
            self.troubled(error)

    def _send(self, pool: Executor, batch: Sequence[Entry], after: int) -> _Sent:
        first: dict[str, Entry] = {}
        for entry in batch:
            first.setdefault(entry.id, entry)  # a namesake stays in the spool and meets it there on the next way round
        actions = [Action("create", e.home, e.id, e.body) for e in first.values()]
        outcomes: Future[list[Outcome]] = Future()
        try:
            outcomes = pool.submit(send_bulk, self.reach(), actions)
        except ServerError as error:
            outcomes.set_exception(error)
        return _Sent(batch, after, list(first.values()), outcomes)

    def _settle(self, sent: _Sent) -> bool:
        """Finish a batch once the server has answered; true when some of it must wait.

        Raises:
            ServerError: a request failed as a whole; what is not finished is still in the spool.
        """
        left = self._deliver(sent)
        if len(left) < len(sent.batch):
            self._quiet_since = time.monotonic()
        if not left:
            self.troubled(None)
            self._pace.accepted()
            return False
        # They are passed over for now: a few that must wait do not hold up the others.
        self.counters[RETRIED_ITEMS] += len(left)
        self._pace.shrink()
        if len(left) == len(sent.batch):
            self._rest()
        return True

    def _deliver(self, sent: _Sent) -> list[Entry]:
        """Do what the answer asks for; gives the entries that must wait. All others have left the spool."""
        outcomes = sent.outcomes.result()
        server = self.reach()
        created: dict[str, Entry] = {}
        known: dict[str, Entry] = {}
        later: list[Entry] = []
        refused: list[Refusal] = []
        for entry, outcome in zip(sent.entries, outcomes, strict=True):
            if outcome.fate is Fate.DONE:
                created[entry.id] = entry
            elif outcome.fate is Fate.CONFLICT:
                known[entry.id] = entry
            elif outcome.fate is Fate.LATER:
                later.append(entry)
                if self.trouble is None:
                    said = outcome.reason or outcome.type
                    text = f"the server has no room for findings now: {said}"
                    self.troubled(ServerError(Problem.OVERLOADED, text, outcome.status))
            else:
                refused.append(Refusal(entry, outcome.status, outcome.type, outcome.reason))
        elsewhere = indices_elsewhere(server, {id_: entry.home for id_, entry in (created | known).items()})
        known.update({id_: created.pop(id_) for id_ in elsewhere if id_ in created})
        self._done(list(created.values()), CREATED)
        if known:
            self._merge(server, known, elsewhere, later, refused)
        if refused:
            self.dead_letters.keep(refused)
            self._done([refusal.entry for refusal in refused], REJECTED)
        return later

    def _merge(
        self,
        server: Server,
        known: dict[str, Entry],
        elsewhere: dict[str, set[str]],
        later: list[Entry],
        refused: list[Refusal],
    ) -> None:
        findings: dict[str, Document] = {id_: json.loads(entry.body) for id_, entry in known.items()}
        merged = merge_into_stored(server, findings, elsewhere, self.merge)
        for id_, outcome in merged.refused.items():
            refused.append(Refusal(known[id_], outcome.status, outcome.type, outcome.reason))
        later += [known[id_] for id_ in merged.later]
        unfinished = merged.later | set(merged.refused)
        self._done([known[id_] for id_ in merged.changed - unfinished], MERGED)
        self._done([known[id_] for id_ in merged.same - unfinished], SAME)

    def _done(self, entries: list[Entry], outcome: str) -> None:
        if not entries:
            return
        self.spool.done(entries, REJECTED if outcome == REJECTED else DELIVERED)
        self.counters[outcome] += len(entries)
        if self.progress is not None:
            self.progress(len(entries))

    def _failed(self, error: ServerError, batch: Sequence[Entry]) -> None:
        self.counters[RETRIED_REQUESTS] += 1
        if error.problem is Problem.TOO_LARGE:
            if len(batch) == 1:
                self.dead_letters.keep([Refusal(batch[0], error.status or 0, error.reason, str(error))])
                self._done([batch[0]], REJECTED)
            self._pace.shrink()
            # The batch may have been smaller than the pace allows, and must become smaller all the same.
            self._pace.documents = max(1, min(self._pace.documents, len(batch) // 2))
            return
        if not error.passing:
            raise error
        self.troubled(error)
        if error.problem in (Problem.UNREACHABLE, Problem.TIMEOUT) and self._server is not None:
            self._server.close()
            self._server = None
        if error.problem is not Problem.UNREACHABLE:
            self._pace.shrink()
        self._rest()

    def troubled(self, error: ServerError | None) -> None:
        """Note a failure, or with None that it is over; ``tell`` hears when it begins and ends."""
        begins_or_ends = (self.trouble is None) != (error is None)
        self.trouble = error
        if begins_or_ends and self.tell is not None:
            self.tell(error)

    def _rest(self) -> None:
        quiet = time.monotonic() - self._quiet_since
        pause = self._pace.pause()
        if self.patience is not None:
            if quiet >= self.patience:
                raise self.trouble or ServerError(Problem.OVERLOADED, "the server takes no more findings now")
            pause = min(pause, max(0.05, self.patience - quiet))
        self.stopping.wait(pause)
