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
    INTERRUPTED = 130  # Ctrl-C, as shells number it; what was found so far is printed
