"""Brings the layout of indices to a server: as often as one likes, and never back to an older one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from pqaudit.elastic import lifecycle
from pqaudit.elastic.connection import Engine
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.indices import PATTERN
from pqaudit.elastic.server import Json, Server
from pqaudit.elastic.step import Done, Request, Step
from pqaudit.elastic.templates import TEMPLATE, Layout, load_layout


def requests(layout: Layout, retention: int | None = None) -> Iterator[Request]:
    """Every request that `set_up` may make to change something, in its order."""
    unless = "unless this revision or a later one is there"
    for name, body in layout.components.items():
        yield Request("PUT", f"/_component_template/{name}", body, unless)
    if retention is not None:
        yield from lifecycle.requests(retention)
    yield Request("PUT", f"/_index_template/{TEMPLATE}", layout.index_template, unless)
    if retention is not None:
        body = with_lifecycle(layout.index_template, lifecycle.POLICY)
        when = f"in place of the one before, with --retention, on {Engine.ELASTICSEARCH} with lifecycle management"
        yield Request("PUT", f"/_index_template/{TEMPLATE}", body, when)
    when = f"for each index of {PATTERN} whose mapping is of an older revision"
    yield Request("PUT", "/{index}/_mapping", layout.mapping, when)


def set_up(server: Server, layout: Layout | None = None, retention: int | None = None) -> Iterator[Step]:
    """Create or update the templates, then the mappings of indices that exist; yields each step once it is done.

    Args:
        server: where.
        layout: what is brought there; that of this version of pqaudit without it.
        retention: days after which the server is to delete findings. Without it nothing about that is changed.

    Raises:
        ServerError: the server cannot be used for that.
    """
    layout = layout or load_layout()
    policy: str | None = None
    for name, body in layout.components.items():
        yield _put_template(server, "component template", f"/_component_template/{name}", body)
    if retention is not None:
        # Before the index template names the policy, and after the server has said that there are such.
        for step in lifecycle.keep_for(server, retention, sorted(_mappings(server))):
            yield step
            if step.error is None and server.engine is Engine.ELASTICSEARCH:
                policy = lifecycle.POLICY
    path = f"/_index_template/{TEMPLATE}"
    yield _put_template(server, "index template", path, layout.index_template, policy)
    yield from _update_indices(server, layout)


def with_lifecycle(body: Json, policy: str) -> Json:
    """An index template with the policy that its indices follow."""
    template = body["template"]
    index = {"index": {"lifecycle": {"name": policy}}}
    return {**body, "template": {**template, "settings": index}}


def ensure_templates(server: Server) -> None:
    """See to it that what is sent now meets the layout; for senders, who may lack the privilege for templates.

    Without it they go on when the indices that exist show that somebody else has set the server up, and also when there
    is none yet.

    Raises:
        ServerError: the server cannot be used, or there are indices that were made without the templates.
    """
    try:
        for step in set_up(server):
            if step.error is not None:
                raise step.error
    except ServerError as error:
        if error.problem is not Problem.PRIVILEGES:
            raise
        if any(_revision(mapping) is None for mapping in _mappings(server).values()):
            raise ServerError(
                Problem.PRIVILEGES,
                f"indices {PATTERN} were made without the templates of pqaudit, and the credentials do not allow to "
                "put them there; run `pqaudit elasticsearch setup` with others",
                error.status,
                error.reason,
            ) from error


def _put_template(server: Server, kind: str, path: str, body: Json, policy: str | None = None) -> Step:
    what = f"{kind} {path.rpartition('/')[2]}"
    there = _template(server, path)
    if there is None:
        server.request("PUT", path, body=body if policy is None else with_lifecycle(body, policy))
        return Step(what, Done.CREATED)
    ours: int = body["version"]
    theirs = there.get("version")
    followed = _policy(there)
    if theirs == ours and policy in (None, followed):
        return Step(what, Done.SAME, f"revision {ours}")
    if isinstance(theirs, int) and theirs > ours:
        return Step(what, Done.LATER, f"revision {theirs} is there, later than {ours}; use a later pqaudit")
    if (policy := policy or followed) is not None:
        body = with_lifecycle(body, policy)
    server.request("PUT", path, body=body)
    if theirs == ours:
        return Step(what, Done.UPDATED, f"its indices follow policy {policy}")
    before = "one without revision" if theirs is None else f"revision {theirs}"
    return Step(what, Done.UPDATED, f"from {before} to {ours}")


def _policy(template: Json) -> str | None:
    """The policy of an index template that is there: somebody's choice, which an update keeps."""
    settings = template.get("template", {}).get("settings", {})
    name = settings.get("index", {}).get("lifecycle", {}).get("name")
    return name if isinstance(name, str) else None


def _template(server: Server, path: str) -> Json | None:
    try:
        answer = server.request("GET", path)
    except ServerError as error:
        if error.problem is Problem.NOT_FOUND:
            return None
        raise
    return next(
        entry["component_template" if "component_template" in entry else "index_template"]
        for listed in answer.values()
        for entry in listed
    )


def _update_indices(server: Server, layout: Layout) -> Iterator[Step]:
    """Give indices that exist the fields that were added since; nothing that is there is changed."""
    for index, mapping in sorted(_mappings(server).items()):
        theirs = _revision(mapping)
        what = f"mapping of index {index}"
        if theirs == layout.revision:
            yield Step(what, Done.SAME, f"revision {theirs}")
        elif theirs is not None and theirs > layout.revision:
            yield Step(what, Done.LATER, f"revision {theirs} is there, later than {layout.revision}")
        else:
            yield _update_index(server, what, index, theirs, layout)


def _update_index(server: Server, what: str, index: str, theirs: int | None, layout: Layout) -> Step:
    try:
        server.request("PUT", f"/{quote(index)}/_mapping", body=layout.mapping)
    except ServerError as error:
        if error.problem is not Problem.REFUSED:
            raise
        # Made without the templates, so fields have other types, which cannot be changed.
        return Step(what, Done.FAILED, str(error), error)
    before = "one without revision" if theirs is None else f"revision {theirs}"
    return Step(what, Done.UPDATED, f"from {before} to {layout.revision}")


def _mappings(server: Server) -> dict[str, Json]:
    answer = server.request("GET", f"/{PATTERN}/_mapping")
    return {index: entry["mappings"] for index, entry in answer.items()}


def _revision(mapping: Json) -> int | None:
    meta = mapping.get("_meta")
    revision = meta.get("revision") if isinstance(meta, dict) else None
    return revision if isinstance(revision, int) else None
