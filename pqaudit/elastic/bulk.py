"""One bulk request, its answer read item by item."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.server import Json, Server
from pqaudit.finding.document import Document

_CREATED = (200, 201)
_CONFLICT = 409
_MISSING = 404
_TOO_MANY = 429
_PRIVILEGES = (401, 403)
_BLOCKED = "cluster_block_exception"
_ANSWER = "took,errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
# How long the server waits for a shard that is not ready; ours is the back-off behind it.
_PARAMETERS = {"filter_path": _ANSWER, "timeout": "10s"}


# One encoder for all: json.dumps makes a new one for each call with separators.
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def body_of(finding: Document) -> bytes:
    """A finding as a server gets it, without a line end."""
    return _dump(finding).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Action:
    """One line pair of a bulk request; ``body`` is None for a delete."""

    operation: str
    index: str
    id: str
    body: bytes | None
    version: tuple[int, int] | None = None  # sequence number and primary term that must still hold

    def lines(self) -> list[bytes]:
        """The action as newline-delimited JSON."""
        about: dict[str, str | int] = {"_index": self.index, "_id": self.id}
        if self.version is not None:
            about["if_seq_no"], about["if_primary_term"] = self.version
        head = json.dumps({self.operation: about}).encode() + b"\n"
        return [head] if self.body is None else [head, self.body + b"\n"]


class Fate(Enum):
    """What became of one action."""

    DONE = auto()
    CONFLICT = auto()  # it was there already, or has changed since it was read
    LATER = auto()  # the server has no room for it now
    REFUSED = auto()  # it will never be taken


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the server said of one action."""

    fate: Fate
    status: int = 200
    type: str = ""
    reason: str = ""


def send_bulk(server: Server, actions: Sequence[Action]) -> list[Outcome]:
    """Send actions in one request; one outcome for each, in order.

    Raises:
        ServerError: the request failed as a whole, or an item shows that nothing can be written with these
            privileges or without the index.
    """
    lines = [line for action in actions for line in action.lines()]
    answer = server.request("POST", "/_bulk", params=_PARAMETERS, body=lines)
    items = answer.get("items") if isinstance(answer, Mapping) else None
    if not isinstance(items, list) or len(items) != len(actions):
        # Whatever this was, a proxy's page for one, it does not say that anything was stored.
        raise ServerError(Problem.FAILED, "the server's answer to a bulk request does not cover what was sent")
    return [_outcome(action, item) for action, item in zip(actions, items, strict=True)]


def _outcome(action: Action, item: Json) -> Outcome:
    said = item.get(action.operation) if isinstance(item, dict) else None
    status = said.get("status") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(status, int):
        raise ServerError(Problem.FAILED, "the server's answer to a bulk request holds an item that says nothing")
    if status in _CREATED:
        return Outcome(Fate.DONE)
    error = said.get("error")
    kind, reason = "", ""
    if isinstance(error, dict):
        kind, reason = str(error.get("type", "")), str(error.get("reason", ""))
        cause = error.get("caused_by")
        if isinstance(cause, dict) and cause.get("reason"):
            reason += f": {cause['reason']}"
    if status == _CONFLICT:
        return Outcome(Fate.CONFLICT, status, kind, reason)
    if status == _TOO_MANY or status >= 500 or kind == _BLOCKED:
        return Outcome(Fate.LATER, status, kind, reason)
    if status == _MISSING:
        if action.operation == "delete":
            return Outcome(Fate.DONE)
        if kind != "index_not_found_exception":
            return Outcome(Fate.CONFLICT, status, kind, reason)  # deleted since it was read
        raise ServerError(
            Problem.REFUSED,
            f"the index {action.index} is missing and may not be made by itself; allow it (action.auto_create_index)",
            status,
            kind,
        )
    if status in _PRIVILEGES:
        raise ServerError(
            Problem.PRIVILEGES,
            f"the user or API key may not write to {action.index}; docs/elasticsearch.md lists the privileges needed",
            status,
            kind,
        )
    return Outcome(Fate.REFUSED, status, kind, reason)
