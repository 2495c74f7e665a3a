"""Tables of tunnels and of SAs in a page: the worst ones, as many as a browser handles with ease."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import groupby
from typing import TypeVar

from pqaudit.policy.assess import Assessment
from pqaudit.report.html_parts import Cell, badge, bullets, items, number, table, text, words
from pqaudit.report.model import Change, Peer, Report, Sa, State, Tunnel
from pqaudit.report.words import (
    CHANGE_WORDS,
    STATUS_WORDS,
    algorithm,
    deciding,
    exchanges,
    peer_words,
    status_words,
)

_Row = TypeVar("_Row")

_TUNNEL = (
    *("peer", "other peer", "SAs", "key exchange", "worst"),
    *("by policy", "why", "who has to act", "evidence", "products"),
)
_SA = (
    *("id", "begun", "initiator", "responder", "key exchange", "encryption"),
    *("verdict", "worst", "by policy", "evidence"),
)


def tunnels(report: Report, most: int) -> Iterator[str]:
    """The table of tunnels."""
    shown = _worst_of(report.tunnels, most, _worst_of_tunnel)
    yield from _left_out(len(shown), len(report.tunnels), "tunnels", "json and csv")
    yield from _sortable("tunnels", "Pairs of peers, worst first", _TUNNEL, map(_tunnel, shown), report)


def sas(report: Report, most: int) -> Iterator[str]:
    """The table of SAs."""
    shown = _worst_of(report.sas, most, _worst_of_sa)
    yield from _left_out(len(shown), len(report.sas), "SAs", "json and csv-sas")
    yield from _sortable("sas", "SAs, worst first", _SA, map(_sa, shown), report)


def _worst_of(rows: Iterable[_Row], most: int, rank: Callable[[_Row], int]) -> list[_Row]:
    """In order of their rank, else in the order that they come in; no more than these are kept in memory."""
    ranked = ((rank(row), place, row) for place, row in enumerate(rows))
    return [row for _, _, row in heapq.nsmallest(most, ranked, key=lambda entry: entry[:2])]


def _worst_of_tunnel(tunnel: Tunnel) -> int:
    return min(state.assessment.status.rank for state in tunnel.states)


def _worst_of_sa(sa: Sa) -> int:
    return min(assessment.status.rank for assessment in sa.case.assessments)


def _left_out(shown: int, whole: int, what: str, forms: str) -> Iterator[str]:
    if shown < whole:
        yield (
            f'<p class="warning">This page shows the {shown:,} worst {what}. '
            f"All {whole:,} stand in the forms {forms} of this report.</p>\n"
        )


def _sortable(
    name: str, caption: str, columns: Sequence[str], rows: Iterable[Iterable[Cell]], report: Report
) -> Iterator[str]:
    policies = "".join(f"<option>{text(part.policy.id)}</option>" for part in report.header.policies)
    statuses = "".join(f'<option value="{status}">{text(name)}</option>' for status, name in STATUS_WORDS.items())
    yield (
        f'<div class="filtered">\n<div class="filter" role="search" aria-label="{text(caption)}" hidden>\n'
        f'<label>Contains <input id="{name}-text" data-field="text" type="search" autocomplete="off"></label>\n'
        f'<label>Policy <select id="{name}-policy" data-field="policy" autocomplete="off">'
        f'<option value="">any</option>{policies}</select></label>\n'
        f'<label>Status <select id="{name}-status" data-field="status" autocomplete="off">'
        f'<option value="">any</option>{statuses}</select></label>\n<span role="status"></span>\n</div>\n'
    )
    yield from table(name, caption, columns, rows)
    yield "</div>\n"


def _tunnel(tunnel: Tunnel) -> Iterator[Cell]:
    worst = _worst_of_tunnel(tunnel)
    decisive = [state for state in tunnel.states if state.assessment.status.rank == worst]
    for peer in tunnel.peers:
        yield _peer(peer)
    yield number(tunnel.sas)
    yield words("not seen" if tunnel.latest is None else exchanges(tunnel.latest.case) or "-")
    yield Cell(badge(decisive[0].assessment.status), worst)
    yield _by_policy((state.assessment, _changed(state)) for state in tunnel.states)
    yield items(map(text, dict.fromkeys(why for state in decisive for why in deciding(state.assessment))))
    yield items(map(text, dict.fromkeys(address for state in decisive for address in state.acts)))
    yield _evidence(decisive[0].decided_by)
    yield items(text(f"{a}: {name}") for a, names in tunnel.vendors.items() for name in names)


def _sa(sa: Sa) -> Iterator[Cell]:
    worst = min((assessment.status for assessment in sa.case.assessments), key=lambda status: status.rank)
    yield words(sa.id)
    yield _time(sa.begun)
    for peer, port in (sa.initiator, sa.responder):
        yield Cell(text(f"{peer_words(peer)} port {port}"), f"{_order(peer)} {port}")
    yield words(exchanges(sa.case) or "-")
    yield words(algorithm(sa.case, "encryption") or "-")
    yield words(sa.case.verdict)
    yield Cell(badge(worst), worst.rank)
    yield _by_policy((assessment, "") for assessment in sa.case.assessments)
    yield _evidence(sa)


def _peer(peer: Peer) -> Cell:
    asset = peer.asset
    said = () if asset is None else (asset.owner, asset.site, asset.criticality)
    more = ", ".join(part for part in said if part)
    return Cell(text(peer_words(peer)) + (f"<br><small>{text(more)}</small>" if more else ""), _order(peer))


def _order(peer: Peer) -> str:
    """Addresses by their octets, IPv4 first: as text, hexadecimal digits would come in the wrong order."""
    address = ip_address(peer.address)
    return f"{address.version} {int(address)}"


def _time(time: str) -> Cell:
    """With as many digits of a second for all, as those behind the point are no number of their own."""
    second, _, fraction = time.removesuffix("Z").partition(".")
    return Cell(text(time), f"{second} {fraction:0<9}")


def _by_policy(assessments: Iterable[tuple[Assessment, str]]) -> Cell:
    """Worst first, policies of one status and day together. What the filter looks at stands in attributes."""
    ordered = sorted(assessments, key=lambda entry: (entry[0].status.rank, status_words(entry[0])))
    return items(
        f"{badge(same[0][0].status, said)}: {', '.join(_policy(found, changed) for found, changed in same)}"
        for said, same in ((said, list(group)) for said, group in groupby(ordered, lambda e: status_words(e[0])))
    )


def _policy(found: Assessment, changed: str) -> str:
    policy = text(found.policy)
    return f'<span data-policy="{policy}" data-status="{found.status}">{policy}{text(changed)}</span>'


def _changed(state: State) -> str:
    return "" if state.change in (None, Change.SAME) else f" ({CHANGE_WORDS[state.change]})"


def _evidence(sa: Sa) -> Cell:
    """By file, in the order of the finding."""
    files: dict[str, list[str]] = {}
    for one in sa.evidence:
        files.setdefault(one.file, []).append(f"frame {one.frame}: {one.what}")
    return items(f"{text(file)}: {bullets(map(text, seen))}" for file, seen in files.items())
