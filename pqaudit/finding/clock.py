"""Times as findings carry them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOSECONDS = 1_000_000_000


def rfc3339(time: int, digits: int) -> str:
    """RFC 3339 in UTC from nanoseconds since the epoch, with ``digits`` decimal digits, as the capture resolves.

    A time beyond the year 9999, which only a damaged capture holds, is given as the last second of that year.
    """
    seconds, fraction = divmod(time, _NANOSECONDS)
    text = _second(seconds)
    if digits:
        text += f".{fraction:09d}"[: digits + 1]
    return text + "Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return "9999-12-31T23:59:59"
    return text.rjust(19, "0")  # strftime leaves out leading zeros of the year on some platforms
