"""From messages as they arrive to findings as they are decided."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count, islice
from time import monotonic
from typing import Final

from pqaudit.capture.loss import Loss, LossLog
from pqaudit.decode.datagram import Datagram
from pqaudit.finding.carried import Carried
from pqaudit.finding.custom_rules import CustomRules
from pqaudit.finding.document import Document, finding_of
from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import Message
from pqaudit.ike.numbers import Exchange
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.adding import add_message
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.group import Group
from pqaudit.sa.lineage import Lineage
from pqaudit.sensor.checkpoint import Checkpoint, Row, row_of
from pqaudit.sensor.tracked import Key, Tier, Tracked, TrackedTable, key_of

PACKETS_DROPPED: Final = "packets-dropped"
NOT_CAPTURED: Final = "not-captured"
CLOCK_JUMPED: Final = "clock-jumped"
ATTEMPTS_NOT_REPORTED: Final = "attempts-not-reported"
TIMED_OUT: Final = "sas-timed-out"
NOT_SAVED: Final = "checkpoints-not-written"
NOT_READ: Final = "checkpoint-rows-not-read"
REKEYS_FORGOTTEN: Final = "peers-rekeying-forgotten"

_MOST_NOTED = 10_000  # SAs whose rekeying is looked up at the start, some 0.2 ms each
_MOST_PAIRS = 100_000  # of peers whose rekeying is remembered
_MOST_LOOKS = 2_000  # SAs looked at in one turn: as many as can come in one, so that findings do not lag behind
_MOST_COOLED = 5_000  # SAs whose evidence is let go in one turn: more than can come in one, so that it keeps up
_CROWDED = 1_000  # old entries of the agenda that are let be, beside some for each SA
_NANOSECONDS = 1_000_000_000
_QUICK = 0.01  # seconds; some ten times a second there is something to tell when there is little
_SAVE_SHARE = 20  # of the time, one part for checkpoints
_MATERIAL_OCTETS = 8
_SEEN_TO_RUN = b"\x01"
_NOT_SEEN_TO_RUN = b"\x00"
_BEFORE = 60 * _NANOSECONDS  # a negotiation may have been missed so long before the first packet that was seen
_AFTER = 120 * _NANOSECONDS  # and takes so long at most, retransmissions included
_DECIDING = frozenset((Exchange.IKE_SA_INIT, Exchange.IKE_INTERMEDIATE, Exchange.IKE_AUTH, Exchange.CREATE_CHILD_SA))
_WALL = "clock"


@dataclass(frozen=True, slots=True)
class Timing:
    """When SAs are looked at; all in seconds.

    Attributes:
        settle: after a message that may decide something, so that what belongs to it has come.
        review: after any other message.
        attempt: without a response after which an attempt counts as unanswered. Peers retransmit for minutes, and a
            later response is still joined to what the attempt left.
        half_open: without traffic after the response, after which an SA counts as given up.
        idle: without any packet after which an SA counts as ended. Peers that are alive show it more often than daily.
        save: between checkpoints at most.
        quiet: without a packet after which the evidence of an SA leaves memory for the checkpoint.
    """

    settle: float = 1.0
    review: float = 30.0
    attempt: float = 60.0
    half_open: float = 600.0
    idle: float = 90_000.0
    save: float = 2.0
    quiet: float = 30.0


class Watch:
    """Follows SAs and gives a finding when one is decided, and again when something material changed.

    Args:
        rulebook: judges.
        observer: name of the sensor.
        most_sas: bound on initiator SPIs followed at once.
        checkpoint: where they outlive the process.
        now: second of the wall clock.
        attempts_per_second: findings of unanswered attempts; more are only counted, so that a flood of requests does
            not become a flood of findings.
        custom: rules of the user.
        most_pairs: bound on pairs of peers whose rekeying is remembered.
    """

    def __init__(
        self,
        rulebook: Rulebook,
        observer: str,
        most_sas: int,
        checkpoint: Checkpoint,
        now: float,
        *,
        timing: Timing = Timing(),
        attempts_per_second: float = 100.0,
        custom: CustomRules | None = None,
        most_pairs: int = _MOST_PAIRS,
    ) -> None:
        self._rulebook = rulebook
        self._observer = observer
        self._checkpoint = checkpoint
        self._timing = timing
        self._custom = custom
        self.table = TrackedTable(most_sas, self._let_go)
        self.counters: Counter[str] = Counter()
        self.losses: dict[str, LossLog] = {}
        self._lineage = Lineage(rulebook.rekey_within, most_pairs)
        self._agenda: list[tuple[float, int, Key]] = []
        self._order = count()
        self._unsaved: dict[Key, None] = {}
        self._ended: dict[Key, None] = {}
        self._hot: dict[Key, None] = {}  # with evidence in memory, longest unused first
        self.trouble: str | None = None
        self._saved_at = now
        self._save_took = 0.0
        self._attempts = attempts_per_second
        self._allowance = attempts_per_second
        self._allowed_at = now
        self._resume(now)

    def _resume(self, now: float) -> None:
        timing = self._timing
        alive = self._checkpoint.alive_until
        used: deque[Key] = deque(maxlen=_MOST_NOTED)
        # After a message an SA is looked at within so many seconds: those before had their look.
        within = self._rulebook.rekey_within / _NANOSECONDS
        looked_at = (now if alive is None else alive) - timing.review - timing.save
        for key, tracked in self._checkpoint.load():
            tracked.news = not tracked.emitted or tracked.last >= looked_at
            self.table.restore(key, tracked)
            if tracked.tier is not Tier.UNANSWERED and alive is not None and tracked.last >= alive - within:
                used.append(key)
            # The response to an attempt may still come.
            patience = timing.attempt if tracked.tier is Tier.UNANSWERED else timing.settle
            self._schedule(key, tracked, now + patience)
        if self._checkpoint.unreadable:
            self.counters[NOT_READ] = self._checkpoint.unreadable
        for key in used:
            # An SA that comes now may come from an exchange that was seen before.
            group, _ = self._checkpoint.evidence(key)
            for sa in group.associations(keep=False):
                self._lineage.note(sa)
        if alive is not None:
            loss = Loss(int(alive * _NANOSECONDS), int(now * _NANOSECONDS), 0, 0, blind=True)
            self.losses.setdefault(_WALL, LossLog()).add(loss)

    # -- messages in ---------------------------------------------------------------------------------------------

    def add(self, datagram: Datagram, message: Message | V1Message, now: float) -> None:
        """Take in one message, at a second of the wall clock."""
        key = key_of(message)
        tracked = self.table.get(key)
        first = tracked is None
        if tracked is None:
            tracked = self.table.admit(key, now)
            if tracked is None:
                return
        group = self._evidence(key, tracked)
        add_message(group, datagram, message)
        self.table.raise_tier(key, tracked, message, first=first)
        tracked.last = now
        tracked.news = tracked.untold = True
        self._unsaved[key] = None
        if tracked.tier is Tier.UNANSWERED:
            due = now + self._timing.attempt
        elif message.header.exchange_type in _DECIDING:
            due = now + self._timing.settle
        else:
            due = now + self._timing.review
        if not now < tracked.due <= due:
            self._schedule(key, tracked, due)

    def _evidence(self, key: Key, tracked: Tracked) -> Group:
        group = tracked.group
        if group is None:
            group, origins = self._checkpoint.evidence(key)
            tracked.group, tracked.origins = group, {**origins, **tracked.origins}
            if self._checkpoint.unreadable:
                self.counters[NOT_READ] = self._checkpoint.unreadable
        self._hot.pop(key, None)
        self._hot[key] = None
        return group

    def _schedule(self, key: Key, tracked: Tracked, due: float) -> None:
        tracked.due = due
        # Of those due at one moment the one that spoke first comes first: an SA before the one it was rekeyed to.
        heapq.heappush(self._agenda, (due, next(self._order), key))
        if len(self._agenda) > 4 * len(self.table) + _CROWDED:
            # One that is put off leaves its old entry behind, which for an idle SA lies a day ahead.
            self._agenda = [entry for entry in self._agenda if self._is_valid(entry)]
            heapq.heapify(self._agenda)

    def _is_valid(self, entry: tuple[float, int, Key]) -> bool:
        tracked = self.table.get(entry[2])
        return tracked is not None and tracked.due == entry[0]

    # -- findings out --------------------------------------------------------------------------------------------

    def findings(self, now: float) -> Iterator[Document]:
        """The findings that have become due; at most some hundred SAs are looked at in one call."""
        looks = 0
        while self._agenda and self._agenda[0][0] <= now and looks < _MOST_LOOKS:
            due, _, key = heapq.heappop(self._agenda)
            tracked = self.table.get(key)
            if tracked is None or tracked.due != due:
                continue  # it was put off, or is gone
            looks += 1
            yield from self._look(key, tracked, now)

    @property
    def next_due(self) -> float | None:
        """Second of the wall clock at which there is something to look at, or None."""
        return self._agenda[0][0] if self._agenda else None

    def _look(self, key: Key, tracked: Tracked, now: float) -> Iterator[Document]:
        limit = self._patience(tracked)
        ended = now - tracked.last >= limit
        if not tracked.news and not ended:
            self._schedule(key, tracked, tracked.last + limit)  # nothing new: until it has been idle for too long
            return
        if tracked.emitted and not tracked.news and not tracked.untold:
            pass  # it ends as it was told of: its evidence may be on disk, and need not be read
        elif tracked.tier is Tier.UNANSWERED and not self._may_report(now):
            self.counters[ATTEMPTS_NOT_REPORTED] += 1
        elif (group := self._evidence(key, tracked)).parts:
            yield from self._emit(tracked, group, ended)
        tracked.news = False
        if ended:
            self.counters[TIMED_OUT] += 1
            self.table.remove(key)
            self._let_go(key, tracked)
        else:
            self._unsaved[key] = None
            self._schedule(key, tracked, tracked.last + limit)

    def _patience(self, tracked: Tracked) -> float:
        timing = self._timing
        return {Tier.UNANSWERED: timing.attempt, Tier.ANSWERED: timing.half_open, Tier.USED: timing.idle}[tracked.tier]

    def _may_report(self, now: float) -> bool:
        self._allowance = min(self._attempts, self._allowance + max(0.0, now - self._allowed_at) * self._attempts)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _emit(self, tracked: Tracked, group: Group, ended: bool) -> Iterator[Document]:
        if not tracked.emitted or any(told[-1:] != _SEEN_TO_RUN for told in tracked.emitted.values()):
            # What is missed later no longer matters for the negotiation.
            for part in group.parts.values():
                self._mark_losses(part)
        before = tracked.untold
        for sa in group.associations():
            # What was found once stays so: by what it was found is forgotten sooner than the SA.
            origin = self._lineage.origin_of(sa) or tracked.origins.get(sa.responder_spi)
            if origin is not None:
                tracked.origins[sa.responder_spi] = origin
            self._lineage.note(sa)
            if self._lineage.forgotten:
                self.counters[REKEYS_FORGOTTEN] = self._lineage.forgotten
            finding = finding_of(Carried(sa, (self._observer,), () if origin is None else (origin,)), self._rulebook)
            if self._custom is not None:
                (finding,) = self._custom.apply([finding])
            id_ = finding["event"]["id"]
            now_material = material(finding)
            if tracked.emitted.get(id_) != now_material or (ended and before):
                tracked.emitted[id_] = now_material
                tracked.untold = False
                yield finding

    def _mark_losses(self, part: SecurityAssociation) -> None:
        """Say in the evidence when packets were missed about the time when it was or may have been negotiated."""
        if part.first is None:
            return
        start, end = part.first.time - _BEFORE, part.first.time + _AFTER
        for name, log in self.losses.items():
            loss = log.between(start, end)
            if loss is None:
                continue
            slug = NOT_CAPTURED if loss.blind else PACKETS_DROPPED
            if name == CLOCK_JUMPED:
                slug = CLOCK_JUMPED
            if slug not in part.anomalies:
                # What is missing has no frame: it is the first one that was seen next to it.
                part.add_anomaly(slug, part.first)

    # -- losses and clocks ---------------------------------------------------------------------------------------

    def lost(self, interface: str, loss: Loss) -> None:
        """Note that packets were missed; SAs seen around that time will say so."""
        self.losses.setdefault(interface, LossLog()).add(loss)

    def clock_jumped(self, before: float, after: float) -> None:
        """Note that the wall clock was set from one second to another; times of SAs around that say little."""
        start, end = sorted((before, after))
        loss = Loss(int(start * _NANOSECONDS), int(end * _NANOSECONDS), 0, 0)
        self.losses.setdefault(CLOCK_JUMPED, LossLog()).add(loss)
        self.counters[CLOCK_JUMPED] += 1
        shift = after - before
        # What is due is due after so many seconds and not at that time of day.
        agenda = []
        for key in sorted(self.table, key=self._due_of):
            tracked = self.table.get(key)
            assert tracked is not None
            tracked.last += shift
            tracked.due += shift
            agenda.append((tracked.due, next(self._order), key))
        heapq.heapify(agenda)
        self._agenda = agenda
        self._saved_at += shift
        self._allowed_at += shift

    def _due_of(self, key: Key) -> float:
        tracked = self.table.get(key)
        return 0.0 if tracked is None else tracked.due

    # -- memory and disk -----------------------------------------------------------------------------------------

    def waiting(self) -> list[Document]:
        """Findings that were decided before the start, and not told."""
        return self._checkpoint.waiting()

    def tick(self, now: float, waiting: Sequence[Document] = (), *, told: bool = False) -> None:
        """Save what changed when it is time, in a slice of it when there is much; let evidence go that is saved.

        With ``told``, findings were told just now: until that is saved, an end would have them told again.
        """
        pause = self._timing.save
        if self._unsaved or self._ended:
            # The sooner, the less an end at any moment costs; where there is much to save, less often.
            pause = 0.0 if told and self._save_took < _QUICK else min(pause, self._save_took * _SAVE_SHARE)
        if now - self._saved_at >= pause:
            self.save(now, waiting, budget=self._timing.save / 4)
        self._cool(now)

    def save(self, now: float, waiting: Sequence[Document] = (), budget: float | None = None) -> None:
        """Write what changed to the checkpoint; with a ``budget`` in seconds as much as can be packed in that time.

        SAs that were answered come first. A disk that does not take it is counted and tried again. ``waiting`` are all
        findings that were given here and are not told yet: the next sensor has them from the checkpoint.
        """
        self._saved_at = now
        began = monotonic()
        deadline = None if budget is None else began + budget
        changed: list[Tracked] = []
        rows: list[Row] = []
        for key in self._in_order_of_worth():
            tracked = self.table.get(key)
            if tracked is None or tracked.group is None:
                continue
            changed.append(tracked)
            rows.append(row_of(key, tracked, tracked.group))
            if deadline is not None and monotonic() > deadline:
                break
        try:
            self._checkpoint.save(rows, self._ended, now, waiting)
        except sqlite3.Error as error:
            self.counters[NOT_SAVED] += 1
            self.trouble = str(error)
            return
        finally:
            self._save_took = monotonic() - began
        self.trouble = None
        self._ended.clear()
        for row, tracked in zip(rows, changed, strict=True):
            tracked.saved = True
            self._unsaved.pop((row[0], row[1]), None)

    def _in_order_of_worth(self) -> Iterator[Key]:
        attempts = []
        for key in list(self._unsaved):
            tracked = self.table.get(key)
            if tracked is None:
                del self._unsaved[key]
            elif tracked.tier is Tier.UNANSWERED:
                attempts.append(key)
            else:
                yield key
        yield from attempts

    def _let_go(self, key: Key, tracked: Tracked) -> None:
        """Drop what is kept here of an SPI that is followed no longer, and have its row deleted."""
        if tracked.saved:
            self._ended[key] = None
        self._unsaved.pop(key, None)
        self._hot.pop(key, None)

    def _cool(self, now: float) -> None:
        """Let go of evidence that is saved and was not used for a while."""
        for key in list(islice(self._hot, _MOST_COOLED)):
            tracked = self.table.get(key)
            if tracked is None:
                del self._hot[key]
                continue
            if now - tracked.last < self._timing.quiet:
                return
            del self._hot[key]
            if key in self._unsaved:
                self._hot[key] = None
            else:
                tracked.group = None

    def close(self) -> None:
        """Close the checkpoint; ``save`` comes first where it is to hold everything."""
        self._checkpoint.close()


def material(finding: Document) -> bytes:
    """A digest of what makes a finding worth sending again when it changes, and whether it was seen to run."""
    own = finding["pqaudit"]
    parts = (
        own["verdict"],
        own["protection"],
        own["reason"],
        own["assurance"],
        own["ike"]["responder_spi"],
        own["selected"],
        own["ppk"],
        own["related"],
        sorted(anomaly["id"] for anomaly in own["anomalies"]),
        sorted(deviation["id"] for deviation in own["deviations"]),
        sorted(observation["id"] for observation in own["observations"]),
        sorted(rule["id"] for rule in own.get("rules", ())),
    )
    digest = blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=_MATERIAL_OCTETS).digest()
    return digest + (_SEEN_TO_RUN if own["assurance"] == "executed" else _NOT_SEEN_TO_RUN)
