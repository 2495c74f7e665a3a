"""How far stamps of inputs are believed."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_RACY_SECONDS: Final = 5.0
"""Longer than the times of changes are coarse: FAT keeps two seconds, HTTP and SFTP one."""

_LOCAL: Final = re.compile(r"\bmtime_ns=(-?[0-9]+)", re.ASCII)
_INODE: Final = re.compile(r"\binode=[0-9]+", re.ASCII)
_WHEN: Final = re.compile(r"^size=\S+ [A-Za-z_-]+=(.+)$", re.ASCII)


def trusted(stamp: str | None, asked: float) -> str | None:
    """``stamp``, or None when the input may yet change without its stamp showing it.

    That is so when its time of change is about the moment at which it was asked for, which was before the input was
    read: it may be written to in the same tick of its clock, as git calls racily clean.

    Args:
        stamp: as ``pqaudit.capture.stamp.stamp`` gives it.
        asked: when, in seconds since the epoch.
    """
    if stamp is None:
        return None
    changed = _changed(stamp)
    return None if changed is not None and abs(changed - asked) < _RACY_SECONDS else stamp


def names_one_file(stamp: str) -> bool:
    """True when no two files have this stamp, so that a file is known by it under any name."""
    return _INODE.search(stamp) is not None


def _changed(stamp: str) -> float | None:
    """Time of change in seconds since the epoch, or None where the stamp rests on something better or unknown."""
    if match := _LOCAL.search(stamp):
        return int(match[1]) / 1e9
    if match := _WHEN.match(stamp):
        text = match[1]
        with contextlib.suppress(ValueError):
            return float(text) if re.fullmatch(r"[0-9]{9,10}(\.[0-9]*)?", text) else _date(text)
    return None


def _date(text: str) -> float:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = parsedate_to_datetime(text)
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
