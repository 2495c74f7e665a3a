"""The one exception that readers use among themselves: this input ends here, and why."""

from __future__ import annotations

PLACE_FAULTS = ("missing", "unreadable", "read-error")
"""Kinds of faults of the place where an input lies, a network or a disk; another time it may be read."""
PERHAPS_CAPTURES = ("missing-library", "nested-compression")
"""Kinds of faults of what may be a capture, met at its first octets."""


class InputFault(Exception):  # noqa: N818 - a fault of the input, not an error of the program
    """Reading of one input stops; ``read_capture`` turns it into an ``InputNote`` and never lets it out.

    Attributes:
        kind: the slug of the note.
        message: one sentence for a person.
        fatal: as in ``InputNote.fatal``.
    """

    def __init__(self, kind: str, message: str, *, fatal: bool = True) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.fatal = fatal


def cut_off(what: str) -> InputFault:
    """The fault of an input that ends inside ``what``, as a file does that is still being written."""
    return InputFault(
        "cut-off-record",
        f"The input ends inside {what}; it may still be being written, and everything before was read.",
        fatal=False,
    )
