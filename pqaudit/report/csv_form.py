"""The report as CSV (RFC 4180, UTF-8): of each tunnel and policy a row, or of each SA.

Spreadsheets take cells for formulas that begin with certain characters, and some drop quotes before they look: such
cells get an apostrophe in front. Control characters, which could end a cell, are shown by their code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Generic, TypeVar

from pqaudit.outputs.escape import printable
from pqaudit.policy.assess import Assessment
from pqaudit.report.model import Case, Peer, Report, Sa, State, Tunnel
from pqaudit.report.words import algorithm, deciding, exchanges

_T = TypeVar("_T")

# Those of full width are taken for the others in East Asian settings.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BEFORE_FORMULA = " '\"\u00a0\u3000"
# What most cells are: nothing, or printable characters without a quote that begin with a letter or digit.
_PLAIN = re.compile(r"(?:[0-9A-Za-z][ !#-~]*)?")
_AT_ONCE = 500
_MOST_KEPT = 5000
_SEPARATOR = " | "

_PEER = ("address", "name", "owner", "site", "criticality")
_NEGOTIATED = ("ike_version", "verdict", "reason", "protection", "key_exchanges", "encryption", "prf", "integrity")
_TUNNEL = (
    *(f"{name}_{side}" for side in (1, 2) for name in _PEER),
    *("sas", "policy", "status", "fails_on", "responsibility", "acts", "reasons"),
    *("decided_by", "begun", "initiator", *_NEGOTIATED, "evidence"),
    *("latest_begun", "latest_key_exchanges", "later_not_seen", "change", "before", "vendors"),
)


def write_tunnels(report: Report, out: BinaryIO) -> None:
    """Write a row for each tunnel and policy."""
    _write(_TUNNEL, _tunnel_lines(report.tunnels), out)


def write_sas(report: Report, out: BinaryIO) -> None:
    """Write a row for each SA, with a status and a day for each policy."""
    policies = [part.policy.id for part in report.header.policies]
    of_policies = [f"{name}: {policy}" for policy in policies for name in ("status", "fails_on")]
    sides = [f"{side}_{name}" for side in ("initiator", "responder") for name in (*_PEER, "port")]
    _write(["id", "begun", "ended", *sides, *_NEGOTIATED, *of_policies, "evidence"], _sa_lines(report.sas), out)


def cell(text: str) -> str:
    """A cell, quoted, that no spreadsheet takes for a formula."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    shown = printable(text)
    if shown.lstrip(_BEFORE_FORMULA).startswith(_FORMULA) or text.startswith(("\t", "\r", "\n")):
        shown = f"'{shown}"
    return '"' + shown.replace('"', '""') + '"'


def _write(columns: Iterable[str], lines: Iterable[str], out: BinaryIO) -> None:
    out.write((_cells(columns) + "\r\n").encode())
    rest = iter(lines)
    while some := list(islice(rest, _AT_ONCE)):
        out.write(("\r\n".join(some) + "\r\n").encode())


def _cells(texts: Iterable[str]) -> str:
    return ",".join(map(cell, texts))


class _Kept(Generic[_T]):
    """Cells that many rows share, made once for each object; the last ones are kept, and with them the objects."""

    def __init__(self, make: Callable[[_T], Iterable[str]]) -> None:
        self._make = make
        self._kept: dict[int, tuple[_T, str]] = {}

    def of(self, value: _T) -> str:
        """The cells of an object, which is told by its identity: to compare it would take longer than they do."""
        kept = self._kept.get(id(value))
        if kept is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            kept = self._kept[id(value)] = (value, _cells(self._make(value)))
        return kept[1]


def _tunnel_lines(tunnels: Iterable[Tunnel]) -> Iterator[str]:
    statuses, reasons, cases = _Kept(_status), _Kept(_reasons), _Kept(_negotiated)
    for tunnel in tunnels:
        ends = _cells((*(text for peer in tunnel.peers for text in _peer(peer)), str(tunnel.sas)))
        latest = _cells(("", "") if tunnel.latest is None else (tunnel.latest.begun, exchanges(tunnel.latest.case)))
        vendors = cell(_joined(f"{address}: {name}" for address, names in tunnel.vendors.items() for name in names))
        sas: dict[str, str] = {}
        for state in tunnel.states:
            sa = state.decided_by
            if sa.id not in sas:
                own = _cells((sa.id, sa.begun, sa.initiator[0].address))
                sas[sa.id] = f"{own},{cases.of(sa.case)},{cell(_evidence(sa.evidence_json))}"
            yield (
                f"{ends},{cell(state.policy)},{statuses.of(state.assessment)},{cell(_joined(state.acts))},"
                f"{reasons.of(state.assessment)},{sas[sa.id]},{latest},{_cells(_change(state))},{vendors}"
            )


def _status(assessment: Assessment) -> Iterator[str]:
    yield assessment.status
    yield "" if assessment.fails_on is None else assessment.fails_on.isoformat()
    yield assessment.responsibility or ""


def _reasons(assessment: Assessment) -> tuple[str]:
    return (_joined(deciding(assessment)),)


def _change(state: State) -> tuple[str, str, str]:
    return "yes" if state.later_not_seen else "no", state.change or "", state.before or ""


def _peer(peer: Peer) -> list[str]:
    asset = peer.asset
    said = ("", "", "", "") if asset is None else (asset.name, asset.owner, asset.site, asset.criticality)
    return [peer.address, *(text or "" for text in said)]


def _negotiated(case: Case) -> list[str]:
    algorithms = (algorithm(case, kind) for kind in ("encryption", "prf", "integrity"))
    return [case.ike_version, case.verdict, case.reason, case.protection, exchanges(case), *algorithms]


def _sa_lines(sas: Iterable[Sa]) -> Iterator[str]:
    cases, peers = _Kept(_of_case), _Kept(_peer)
    for sa in sas:
        (initiator, initiator_port), (responder, responder_port) = sa.initiator, sa.responder
        yield (
            f'{_cells((sa.id, sa.begun, sa.ended))},{peers.of(initiator)},"{initiator_port}",'
            f'{peers.of(responder)},"{responder_port}",{cases.of(sa.case)},{cell(_evidence(sa.evidence_json))}'
        )


def _evidence(evidence: str) -> str:
    return _joined(f"{e['file']}, frame {e['frame']}: {e['what']}" for e in json.loads(evidence))


def _of_case(case: Case) -> Iterator[str]:
    yield from _negotiated(case)
    for assessment in case.assessments:
        yield assessment.status
        yield "" if assessment.fails_on is None else assessment.fails_on.isoformat()


def _joined(texts: Iterable[str]) -> str:
    return _SEPARATOR.join(texts)
