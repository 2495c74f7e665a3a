"""What tells, without reading an input, that it is still the same; and how large it is."""

from __future__ import annotations

import os
import stat as stat_modes
from datetime import datetime
from typing import NamedTuple

from pqaudit.capture.faults import InputFault
from pqaudit.capture.remote import Info, asked
from pqaudit.capture.shown import scheme_of

# The first that is there is used, as a listing and a question for one file give different ones of the later fields.
_MARKS = ("ETag", "etag", "generation", "md5Hash", "Content-MD5", "Digest", "content_md5", "checksum")
_TIMES = ("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "modified", "created")


class _Known(NamedTuple):
    size: int | None
    stamp: str | None


# From listings that were made, so that thousands of files need no request each; one entry for each input found.
_known: dict[str, _Known] = {}


def stamp(source: str) -> str | None:
    """A text that changes when ``source`` changes; None where nothing reliable is known, and for what cannot be asked.

    Of a local file it is size, time of change in nanoseconds and inode; of a remote one its size with the ETag,
    checksum or time of change that the server gives. An input that ``find_captures`` found in a listing needs no
    request. Raises nothing.
    """
    return _facts(source).stamp


def size(source: str) -> int | None:
    """The octets of ``source`` as stored; None where that is not known. Raises nothing."""
    return _facts(source).size


def remember(source: str, info: Info) -> None:
    """Keep what a listing said about a remote input, for ``stamp`` and ``size``."""
    _known[source] = _from_info(info)


def _facts(source: str) -> _Known:
    if scheme_of(source) is None:
        return _local(source)
    known = _known.get(source)
    if known is None:
        try:
            known = _known[source] = _from_info(asked(source))
        except InputFault:
            return _Known(None, None)
    return known


def _local(source: str) -> _Known:
    try:
        found = os.stat(source)
    except (OSError, ValueError):
        return _Known(None, None)
    if not stat_modes.S_ISREG(found.st_mode):
        return _Known(None, None)
    return _Known(found.st_size, f"size={found.st_size} mtime_ns={found.st_mtime_ns} inode={found.st_ino}")


def _from_info(info: Info) -> _Known:
    octets = info.get("size")
    octets = octets if isinstance(octets, int) else None
    for field in (*_MARKS, *_TIMES):
        if value := info.get(field):
            text = value.isoformat() if isinstance(value, datetime) else str(value)
            return _Known(octets, f"size={octets} {field}={text}")
    return _Known(octets, None)
