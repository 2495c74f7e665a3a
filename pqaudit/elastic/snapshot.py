"""Searches that all see the same state of the indices and read to the end, however much there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType

from pqaudit.elastic.connection import Engine
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.server import Json, Server

_KEEP_ALIVE = "5m"  # from one request to the next
_BUCKETS = 10_000  # in one answer; servers refuse 65,536
_HITS = 500
_FORGOTTEN = "search_context_missing_exception"
_FILTERS = 100  # of one aggregation
_EMPTY: Json = {"_shards": {"total": 0, "failed": 0}, "hits": {"hits": []}}
_ALL_SHARDS = {"allow_partial_search_results": "false"}


class Snapshot(AbstractContextManager["Snapshot"]):
    """A point in time of some indices; to be closed, as the server keeps it up.

    Args:
        server: where.
        indices: name or pattern; that no index has such a name is no error.

    Raises:
        ServerError: it cannot be made.
    """

    def __init__(self, server: Server, indices: str) -> None:
        self._server = server
        self._elasticsearch = server.engine is Engine.ELASTICSEARCH
        self._id: str | None = None
        path = f"/{indices}/_pit" if self._elasticsearch else f"/{indices}/_search/point_in_time"
        try:
            answer = server.request("POST", path, params={"keep_alive": _KEEP_ALIVE})
        except ServerError:
            # OpenSearch refuses where no index has such a name.
            if self._elasticsearch or server.request("GET", f"/{indices}/_alias"):
                raise
            return
        _whole(answer)
        self._id = _part(answer, "id" if self._elasticsearch else "pit_id")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ServerError):  # it goes by itself after a while
            if self._id is None:
                pass
            elif self._elasticsearch:
                self._server.request("DELETE", "/_pit", body={"id": self._id})
            else:
                self._server.request("DELETE", "/_search/point_in_time", body={"pit_id": [self._id]})

    def buckets(self, query: Json, sources: Mapping[str, Json]) -> Iterator[tuple[dict[str, Json], int]]:
        """Each combination of values that occurs, and how many documents have it: all of them, and exactly.

        The usual aggregation by terms gives the most frequent only and may be wrong about their number.
        """
        composite: dict[str, Json] = {"size": _BUCKETS, "sources": [{name: body} for name, body in sources.items()]}
        while True:
            body = {"size": 0, "query": query, "aggs": {"values": {"composite": composite}}, "track_total_hits": False}
            found = self._aggregation(body)
            if found is None:
                return
            for bucket in _part(found, "buckets"):
                yield _part(bucket, "key"), _part(bucket, "doc_count")
            if "after_key" not in found:
                return
            composite["after"] = found["after_key"]

    def count(self, query: Json, by: str) -> Iterator[tuple[Json, int]]:
        """Each value of a field that occurs, and how many documents have it."""
        for key, number in self.buckets(query, {"value": {"terms": {"field": by}}}):
            yield key["value"], number

    def table(self, query: Json, rows: Sequence[Json], columns: Sequence[Json]) -> list[list[int]]:
        """How many documents match both each of some queries and each of others; ``columns`` are few."""
        counts: list[list[int]] = []
        if not columns:
            return counts
        step = max(1, min(_FILTERS, _BUCKETS // len(columns)))
        for start in range(0, len(rows), step):
            inner = {"columns": {"filters": {"filters": list(columns)}}}
            values = {"filters": {"filters": list(rows[start : start + step])}, "aggs": inner}
            body = {"size": 0, "query": query, "aggs": {"values": values}, "track_total_hits": False}
            found = self._aggregation(body)
            rows_found = [] if found is None else _part(found, "buckets")
            counts += [[_part(cell, "doc_count") for cell in _part(row, "columns", "buckets")] for row in rows_found]
        return counts

    def hits(self, query: Json, sort: Sequence[Json], most: int | None = None, **more: Json) -> Iterator[Json]:
        """Documents that match, in an order that must be total; ``more`` goes into the search."""
        left, after = most, None
        while left is None or left > 0:
            size = _HITS if left is None else min(_HITS, left)
            body = {"size": size, "query": query, "sort": list(sort), "track_total_hits": False, **more}
            if after is not None:
                body["search_after"] = after
            found = _part(self._search(body), "hits", "hits")
            yield from found
            if len(found) < size:
                return
            after = _part(found[-1], "sort")
            left = None if left is None else left - size

    def _aggregation(self, body: Json) -> Json | None:
        """What came of the aggregation ``values``; None without any index, when there is nothing to aggregate."""
        answer = self._search(body)
        return _part(answer, "aggregations", "values") if _part(answer, "_shards").get("total") else None

    def _search(self, body: Mapping[str, Json]) -> Json:
        if self._id is None:
            return _EMPTY
        point = {"id": self._id, "keep_alive": _KEEP_ALIVE}
        try:
            answer = self._server.request("POST", "/_search", params=_ALL_SHARDS, body={**body, "pit": point})
        except ServerError as error:
            if error.problem is Problem.NOT_FOUND:
                raise ServerError(
                    Problem.FAILED, "the server gave up the search, as it does after five idle minutes; ask again"
                ) from error
            raise
        _whole(answer)
        self._id = answer.get("pit_id", self._id)
        return answer


def _whole(answer: Json) -> None:
    """Refuse an answer that leaves out what some shards hold: a number that is too small looks like any other."""
    failed = _part(answer, "_shards", "failed")
    if failed or answer.get("timed_out"):
        raise ServerError(Problem.FAILED, "the server answered for a part of its shards only; try again later")


def _part(answer: Json, *names: str) -> Json:
    try:
        for name in names:
            answer = answer[name]
    except (TypeError, KeyError) as error:
        raise ServerError(
            Problem.WRONG_SERVER, "the server's answer to a search has no such form; check the URL"
        ) from error
    return answer
