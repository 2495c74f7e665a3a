"""Known gaps of tshark, and which difference each of them explains (``rules/tshark_gaps.yaml``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pqaudit.crosscheck.compare import Difference
from pqaudit.crosscheck.reading import Reading, Value, kind_of
from pqaudit.rules.errors import RulesError
from pqaudit.rules.source import built_in, read_yaml

FILE = "tshark_gaps.yaml"
ABSENT, PRESENT, REFUSED = "absent", "present", "refused"

Version = tuple[int, int, int]
_Circumstances = tuple[tuple[str, frozenset[str]], ...]
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_KEYS = frozenset(("fields", "own", "tshark", "own_is", "tshark_is"))


@dataclass(frozen=True, slots=True)
class Explains:
    """A case of differences that a gap is the cause of; all that is given must hold."""

    fields: tuple[str, ...]
    own: str | None
    tshark: str | None
    own_is: _Circumstances
    tshark_is: _Circumstances

    def covers(self, difference: Difference) -> bool:
        """True when the gap is a cause of this difference."""
        kind = kind_of(difference.field)
        own, tshark = difference.readings
        return (
            any(fnmatchcase(kind, pattern) for pattern in self.fields)
            and (self.own is None or self.own == _state(difference.own, own))
            and (self.tshark is None or self.tshark == _state(difference.tshark, tshark))
            and _holds(self.own_is, own)
            and _holds(self.tshark_is, tshark)
        )


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap. ``first`` and ``last`` are the versions that have it, None where an end is not known."""

    id: str
    title: str
    first: Version | None
    last: Version | None
    source: str
    explains: tuple[Explains, ...]

    def in_version(self, version: Version) -> bool:
        """True when this version of tshark has the gap, as far as is known."""
        return (self.first is None or self.first <= version) and (self.last is None or version <= self.last)


class Gaps:
    """The gaps of one version of tshark."""

    def __init__(self, gaps: tuple[Gap, ...], version: Version) -> None:
        self.known = tuple(gap for gap in gaps if gap.in_version(version))

    def explain(self, difference: Difference) -> Gap | None:
        """The first gap that explains a difference, or None."""
        for gap in self.known:
            if any(case.covers(difference) for case in gap.explains):
                return gap
        return None


def load_gaps(folder: Path | None = None) -> tuple[Gap, ...]:
    """Read the gaps that come with pqaudit, or those of ``folder`` when it has the file.

    Raises:
        RulesError: the file cannot be read or says something that cannot be understood.
    """
    data = read_yaml(built_in(), FILE, folder)
    gaps = tuple(_gap(each) for each in _list(data.get("gaps"), "gaps"))
    if len({gap.id for gap in gaps}) < len(gaps):
        raise RulesError(f"{FILE}: two gaps have the same id")
    return gaps


def _gap(data: Any) -> Gap:
    if not isinstance(data, dict) or not all(isinstance(data.get(key), str) for key in ("id", "title", "source")):
        raise RulesError(f"{FILE}: a gap must have an id, a title and a source")
    name = data["id"]
    versions = data.get("versions") or {}
    if not isinstance(versions, dict) or set(versions) - {"from", "to", "measured"}:
        raise RulesError(f"{FILE}: {name}: versions may have from, to and measured")
    explains = data.get("explains", [])
    return Gap(
        name,
        data["title"],
        _version(versions.get("from"), name),
        _version(versions.get("to"), name),
        data["source"],
        tuple(_explains(case, name) for case in (explains if isinstance(explains, list) else [explains])),
    )


def _explains(data: Any, name: str) -> Explains:
    if not isinstance(data, dict) or set(data) - _KEYS:
        raise RulesError(f"{FILE}: {name}: explains may have {', '.join(sorted(_KEYS))}")
    for side, allowed in (("own", (ABSENT, PRESENT, REFUSED)), ("tshark", (ABSENT, PRESENT))):
        if data.get(side) not in (None, *allowed):
            raise RulesError(f"{FILE}: {name}: {side} must be one of {', '.join(allowed)}")
    fields = tuple(str(each) for each in _list(data.get("fields"), f"{name}: fields"))
    own_is, tshark_is = _circumstances(data.get("own_is"), name), _circumstances(data.get("tshark_is"), name)
    return Explains(fields, data.get("own"), data.get("tshark"), own_is, tshark_is)


def _circumstances(data: Any, name: str) -> _Circumstances:
    if data is None:
        return ()
    if not isinstance(data, dict):
        raise RulesError(f"{FILE}: {name}: circumstances must be a mapping to lists of words")
    return tuple((str(key), frozenset(map(str, _list(words, f"{name}: {key}")))) for key, words in data.items())


def _version(text: Any, name: str) -> Version | None:
    if text is None:
        return None
    match = _VERSION.fullmatch(str(text))
    if match is None:
        raise RulesError(f"{FILE}: {name}: {text} is no version; write three numbers with dots")
    return int(match[1]), int(match[2]), int(match[3])


def _list(data: Any, what: str) -> list[Any]:
    if not isinstance(data, list) or not data:
        raise RulesError(f"{FILE}: {what} must be a list")
    return data


def _state(value: Value, reading: Reading | None) -> str:
    if reading is not None and not reading.fields:
        return REFUSED
    return ABSENT if value is None else PRESENT


def _holds(circumstances: _Circumstances, reading: Reading | None) -> bool:
    if not circumstances:
        return True
    about: Mapping[str, Value] = {} if reading is None else reading.about
    return all(words & set(str(about.get(key, "")).split()) for key, words in circumstances)
