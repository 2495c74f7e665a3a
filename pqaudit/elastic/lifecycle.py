"""Deletion of old findings by the server: index lifecycle management, or what OpenSearch has for it.

Written from the documentation of both: neither is part of the servers that the tests start. What those tests show is
that a server without it says so and is told apart from one that has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

from pqaudit.elastic.connection import Engine
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.indices import PATTERN
from pqaudit.elastic.server import Json, Server
from pqaudit.elastic.step import Done, Request, Step

POLICY: Final = "pqaudit-sa"
_WHAT = f"lifecycle policy {POLICY}"
_PATHS = {
    Engine.ELASTICSEARCH: f"/_ilm/policy/{POLICY}",
    Engine.OPENSEARCH: f"/_plugins/_ism/policies/{POLICY}",
}
# What servers without lifecycle management answer; 410 comes from those that manage it for their users.
_NO_SUCH_THING = frozenset({400, 405, 410})

# An index holds a month, and its age counts from its first finding.
_MONTH = 31


def requests(days: int) -> Iterator[Request]:
    """Every request that `keep_for` may make to change something."""
    for engine in Engine:
        when = f"with --retention, on {engine} with lifecycle management"
        yield Request("PUT", _PATHS[engine], _policy(engine, days), when)
        yield Request(*_attachment(engine, "{index}"), f"{when}, for each index of {PATTERN}")


def keep_for(server: Server, days: int, indices: Sequence[str]) -> Iterator[Step]:
    """Have the server delete each index ``days`` after its month at the earliest; indices that exist included.

    On Elasticsearch the index template must name the policy too; see `set_up`.

    Raises:
        ServerError: the server has it, but not for these credentials.
    """
    path = _PATHS[server.engine]
    try:
        there = server.request("GET", path)
    except ServerError as error:
        if error.status in _NO_SUCH_THING:
            detail = "this server has no lifecycle management, so nothing is deleted"
            yield Step(_WHAT, Done.LEFT_OUT, detail, error)
            return
        if error.problem is not Problem.NOT_FOUND:
            raise
        there = None
    params = None
    if there is not None and server.engine is Engine.OPENSEARCH:
        # An update names what it replaces.
        params = {"if_seq_no": str(there["_seq_no"]), "if_primary_term": str(there["_primary_term"])}
    server.request("PUT", path, params=params, body=_policy(server.engine, days))
    yield Step(
        _WHAT, Done.CREATED if there is None else Done.UPDATED, f"indices are deleted after {days + _MONTH} days"
    )
    for index in indices:
        method, target, body = _attachment(server.engine, quote(index))
        answer = server.request(method, target, body=body)
        what = f"lifecycle of index {index}"
        if answer.get("updated_indices") == 0:
            # OpenSearch keeps an index at the policy, and the form of it, that it was first given.
            detail = "it follows a policy already; change that with _plugins/_ism/change_policy"
            yield Step(what, Done.SAME, detail)
        else:
            yield Step(what, Done.UPDATED, f"to policy {POLICY}")


def _policy(engine: Engine, days: int) -> Json:
    age = f"{days + _MONTH}d"
    if engine is Engine.ELASTICSEARCH:
        delete = {"min_age": age, "actions": {"delete": {}}}
        return {"policy": {"_meta": {"managed_by": "pqaudit"}, "phases": {"hot": {"actions": {}}, "delete": delete}}}
    transition = {"state_name": "deleted", "conditions": {"min_index_age": age}}
    states = [
        {"name": "kept", "actions": [], "transitions": [transition]},
        {"name": "deleted", "actions": [{"delete": {}}], "transitions": []},
    ]
    return {
        "policy": {
            "description": "pqaudit: deletes findings of months long past",
            "default_state": "kept",
            "states": states,
            "ism_template": [{"index_patterns": [PATTERN], "priority": 100}],
        }
    }


def _attachment(engine: Engine, index: str) -> tuple[str, str, Json]:
    if engine is Engine.ELASTICSEARCH:
        return "PUT", f"/{index}/_settings", {"index": {"lifecycle": {"name": POLICY}}}
    return "POST", f"/_plugins/_ism/add/{index}", {"policy_id": POLICY}
