"""What the two sides announced; never proof of use."""

from __future__ import annotations

from pqaudit.rules.capability import Capability
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.messages import InitContent


def announced(request: InitContent | None, response: InitContent | None, rulebook: Rulebook) -> dict[str, str]:
    """Capability to ``both``, ``initiator``, ``responder``, ``none``, or ``unknown`` where a message is missing."""
    return {c.id: _state(c, request, response) for c in rulebook.capabilities}


def _state(capability: Capability, request: InitContent | None, response: InitContent | None) -> str:
    first, second = _announces(capability, request), _announces(capability, response)
    if first and second:
        return "both"
    if first is None and second is None:
        return "unknown"
    if first:
        return "initiator"
    if second:
        return "responder"
    return "none" if first is False and second is False else "unknown"


def _announces(capability: Capability, content: InitContent | None) -> bool | None:
    if content is None:
        return None
    for notify in content.notifies:
        if notify.type in capability.notifies and (not capability.values or _lists(notify.data, capability.values)):
            return True
    return False if content.complete else None


def _lists(data: bytes, values: frozenset[int]) -> bool:
    return any(int.from_bytes(data[at : at + 2], "big") in values for at in range(0, len(data) - 1, 2))
