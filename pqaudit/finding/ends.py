"""Who initiated an SA."""

from __future__ import annotations

from pqaudit.ike.numbers import MAJOR_IKEV1, ZERO_SPI
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.reference import Path
from pqaudit.verdict.negotiation import Negotiation


def initiator_path(sa: SecurityAssociation, negotiation: Negotiation) -> Path:
    """A path from the initiator to the responder.

    Taken from the deciding request, else from the response turned round, else from the initiator flag of later
    messages; for IKEv1, which has no such flag, from the first message without a responder cookie, else the first seen.
    """
    if negotiation.request is not None:
        return negotiation.request.seen.path
    if negotiation.response is not None:
        return negotiation.response.seen.path.turned()
    if sa.version == MAJOR_IKEV1:
        for message in sa.phase1_messages:
            path = message.seen.path
            return path if message.content.responder_spi == ZERO_SPI else path.turned()
    if sa.initiator is not None:
        return sa.initiator[1]
    return min(sa.paths, key=lambda path: (sa.paths[path], path))
