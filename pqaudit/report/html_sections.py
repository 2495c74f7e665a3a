"""The parts of the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pqaudit.policy.assess import DeadlineState, Status
from pqaudit.report import html_charts, html_rows
from pqaudit.report.html_parts import Cell, number, percent, section, table, text, words
from pqaudit.report.model import Change, Comparison, Counts, Header, OwnerTotals, PolicyPart, PolicyTotals, Report
from pqaudit.report.words import CERTAINTIES, CHANGE_WORDS, READING, STATUS_WORDS, deadline_words, policy_words

_FINE = 1_000_000
"""Shares are sorted as so many parts of a whole."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the page: what it is linked by, its heading, and its content, which is made only when it is written."""

    name: str
    title: str
    content: Iterator[str]

    def markup(self) -> Iterator[str]:
        """All of it."""
        return section(self.name, self.title, self.content)


def sections(report: Report, tunnels: int, sas: int, others: int) -> Iterator[Part]:
    """The parts that this report has, with no more than so many rows of tunnels, SAs and other things."""
    header = report.header
    yield Part("readiness", "Readiness", _readiness(report))
    if report.comparison is not None:
        yield Part("changes", f"Since the report of {report.comparison.as_of}", _changes(report.comparison, others))
    yield Part("deadlines", "Deadlines", _deadlines(header.policies))
    yield Part("all-tunnels", "Tunnels", html_rows.tunnels(report, tunnels))
    yield Part("all-sas", "SAs", chain(_verdicts(report.counts), html_rows.sas(report, sas)))
    if report.advice:
        yield Part("advice", "What is known of the products that were seen", _advice(report))
    if report.owners:
        yield Part("owners", "Owners", _owners(report.owners, header.policies, others))
    yield Part("not-visible", "What no observer can see", _not_visible(header.policies))
    yield Part("certainty", "How certain the policies are", _certainty(header.policies))
    yield Part("sources", "What this rests on", _inputs(header, others))


def _readiness(report: Report) -> Iterator[str]:
    yield from html_charts.shares(report.totals)
    names = STATUS_WORDS.values()
    columns = (
        *("policy", "ready", *(f"tunnels: {name}" for name in names), *(f"SAs: {name}" for name in names)),
        *("who has to act", "next deadline"),
    )
    rows = (_policy(part, totals) for part, totals in zip(report.header.policies, report.totals, strict=True))
    yield from table("by-policy", "Tunnels and SAs of each status", columns, rows)
    yield "<ul>\n"
    yield from (f"<li>{text(sentence)}</li>\n" for sentence in READING)
    yield "</ul>\n"


def _policy(part: PolicyPart, totals: PolicyTotals) -> Iterator[Cell]:
    yield words(part.policy.id)
    yield percent(totals.ready)
    for counts in (totals.tunnels, totals.sas):
        yield from (number(counts[status]) for status in STATUS_WORDS)
    yield words(", ".join(f"{who} {count:,}" for who, count in totals.acts.items() if count) or "-")
    coming = [state for state in part.deadlines if state.days_left >= 0]
    yield _when(coming[0]) if coming else words("-")


def _when(state: DeadlineState) -> Cell:
    return Cell(text(deadline_words(state)), state.deadline.day.isoformat())


def _changes(comparison: Comparison, most: int) -> Iterator[str]:
    columns = ("policy", *(CHANGE_WORDS[change] for change in Change))
    rows = (
        (words(policy), *(number(counts[change]) for change in Change)) for policy, counts in comparison.changes.items()
    )
    yield from table("changed", "Tunnels by how they changed", columns, rows)
    if not comparison.gone:
        return
    gone = (
        (
            words(one.peers[0]),
            words(one.peers[1]),
            words(", ".join(f"{p}: {STATUS_WORDS[s]}" for p, s in one.before.items())),
        )
        for one, _ in zip(comparison.gone, range(most), strict=False)
    )
    yield from table("gone", "Tunnels that are not seen any more", ("peer", "other peer", "status before"), gone)
    yield from _more(len(comparison.gone), most)


def _more(whole: int, most: int) -> Iterator[str]:
    if whole > most:
        yield f"<p>{whole - most:,} more are in the form json of this report.</p>\n"


def _deadlines(policies: Sequence[PolicyPart]) -> Iterator[str]:
    yield from html_charts.deadlines(policies)
    rows = (
        (
            words(part.policy.id),
            _when(state),
            number(state.days_left),
            words(state.deadline.level + (f", {state.deadline.only} only" if state.deadline.only else "")),
            Cell(text(state.deadline.what), kind="long"),
            words(state.deadline.certainty),
        )
        for part in policies
        for state in part.deadlines
    )
    columns = ("policy", "when", "days left", "level", "what", "certainty")
    yield from table("all-deadlines", "Deadlines of the policies", columns, rows)


def _verdicts(counts: Counts) -> Iterator[str]:
    for name, caption, found in (
        ("verdicts", "SAs by verdict", counts.verdicts),
        ("protections", "SAs by protection", counts.protections),
    ):
        rows = ((words(value), number(count)) for value, count in found.items())
        yield from table(name, caption, (name[:-1], "SAs"), rows)


def _advice(report: Report) -> Iterator[str]:
    yield "<p>Vendor IDs hint at these products, and seldom tell the version.</p>\n<ul>\n"
    for vendor, known in report.advice.items():
        for advice in known:
            said = f"{vendor}: {advice.what} ({advice.source}; {advice.certainty})"
            yield f"<li>{text(said)}</li>\n"
    yield "</ul>\n"


def _owners(owners: Sequence[OwnerTotals], policies: Iterable[PolicyPart], most: int) -> Iterator[str]:
    ids = [part.policy.id for part in policies]
    rows = (
        (
            words("without an owner" if owner.owner is None else owner.owner),
            number(owner.peers),
            *(_share(owner, policy) for policy in ids),
        )
        for owner in owners[:most]
    )
    columns = ("owner", "peers", *(f"ready: {policy}" for policy in ids))
    yield from table("by-owner", "Tunnels with an end of each owner that meet the policy", columns, rows)
    yield from _more(len(owners), most)


def _share(owner: OwnerTotals, policy: str) -> Cell:
    counts = owner.tunnels[policy]
    meets, whole = counts[Status.MEETS], sum(counts.values())
    return Cell(f"{meets:,} of {whole:,}", meets * _FINE // whole if whole else -1, "number")


def _not_visible(policies: Iterable[PolicyPart]) -> Iterator[str]:
    yield "<p>This is asked and never counts as met, for packets do not show it.</p>\n<ul>\n"
    asked: dict[tuple[str, str], list[str]] = {}
    for part in policies:
        for item in part.policy.not_visible:
            asked.setdefault((item.what, item.why), []).append(part.policy.id)
    for (what, why), ids in asked.items():
        yield f"<li>{text(what)} {text(why)} ({text(', '.join(ids))})</li>\n"
    yield "</ul>\n"


def _certainty(policies: Iterable[PolicyPart]) -> Iterator[str]:
    yield f"<p>{text(CERTAINTIES)}</p>\n<ul>\n"
    for part in policies:
        said = "<br>".join(map(text, policy_words(part.policy)))
        yield f"<li><strong>{text(part.policy.id)}</strong>: {said}</li>\n"
    yield "</ul>\n"


def _inputs(header: Header, most: int) -> Iterator[str]:
    said = [f"pqaudit {header.version} with rules {header.rules}."]
    # What limits the whole report stands before what may be left out.
    if header.groups:
        said.append(f"All SAs are taken to be: {', '.join(header.groups)}.")
    if header.filters:
        said.append(f"Only findings were asked for that match: {' '.join(header.filters)}.")
    for version, rules in header.found_by:
        said.append(f"Findings were made by pqaudit {version or 'of an unknown version'} with rules {rules}.")
    yield "".join(f"<p>{text(sentence)}</p>\n" for sentence in said[:most])
    files = [(i.name, i.kind, i.sha256) for i in header.inputs]
    files += [(capture.name, "capture", capture.sha256) for capture in header.captures]
    rows = ((words(name), words(kind), words(digest or "not known")) for name, kind, digest in files[:most])
    yield from table("inputs", "Files that were read", ("name", "kind", "SHA-256"), rows)
    yield from _more(len(files), most)
