"""Exit codes; documented in docs/usage.md and in ``--help``."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script can rely on."""

    DONE = 0
    FINDINGS = 1  # findings at or above --fail-on
    USAGE = 2
    UNREADABLE = 3  # some input could not be read; the rest was
    OUTPUT_FAILED = 4  # the output could not be written to the end
    NOT_DELIVERED = 5  # the search server could not be reached, or was overloaded to the end; later may do
    SERVER_REFUSED = 6  # the search server's URL, TLS, credentials, privileges or version: something must be changed
    REJECTED = 7  # the search server took the rest but refused some findings; they are in the dead-letter file
    INTERRUPTED = 130  # Ctrl-C, as shells number it; what was found so far is printed
