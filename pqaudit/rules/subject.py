"""What a user's rule sees of an SA: the finding, without file names, frames and the record."""

from __future__ import annotations

from typing import Any

_HIDDEN = ("evidence", "capture", "anomalies", "schema_version", "advice", "record")

# Every field with a value of its type. Rules are checked against it, so that a wrong field name is found before any
# audit, and the examples of a rule are laid over it.
EXAMPLE: dict[str, Any] = {
    "start": "2026-11-25T10:00:00.000000Z",
    "end": "2026-11-25T10:00:01.000000Z",
    "severity": 5,
    "source": {"ip": "192.0.2.1", "port": 500},
    "destination": {"ip": "192.0.2.2", "port": 500},
    "network": {"transport": "udp", "protocol": "ike", "vlan": {"id": "100"}},
    "rule": {"id": "PQA-151", "name": "", "version": "1.0.0"},
    "verdict": "hybrid-ml-kem",
    "protection": "ml-kem",
    "reason": "draft-compliant",
    "assurance": "executed",
    "ike": {"version": "2.0", "initiator_spi": "1111111111111111", "responder_spi": "2222222222222222"},
    "selected": {
        "key_exchange": {"id": 31, "name": "curve25519"},
        "additional_key_exchanges": [{"slot": 1, "id": 36, "name": "ml-kem-768"}],
        "encryption": {"id": 20, "name": "ENCR_AES_GCM_16", "key_bits": 256},
        "prf": {"id": 5, "name": "PRF_HMAC_SHA2_256"},
        "integrity": {"id": 12, "name": "AUTH_HMAC_SHA2_256_128"},
    },
    "offered": {
        "key_exchanges": [{"id": 31, "name": "curve25519"}],
        "additional_key_exchanges": [{"slot": 1, "id": 36, "name": "ml-kem-768"}],
    },
    "observed": {
        "exchanges": {
            "IKE_SA_INIT": 1,
            "IKE_INTERMEDIATE": 1,
            "IKE_AUTH": 1,
            "CREATE_CHILD_SA": 0,
            "INFORMATIONAL": 0,
            "IKE_FOLLOWUP_KE": 0,
        },
        "ike_sa_init_retries": 0,
        "ike_intermediate_by_message_id": 1,
    },
    "ppk": "not-offered",
    "fingerprint": {
        "initiator": [{"vendor_id": "00", "name": "", "vendor": "", "version": None}],
        "responder": [{"vendor_id": "00", "name": "", "vendor": "", "version": None}],
    },
    "deviations": [],
    "observations": [],
    "weaknesses": [],
    "capabilities": {
        "intermediate": "both",
        "fragmentation": "both",
        "downgrade-prevention": "none",
        "identity-hash": "none",
        "supported-auth-methods": "none",
        "ppk": "none",
        "ppk-intermediate": "none",
        "childless": "none",
    },
    "responsibility": None,
    "related": {"probably_rekeyed_from": None},
}


def subject_of(finding: dict[str, Any]) -> dict[str, Any]:
    """The ``sa`` of a condition, from a finding."""
    own = {name: value for name, value in finding["pqaudit"].items() if name not in _HIDDEN}
    return {
        "start": finding["event"]["start"],
        "end": finding["event"]["end"],
        "severity": finding["event"]["severity"],
        "source": finding["source"],
        "destination": finding["destination"],
        "network": {"vlan": {"id": None}, **finding["network"]},
        "rule": finding["rule"],
        **own,
    }


def laid_over(example: dict[str, Any], base: dict[str, Any] = EXAMPLE) -> dict[str, Any]:
    """``base`` with the fields of ``example`` in place of its own, mapping by mapping."""
    merged = dict(base)
    for name, value in example.items():
        below = merged.get(name)
        merged[name] = laid_over(value, below) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged
