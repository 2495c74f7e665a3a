"""What setting up a server did, or would do, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pqaudit.elastic.errors import ServerError
from pqaudit.elastic.server import Json


class Done(StrEnum):
    """What became of one thing on the server."""

    CREATED = "created"
    SAME = "already there"
    UPDATED = "updated"
    LATER = "left alone"  # a later version of pqaudit brought it
    LEFT_OUT = "left out"  # this server does not have that
    FAILED = "not updated"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing on the server and what became of it.

    Attributes:
        detail: says more, for people.
        error: what the server said where it was not done.
    """

    what: str
    done: Done
    detail: str = ""
    error: ServerError | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that setting up may make, and when; for reading before it is made."""

    method: str
    path: str
    body: Json
    when: str
