"""Whether a document from outside is a finding: has every field, with values of the kind, that others read of it."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from pqaudit.finding.document import SCHEMA_VERSION

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?Z", re.ASCII)
_LONGEST_ID = 512
_BIGGEST = 2**63 - 1  # what a server keeps in a long


def finding_fault(document: object) -> str | None:
    """What keeps a document from being a finding of this schema version, in words, or None when it is one."""
    if not isinstance(document, dict):
        return "no JSON object"
    own = document.get("pqaudit")
    version = own.get("schema_version") if isinstance(own, dict) else None
    if type(version) is not int:
        return "no finding of pqaudit: it has no pqaudit.schema_version"
    if version != SCHEMA_VERSION:
        return f"schema version {version}, this pqaudit reads {SCHEMA_VERSION}"
    where = _fault(document, _FINDING)
    return None if where is None else f"no finding: {where.lstrip('.')} is missing or of the wrong kind"


def _fault(value: Any, shape: Any) -> str | None:
    """The path to the first value that does not fit, or None."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return ""
        for name, inner in shape.items():
            if name not in value:
                return f".{name}"
            where = _fault(value[name], inner)
            if where is not None:
                return f".{name}{where}"
        return None
    if isinstance(shape, list):
        if not isinstance(value, list):
            return ""
        for index, item in enumerate(value):
            where = _fault(item, shape[0])
            if where is not None:
                return f"[{index}]{where}"
        return None
    if isinstance(shape, _OrNull):
        return None if value is None else _fault(value, shape.shape)
    return None if shape(value) else ""


class _OrNull:
    def __init__(self, shape: Any) -> None:
        self.shape = shape


def _text(value: object) -> bool:
    return isinstance(value, str)


def _number(value: object) -> bool:
    return type(value) is int and -_BIGGEST <= value <= _BIGGEST  # not bool, which is an int to Python


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _port(value: object) -> bool:
    return type(value) is int and 0 <= value <= 0xFFFF


def _identifier(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST_ID


def _time(value: object) -> bool:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    return found is not None and _day(found[1])


@lru_cache(maxsize=1024)
def _day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _address(value: object) -> bool:
    return isinstance(value, str) and _is_address(value)


@lru_cache(maxsize=4096)
def _is_address(text: str) -> bool:
    try:
        if ":" in text:
            return IPv6Address(text).scope_id is None
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


_NAMED = {"id": _number, "name": _text}
_IN_SLOT = {"slot": _number, **_NAMED}
_SLUG = {"id": _text}
_FRAME = {"file": _text, "frame": _number}
_VENDOR = {"vendor_id": _text, "name": _OrNull(_text), "vendor": _OrNull(_text), "version": _OrNull(_text)}
_END = {"ip": _address, "port": _port}
_FINDING = {
    "@timestamp": _time,
    "event": {"id": _identifier, "start": _time, "end": _time, "severity": _number},
    "source": _END,
    "destination": _END,
    "observer": {"name": _text},
    "rule": {"id": _text, "name": _text, "version": _text},
    "pqaudit": {
        "verdict": _text,
        "protection": _text,
        "reason": _text,
        "assurance": _text,
        "ike": {"version": _text, "initiator_spi": _text, "responder_spi": _OrNull(_text)},
        "selected": {
            "key_exchange": _OrNull(_NAMED),
            "additional_key_exchanges": [_IN_SLOT],
            "encryption": _OrNull(_NAMED),
            "prf": _OrNull(_NAMED),
            "integrity": _OrNull(_NAMED),
        },
        "offered": {"key_exchanges": [_NAMED], "additional_key_exchanges": [_IN_SLOT]},
        "observed": {"exchanges": _object},
        "ppk": _text,
        "fingerprint": {"initiator": [_VENDOR], "responder": [_VENDOR]},
        "deviations": [_SLUG],
        "observations": [_SLUG],
        "weaknesses": [_SLUG],
        "responsibility": _OrNull(_text),
        "anomalies": [{"id": _text, "frames": [_FRAME]}],
        "evidence": [{**_FRAME, "what": _text}],
        "capture": {"packets": _number},
    },
}
