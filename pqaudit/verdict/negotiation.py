"""Which request and which response of an SA decide, and what came of the negotiation (RFC 7296 sections 1.2, 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

from pqaudit.ike.numbers import FIRST_STATUS_NOTIFY, ZERO_SPI, Exchange, Notify
from pqaudit.sa.association import InitMessage, SecurityAssociation
from pqaudit.sa.messages import KeptNotify


@dataclass(frozen=True, slots=True)
class Negotiation:
    """The deciding messages of one SA.

    Attributes:
        request: the last request before the deciding response, or the last of all; None when none was captured.
        response: the first response that selects, or the last answer of another kind; None when there is none.
        outcome: slug, see ``rules/verdicts.yaml``.
        refusal: the notify with which the responder refused or challenged, when it did.
        retries: requests beyond the first: cookie and INVALID_KE_PAYLOAD retries.
    """

    request: InitMessage | None
    response: InitMessage | None
    outcome: str
    refusal: KeptNotify | None
    retries: int


def find_negotiation(sa: SecurityAssociation) -> Negotiation:
    """Find the deciding messages; independent of the order in which evidence came."""
    requests = sorted(sa.requests.values(), key=_order)
    responses = sorted(sa.responses.values(), key=_order)
    # A request that one capture cut off may be one that another holds whole.
    retries = max(0, len([r for r in requests if not r.content.truncated]) - 1)
    response = next((r for r in responses if r.content.selects), None)
    if response is not None:
        return Negotiation(_request_for(response, requests), response, "selected", None, retries)
    request = requests[-1] if requests else None
    response = next((r for r in responses if r.content.selects_unreadably), None)
    if response is not None:
        cut = response.content.truncated
        outcome = "response-truncated" if cut else "response-damaged"
        return Negotiation(_request_for(response, requests), response, outcome, None, retries)
    if any(m.content.exchange_type == Exchange.IKE_SESSION_RESUME for m in (*requests, *responses)):
        return Negotiation(request, responses[-1] if responses else None, "resumed", None, retries)
    if sa.has_traffic and sa.responder_spi != ZERO_SPI:
        # Traffic proves that a response selected, whatever refusals came before: it was not captured.
        return Negotiation(request, None, "unanswered" if request is not None else "not-captured", None, retries)
    if responses:
        last = responses[-1]
        outcome, refusal = _refusal(last, request is not None)
        return Negotiation(request, last, outcome, refusal, retries)
    return Negotiation(request, None, "unanswered" if request is not None else "not-captured", None, retries)


def _order(message: InitMessage) -> tuple[object, bytes]:
    return (message.seen.first, message.content.digest)


def _request_for(response: InitMessage, requests: list[InitMessage]) -> InitMessage | None:
    """The last request before the response, one between the same two ends if there is any.

    Where clocks of two capture points put every request behind the response, the last one with its KE method.
    """
    candidates = [r for r in requests if r.seen.first <= response.seen.first]
    if not candidates:
        method = response.content.ke_method
        candidates = [r for r in requests if r.content.ke_method == method] or requests
    way = response.seen.path
    same = [r for r in candidates if (r.seen.path.source, r.seen.path.destination) == (way.destination, way.source)]
    chosen = same or candidates
    return chosen[-1] if chosen else None


def _refusal(response: InitMessage, request_seen: bool) -> tuple[str, KeptNotify | None]:
    content = response.content
    if content.truncated and content.proposals is None and not content.notifies:
        return "response-truncated", None
    for kind, outcome in (
        (Notify.NO_PROPOSAL_CHOSEN, "refused"),
        (Notify.INVALID_KE_PAYLOAD, "invalid-ke"),
        (Notify.REDIRECT, "redirected"),
        (Notify.COOKIE, "challenged" if request_seen else "request-not-seen"),
    ):
        notify = content.notify(kind)
        if notify is not None:
            return outcome, notify
    for notify in content.notifies:
        if notify.type < FIRST_STATUS_NOTIFY:
            return "refused-with-error", notify
    return ("response-truncated" if content.truncated else "response-damaged"), None
