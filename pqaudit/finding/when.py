"""Times as people give them: RFC 3339, a date, or so long ago."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

_AGO = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
_FIRST = datetime.min.replace(tzinfo=UTC)


def when(text: str, now: datetime) -> str:
    """A time in UTC in milliseconds, as ``pqaudit.finding.facets.moment`` gives them.

    A date is its beginning in UTC; ``7d`` is seven days before ``now``, and s, m, h and w are seconds to weeks. Digits
    beyond the third are cut off.

    Raises:
        ValueError: it is none of these, in one sentence.
    """
    text = text.strip()
    try:
        found = _AGO.fullmatch(text)
        if found:
            return _text(_ago(now, int(found[1]), _UNITS[found[2]]))
        if _DATE.fullmatch(text):
            return _text(datetime.combine(date.fromisoformat(text), time(), UTC))
        found = _TIME.fullmatch(text)
        if found:
            digits = f"{found[3] or '':0<3}"[:3]
            zone = "+00:00" if found[4] in "Zz" else found[4]
            return _text(datetime.fromisoformat(f"{found[1]}T{found[2]}.{digits}{zone}").astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{text!r} is no time; write 2026-11-25T10:00:00Z, 2026-11-25, or 7d for seven days ago")


def _ago(now: datetime, count: int, unit: str) -> datetime:
    try:
        return now - timedelta(**{unit: count})
    except OverflowError:
        return _FIRST


def _text(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
