"""How far a negotiated exchange was seen to run."""

from __future__ import annotations

from dataclasses import dataclass

from pqaudit.ike.numbers import Exchange, Payload
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.messages import ProtectedKey, ProtectedMessage
from pqaudit.sa.reference import Reference


@dataclass(frozen=True, slots=True)
class Execution:
    """What ran after IKE_SA_INIT, from what is in the clear.

    Attributes:
        pairs: message IDs of IKE_INTERMEDIATE exchanges of which request and response were seen whole.
        first_auth: lowest message ID of an IKE_AUTH message, or None. IKE_INTERMEDIATE exchanges count before it
            (RFC 9242 section 3.3.1), so it bounds their number from above even where packets were lost.
        first_auth_proven: that IKE_AUTH begins with an identity, so that it is the first one and not a later round of
            an EAP conversation.
        auth_message: the IKE_AUTH message with that ID.
        answered: an IKE_AUTH response was seen: the responder had derived the keys.
        out_of_place: IKE_AUTH messages that cannot belong to the exchange and are not counted.
    """

    pairs: tuple[int, ...]
    first_auth: int | None
    first_auth_proven: bool
    auth_message: ProtectedMessage | None
    answered: bool
    out_of_place: tuple[Reference, ...]

    @property
    def proven_intermediate(self) -> int | None:
        """Number of IKE_INTERMEDIATE exchanges that the first IKE_AUTH proves, or None."""
        if self.first_auth is None or not self.first_auth_proven:
            return None
        return self.first_auth - 1

    def contradicts(self, expected: int) -> bool:
        """True when IKE_AUTH came too early for ``expected`` IKE_INTERMEDIATE exchanges to have run before it."""
        return self.first_auth is not None and self.first_auth - 1 < expected

    def executed(self, expected: int) -> bool:
        """True when ``expected`` IKE_INTERMEDIATE exchanges ran and IKE_AUTH was answered after them."""
        if not self.answered or self.first_auth is None or self.contradicts(expected):
            return False
        if expected == 0:
            return True
        ran = self.proven_intermediate
        return (ran is not None and ran >= expected) or len(self.pairs) >= expected


def read_execution(sa: SecurityAssociation) -> Execution:
    """Read what ran."""
    halves: dict[int, set[bool]] = {}
    for key, message in sa.protected.get(Exchange.IKE_INTERMEDIATE, {}).items():
        if message.whole:
            halves.setdefault(key.message_id, set()).add(key.is_response)
    # The IKE_AUTH exchange is started by the original initiator (RFC 7296 section 1.2): anything else is forged.
    # So is one whose message ID is 0, or was used by a whole IKE_INTERMEDIATE exchange (RFC 7296 section 2.2).
    taken = {0, *(number for number, sides in halves.items() if len(sides) == 2)}
    every = sa.protected.get(Exchange.IKE_AUTH, {})
    auth = {k: m for k, m in every.items() if k.from_initiator != k.is_response and k.message_id not in taken}
    first = min((key.message_id for key in auth), default=None)
    request: ProtectedMessage | None = None
    response: ProtectedMessage | None = None
    if first is not None:
        request = auth.get(ProtectedKey(first, Exchange.IKE_AUTH, True, False))
        response = auth.get(ProtectedKey(first, Exchange.IKE_AUTH, False, True))
    return Execution(
        tuple(sorted(number for number, sides in halves.items() if len(sides) == 2)),
        first,
        request is not None and request.inner_type == Payload.IDI,
        request or response,
        any(key.is_response for key in auth),
        tuple(sorted(every[key].first for key in every.keys() - auth.keys())),
    )
