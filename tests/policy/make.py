"""Findings for policies, made from few words, and their assessment."""

from __future__ import annotations

import functools
from datetime import date
from typing import Any

from pqaudit.finding.document import Document
from pqaudit.policy.assess import Assessment, assess
from pqaudit.policy.load import load_policies
from pqaudit.policy.model import Policy
from pqaudit.rules.registry import Registry
from tests.conftest import rulebook_cached

TODAY = date(2026, 11, 25)
GROUPS = {
    "x25519": 31,
    "p256": 19,
    "p384": 20,
    "modp1024": 2,
    "modp2048": 14,
    "modp3072": 15,
    "ecp192": 25,
    "bp256": 28,
}
ADDITIONAL = {"512": 35, "768": 36, "1024": 37}
AES_GCM, AES_CBC, TRIPLE_DES, DES, CHACHA = 20, 12, 3, 2, 28
SHA1, SHA256, SHA384 = 2, 5, 6
NONE = 0


@functools.cache
def policies() -> dict[str, Policy]:
    return load_policies()


def registry() -> Registry:
    return rulebook_cached().registry


def finding(
    exchange: str = "x25519+768",
    *,
    cipher: tuple[int, int | None] = (AES_GCM, 256),
    prf: int = SHA384,
    integrity: int | None = None,
    **own: Any,
) -> Document:
    """A finding; ``exchange`` such as ``p384+1024``, ``1024`` alone, or ``p256+1081`` for a private-use number.

    ``own`` replaces fields below ``pqaudit``; ``start``, ``end``, ``id`` and ``peers`` those beside it.
    """
    names = registry()
    numbers = [GROUPS.get(part) or ADDITIONAL.get(part) or int(part) for part in exchange.split("+")]
    kinds = {names.method(number).kind for number in numbers}
    verdict = "hybrid-ml-kem" if kinds >= {"ml-kem", "classical"} else "classical-only"
    start, identifier = own.pop("start", "2026-11-20T10:00:00Z"), own.pop("id", "a")
    end = own.pop("end", start)
    peers = own.pop("peers", ("192.0.2.1", "192.0.2.2"))
    selected = {
        "key_exchange": {"id": numbers[0], "name": names.method(numbers[0]).name},
        "additional_key_exchanges": [
            {"slot": slot, "id": number, "name": names.method(number).name}
            for slot, number in enumerate(numbers[1:], 1)
        ],
        "encryption": {"id": cipher[0], "name": names.encryption(cipher[0]).name, "key_bits": cipher[1]},
        "prf": {"id": prf, "name": names.prf(prf)},
        "integrity": None if integrity is None else {"id": integrity, "name": names.integrity(integrity).name},
    }
    return {
        "@timestamp": start,
        "event": {"id": identifier, "start": start, "end": end},
        "source": {"ip": peers[0], "port": 500},
        "destination": {"ip": peers[1], "port": 500},
        "pqaudit": {
            "schema_version": 1,
            "verdict": verdict,
            "reason": "draft-compliant",
            "assurance": "executed",
            "ike": {"version": "2.0", "initiator_spi": "1" * 16, "responder_spi": "2" * 16},
            "selected": selected,
            "observed": {"exchanges": {"IKE_SA_INIT": 1, "IKE_AUTH": 1}},
            "ppk": "not-offered",
            "deviations": [],
            "weaknesses": [],
            "responsibility": "initiator" if verdict == "classical-only" else None,
            "related": {"probably_rekeyed_from": None},
            **own,
        },
    }


def unseen(**own: Any) -> Document:
    """A finding of an SA that does not show what was negotiated."""
    nothing = {"key_exchange": None, "additional_key_exchanges": [], "encryption": None, "prf": None, "integrity": None}
    fields = {
        "verdict": "undetermined",
        "reason": "negotiation-not-captured",
        "assurance": "offered",
        "selected": nothing,
        "responsibility": None,
        "observed": {"exchanges": {"INFORMATIONAL": 2}},
    }
    return finding(**{**fields, **own})


def ikev1(*, group: int | None = 14, cipher: int = 7, bits: int | None = 256, hash_: int = 6, **own: Any) -> Document:
    """A finding of IKEv1."""
    selected = {
        "key_exchange": None if group is None else {"id": group, "name": registry().method(group).name},
        "additional_key_exchanges": [],
        "encryption": {"id": cipher, "name": registry().v1_encryption(cipher), "key_bits": bits},
        "prf": {"id": hash_, "name": registry().v1_hash(hash_)},
        "integrity": None,
    }
    fields = {
        "verdict": "classical-only",
        "reason": "ikev1",
        "assurance": "selected",
        "ike": {"version": "1.0", "initiator_spi": "1" * 16, "responder_spi": "2" * 16},
        "selected": selected,
        "responsibility": "both",
        "observed": {"exchanges": {"IDENTITY_PROTECTION": 3}},
    }
    return finding("modp2048", **{**fields, **own})


def assessed(document: Document, policy: str, as_of: date = TODAY, *groups: str) -> Assessment:
    return assess(document, policies()[policy], as_of, registry(), frozenset(groups))


def status(document: Document, policy: str, as_of: date = TODAY, *groups: str) -> str:
    return assessed(document, policy, as_of, *groups).status.value


def slugs(assessment: Assessment) -> set[str]:
    """Slugs of the reasons that gave the status."""
    return {reason.slug for reason in assessment.reasons if reason.effect is assessment.status}
