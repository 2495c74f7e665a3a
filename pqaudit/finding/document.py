"""The finding: one document for each SA, as docs/finding.md promises it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pqaudit import __version__
from pqaudit.finding.address import address_text
from pqaudit.finding.carried import Carried, carried_record
from pqaudit.finding.clock import rfc3339
from pqaudit.finding.ends import initiator_path
from pqaudit.finding.identity import finding_id
from pqaudit.ike.ikev1 import Phase1Transform
from pqaudit.ike.numbers import MAJOR_IKEV1, ZERO_SPI, Exchange
from pqaudit.ike.payloads import Transform
from pqaudit.rules.registry import Registry
from pqaudit.rules.rulebook import Rulebook
from pqaudit.sa.association import InitMessage, SecurityAssociation
from pqaudit.sa.lineage import Origin, likely_origin
from pqaudit.sa.reference import NO_VLAN, Reference
from pqaudit.verdict.judge import Verdict, judge

SCHEMA_VERSION = 1
Document = dict[str, Any]

_EXCHANGES = (
    Exchange.IKE_SA_INIT,
    Exchange.IKE_INTERMEDIATE,
    Exchange.IKE_AUTH,
    Exchange.CREATE_CHILD_SA,
    Exchange.INFORMATIONAL,
    Exchange.IKE_FOLLOWUP_KE,
)


@dataclass(frozen=True, slots=True)
class Observer:
    """Who looked: name of the sensor or machine."""

    name: str


def build_finding(
    sa: SecurityAssociation, rulebook: Rulebook, observer: Observer, origin: Origin | None = None
) -> Document:
    """The finding of one SA; ``origin`` is the SA that it was probably rekeyed from."""
    return finding_of(Carried(sa, (observer.name,), () if origin is None else (origin,)), rulebook)


def finding_of(carried: Carried, rulebook: Rulebook) -> Document:
    """The finding of the evidence that one observer or several saw."""
    sa = carried.sa
    origin = likely_origin(sa, carried.origins, rulebook.rekey_within)
    verdict = judge(sa, rulebook)
    registry = rulebook.registry
    path = initiator_path(sa, verdict.negotiation)
    assert sa.first is not None  # an SA is made for a packet
    assert sa.last is not None
    start = rfc3339(sa.first.time, sa.first.digits)
    network: Document = {"transport": path.transport, "protocol": "ike"}
    if path.vlan != NO_VLAN:
        network["vlan"] = {"id": str(path.vlan)}
    counts = sa.file_counts
    fingerprint = _fingerprint(sa, verdict, registry)
    return {
        "@timestamp": start,
        "event": {
            "id": finding_id(sa, path),
            "start": start,
            "end": rfc3339(sa.last.time, sa.last.digits),
            "kind": "state",
            "category": ["network"],
            "type": ["info"],
            "module": "pqaudit",
            "dataset": "pqaudit.sa",
            "severity": verdict.rule.severity,
        },
        "source": {"ip": address_text(path.source.address), "port": path.source.port},
        "destination": {"ip": address_text(path.destination.address), "port": path.destination.port},
        "network": network,
        "observer": {"name": carried.observers[0], "type": "pqaudit", "version": __version__},
        "rule": {"id": verdict.rule.id, "name": verdict.rule.name, "version": rulebook.version},
        "pqaudit": {
            "schema_version": SCHEMA_VERSION,
            "verdict": verdict.rule.verdict,
            "protection": verdict.protection,
            "reason": verdict.reason,
            "assurance": verdict.assurance,
            "ike": {
                "version": f"{sa.version}.0",
                "initiator_spi": sa.initiator_spi.hex(),
                "responder_spi": sa.responder_spi.hex() if sa.responder_spi != ZERO_SPI else None,
            },
            "selected": _selected(verdict, registry, _vendors(fingerprint)),
            "offered": _offered(sa, verdict, registry),
            "observed": _observed(sa, verdict, registry),
            "ppk": verdict.ppk,
            "fingerprint": fingerprint,
            "advice": _advice(fingerprint, registry),
            "deviations": [
                {"id": d.id, "requirement": d.requirement, "source": d.source}
                for d in (rulebook.deviations[slug] for slug in verdict.deviations)
            ],
            "observations": [
                {"id": o.id, "meaning": o.meaning, "source": o.source}
                for o in (rulebook.observations[slug] for slug in verdict.observations)
            ],
            "weaknesses": [
                {"id": w.id, "what": w.what, "level": w.level, "source": w.source} for w in verdict.weaknesses
            ],
            "capabilities": verdict.capabilities,
            "responsibility": verdict.rule.acts,
            "related": {"probably_rekeyed_from": None if origin is None else _origin(origin)},
            "anomalies": [
                {"id": slug, "frames": [_frame(r) for r in references]}
                for slug, references in verdict.anomalies.items()
            ],
            "evidence": [
                {**_frame(e.reference), "time": rfc3339(e.reference.time, e.reference.digits), "what": e.what}
                for e in verdict.evidence
            ],
            "capture": {
                "packets": sum(count.packets for count in counts.values()),
                "files": [
                    {"name": name, "packets": c.packets, "first_frame": c.first, "last_frame": c.last}
                    for name, c in sorted(counts.items())
                ],
                "observers": list(carried.observers),
            },
            "record": carried_record(carried),
        },
    }


def _frame(reference: Reference) -> Document:
    return {"file": reference.file, "frame": reference.frame}


def _origin(origin: Origin) -> Document:
    return {
        "initiator_spi": origin.initiator_spi.hex(),
        "responder_spi": origin.responder_spi.hex(),
        "inferred": True,
        **_frame(origin.exchange),
    }


def _vendors(fingerprint: Document) -> frozenset[str]:
    return frozenset(v["vendor"] for side in fingerprint.values() for v in side if v["vendor"])


def _advice(fingerprint: Document, registry: Registry) -> list[Document]:
    """What is known of the products that the vendor IDs hint at; a vendor ID is a hint and seldom tells the version."""
    return [
        {
            "side": side,
            "product": product.name,
            "what": product.post_quantum,
            "source": product.source,
            "certainty": product.certainty,
        }
        for side, vendor_ids in fingerprint.items()
        for vendor in dict.fromkeys(v["vendor"] for v in vendor_ids if v["vendor"])
        for product in registry.products(vendor)
    ]


def _selected(verdict: Verdict, registry: Registry, vendors: frozenset[str]) -> Document:
    selection = verdict.selection
    if selection is None:
        return _selected_phase1(verdict.phase1, registry)

    def named(number: int) -> Document:
        method: Document = {"id": number, "name": registry.method(number).name}
        probable = registry.probable_names(number, vendors) if vendors else ()
        if probable:
            method["probable_name"] = " or ".join(probable)
        return method

    return {
        "key_exchange": None if selection.key_exchange is None else named(selection.key_exchange),
        "additional_key_exchanges": [{"slot": slot, **named(number)} for slot, number in selection.additional],
        "encryption": _encryption(selection.encryption, registry),
        "prf": None if selection.prf is None else {"id": selection.prf.id, "name": registry.prf(selection.prf.id)},
        "integrity": None
        if selection.integrity is None
        else {"id": selection.integrity.id, "name": registry.integrity(selection.integrity.id).name},
    }


def _selected_phase1(phase1: Phase1Transform | None, registry: Registry) -> Document:
    """IKEv1 numbers its ciphers and hashes on its own; groups share the numbers of the key exchange methods."""
    encryption = prf = None
    if phase1 is not None and phase1.encryption is not None:
        name = registry.v1_encryption(phase1.encryption)
        encryption = {"id": phase1.encryption, "name": name, "key_bits": phase1.key_bits}
    if phase1 is not None and phase1.hash is not None:
        prf = {"id": phase1.hash, "name": registry.v1_hash(phase1.hash)}
    return {
        "key_exchange": None if phase1 is None else _method(phase1.group, registry),
        "additional_key_exchanges": [],
        "encryption": encryption,
        "prf": prf,
        "integrity": None,
    }


def _method(number: int | None, registry: Registry) -> Document | None:
    return None if number is None else {"id": number, "name": registry.method(number).name}


def _encryption(transform: Transform | None, registry: Registry) -> Document | None:
    if transform is None:
        return None
    cipher = registry.encryption(transform.id)
    bits = transform.key_bits if transform.key_bits is not None else cipher.key_bits
    return {"id": cipher.id, "name": cipher.name, "key_bits": bits}


def _offered(sa: SecurityAssociation, verdict: Verdict, registry: Registry) -> Document:
    main = list(verdict.offer.key_exchanges)
    if sa.version == MAJOR_IKEV1:
        requests = [m for m in sa.phase1_messages if m.content.responder_spi == ZERO_SPI]
        main = list(dict.fromkeys(t.group for m in requests for t in m.content.transforms if t.group is not None))
    return {
        "key_exchanges": [_method(number, registry) for number in main],
        "additional_key_exchanges": [
            {"slot": slot, "id": number, "name": registry.method(number).name}
            for slot, number in verdict.offer.additional
        ],
    }


def _observed(sa: SecurityAssociation, verdict: Verdict, registry: Registry) -> Document:
    counts: dict[str, int] = {}
    if sa.version != MAJOR_IKEV1:
        counts = {registry.exchange(kind): 0 for kind in _EXCHANGES}
    for (kind, _), ids in sorted(sa.exchanges.items()):
        name = registry.exchange(kind, sa.version)
        counts[name] = counts.get(name, 0) + len(ids)
    return {
        "exchanges": counts,
        "ike_sa_init_retries": verdict.negotiation.retries,
        "ike_intermediate_by_message_id": verdict.execution.proven_intermediate,
    }


def _fingerprint(sa: SecurityAssociation, verdict: Verdict, registry: Registry) -> Document:
    if sa.version == MAJOR_IKEV1:
        phase1 = sa.phase1_messages
        initiator = [v for m in phase1 if m.content.responder_spi == ZERO_SPI for v in m.content.vendor_ids]
        responder = [v for m in phase1 if m.content.responder_spi != ZERO_SPI for v in m.content.vendor_ids]
    else:
        initiator = _vendor_ids(verdict.negotiation.request)
        responder = _vendor_ids(verdict.negotiation.response)
    return {
        "initiator": [_vendor(octets, registry) for octets in dict.fromkeys(initiator)],
        "responder": [_vendor(octets, registry) for octets in dict.fromkeys(responder)],
    }


def _vendor_ids(message: InitMessage | None) -> list[bytes]:
    return [] if message is None else list(message.content.vendor_ids)


def _vendor(octets: bytes, registry: Registry) -> Document:
    known = registry.vendor_id(octets)
    return {
        "vendor_id": octets.hex(),
        "name": known.name if known else None,
        "vendor": known.vendor if known else None,
        "version": known.version(octets) if known else None,
    }
