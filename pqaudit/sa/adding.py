"""What one message adds to the evidence under its initiator SPI."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from pqaudit.decode.datagram import Datagram
from pqaudit.ike.header import Header
from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import Message
from pqaudit.ike.numbers import (
    NOTIFIES_WITH_DATA,
    PROTOCOL_IKE,
    Exchange,
)
from pqaudit.ike.payloads import (
    EncryptedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    Proposal,
    SecurityAssociationPayload,
    VendorIdPayload,
)
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.bounds import (
    DIGEST_OCTETS,
    MOST_NOTIFIES,
    MOST_VENDOR_IDS,
    NOTIFY_DATA_OCTETS,
    VENDOR_ID_OCTETS,
)
from pqaudit.sa.group import Group
from pqaudit.sa.messages import InitContent, KeptNotify, ProtectedKey, ProtectedMessage, V1Content
from pqaudit.sa.reference import NO_VLAN, Endpoint, Path, Reference

_INIT = frozenset((Exchange.IKE_SA_INIT, Exchange.IKE_SESSION_RESUME))
# Exchanges whose messages are looked at one by one; of all others only the message IDs are kept.
_LOOKED_AT = frozenset(
    (Exchange.IKE_INTERMEDIATE, Exchange.IKE_AUTH, Exchange.CREATE_CHILD_SA, Exchange.IKE_FOLLOWUP_KE)
)
_FEW_PAYLOADS = min(MOST_NOTIFIES, MOST_VENDOR_IDS)  # with no more than these no bound is reached


def add_message(group: Group, datagram: Datagram, message: Message | V1Message) -> None:
    """Add a message to the group of its version and initiator SPI."""
    reference = Reference(datagram.time, datagram.file, datagram.frames[-1], datagram.digits)
    path = _path(
        datagram.source,
        datagram.source_port,
        datagram.destination,
        datagram.destination_port,
        datagram.transport,
        datagram.vlan,
    )
    if isinstance(message, V1Message):
        part = _add_v1(group, message, datagram.payload, reference, path)
    else:
        part = _add_v2(group, message, datagram, reference, path)
    for fault in message.faults:
        part.add_anomaly(fault, reference)
    if datagram.truncated:
        part.add_anomaly("packet-truncated", reference)


def _add_v2(
    group: Group, message: Message, datagram: Datagram, reference: Reference, path: Path
) -> SecurityAssociation:
    header = message.header
    exchange_type = header.exchange_type
    part = group.part(header.responder_spi)
    is_response = header.is_response
    by_initiator = header.from_initiator != is_response
    if exchange_type in _INIT:
        part.add_exchange(exchange_type, True, header.message_id)
        content = _init_content(message, datagram)
        part.add_init(content, is_response, reference, path)
        for fault in content.faults:
            part.add_anomaly(fault, reference)
        if len(message.payloads) > _FEW_PAYLOADS:
            part.overflow |= _left_out(message)
        return part
    part.see(reference, path)
    if header.from_initiator:
        part.see_initiator(reference, path)
    else:
        part.see_initiator(reference, path.turned())
    part.add_exchange(exchange_type, by_initiator, header.message_id)
    last = message.payloads[-1] if message.payloads else None
    if not isinstance(last, EncryptedPayload):
        if not datagram.truncated:
            part.add_anomaly("unprotected-message", reference)
    elif exchange_type in _LOOKED_AT:
        key = ProtectedKey(header.message_id, exchange_type, header.from_initiator, is_response)
        part.add_protected(key, _protected(last, reference, path, datagram.truncated))
    return part


def _add_v1(group: Group, message: V1Message, payload: bytes, reference: Reference, path: Path) -> SecurityAssociation:
    header = message.header
    part = group.part(header.responder_spi)
    part.add_exchange(header.exchange_type, True, header.message_id)
    if message.transforms:
        content = V1Content(
            blake2b(payload, digest_size=DIGEST_OCTETS).digest(),
            header.responder_spi,
            message.transforms,
            _bounded_vendor_ids(message.vendor_ids),
        )
        part.add_phase1(content, reference, path)
        if len(message.vendor_ids) > MOST_VENDOR_IDS:
            part.overflow |= {"vendor-ids"}
    else:
        part.see(reference, path)
    return part


def _protected(payload: EncryptedPayload, reference: Reference, path: Path, truncated: bool) -> ProtectedMessage:
    if payload.fragments:
        inner_type = payload.inner_type if payload.fragment == 1 else None
        octets = {payload.fragment: payload.octets}
        return ProtectedMessage(reference, path, inner_type, 0, payload.fragments, octets, truncated)
    return ProtectedMessage(reference, path, payload.inner_type, payload.octets, 0, {}, truncated)


def _init_content(message: Message, datagram: Datagram) -> InitContent:
    proposals = None
    proposals_complete = True
    ke_method = ke_octets = None
    nonce = False
    notifies: list[KeptNotify] = []
    vendor_ids: list[bytes] = []
    faults: list[str] = []
    for payload in message.payloads:
        if isinstance(payload, NotifyPayload):
            if len(notifies) < MOST_NOTIFIES:
                data = payload.data[:NOTIFY_DATA_OCTETS] if payload.type in NOTIFIES_WITH_DATA else b""
                notifies.append(KeptNotify(payload.type, data))
        elif isinstance(payload, SecurityAssociationPayload):
            if proposals is None:
                proposals, proposals_complete = payload.proposals, payload.complete
            else:
                # Which of two SA payloads counts cannot be told (RFC 7296 section 1.2 has one).
                faults.append("second-sa-payload")
                proposals_complete = False
        elif isinstance(payload, KeyExchangePayload):
            if ke_method is None:
                ke_method, ke_octets = payload.method, payload.octets
            else:
                faults.append("second-ke-payload")
        elif isinstance(payload, NoncePayload):
            nonce = True
        elif isinstance(payload, VendorIdPayload):
            vendor_ids.append(payload.data)
        elif isinstance(payload, EncryptedPayload):
            faults.append("encrypted-payload-in-ike-sa-init")
    unfit = _header_faults(message.header, proposals)
    if unfit and message.header.is_response:
        # An initiator would drop it, so it selects nothing.
        proposals_complete = False
    faults += unfit
    return InitContent(
        blake2b(datagram.payload, digest_size=DIGEST_OCTETS).digest(),
        message.header.responder_spi,
        message.header.exchange_type,
        proposals,
        proposals_complete,
        ke_method,
        ke_octets,
        nonce,
        _shared(tuple(notifies)),
        _bounded_vendor_ids(tuple(vendor_ids)),
        message.complete,
        datagram.truncated,
        tuple(dict.fromkeys(faults)),
    )


@lru_cache(maxsize=1024)
def _shared(notifies: tuple[KeptNotify, ...]) -> tuple[KeptNotify, ...]:
    """One tuple for all equal ones: peers announce the same in every negotiation, and there may be a million SAs."""
    return notifies


@lru_cache(maxsize=65_536)
def _path(
    source: bytes, source_port: int, destination: bytes, destination_port: int, transport: str, vlan: int | None
) -> Path:
    """The path; one object for all packets that took it."""
    return Path(
        Endpoint(source, source_port),
        Endpoint(destination, destination_port),
        transport,
        NO_VLAN if vlan is None else vlan,
    )


def _header_faults(header: Header, proposals: tuple[Proposal, ...] | None) -> list[str]:
    """What is wrong between the header of an IKE_SA_INIT message and what RFC 7296 prescribes for it."""
    faults = []
    if header.message_id:
        faults.append("ike-sa-init-message-id")  # section 2.2: it is 0
    if header.is_response == header.from_initiator:
        faults.append("ike-sa-init-initiator-flag")  # section 3.1: set by the initiator, cleared by the responder
    if header.exchange_type != Exchange.IKE_SA_INIT and proposals is not None:
        faults.append("sa-payload-in-session-resume")  # RFC 5723 section 4.3.2
    if proposals is not None and any(proposal.protocol != PROTOCOL_IKE for proposal in proposals):
        faults.append("proposal-protocol")  # section 3.3.1: IKE is 1
    return faults


def _left_out(message: Message) -> set[str]:
    """Names of the bounds that kept something of an IKE_SA_INIT message out."""
    left_out = set()
    if sum(isinstance(payload, VendorIdPayload) for payload in message.payloads) > MOST_VENDOR_IDS:
        left_out.add("vendor-ids")
    if sum(isinstance(payload, NotifyPayload) for payload in message.payloads) > MOST_NOTIFIES:
        left_out.add("notifies")
    return left_out


@lru_cache(maxsize=1024)
def _bounded_vendor_ids(vendor_ids: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(vendor_id[:VENDOR_ID_OCTETS] for vendor_id in vendor_ids[:MOST_VENDOR_IDS])
