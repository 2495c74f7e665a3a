"""Questions about findings answered by a server: exactly what ``pqaudit.finding.answers`` makes of the same findings.

Everything is counted with composite aggregations, which page through all values, and folded here: they are exact where
terms and cardinality are estimates, and need no scripts, which many servers forbid.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta

from pqaudit.elastic.indices import PATTERN
from pqaudit.elastic.query import (
    ENDS,
    ID,
    METHODS,
    PROTECTION,
    REASON,
    SENSOR,
    TIME,
    VENDORS,
    VERDICT,
    any_of,
    server_query,
)
from pqaudit.elastic.server import Json, Server
from pqaudit.elastic.snapshot import Snapshot
from pqaudit.finding.answers import By, Groups, Key, Summary
from pqaudit.finding.document import Document
from pqaudit.finding.facets import canonical_address, moment, tunnel_of
from pqaudit.finding.query import Query
from pqaudit.finding.reading import Note, Unread
from pqaudit.finding.shape import finding_fault

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS: dict[By, str] = {"reason": REASON, "sensor": SENSOR}
_EITHER: dict[By, tuple[str, str]] = {"method": METHODS, "vendor": VENDORS}


def _terms(field: str) -> Json:
    return {"terms": {"field": field}}


def _sort(order: str) -> list[Json]:
    # In milliseconds also where an index keeps more, so that the order is that of files. An ID is in one place only.
    return [{TIME: {"order": order, "numeric_type": "date"}}, {ID: {"order": order}}]


class ServerFindings:
    """Findings that a server holds. Each method raises `ServerError` when it cannot answer.

    Args:
        server: where.
        note: takes what is stored and is no finding.
    """

    def __init__(self, server: Server, note: Note) -> None:
        self._server = server
        self._note = note

    def summary(self, query: Query, most_rows: int) -> Summary:
        """Counts of the findings that match, and the latest of them."""
        answer = Summary(most_rows)
        wanted = server_query(query)
        with Snapshot(self._server, PATTERN) as snapshot:
            # Peers are the values of two fields together, so each pair of addresses comes here; memory grows with them.
            sources = {
                "verdict": _terms(VERDICT),
                "protection": _terms(PROTECTION),
                "source": _terms(ENDS[0]),
                "destination": _terms(ENDS[1]),
            }
            for key, number in snapshot.buckets(wanted, sources):
                answer.count(key["verdict"], key["protection"], _ends(key), number)
            for finding in _findings(snapshot.hits(wanted, _sort("asc"), 1), self._note):
                answer.first = moment(finding)
            for finding in _findings(snapshot.hits(wanted, _sort("desc"), max(most_rows, 1)), self._note):
                answer.last = answer.last or moment(finding)
                answer.keep(finding)
        return answer

    def groups(self, query: Query, by: By) -> Groups:
        """How many of the findings that match have each value."""
        answer = Groups(by)
        wanted = server_query(query)
        with Snapshot(self._server, PATTERN) as snapshot:
            verdicts = dict(snapshot.count(wanted, VERDICT))
            for verdict, number in verdicts.items():
                answer.count_findings(verdict, number)
                if by == "verdict":
                    answer.count(verdict, verdict, number)
            if by in _EITHER:
                _count_either(snapshot, wanted, _EITHER[by], list(verdicts), answer)
            elif by != "verdict":
                _count_each(snapshot, wanted, by, answer)
        return answer

    def matching(self, query: Query) -> Generator[Document, None, None]:
        """All findings that match, in the order of first packets, page after page."""
        with Snapshot(self._server, PATTERN) as snapshot:
            yield from _findings(snapshot.hits(server_query(query), _sort("asc")), self._note)


def _count_each(snapshot: Snapshot, query: Json, by: By, answer: Groups) -> None:
    """Count by what a finding has one of, or, for peers, by what is folded from such."""
    sources: dict[str, Json] = {"verdict": _terms(VERDICT)}
    keys: Callable[[dict[str, Json]], set[Key]]
    if by == "peer" or by == "tunnel":
        sources |= {"source": _terms(ENDS[0]), "destination": _terms(ENDS[1])}
        keys = (lambda key: set(_ends(key))) if by == "peer" else (lambda key: {tunnel_of(*_ends(key))})
    elif by == "month":
        month = {"field": TIME, "calendar_interval": "month", "time_zone": "UTC"}
        sources["value"] = {"date_histogram": month}
        keys = lambda key: {f"{_EPOCH + timedelta(milliseconds=key['value']):%Y-%m}".rjust(7, "0")}  # noqa: E731
    else:
        sources["value"] = _terms(_FIELDS[by])
        keys = lambda key: {key["value"]}  # noqa: E731
    for key, number in snapshot.buckets(query, sources):
        for value in keys(key):
            answer.count(value, key["verdict"], number)


def _count_either(
    snapshot: Snapshot, query: Json, fields: tuple[str, str], verdicts: list[str], answer: Groups
) -> None:
    """Count by values that stand in either of two fields, each of which may hold several.

    The values are found first and then counted by queries: a finding that has one in both fields must count once, and
    OpenSearch's composite aggregation counts a number that stands twice in one field twice.
    """
    if not verdicts:
        return  # nothing matches
    found: set[Key] = {value for field in fields for value, _ in snapshot.count(query, field)}
    values = [*found, None]
    have: list[Json] = [any_of({"term": {field: value}} for field in fields) for value in found]
    have.append({"bool": {"must_not": [{"exists": {"field": field}} for field in fields]}})
    counts = snapshot.table(query, have, [{"term": {VERDICT: verdict}} for verdict in verdicts])
    for value, numbers in zip(values, counts, strict=True):
        for verdict, number in zip(verdicts, numbers, strict=True):
            if number:
                answer.count(value, verdict, number)


def _ends(key: dict[str, Json]) -> tuple[str, str]:
    return canonical_address(key["source"]), canonical_address(key["destination"])


def _findings(hits: Iterator[Json], note: Note) -> Iterator[Document]:
    for hit in hits:
        fault = finding_fault(hit["_source"])
        if fault is None:
            yield hit["_source"]
        else:
            note(Unread(f"{hit['_index']}/{hit['_id']}", None, fault))
