"""The report as CSV (RFC 4180, UTF-8): of each tunnel and policy a row, or of each SA.

Spreadsheets take cells for formulas that begin with certain characters, and some drop quotes before they look: such
cells get an apostrophe in front. Control characters, which could end a cell, are shown by their code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import BinaryIO

from pqaudit.outputs.escape import printable
from pqaudit.report.model import Case, Peer, Report, Sa, State, Tunnel
from pqaudit.report.words import algorithm, deciding, exchanges

# Those of full width are taken for the others in East Asian settings.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BEFORE_FORMULA = " '\"\u00a0\u3000"
_AT_ONCE = 500
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
    _write(_TUNNEL, (cells for tunnel in report.tunnels for cells in _tunnel(tunnel)), out)


def write_sas(report: Report, out: BinaryIO) -> None:
    """Write a row for each SA, with a status and a day for each policy."""
    policies = [part.policy.id for part in report.header.policies]
    of_policies = [f"{name}: {policy}" for policy in policies for name in ("status", "fails_on")]
    sides = [f"{side}_{name}" for side in ("initiator", "responder") for name in (*_PEER, "port")]
    _write_lines(["id", "begun", "ended", *sides, *_NEGOTIATED, *of_policies, "evidence"], _sa_lines(report.sas), out)


def cell(text: str) -> str:
    """A cell, quoted, that no spreadsheet takes for a formula."""
    shown = printable(text)
    if shown.lstrip(_BEFORE_FORMULA).startswith(_FORMULA) or text.startswith(("\t", "\r", "\n")):
        shown = f"'{shown}"
    return '"' + shown.replace('"', '""') + '"'


def _write(columns: Iterable[str], rows: Iterable[Iterable[str]], out: BinaryIO) -> None:
    _write_lines(columns, (",".join(map(cell, row)) for row in rows), out)


def _write_lines(columns: Iterable[str], lines: Iterable[str], out: BinaryIO) -> None:
    out.write((",".join(map(cell, columns)) + "\r\n").encode())
    rest = iter(lines)
    while some := list(islice(rest, _AT_ONCE)):
        out.write(("\r\n".join(some) + "\r\n").encode())


def _tunnel(tunnel: Tunnel) -> Iterator[list[str]]:
    peers = [text for peer in tunnel.peers for text in _peer(peer)]
    vendors = _joined(f"{address}: {name}" for address, names in tunnel.vendors.items() for name in names)
    latest = ["", ""] if tunnel.latest is None else [tunnel.latest.begun, exchanges(tunnel.latest.case)]
    for state in tunnel.states:
        yield [*peers, str(tunnel.sas), *_state(state), *latest, *_change(state), vendors]


def _state(state: State) -> list[str]:
    assessment, sa = state.assessment, state.decided_by
    return [
        state.policy,
        assessment.status,
        "" if assessment.fails_on is None else assessment.fails_on.isoformat(),
        assessment.responsibility or "",
        _joined(state.acts),
        _joined(deciding(assessment)),
        sa.id,
        sa.begun,
        sa.initiator[0].address,
        *_negotiated(sa.case),
        _evidence(sa.evidence_json),
    ]


def _change(state: State) -> list[str]:
    return ["yes" if state.later_not_seen else "no", state.change or "", state.before or ""]


def _peer(peer: Peer) -> list[str]:
    asset = peer.asset
    said = ("", "", "", "") if asset is None else (asset.name, asset.owner, asset.site, asset.criticality)
    return [peer.address, *(text or "" for text in said)]


def _negotiated(case: Case) -> list[str]:
    algorithms = (algorithm(case, kind) for kind in ("encryption", "prf", "integrity"))
    return [case.ike_version, case.verdict, case.reason, case.protection, exchanges(case), *algorithms]


def _sa_lines(sas: Iterable[Sa]) -> Iterator[str]:
    # What the case gives is the same for many SAs that follow each other.
    kept: dict[int, str] = {}
    for sa in sas:
        case = sa.case
        if case.number not in kept:
            if len(kept) >= _AT_ONCE:
                kept.clear()
            kept[case.number] = ",".join(map(cell, _of_case(case)))
        ends = ((*_peer(peer), str(port)) for peer, port in (sa.initiator, sa.responder))
        own = ",".join(map(cell, (sa.id, sa.begun, sa.ended, *(text for end in ends for text in end))))
        yield f"{own},{kept[case.number]},{cell(_evidence(sa.evidence_json))}"


# A tunnel has a row for each policy, and most rest on the same SA.
@lru_cache(maxsize=4)
def _evidence(evidence: str) -> str:
    return _joined(f"{e['file']}, frame {e['frame']}: {e['what']}" for e in json.loads(evidence))


def _of_case(case: Case) -> Iterator[str]:
    yield from _negotiated(case)
    for assessment in case.assessments:
        yield assessment.status
        yield "" if assessment.fails_on is None else assessment.fails_on.isoformat()


def _joined(texts: Iterable[str]) -> str:
    return _SEPARATOR.join(texts)
