"""Whether encrypted messages are long enough for what they should carry.

SK and SKF hide their content but not its length (RFC 7296 section 3.14, RFC 7383 section 2.5). Padding can only make a
message longer, so too short a message proves that a key or ciphertext was not in it; a long one proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from pqaudit.ike.numbers import Exchange
from pqaudit.rules.registry import Registry
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.bounds import MOST_PROTECTED_MESSAGES
from pqaudit.sa.messages import ProtectedKey, ProtectedMessage
from pqaudit.verdict.selection import Selection

_GENERIC_HEADER = 4
_FRAGMENT_HEADER = 8
_KE_HEADER = 8  # generic header, method and reserved field of the KE payload inside
_PAD_LENGTH = 1


@dataclass(frozen=True, slots=True)
class Overhead:
    """Octets that a cipher suite adds to each encrypted payload."""

    iv: int
    icv: int


def suite_overhead(selection: Selection, registry: Registry) -> Overhead | None:
    """Overhead of the selected encryption and integrity, or None where it is not known."""
    if selection.encryption is None:
        return None
    cipher = registry.encryption(selection.encryption.id)
    icv = cipher.icv_octets
    if icv is None and selection.integrity is not None:
        icv = registry.integrity(selection.integrity.id).icv_octets
    if cipher.iv_octets is None or icv is None:
        return None
    return Overhead(cipher.iv_octets, icv)


def most_plaintext(message: ProtectedMessage, overhead: Overhead) -> int | None:
    """The most octets that can be inside, or None while fragments are missing."""
    if not message.whole:
        return None
    fixed = overhead.iv + overhead.icv + _PAD_LENGTH
    if message.fragments:
        return sum(max(0, octets - _FRAGMENT_HEADER - fixed) for octets in message.fragment_octets.values())
    return max(0, message.octets - _GENERIC_HEADER - fixed)


def too_short(sa: SecurityAssociation, selection: Selection, registry: Registry, ran: int) -> bool | None:
    """Whether the IKE_INTERMEDIATE exchanges cannot have carried the selected key exchanges.

    Args:
        ran: how many IKE_INTERMEDIATE exchanges ran at most, by the message ID of the first IKE_AUTH.

    Returns:
        None when it cannot be said: sizes or overhead unknown. True when no assignment of the selected exchanges, in
        slot order, to those that ran has room for all keys and ciphertexts. Exchanges for other purposes may stand
        between them (RFC 9242), and messages that were not seen whole may have held anything.
    """
    overhead = suite_overhead(selection, registry)
    if overhead is None or not selection.additional or ran > MOST_PROTECTED_MESSAGES:
        return None
    table = sa.protected.get(Exchange.IKE_INTERMEDIATE, {})

    def room(number: int, is_response: bool) -> float:
        message = table.get(ProtectedKey(number, Exchange.IKE_INTERMEDIATE, not is_response, is_response))
        inside = None if message is None else most_plaintext(message, overhead)
        return inf if inside is None else inside

    position = 1
    for _, method_number in selection.additional:
        method = registry.method(method_number)
        # Unknown sizes fit anywhere: only what is known to be too short counts.
        key, ciphertext = _need(method.public_octets), _need(method.ciphertext_octets)
        while position <= ran and not (room(position, False) >= key and room(position, True) >= ciphertext):
            position += 1
        if position > ran:
            return True
        position += 1
    return False


def _need(octets: int | None) -> int:
    return 0 if octets is None else octets + _KE_HEADER
