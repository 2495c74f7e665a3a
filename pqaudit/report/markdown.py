"""The report as Markdown as GitHub reads it, short enough for the summary of a job."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import BinaryIO

from pqaudit.outputs.escape import printable
from pqaudit.outputs.wording import plural
from pqaudit.policy.assess import Status
from pqaudit.report.model import Change, Comparison, Header, OwnerTotals, PolicyPart, PolicyTotals, Report, Tunnel
from pqaudit.report.words import (
    CERTAINTIES,
    CHANGE_WORDS,
    READING,
    STATUS_WORDS,
    deadline_words,
    deciding,
    exchanges,
    peer_words,
    policy_words,
    ready_words,
    status_words,
)

MOST_OCTETS = 1_000_000
"""GitHub refuses the summary of a step that has more than 1 MiB."""

_MOST_TUNNELS = 50
_MOST_OTHERS = 100
_LONGEST = 1000
_LONGEST_NAME = 200
# Everything that could become markup, HTML or a formula; as codes they are but themselves.
_MARKUP = re.compile(r"[\\`*\[\]<>#|~&@$]|(?<![^\W_])_|_(?![^\W_])")
# Links, mentions and references are looked for in what is shown, when codes are characters again: a space of no width
# parts what would be one.
_LINK = re.compile(r"(?<=:)(?=//)|(?<=[wW])(?=\.)|(?<=[@#])|(?<=[gG][hH]-)(?=\d)")
_CUT = f"The rest is left out, as a summary may have {MOST_OCTETS:,} octets; the report as JSON holds everything."


def write(report: Report, out: BinaryIO) -> None:
    """Write the report, as much of it as a summary may have."""
    left = MOST_OCTETS - len(_CUT) - 3
    for line in _lines(report):
        octets = line.encode() + b"\n"
        left -= len(octets)
        if left < 0:
            out.write(f"\n{_CUT}\n".encode())
            return
        out.write(octets)


def escaped(text: str, longest: int = _LONGEST) -> str:
    """Text that shows as it is, in one line, wherever it stands, and no longer than that many characters."""
    shown = printable(text[: longest + 1])
    if len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return "&#8203;".join(_MARKUP.sub(_code, part) for part in _LINK.split(shown))


def _code(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def _name(text: str) -> str:
    """As `escaped`, for what comes from packets and files: many of them must have room."""
    return escaped(text, _LONGEST_NAME)


def _lines(report: Report) -> Iterator[str]:
    header, counts = report.header, report.counts
    worst = _Worst(report)
    yield f"# {escaped(header.title)}"
    yield ""
    yield worst.words()
    yield ""
    yield (
        f"As of **{header.as_of}**: {plural(counts.tunnels, 'tunnel')} between {plural(counts.peers, 'peer')}, "
        f"{plural(counts.sas, 'SA')}{_span(report)}."
    )
    for note in report.notes:
        yield f"- {escaped(note)}"
    if not report.complete:
        yield "- **The report is not complete.**"
    yield from _section("Readiness", _readiness(report))
    yield ""
    yield from (f"- {escaped(sentence)}" for sentence in READING)
    if report.comparison is not None:
        yield from _section(f"Since the report of {report.comparison.as_of}", _changes(report.comparison))
    yield from _section("Tunnels that do not meet every policy, worst first", _tunnels(worst))
    if report.advice:
        yield from _section("What is known of the products that were seen", _advice(report))
    if report.owners:
        yield from _section("Owners", _owners(report.owners, header.policies))
    yield from _section("Deadlines", _deadlines(header.policies))
    yield from _section("What no observer can see", _not_visible(header.policies))
    yield from _section("How certain the policies are", _certainty(header.policies))
    yield from _section("What this rests on", _inputs(header))


def _span(report: Report) -> str:
    first, last = report.counts.first, report.counts.last
    return "" if first is None or last is None else f", begun from {first} to {last}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield f"## {escaped(title)}"
    yield ""
    yield from lines


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table of cells that are safe already."""
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield f"|{' --- |' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _readiness(report: Report) -> Iterator[str]:
    columns = ("policy", "ready", *STATUS_WORDS.values(), "who has to act", "next deadline")
    parts = zip(report.header.policies, report.totals, strict=True)
    return _table(columns, (_policy_row(part, totals) for part, totals in parts))


def _policy_row(part: PolicyPart, totals: PolicyTotals) -> Iterator[str]:
    yield f"{escaped(part.policy.id)}"
    yield ready_words(totals.ready)
    for status in STATUS_WORDS:
        yield f"{totals.tunnels[status]:,}"
    yield ", ".join(f"{who} {count:,}" for who, count in totals.acts.items() if count) or "-"
    coming = [state for state in part.deadlines if state.days_left >= 0]
    yield escaped(deadline_words(coming[0])) if coming else "-"


def _changes(comparison: Comparison) -> Iterator[str]:
    shown = [change for change in Change if change is not Change.SAME]
    rows = (
        (escaped(policy), *(f"{counts[change]:,}" for change in shown)) for policy, counts in comparison.changes.items()
    )
    return _table(("policy", *(CHANGE_WORDS[change] for change in shown)), rows)


class _Worst:
    """Tunnels by the worst status that a policy gives them, and the worst of them."""

    def __init__(self, report: Report) -> None:
        self.counts: Counter[Status] = Counter()
        self.shown = [t for *_, t in heapq.nsmallest(_MOST_TUNNELS, self._failing(report), key=lambda entry: entry[:2])]

    def _failing(self, report: Report) -> Iterator[tuple[int, int, Tunnel]]:
        for place, tunnel in enumerate(report.tunnels):
            status = _worst(tunnel)
            self.counts[status] += 1
            if status is not Status.MEETS:
                yield status.rank, place, tunnel

    @property
    def left_out(self) -> int:
        return self.counts.total() - self.counts[Status.MEETS] - len(self.shown)

    def words(self) -> str:
        """One line for who reads no more."""
        total = self.counts.total()
        if not total:
            return "**No tunnel was seen.**"
        fails, will, unknown, meets = (self.counts[status] for status in STATUS_WORDS)
        failing = f"**{fails:,} of {plural(total, 'tunnel')} fail a policy now**"
        return f"{failing}, {will:,} more will, {unknown:,} more cannot be assessed, {meets:,} meet all."


def _worst(tunnel: Tunnel) -> Status:
    return min((state.assessment.status for state in tunnel.states), key=lambda status: status.rank)


def _tunnels(worst: _Worst) -> Iterator[str]:
    if not worst.shown:
        yield "None."
        return
    yield from _table(("peers", "key exchange", "state", "why", "who has to act"), map(_tunnel_row, worst.shown))
    if worst.left_out:
        yield ""
        yield f"{worst.left_out:,} more are not shown."


def _tunnel_row(tunnel: Tunnel) -> Iterator[str]:
    yield " and ".join(_name(peer_words(peer)) for peer in tunnel.peers)
    yield "not seen" if tunnel.latest is None else _name(exchanges(tunnel.latest.case)) or "-"
    by_words: dict[str, list[str]] = {}
    worst = _worst(tunnel)
    for state in tunnel.states:
        if state.assessment.status is not Status.MEETS:
            changed = f" ({CHANGE_WORDS[state.change]})" if state.change not in (None, Change.SAME) else ""
            by_words.setdefault(status_words(state.assessment), []).append(state.policy + changed)
    yield "<br>".join(f"{escaped(words)}: {escaped(', '.join(policies))}" for words, policies in by_words.items())
    deciding_states = [state for state in tunnel.states if state.assessment.status is worst]
    reasons = dict.fromkeys(sentence for state in deciding_states for sentence in deciding(state.assessment))
    yield "<br>".join(map(escaped, reasons))
    yield "<br>".join(map(escaped, dict.fromkeys(a for state in deciding_states for a in state.acts))) or "-"


def _advice(report: Report) -> Iterator[str]:
    yield "Vendor IDs hint at these products, and seldom tell the version."
    yield ""
    for vendor, known in report.advice.items():
        for advice in known:
            yield f"- {escaped(vendor)}: {escaped(advice.what)} ({escaped(advice.source)}; {advice.certainty})"


def _owners(owners: Sequence[OwnerTotals], policies: Iterable[PolicyPart]) -> Iterator[str]:
    ids = [part.policy.id for part in policies]
    rows = (
        (
            "without an owner" if owner.owner is None else _name(owner.owner),
            f"{owner.peers:,}",
            *(_share(owner, policy) for policy in ids),
        )
        for owner in owners[:_MOST_OTHERS]
    )
    yield from _table(("owner", "peers", *(f"ready: {escaped(policy)}" for policy in ids)), rows)
    yield from _more(owners)


def _share(owner: OwnerTotals, policy: str) -> str:
    counts = owner.tunnels[policy]
    return f"{counts[Status.MEETS]:,} of {sum(counts.values()):,}"


def _deadlines(policies: Iterable[PolicyPart]) -> Iterator[str]:
    rows = (
        (
            escaped(part.policy.id),
            escaped(deadline_words(state)),
            state.deadline.level + (f", {state.deadline.only} only" if state.deadline.only else ""),
            escaped(state.deadline.what),
            state.deadline.certainty,
        )
        for part in policies
        for state in part.deadlines
    )
    return _table(("policy", "when", "level", "what", "certainty"), rows)


def _not_visible(policies: Iterable[PolicyPart]) -> Iterator[str]:
    yield "This is asked and never counts as met, for packets do not show it."
    yield ""
    asked: dict[tuple[str, str], list[str]] = {}
    for part in policies:
        for item in part.policy.not_visible:
            asked.setdefault((item.what, item.why), []).append(part.policy.id)
    for (what, why), ids in asked.items():
        yield f"- {escaped(what)} {escaped(why)} ({escaped(', '.join(ids))})"


def _certainty(policies: Iterable[PolicyPart]) -> Iterator[str]:
    yield CERTAINTIES
    yield ""
    for part in policies:
        named, *others = policy_words(part.policy)
        yield f"- **{escaped(part.policy.id)}**: {escaped(named)}"
        yield from (f"  {escaped(sentence)}" for sentence in others)


def _inputs(header: Header) -> Iterator[str]:
    yield f"pqaudit {escaped(header.version)} with rules {escaped(header.rules)}."
    for version, rules in header.found_by[:_MOST_OTHERS]:
        made_by = f"pqaudit {version or 'of an unknown version'} with rules {rules}"
        yield f"Findings were made by {_name(made_by)}."
    yield from _more(header.found_by)
    if header.groups:
        yield f"All SAs are taken to be: {escaped(', '.join(header.groups))}."
    if header.filters:
        yield f"Only findings were asked for that match: {escaped(' '.join(header.filters))}."
    yield ""
    files = [(i.kind, i.name, i.sha256) for i in header.inputs]
    files += [("capture", capture.name, capture.sha256) for capture in header.captures]
    rows = ((kind, _name(name), escaped(digest or "not known")) for kind, name, digest in files[:_MOST_OTHERS])
    yield from _table(("input", "name", "SHA-256"), rows)
    yield from _more(files)


def _more(entries: Sized) -> Iterator[str]:
    if len(entries) > _MOST_OTHERS:
        yield ""
        yield f"{len(entries) - _MOST_OTHERS:,} more are not shown."
