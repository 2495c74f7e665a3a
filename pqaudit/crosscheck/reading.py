"""What a dissector says of one IKE message, in a form that two of them can be compared in.

A field is named by the path to it, with indices: ``payload[0].proposal[1].transform[2].id``. Without the indices the
name is its kind, which is what known gaps are described by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Value = int | str | None
Fields = dict[str, Value]

_INDEX = re.compile(r"\[\d+\]")
_PAYLOAD = re.compile(r"payload\[(\d+)\]\.")


@dataclass(slots=True)
class Reading:
    """One IKE message as one dissector reads it.

    Attributes:
        frame: number of the frame that completed the message.
        fields: header and what the payloads say, by path.
        payloads: types of the payloads in the clear, in order. None when the reader does not give the chain.
        about: circumstances that gaps may depend on, such as ``transport``; several words are set apart by spaces.
    """

    frame: int
    fields: Fields
    payloads: tuple[int, ...] | None = None
    about: dict[str, Value] = field(default_factory=dict)


def kind_of(path: str) -> str:
    """The path of a field without indices."""
    return _INDEX.sub("", path)


def payload_index(path: str) -> int | None:
    """The number of the payload that a field belongs to, or None for a field of the header."""
    match = _PAYLOAD.match(path)
    return int(match[1]) if match else None
