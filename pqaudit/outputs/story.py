"""One SA told as a story: who offered what, what was selected, what was seen to run, and the rule that decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from pqaudit.decode.datagram import Datagram
from pqaudit.finding.address import address_text
from pqaudit.finding.clock import rfc3339
from pqaudit.finding.document import Document
from pqaudit.ike.ikev1 import V1Message
from pqaudit.ike.message import Message
from pqaudit.ike.numbers import TransformType
from pqaudit.ike.payloads import (
    EncryptedPayload,
    KeyExchangePayload,
    NotifyPayload,
    Proposal,
    SecurityAssociationPayload,
    VendorIdPayload,
)
from pqaudit.outputs.escape import printable
from pqaudit.outputs.wording import endpoint_text, exchanges_text
from pqaudit.rules.registry import Registry
from pqaudit.rules.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class Sighting:
    """One message of the SA as it passed."""

    datagram: Datagram
    message: Message | V1Message


def write_story(finding: Document, sightings: Sequence[Sighting], rulebook: Rulebook, console: Console) -> None:
    """Print the story of one SA."""
    registry = rulebook.registry
    own = finding["pqaudit"]
    ike = own["ike"]
    title = f"IKE SA {ike['initiator_spi']} / {ike['responder_spi'] or 'responder SPI unknown'}"
    console.print(Text(title, style="bold"))
    console.print(
        Text(f"IKEv{ike['version']}, {endpoint_text(finding['source'])} to {endpoint_text(finding['destination'])}")
    )
    console.print(Text(f"{finding['event']['start']} to {finding['event']['end']}"))
    verdict = next(v for v in rulebook.verdicts if v.id == own["verdict"])
    rule = next(r for r in rulebook.rules if r.id == finding["rule"]["id"])
    _heading(console, "Verdict")
    console.print(Text(f"  {verdict.id} ({own['reason']}): {verdict.meaning}", style="bold"))
    console.print(Text(f"  Selected: {exchanges_text(own['selected'], registry)}"))
    console.print(Text(f"  Protection: {own['protection']}. {rulebook.protections[own['protection']]}"))
    console.print(Text(f"  How far it was seen to run: {own['assurance']}"))
    console.print(Text(f"  Decided by {rule.id}, {rule.name} ({rule.source})"))
    if own["ppk"] != "not-offered":
        console.print(Text(f"  Post-quantum preshared key: {own['ppk']}"))
    origin = own["related"]["probably_rekeyed_from"]
    if origin is not None:
        console.print(
            Text(
                f"  Probably rekeyed (inferred) from {origin['initiator_spi']} / {origin['responder_spi']}, by the"
                f" CREATE_CHILD_SA in {printable(origin['file'])} #{origin['frame']}; what it selected is encrypted"
            )
        )
    if own["responsibility"]:
        console.print(Text(f"  Whose change is needed first: {own['responsibility']}"))
    for entry in own["observations"]:
        console.print(Text(f"  Seen: {entry['id']}. {entry['meaning']} ({entry['source']})"))
    for entry in own["advice"] if own["verdict"] != "hybrid-ml-kem" else ():
        console.print(
            Text(f"  {entry['side'].capitalize()} may be {entry['product']} ({entry['certainty']}): {entry['what']}")
        )
    for entry in own["weaknesses"]:
        console.print(Text(f"  Weak: {entry['what']}, {entry['level']} ({entry['source']})"))
    for deviation in own["deviations"]:
        console.print(
            Text(f"  Departs from {deviation['source']}: {deviation['id']}. Required: {deviation['requirement']}")
        )
    if "opened" in own:
        _write_opened(own["opened"], console)
    _heading(console, "Evidence")
    for entry in own["evidence"]:
        console.print(Text(f"  {printable(entry['file'])} #{entry['frame']}: {printable(entry['what'])}"))
    for anomaly in own["anomalies"]:
        where = ", ".join(f"{printable(f['file'])} #{f['frame']}" for f in anomaly["frames"])
        console.print(Text(f"  anomaly {anomaly['id']}" + (f": {where}" if where else "")))
    _heading(console, "Frame by frame")
    for sighting in sightings:
        _write_sighting(sighting, registry, console)


def _write_opened(opened: Document, console: Console) -> None:
    _heading(console, "Opened with your keys")
    confirmed = {True: "as selected", False: "not as selected", None: "not enough opened to compare"}
    console.print(Text(f"  {opened['messages']} messages opened, {opened['messages_not_opened']} not"))
    for exchange in opened["intermediate_key_exchanges"]:
        console.print(Text(f"  IKE_INTERMEDIATE {exchange['message_id']}: {_inside(exchange)}"))
    console.print(Text(f"  Additional key exchanges: {confirmed[opened['confirms_selection']]}"))
    for negotiation in opened["negotiations"]:
        line = f"  {negotiation['purpose']}, message ID {negotiation['message_id']}: KE {_inside(negotiation)}"
        selected = negotiation["selected"]
        if selected is not None:
            names = [e["name"] for e in selected["additional_key_exchanges"]]
            line += f", selected {' + '.join([*selected['encryption'], *names])}"
        line += "".join(f", then {_inside(followup)}" for followup in negotiation["followup_key_exchanges"])
        if negotiation["successor"] is not None:
            line += f", made IKE SA {negotiation['successor']['initiator_spi']}"
        console.print(Text(line))


def _inside(exchange: Document) -> str:
    method = exchange["key_exchange"]
    return "none" if method is None else f"{method['name']}{'' if exchange['done'] else ' (one side seen)'}"


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _write_sighting(sighting: Sighting, registry: Registry, console: Console) -> None:
    datagram, message = sighting.datagram, sighting.message
    header = message.header
    frames = ", ".join(f"#{number}" for number in datagram.frames)
    ends = (
        endpoint_text({"ip": address_text(datagram.source), "port": datagram.source_port}),
        endpoint_text({"ip": address_text(datagram.destination), "port": datagram.destination_port}),
    )
    name = registry.exchange(header.exchange_type, header.major)
    if isinstance(message, V1Message):
        side = "encrypted" if message.encrypted else "in the clear"
    else:
        side = "response" if header.is_response else "request"
    console.print(Text(f"  {frames} {rfc3339(datagram.time, datagram.digits)} {ends[0]} > {ends[1]}", style="dim"))
    console.print(Text(f"    {name} {side}, message ID {header.message_id}, {header.length} octets"))
    lines: list[str] = []
    if isinstance(message, V1Message):
        for transform in message.transforms:
            group = "-" if transform.group is None else registry.method(transform.group).name
            cipher = "-" if transform.encryption is None else registry.v1_encryption(transform.encryption)
            lines.append(f"offers {cipher} {transform.key_bits or ''} group {group}".replace("  ", " "))
    else:
        for payload in message.payloads:
            if isinstance(payload, SecurityAssociationPayload):
                verb = "selects" if header.is_response else "offers"
                lines += [f"{verb} proposal {p.number}: {proposal_text(p, registry)}" for p in payload.proposals]
            elif isinstance(payload, KeyExchangePayload):
                lines.append(f"KE {registry.method(payload.method).name}, {payload.octets} octets")
            elif isinstance(payload, NotifyPayload):
                lines.append(f"notify {registry.notify(payload.type)} ({payload.type})")
            elif isinstance(payload, VendorIdPayload):
                known = registry.vendor_id(payload.data)
                lines.append(f"vendor ID {known.name if known else payload.data.hex()}")
            elif isinstance(payload, EncryptedPayload):
                lines.append(_encrypted_text(payload, registry))
    for fault in message.faults:
        lines.append(f"fault: {fault}")
    if datagram.truncated:
        lines.append("cut off by the capture's snapshot length")
    for line in lines:
        console.print(Text(f"      {printable(line)}"))


def _encrypted_text(payload: EncryptedPayload, registry: Registry) -> str:
    if payload.fragments:
        text = f"encrypted fragment {payload.fragment} of {payload.fragments}, {payload.octets} octets"
        return text if payload.fragment > 1 else f"{text}, first inside: {registry.payload(payload.inner_type)}"
    return f"encrypted, {payload.octets} octets, first inside: {registry.payload(payload.inner_type)}"


def proposal_text(proposal: Proposal, registry: Registry) -> str:
    """A proposal on one line: transform types with their choices in order."""
    choices: dict[int, list[str]] = {}
    for transform in proposal.transforms:
        if transform.type == TransformType.ENCR:
            name = registry.encryption(transform.id).name
        elif transform.type == TransformType.PRF:
            name = registry.prf(transform.id)
        elif transform.type == TransformType.INTEG:
            name = registry.integrity(transform.id).name
        elif transform.type == TransformType.SN:
            name = str(transform.id)
        else:
            name = registry.method(transform.id).name
        if transform.key_bits is not None:
            name += f"-{transform.key_bits}"
        choices.setdefault(transform.type, []).append(name)
    return ", ".join(
        f"{registry.transform_types.get(kind, f'type-{kind}')} {'/'.join(names)}" for kind, names in choices.items()
    )
