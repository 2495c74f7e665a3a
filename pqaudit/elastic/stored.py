"""Findings that a server holds already: read, merged, written back only when nothing changed since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pqaudit.elastic.bulk import Action, Fate, Outcome, body_of, send_bulk
from pqaudit.elastic.indices import PATTERN, index_of
from pqaudit.elastic.server import Server
from pqaudit.finding.document import Document

Merge = Callable[[Document, Document], Document]

_MOST_ROUNDS = 8  # of read, merge and write for one finding before it waits for its next turn


@dataclass(frozen=True, slots=True)
class Copy:
    """One stored copy of a finding, and the version that a write back must name."""

    index: str
    finding: Document
    version: tuple[int, int]


@dataclass(slots=True)
class Merged:
    """What became of findings by ``event.id``.

    Attributes:
        changed: stored anew, fuller than before.
        same: the server knew all of it already.
        later: to be tried again: other writers were quicker, or the server had no room.
        refused: with the server's or the merging's reason.
    """

    changed: set[str] = field(default_factory=set)
    same: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    refused: dict[str, Outcome] = field(default_factory=dict)


def merge_into_stored(
    server: Server, findings: Mapping[str, Document], elsewhere: dict[str, set[str]], merge: Merge
) -> Merged:
    """Merge findings into what the server holds, each in one copy in the index of its month.

    A copy may lie in another month's index: an SA whose beginning another capture showed first began earlier; those
    are ``elsewhere``, as ``indices_elsewhere`` gives them, and are added to. What is stored is read by ID and not
    searched, so it is never behind.

    Raises:
        ServerError: a request failed as a whole.
    """
    merged = Merged()
    pending = dict(findings)
    scattered: set[str] = set()
    for _ in range(_MOST_ROUNDS):
        if not pending:
            return merged
        copies = _read(server, pending, elsewhere, merged)
        actions: list[Action] = []
        for id_ in list(pending):
            if id_ in merged.later:
                del pending[id_]
                continue
            try:
                wanted = _actions(id_, pending[id_], copies.get(id_, []), merge)
            except ValueError as error:
                merged.refused[id_] = Outcome(Fate.REFUSED, 0, "not-merged", str(error))
                del pending[id_]
                continue
            if not wanted:
                if id_ not in merged.changed:
                    merged.same.add(id_)
                del pending[id_]
                continue
            actions += wanted
            # Whole again after this write, unless copies elsewhere are left, which the next round reads and deletes.
            if len(copies.get(id_, [])) > 1 or any(action.index != index_of(pending[id_]) for action in wanted):
                elsewhere.setdefault(id_, set()).update(action.index for action in wanted)
                scattered.add(id_)
        if actions:
            _write(server, actions, pending, scattered, merged)
    merged.later |= set(pending)
    return merged


def indices_elsewhere(server: Server, homes: Mapping[str, str]) -> dict[str, set[str]]:
    """For each finding by ID the other months' indices that hold a copy of it too.

    Raises:
        ServerError: the request failed.
    """
    by_home: dict[str, list[str]] = {}
    for id_, home in homes.items():
        by_home.setdefault(home, []).append(id_)
    found: dict[str, set[str]] = {}
    for home, ids in by_home.items():
        where = f"/{PATTERN},-{home}"
        # Each writer stores first and looks afterwards, and a refresh shows all that was stored before it: of two
        # writers the later one sees both copies.
        refreshed = server.request("POST", f"{where}/_refresh")
        if not refreshed["_shards"]["total"]:
            continue  # there is no other month
        query = {"query": {"ids": {"values": ids}}, "_source": False, "size": 10_000, "sort": ["_doc"]}
        # A month that cannot be searched now, after a restart for one, must not pass for one without copies.
        whole = {"allow_partial_search_results": "false"}
        answer = server.request("POST", f"{where}/_search", params=whole, body=query)
        for hit in answer["hits"]["hits"]:
            found.setdefault(hit["_id"], set()).add(hit["_index"])
    return found


def _read(
    server: Server, pending: Mapping[str, Document], elsewhere: Mapping[str, set[str]], merged: Merged
) -> dict[str, list[Copy]]:
    wanted = [
        {"_index": index, "_id": id_}
        for id_, finding in pending.items()
        for index in sorted({index_of(finding)} | elsewhere.get(id_, set()))
    ]
    answer = server.request("POST", "/_mget", body={"docs": wanted})
    copies: dict[str, list[Copy]] = {}
    for document in answer["docs"]:
        if document.get("found"):
            version = (document["_seq_no"], document["_primary_term"])
            copies.setdefault(document["_id"], []).append(Copy(document["_index"], document["_source"], version))
        elif "error" in document and document["error"].get("type") != "index_not_found_exception":
            merged.later.add(document["_id"])  # a shard that is not ready; to take it for missing could double it
    return copies


def _actions(id_: str, finding: Document, copies: Sequence[Copy], merge: Merge) -> list[Action]:
    """What to write so that one copy is left that holds everything; empty when that is so already."""
    whole = finding
    for copy in copies:
        if copy.finding != whole:
            whole = merge(copy.finding, whole)
    home = index_of(whole)
    there = next((copy for copy in copies if copy.index == home), None)
    actions = []
    if there is None or there.finding != whole:
        body = body_of(whole)
        if there is None:
            actions.append(Action("create", home, id_, body))
        else:
            actions.append(Action("index", home, id_, body, there.version))
    elif len(copies) > 1:
        actions += [Action("delete", copy.index, id_, None, copy.version) for copy in copies if copy.index != home]
    return actions


def _write(
    server: Server, actions: Sequence[Action], pending: dict[str, Document], scattered: set[str], merged: Merged
) -> None:
    """Send the actions; what is finished leaves ``pending``, and what met a conflict stays for the next round."""
    for action, outcome in zip(actions, send_bulk(server, actions), strict=True):
        if outcome.fate is Fate.DONE:
            merged.changed.add(action.id)
            if action.id not in scattered:
                pending.pop(action.id, None)
        elif outcome.fate is Fate.LATER:
            merged.later.add(action.id)
            pending.pop(action.id, None)
        elif outcome.fate is Fate.REFUSED:
            merged.refused[action.id] = outcome
            pending.pop(action.id, None)
