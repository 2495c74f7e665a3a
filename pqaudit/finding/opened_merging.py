"""What keys opened of one SA in several runs, as one. Only documents are at hand, so entries are taken as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeGuard

Document = dict[str, Any]
_Key = tuple[Any, ...]

_COUNTS = ("messages", "messages_not_opened")
_LISTS = ("intermediate_key_exchanges", "negotiations")


def confirms_selection(inside: Sequence[int | None], selected: Document) -> bool | None:
    """Whether the key exchange methods found inside are those of ``pqaudit.selected``.

    Only what was seen counts: an exchange that could not be opened leaves it open.
    """
    if not inside or None in inside:
        return None
    return list(inside) == [entry["id"] for entry in selected["additional_key_exchanges"]]


def merge_opened(parts: Iterable[object], selected: Document) -> Document | None:
    """One ``pqaudit.opened`` for those of several findings of an SA; parts that are none are passed over.

    Args:
        parts: each a ``pqaudit.opened``, or None where a finding has none.
        selected: ``pqaudit.selected`` of the merged finding.
    """
    usable = [part for part in parts if _is_opened(part)]
    if not usable:
        return None
    exchanges = _union([e for part in usable for e in part["intermediate_key_exchanges"]], _exchange_key)
    inside = [None if e["key_exchange"] is None else e["key_exchange"]["id"] for e in exchanges]
    return {
        **{name: max(part[name] for part in usable) for name in _COUNTS},
        "intermediate_key_exchanges": exchanges,
        "confirms_selection": confirms_selection(inside, selected),
        "negotiations": _union([n for part in usable for n in part["negotiations"]], _negotiation_key),
    }


def canonical(value: object) -> str:
    """The one JSON text of a value: decides where nothing else does.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    except RecursionError:
        raise ValueError("A finding is nested too deeply.") from None


def _union(entries: Iterable[Document], key: Callable[[Document], _Key]) -> list[Document]:
    best: dict[_Key, tuple[int, str, Document]] = {}
    for entry in entries:
        candidate = (_says(entry), canonical(entry), entry)
        known = best.get(key(entry))
        if known is None or candidate[:2] > known[:2]:
            best[key(entry)] = candidate
    return [best[each][2] for each in sorted(best)]


def _exchange_key(entry: Document) -> _Key:
    return (entry["message_id"],)


def _negotiation_key(entry: Document) -> _Key:
    # The purpose is no part of it: a run that opened the request alone may not know it.
    return (entry["message_id"], entry["by"] != "initiator")


def _says(value: object) -> int:
    """How many values an entry states."""
    count, waiting = 0, [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each
        elif each is not None and each is not False and each != "other":
            count += 1
    return count


def _is_opened(part: object) -> TypeGuard[Document]:
    """Whether it has what is read here; it may come from a server."""
    if not isinstance(part, dict):
        return False
    if not all(type(part.get(name)) is int for name in _COUNTS):
        return False
    if not all(isinstance(part.get(name), list) for name in _LISTS):
        return False
    return all(map(_is_exchange, part["intermediate_key_exchanges"])) and all(
        _is_exchange(entry) and isinstance(entry.get("by"), str) for entry in part["negotiations"]
    )


def _is_exchange(entry: object) -> bool:
    if not isinstance(entry, dict) or type(entry.get("message_id")) is not int or "key_exchange" not in entry:
        return False
    method = entry["key_exchange"]
    return method is None or (isinstance(method, dict) and type(method.get("id")) is int)
