"""What a reader has to say about its input besides frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputNote:
    """One remark about an input, kept beside the findings.

    Attributes:
        source: the ``shown_name`` of the file as the user named it, or ``-``.
        frame: number of the last frame read before the remark, or None where no frame is concerned.
        kind: a stable slug, for example ``cut-off-record`` or ``not-a-capture``.
        message: one sentence for a person; what to do, when there is something to do.
        fatal: True when some of this input could not be read (exit code 3); False for a remark such as a file that is
            still being written.
    """

    source: str
    frame: int | None
    kind: str
    message: str
    fatal: bool
