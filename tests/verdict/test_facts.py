"""Capabilities, observations and weak choices, on conversations made by hand and on real captures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pqaudit.rules.rulebook import Rulebook
from pqaudit.verdict.observations import CHECKS
from tests import build as b
from tests.conftest import audit, shared_folder

X25519: b.Transform = (b.KE, 31)
HYBRID = [X25519, b.addke(1, 36)]


def one(conversation: b.Conversation, tmp_path: Path) -> dict[str, Any]:
    findings, _ = audit(b.pcap(conversation.frames, tmp_path / "made.pcap"))
    assert len(findings) == 1
    own: dict[str, Any] = findings[0]["pqaudit"]
    return own


def observed(own: dict[str, Any]) -> set[str]:
    return {entry["id"] for entry in own["observations"]}


def child(conversation: b.Conversation, exchange: int, message_id: int) -> None:
    conversation.send(b.encrypted(exchange, message_id, inner=33))
    conversation.answer(b.encrypted(exchange, message_id, inner=33, response=True))


def test_observations_and_checks_belong_together(rulebook: Rulebook) -> None:
    assert set(rulebook.observations) == set(CHECKS)


def test_every_capability_has_its_wording(rulebook: Rulebook) -> None:
    assert all(capability.meaning for capability in rulebook.capabilities)


@pytest.mark.parametrize(
    ("exchanges", "without"),
    [
        ([(b.CHILD, 3), (b.FOLLOWUP, 4)], False),
        ([(b.CHILD, 3), (b.INFO, 4)], True),
        ([(b.CHILD, 3), (b.CHILD, 4), (b.FOLLOWUP, 5)], True),
        ([(b.CHILD, 3), (b.INFO, 4), (b.FOLLOWUP, 5)], False),
        ([(b.CHILD, 3)], False),  # the capture ends there: nothing can be said
    ],
)
def test_rekey_of_a_hybrid(exchanges: list[tuple[int, int]], without: bool, tmp_path: Path) -> None:
    # RFC 9370 section 2.2.4: IKE_FOLLOWUP_KE exchanges follow the CREATE_CHILD_SA that negotiated them.
    conversation = b.ran(b.negotiated(HYBRID, HYBRID), 1)
    for exchange, message_id in exchanges:
        child(conversation, exchange, message_id)
    assert ("rekey-without-additional-exchange" in observed(one(conversation, tmp_path))) == without


def test_rekey_of_a_classical_sa_with_more(tmp_path: Path) -> None:
    conversation = b.ran(b.negotiated([X25519], [X25519]), 0)
    child(conversation, b.CHILD, 2)
    child(conversation, b.FOLLOWUP, 3)
    assert "rekey-with-additional-exchange" in observed(one(conversation, tmp_path))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("rekey_hybrid_ike_classical_child.pcap", "rekey-without-additional-exchange"),
        ("rekey_by_responder_classical_to_hybrid.pcap", "rekey-with-additional-exchange"),
    ],
)
def test_rekeys_of_real_daemons(name: str, slug: str) -> None:
    findings, _ = audit(shared_folder("strongswan") / name)
    assert slug in {o for f in findings for o in observed(f["pqaudit"])}


def test_rekeys_of_a_real_hybrid_with_additional_exchanges() -> None:
    findings, _ = audit(shared_folder("strongswan") / "rekey_hybrid_ike_and_child.pcap")
    assert all("rekey-without-additional-exchange" not in observed(f["pqaudit"]) for f in findings)


@pytest.mark.parametrize(
    ("offer", "fallback"),
    [
        ([[X25519, b.addke(1, 36)]], False),
        ([[X25519, b.addke(1, 36), b.addke(1, 0)]], True),
        ([[X25519, b.addke(1, 36)], [X25519]], True),
        ([[X25519]], False),
        ([[(b.KE, 36)], [X25519, b.addke(1, 36)]], False),
    ],
)
def test_fallback_offered(offer: list[list[b.Transform]], fallback: bool, tmp_path: Path) -> None:
    conversation = b.Conversation().send(b.init_request(*[(*b.SUITE, *proposal) for proposal in offer]))
    conversation.answer(b.init_response((*b.SUITE, *HYBRID)))
    assert ("fallback-offered" in observed(one(conversation, tmp_path))) == fallback


def test_declined_ml_kem_waits_for_the_responder(tmp_path: Path) -> None:
    conversation = b.Conversation().send(b.init_request((*b.SUITE, *HYBRID), (*b.SUITE, X25519)))
    response = b.message(
        b.INIT,
        [b.sa_numbered([(2, (*b.SUITE, X25519))]), b.ke(31, 32), b.nonce(), *b.SUPPORTED],
        spi_r=b.SPI_R,
        flags=b.RESPONSE,
    )
    own = one(conversation.answer(response), tmp_path)
    assert own["reason"] == "responder-declined"
    assert own["responsibility"] == "responder"
    assert "ml-kem-offered-and-declined" in observed(own)
    assert own["deviations"] == []


def test_an_offer_of_classical_alone_waits_for_the_initiator(tmp_path: Path) -> None:
    assert one(b.negotiated([X25519], [X25519]), tmp_path)["responsibility"] == "initiator"


def test_capabilities_by_side(tmp_path: Path) -> None:
    hashes = b.notify(16431, b"\x00\x02\x00\x05")  # SHA2-256 and Identity (RFC 7427, RFC 8420)
    conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519), extra=(b.notify(16438), hashes)))
    response = (b.notify(16447), b.notify(16431, b"\x00\x02"))
    own = one(conversation.answer(b.init_response((*b.SUITE, X25519), extra=response)), tmp_path)
    assert own["capabilities"]["intermediate"] == "initiator"
    assert own["capabilities"]["downgrade-prevention"] == "responder"
    assert own["capabilities"]["identity-hash"] == "initiator"
    assert own["capabilities"]["fragmentation"] == "none"


def test_weak_choices_stand_apart_from_the_verdict(tmp_path: Path) -> None:
    # RFC 8247: group 2 SHOULD NOT; 3DES has a 64-bit block; HMAC-SHA1 is to be lowered.
    weak: list[b.Transform] = [(b.ENCR, 3), (b.PRF, 2), (b.INTEG, 2), (b.KE, 2)]
    conversation = b.Conversation().send(b.init_request(weak, method=2, octets=128))
    own = one(conversation.answer(b.init_response(weak, method=2, octets=128)), tmp_path)
    assert own["verdict"] == "classical-only"
    found = {(w["id"], w["what"]) for w in own["weaknesses"]}
    assert found == {
        ("weak-key-exchange", "modp1024"),
        ("weak-encryption", "ENCR_3DES"),
        ("weak-prf", "PRF_HMAC_SHA1"),
        ("weak-integrity", "AUTH_HMAC_SHA1_96"),
    }
    assert all(w["source"] for w in own["weaknesses"])


def test_modern_choices_are_not_weak(tmp_path: Path) -> None:
    assert one(b.negotiated(HYBRID, HYBRID), tmp_path)["weaknesses"] == []


def test_new_spis_after_a_rekey_are_linked_and_stay_undetermined() -> None:
    # The daemon's log names both rekeyed SAs; the first came from the original one, the second from the first.
    findings, _ = audit(shared_folder("strongswan") / "rekey_hybrid_ike_and_child.pcap")
    origins = {
        f["pqaudit"]["ike"]["initiator_spi"]: (f["pqaudit"]["related"]["probably_rekeyed_from"] or {}).get(
            "initiator_spi"
        )
        for f in findings
    }
    assert origins == {
        "67aa119cb9331acc": None,
        "e6391e3e10878c35": "67aa119cb9331acc",
        "808d744f413e40b7": "e6391e3e10878c35",
    }
    rekeyed = [f["pqaudit"] for f in findings if f["pqaudit"]["related"]["probably_rekeyed_from"]]
    assert {own["verdict"] for own in rekeyed} == {"undetermined"}
    assert all(own["related"]["probably_rekeyed_from"]["inferred"] for own in rekeyed)


def test_spis_of_other_peers_are_not_linked(tmp_path: Path) -> None:
    conversation = b.ran(b.negotiated(HYBRID, HYBRID), 1)
    child(conversation, b.CHILD, 3)
    stranger = b.encrypted(b.INFO, 0, spi_i=b"\x77" * 8, spi_r=b"\x88" * 8)
    conversation.frames.append(b.udp_frame(stranger, "192.0.2.9", b.B))
    findings, _ = audit(b.pcap(conversation.frames, tmp_path / "made.pcap"))
    assert [f["pqaudit"]["related"]["probably_rekeyed_from"] for f in findings] == [None, None]


STRONGSWAN = bytes.fromhex("882fe56d6fd20dbc2251613b2ebe5beb")  # MD5 of "strongSwan", what its daemon sends


@pytest.mark.parametrize(
    ("vendor_ids", "probable"), [((), None), ((b.vendor_id(STRONGSWAN),), "kyber3"), ((b.vendor_id(b"else"),), None)]
)
def test_a_private_number_is_named_only_with_its_vendor(
    vendor_ids: tuple[b.Payload, ...], probable: str | None, tmp_path: Path
) -> None:
    private = (*b.SUITE, X25519, b.addke(1, 1081))
    conversation = b.Conversation().send(b.init_request(private, extra=(*b.SUPPORTED, *vendor_ids)))
    own = one(conversation.answer(b.init_response(private)), tmp_path)
    assert own["verdict"] == "rfc9370-non-standard"
    assert own["selected"]["additional_key_exchanges"][0].get("probable_name") == probable
    assert [a["product"] for a in own["advice"][:1]] == (["strongSwan"] if probable else [])


def test_advice_says_how_certain_it_is(rulebook: Rulebook) -> None:
    fortinet = rulebook.registry.products("Fortinet")
    assert {p.certainty for p in fortinet} >= {"read", "unsure"}
    assert rulebook.registry.products("Forti") == ()


@pytest.mark.parametrize(
    ("payload", "name", "version"),
    [
        (b"OE-Libreswan-5.2", "Libreswan 3.6 and later", "5.2"),
        (b"OE-Libreswan-\x1b[31m5", "Libreswan 3.6 and later", "[31m5"),  # no escape leaves the fingerprint
        (
            bytes.fromhex("1e2b516905991c7d7c96fcbfb587e461") + b"\x00\x00\x00\x2a",
            "Microsoft Windows (any version)",
            "42",
        ),
        (bytes.fromhex("1e2b516905991c7d7c96fcbfb587e461"), "Microsoft Windows (any version)", None),
        (STRONGSWAN, "strongSwan", None),
        (b"unheard of", None, None),
    ],
)
def test_fingerprints_tell_the_version_where_the_payload_does(
    payload: bytes, name: str | None, version: str | None, tmp_path: Path
) -> None:
    conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519), extra=(b.vendor_id(payload),)))
    own = one(conversation.answer(b.init_response((*b.SUITE, X25519))), tmp_path)
    (found,) = own["fingerprint"]["initiator"]
    assert (found["vendor_id"], found["name"], found["version"]) == (payload.hex(), name, version)
