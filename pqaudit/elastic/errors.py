"""What goes wrong with a server, each as one sentence that says what to do."""

from __future__ import annotations

from enum import StrEnum


class Problem(StrEnum):
    """Kinds of failure of a whole request."""

    UNREACHABLE = "unreachable"  # refused, reset, no such host
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"  # 429, 502, 503, 504
    TOO_LARGE = "too-large"  # 413
    TLS = "tls"
    CREDENTIALS = "credentials"  # 401
    PRIVILEGES = "privileges"  # 403
    NOT_FOUND = "not-found"  # 404
    CONFLICT = "conflict"  # 409
    WRONG_SERVER = "wrong-server"
    WRONG_CLIENT = "wrong-client"
    REFUSED = "refused"  # any other 4xx: a fault of the request
    FAILED = "failed"  # any other 5xx


_PASSING = frozenset({Problem.UNREACHABLE, Problem.TIMEOUT, Problem.OVERLOADED, Problem.FAILED})


class ServerError(Exception):
    """A request that failed as a whole.

    Attributes:
        problem: what kind of failure.
        status: the HTTP status, or None without an answer.
        reason: the server's own error type, ``security_exception`` for one, or empty.
    """

    def __init__(self, problem: Problem, sentence: str, status: int | None = None, reason: str = "") -> None:
        super().__init__(sentence)
        self.problem = problem
        self.status = status
        self.reason = reason

    @property
    def passing(self) -> bool:
        """True when the same request may succeed later."""
        return self.problem in _PASSING
