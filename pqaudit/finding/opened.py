"""What keys of the user opened of an SA, as part of its finding. It changes no verdict."""

from __future__ import annotations

from pqaudit.finding.document import Document
from pqaudit.finding.opened_merging import confirms_selection
from pqaudit.ike.numbers import ADDITIONAL_KEY_EXCHANGES, TransformType
from pqaudit.ike.payloads import Proposal
from pqaudit.keys.facts import OPENED, OpenedExchange, OpenedFacts, OpenedNegotiation
from pqaudit.rules.registry import Registry
from pqaudit.verdict.selection import slot_of


def opened_document(facts: OpenedFacts, selected: Document, registry: Registry) -> Document:
    """The ``pqaudit.opened`` of a finding.

    Args:
        facts: what was opened.
        selected: ``pqaudit.selected`` of the finding, which the methods found inside are compared with.
        registry: gives names.
    """
    inside = [exchange.ke_method for exchange in facts.intermediates()]
    return {
        "messages": facts.count(OPENED),
        "messages_not_opened": facts.count() - facts.count(OPENED),
        "intermediate_key_exchanges": [_exchange(exchange, registry) for exchange in facts.intermediates()],
        "confirms_selection": confirms_selection(inside, selected),
        "negotiations": [_negotiation(negotiation, registry) for negotiation in facts.negotiations()],
    }


def _exchange(exchange: OpenedExchange, registry: Registry) -> Document:
    message = exchange.request or exchange.response
    assert message is not None  # an exchange is made for a message
    method = exchange.ke_method
    return {
        "message_id": exchange.message_id,
        "key_exchange": None if method is None else {"id": method, "name": registry.method(method).name},
        "done": exchange.done,
        "file": message.first.file,
        "frame": message.first.frame,
    }


def _negotiation(negotiation: OpenedNegotiation, registry: Registry) -> Document:
    exchange = negotiation.exchange
    selected = exchange.selected
    successor = exchange.successor
    return {
        "purpose": str(exchange.purpose),
        **_exchange(exchange, registry),
        "by": "initiator" if exchange.by_initiator else "responder",
        "selected": None if selected is None else _proposal(selected, registry),
        "followup_key_exchanges": [_exchange(followup, registry) for followup in negotiation.followups],
        "finished": negotiation.finished,
        "successor": None
        if successor is None
        else {"initiator_spi": successor[0].hex(), "responder_spi": successor[1].hex()},
    }


def _proposal(proposal: Proposal, registry: Registry) -> Document:
    main = [t.id for t in proposal.transforms if t.type == TransformType.KE and t.id]
    return {
        "protocol": proposal.protocol,
        "key_exchange": {"id": main[0], "name": registry.method(main[0]).name} if main else None,
        "additional_key_exchanges": [
            {"slot": slot_of(t.type), "id": t.id, "name": registry.method(t.id).name}
            for t in proposal.transforms
            if t.type in ADDITIONAL_KEY_EXCHANGES and t.id
        ],
        "encryption": [registry.encryption(t.id).name for t in proposal.transforms if t.type == TransformType.ENCR],
    }
