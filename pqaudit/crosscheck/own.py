"""What our own parser reads, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Generator

from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.crosscheck.reading import Fields, Reading, Value
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder
from pqaudit.ike.header import Header, NotIkeError
from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import Message
from pqaudit.ike.numbers import GENERIC_HEADER_OCTETS, KE_HEADER_OCTETS, Payload
from pqaudit.ike.payloads import (
    AnyPayload,
    DeletePayload,
    EncryptedPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    OtherPayload,
    SecurityAssociationPayload,
    VendorIdPayload,
)
from pqaudit.pipeline import ReadOptions, read_message

NAT_PORT = 4500  # RFC 7296 section 2.23


def own_readings(
    source: str,
    options: ReadOptions,
    note: Callable[[InputNote], None],
    marked: frozenset[int] = frozenset(),
) -> Generator[Reading, None, None]:
    """Read a capture with our own parser. Octets on an IKE port that it refuses give a reading without fields.

    Args:
        source: the capture.
        options: how it is read.
        note: takes what is wrong with the capture.
        marked: those of the extra ports on which tshark is told to expect the non-ESP marker.
    """
    decoder = Decoder(ports=options.ports, tunnels=options.tunnels)
    for frame in read_capture(source, wanted=decoder.wanted, note=note):
        for datagram in decoder.feed(frame):
            yield own_reading(datagram, options.ports, marked)
    for datagram in decoder.flush():
        yield own_reading(datagram, options.ports, marked)


def marked_ports(source: str, options: ReadOptions) -> frozenset[int]:
    """Those of the extra ports on which a message with the non-ESP marker travels."""
    decoder = Decoder(ports=options.ports, tunnels=options.tunnels)
    found: set[int] = set()
    for frame in read_capture(source, wanted=decoder.wanted, note=lambda _: None):
        for datagram in decoder.feed(frame):
            if datagram.marked:
                found.update((datagram.source_port, datagram.destination_port))
    return frozenset(found & set(options.ports))


def own_reading(datagram: Datagram, ports: tuple[int, ...] = (), marked: frozenset[int] = frozenset()) -> Reading:
    """Our reading of one datagram."""
    frame = datagram.frames[-1]
    about: dict[str, Value] = {
        "transport": datagram.transport,
        "truncated": int(datagram.truncated),
        "marker": _marker(datagram, ports, marked),
    }
    try:
        message = read_message(datagram)
    except NotIkeError as error:
        return Reading(frame, {}, about=about | {"refused": error.slug})
    fields = _header(message.header)
    about["faults"] = " ".join(message.faults)
    if isinstance(message, V1Message):
        _v1(message, fields)
        return Reading(frame, fields, about=about)
    return Reading(frame, fields, _payloads(message, fields), about)


def _marker(datagram: Datagram, ports: tuple[int, ...], marked: frozenset[int]) -> str:
    """How the message stands to what tshark expects on its port: empty where the two fit."""
    if datagram.transport != "udp":
        return ""
    own = {datagram.source_port, datagram.destination_port}
    extra = own.intersection(ports)
    if extra:
        return "" if all((port in marked) == datagram.marked for port in extra) else "mixed-port"
    return "other-port" if datagram.marked and NAT_PORT not in own else ""


def _header(header: Header) -> Fields:
    return {
        "initiator_spi": header.initiator_spi.hex(),
        "responder_spi": header.responder_spi.hex(),
        "next_payload": header.next_payload,
        "version": header.version,
        "exchange_type": header.exchange_type,
        "flags": header.flags,
        "message_id": header.message_id,
        "length": header.length,
    }


def _payloads(message: Message, fields: Fields) -> tuple[int, ...]:
    chain: list[int] = []
    for index, payload in enumerate(message.payloads):
        chain.append(_payload(payload, f"payload[{index}]", fields))
    return tuple(chain)


def _payload(payload: AnyPayload, path: str, fields: Fields) -> int:
    match payload:
        case SecurityAssociationPayload():
            _proposals(payload, path, fields)
            return Payload.SA
        case KeyExchangePayload():
            fields[f"{path}.length"] = payload.octets + KE_HEADER_OCTETS + GENERIC_HEADER_OCTETS
            fields[f"{path}.ke.method"] = payload.method
            return Payload.KE
        case NoncePayload():
            fields[f"{path}.length"] = payload.octets + GENERIC_HEADER_OCTETS
            return Payload.NONCE
        case NotifyPayload():
            fields[f"{path}.notify.type"] = payload.type
            fields[f"{path}.notify.protocol"] = payload.protocol
            fields[f"{path}.notify.spi"] = payload.spi.hex()
            fields[f"{path}.notify.data"] = payload.data.hex()
            return Payload.NOTIFY
        case VendorIdPayload():
            fields[f"{path}.vendor_id"] = payload.data.hex()
            return Payload.VENDOR_ID
        case DeletePayload():
            fields[f"{path}.delete.protocol"] = payload.protocol
            return Payload.DELETE
        case EncryptedPayload():
            fields[f"{path}.length"] = payload.octets
            fields[f"{path}.inner_type"] = payload.inner_type
            if not payload.fragments:
                return Payload.SK
            fields[f"{path}.fragment.number"] = payload.fragment
            fields[f"{path}.fragment.total"] = payload.fragments
            return Payload.SKF
        case OtherPayload():
            fields[f"{path}.length"] = payload.octets
            return payload.type


def _proposals(payload: SecurityAssociationPayload, path: str, fields: Fields) -> None:
    fields[f"{path}.proposals"] = len(payload.proposals)
    for number, proposal in enumerate(payload.proposals):
        own = f"{path}.proposal[{number}]"
        fields[f"{own}.number"] = proposal.number
        fields[f"{own}.protocol"] = proposal.protocol
        fields[f"{own}.spi"] = proposal.spi.hex()
        fields[f"{own}.transforms"] = len(proposal.transforms)
        for place, transform in enumerate(proposal.transforms):
            fields[f"{own}.transform[{place}].type"] = transform.type
            fields[f"{own}.transform[{place}].id"] = transform.id
            fields[f"{own}.transform[{place}].key_length"] = transform.key_bits


def _v1(message: V1Message, fields: Fields) -> None:
    fields["transforms"] = len(message.transforms)
    for place, transform in enumerate(message.transforms):
        for name, value in transform._asdict().items():
            fields[f"transform[{place}].{name}"] = value
    fields["vendor_ids"] = len(message.vendor_ids)
    for place, vendor_id in enumerate(message.vendor_ids):
        fields[f"vendor_id[{place}]"] = vendor_id.hex()
