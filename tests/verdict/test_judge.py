"""Verdicts on conversations made by hand; what is right follows from the table of docs/finding.md and the RFC named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import build as b
from tests.conftest import audit

X25519: b.Transform = (b.KE, 31)


def one(conversation: b.Conversation, tmp_path: Path, **more: int) -> dict[str, Any]:
    """The one finding of a conversation."""
    findings, _ = audit(b.pcap(conversation.frames, tmp_path / "made.pcap", **more))
    assert len(findings) == 1
    own: dict[str, Any] = findings[0]["pqaudit"]
    return own


def summary(own: dict[str, Any]) -> tuple[str, str, str, str]:
    return own["verdict"], own["reason"], own["protection"], own["assurance"]


def deviations(own: dict[str, Any]) -> list[str]:
    return [entry["id"] for entry in own["deviations"]]


@pytest.mark.parametrize(
    ("main", "additional", "verdict", "reason", "protection"),
    [
        (31, (36,), "hybrid-ml-kem", "draft-compliant", "ml-kem"),
        (20, (37,), "hybrid-ml-kem", "draft-compliant", "ml-kem"),
        (31, (0, 35), "hybrid-ml-kem", "draft-compliant", "ml-kem"),
        (31, (20, 36), "hybrid-ml-kem", "draft-compliant", "ml-kem"),
        (31, (36, 37), "hybrid-ml-kem", "draft-compliant", "ml-kem"),
        (31, (0,), "classical-only", "responder-declined", "none"),
        (31, (20,), "classical-only", "additional-exchanges-classical", "none"),
        (36, (), "ml-kem-only", "ml-kem-without-classical", "ml-kem"),
        (36, (37,), "ml-kem-only", "ml-kem-without-classical", "ml-kem"),
        (36, (31,), "rfc9370-non-standard", "reversed-order", "ml-kem"),
        (31, (36, 1081), "rfc9370-non-standard", "ml-kem-with-private-use", "ml-kem"),
        (1081, (36,), "rfc9370-non-standard", "ml-kem-with-private-use", "ml-kem"),
        (36, (40,), "rfc9370-non-standard", "ml-kem-with-private-use", "ml-kem"),
        (31, (1081,), "rfc9370-non-standard", "private-use-method", "unverified"),
        (1035, (), "rfc9370-non-standard", "private-use-method", "unverified"),
        (31, (38,), "rfc9370-non-standard", "unassigned-method", "unverified"),
        (500, (), "rfc9370-non-standard", "unassigned-method", "unverified"),
        (13, (), "rfc9370-non-standard", "unassigned-method", "unverified"),
    ],
)
def test_selection_table(
    main: int, additional: Sequence[int], verdict: str, reason: str, protection: str, tmp_path: Path
) -> None:
    lengths = {31: (32, 32), 20: (96, 96), 36: (1184, 1088)}
    pub, ct = lengths.get(main, (32, 32))
    transforms = [(b.KE, main), *(b.addke(slot, m) for slot, m in enumerate(additional, start=1))]
    offer = [*transforms, b.addke(1, 36)] if additional == (0,) else transforms
    conversation = b.Conversation()
    conversation.send(b.init_request((*b.SUITE, *offer), method=main, octets=pub))
    conversation.answer(b.init_response((*b.SUITE, *transforms), method=main, octets=ct))
    own = one(conversation, tmp_path)
    assert summary(own) == (verdict, reason, protection, "selected")
    assert own["selected"]["key_exchange"]["id"] == main
    expected = [(slot, m) for slot, m in enumerate(additional, start=1) if m]  # NONE is no exchange (RFC 9370)
    assert [(e["slot"], e["id"]) for e in own["selected"]["additional_key_exchanges"]] == expected
    # The draft's section 2.1: the larger sets should not stand in IKE_SA_INIT over UDP.
    assert deviations(own) == (["large-ml-kem-over-udp"] if main == 36 else [])


def test_classical_offer(tmp_path: Path) -> None:
    own = one(b.negotiated([X25519], [X25519]), tmp_path)
    assert summary(own) == ("classical-only", "not-offered", "none", "selected")


def test_executed_needs_the_exchanges_and_an_answered_ike_auth(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    own = one(b.ran(b.negotiated(hybrid, hybrid), 1), tmp_path)
    assert summary(own) == ("hybrid-ml-kem", "draft-compliant", "ml-kem", "executed")
    assert own["observed"]["exchanges"] == {
        "IKE_SA_INIT": 1,
        "IKE_INTERMEDIATE": 1,
        "IKE_AUTH": 1,
        "CREATE_CHILD_SA": 0,
        "INFORMATIONAL": 0,
        "IKE_FOLLOWUP_KE": 0,
    }


def test_ike_auth_too_early_contradicts_the_selection(tmp_path: Path) -> None:
    # RFC 9242: IKE_INTERMEDIATE takes message IDs 1 to n, so IKE_AUTH with message ID 1 proves that none ran.
    hybrid = [X25519, b.addke(1, 36)]
    own = one(b.ran(b.negotiated(hybrid, hybrid), 0), tmp_path)
    assert summary(own) == ("undetermined", "selected-exchange-not-executed", "unknown", "contradicted")
    assert "fewer-intermediate-exchanges" in deviations(own)


def test_classical_exchanges_that_did_not_run_stay_classical(tmp_path: Path) -> None:
    # Whether ECP-384 ran or not, nothing post-quantum was selected.
    both = [X25519, b.addke(1, 20)]
    own = one(b.ran(b.negotiated(both, both), 0), tmp_path)
    assert summary(own) == ("classical-only", "additional-exchanges-classical", "none", "contradicted")


def test_first_ike_auth_proves_exchanges_that_were_not_captured(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    conversation.send(b.encrypted(b.AUTH, 2, inner=35, octets=200))  # 35 is IDi: the first IKE_AUTH
    conversation.answer(b.encrypted(b.AUTH, 2, inner=36, octets=200, response=True))
    own = one(conversation, tmp_path)
    assert own["assurance"] == "executed"
    assert own["observed"]["ike_intermediate_by_message_id"] == 1


def test_a_later_round_of_ike_auth_proves_nothing(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    conversation.send(b.encrypted(b.AUTH, 4, inner=48, octets=200))  # 48 is EAP: the first IKE_AUTH came before
    conversation.answer(b.encrypted(b.AUTH, 4, inner=48, octets=200, response=True))
    assert one(conversation, tmp_path)["assurance"] == "selected"


def test_intermediate_without_additional_exchange_is_no_hybrid(tmp_path: Path) -> None:
    # RFC 9242 serves other uses too, a PPK for one.
    own = one(b.ran(b.negotiated([X25519], [X25519]), 1), tmp_path)
    assert summary(own) == ("classical-only", "not-offered", "none", "executed")


def test_cookie_retry_is_judged_by_the_last_request(tmp_path: Path) -> None:
    # RFC 7296 section 2.6: the retry repeats SPIi and message ID 0 with the cookie in front.
    hybrid = (*b.SUITE, X25519, b.addke(1, 36))
    conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519)))
    conversation.answer(b.message(b.INIT, [b.notify(16390, b"cookie")], spi_r=b"\x09" * 8, flags=b.RESPONSE))
    retry = [b.notify(16390, b"cookie"), b.sa(hybrid), b.ke(31, 32), b.nonce(), *b.SUPPORTED]
    conversation.send(b.message(b.INIT, retry)).answer(b.init_response(hybrid))
    own = one(conversation, tmp_path)
    assert summary(own)[:2] == ("hybrid-ml-kem", "draft-compliant")
    assert own["observed"]["ike_sa_init_retries"] == 1
    assert own["ike"]["responder_spi"] == b.SPI_R.hex()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b.notify(14), "no-proposal-chosen"),
        (b.notify(17, b"\x00\x14"), "invalid-ke-payload"),
        (b.notify(16390, b"c"), "cookie-challenge-only"),
        (b.notify(16407, b"\x01\x04\xc0\x00\x02\x09"), "redirected"),
        (b.notify(7), "refused-with-error"),
    ],
)
@pytest.mark.parametrize("spi_r", [bytes(8), b.SPI_R])
def test_answers_that_create_no_sa(answer: b.Payload, reason: str, spi_r: bytes, tmp_path: Path) -> None:
    conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519, b.addke(1, 36))))
    conversation.answer(b.message(b.INIT, [answer], spi_r=spi_r, flags=b.RESPONSE))
    own = one(conversation, tmp_path)
    assert summary(own) == ("undetermined", reason, "unknown", "offered")
    assert [e["id"] for e in own["offered"]["additional_key_exchanges"]] == [36]


def test_a_clock_that_is_behind_does_not_choose_the_request_before_the_retry(tmp_path: Path) -> None:
    # The responder's side was captured by a clock that runs ten seconds slow; RFC 7296 section 1.2 has the retry.
    first = b.udp_frame(b.init_request((*b.SUITE, (b.KE, 14), X25519), method=14, octets=256))
    retry = b.udp_frame(b.init_request((*b.SUITE, X25519, b.addke(1, 36))))
    refusal = b.message(b.INIT, [b.notify(17, b"\x00\x1f")], flags=b.RESPONSE)
    answer = b.init_response((*b.SUITE, X25519, b.addke(1, 36)))
    requests = b.pcap([first, retry], tmp_path / "a.pcap", start=1_700_000_010)
    answers = b.pcap([b.udp_frame(refusal, b.B, b.A), b.udp_frame(answer, b.B, b.A)], tmp_path / "b.pcap")
    findings, _ = audit(requests, answers)
    (own,) = [f["pqaudit"] for f in findings]
    assert summary(own)[:2] == ("hybrid-ml-kem", "draft-compliant")
    assert own["deviations"] == []


def test_request_alone(tmp_path: Path) -> None:
    own = one(b.Conversation().send(b.init_request((*b.SUITE, X25519))), tmp_path)
    assert summary(own) == ("undetermined", "response-not-seen", "unknown", "offered")


def test_response_alone_still_shows_the_selection(tmp_path: Path) -> None:
    conversation = b.Conversation().answer(b.init_response((*b.SUITE, X25519, b.addke(1, 36))))
    own = one(conversation, tmp_path)
    assert own["verdict"] == "hybrid-ml-kem"
    assert "request-not-seen" in [a["id"] for a in own["anomalies"]]


def test_traffic_alone(tmp_path: Path) -> None:
    conversation = b.Conversation().send(b.encrypted(b.INTERMEDIATE, 1)).send(b.encrypted(b.AUTH, 2, inner=35))
    own = one(conversation, tmp_path)
    assert summary(own)[:2] == ("undetermined", "negotiation-not-captured")


@pytest.mark.parametrize("snaplen", [14 + 20 + 8 + 28 + 20, 14 + 20 + 8 + 28 + 4 + 8 + 12 + 8 + 8 + 4])
def test_response_cut_within_its_sa_payload(snaplen: int, tmp_path: Path) -> None:
    hybrid = (*b.SUITE, X25519, b.addke(1, 36))
    conversation = b.Conversation().answer(b.init_response(hybrid))
    own = one(conversation, tmp_path, snaplen=snaplen)
    assert summary(own) == ("undetermined", "response-truncated", "unknown", "offered")


def test_response_cut_behind_its_sa_payload_is_used_and_marked(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    sa_end = 14 + 20 + 8 + 28 + 4 + 8 + 12 + 8 + 8 + 8  # headers, then one proposal with four transforms
    own = one(b.negotiated(hybrid, hybrid), tmp_path, snaplen=sa_end + 10)
    assert own["verdict"] == "hybrid-ml-kem"
    assert "packet-truncated" in [a["id"] for a in own["anomalies"]]


def test_a_message_that_one_capture_cut_off_is_still_one_message(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    frames = b.negotiated(hybrid, hybrid).frames
    whole = b.pcap(frames, tmp_path / "whole.pcap")
    cut = b.pcap(frames, tmp_path / "cut.pcap", snaplen=14 + 20 + 8 + 28 + 4 + 8 + 12 + 8 + 8 + 8 + 10)
    findings, _ = audit(whole, cut)
    (own,) = [f["pqaudit"] for f in findings]
    assert own["verdict"] == "hybrid-ml-kem"
    assert own["observed"]["ike_sa_init_retries"] == 0
    assert "conflicting-responses" not in [a["id"] for a in own["anomalies"]]


def test_two_readings_of_a_response_are_no_verdict(tmp_path: Path) -> None:
    # RFC 7296 section 3.3.6: the accepted proposal holds one transform of each type.
    both = (*b.SUITE, X25519, b.addke(1, 36), b.addke(1, 0))
    conversation = b.Conversation().send(b.init_request(both)).answer(b.init_response(both))
    own = one(conversation, tmp_path)
    assert own["verdict"] == "undetermined"
    assert own["reason"] == "ambiguous-selection"
    assert own["selected"]["key_exchange"] is None
    assert "several-transforms-selected" in deviations(own)


def test_several_proposals_that_agree(tmp_path: Path) -> None:
    classical = (*b.SUITE, X25519)
    conversation = b.Conversation().send(b.init_request(classical, classical))
    own = one(conversation.answer(b.init_response(classical, classical)), tmp_path)
    assert own["verdict"] == "classical-only"
    assert "several-proposals-selected" in deviations(own)


@pytest.mark.parametrize(
    ("offer", "selected", "extra", "slug"),
    [
        ([X25519], [X25519, b.addke(1, 36)], b.SUPPORTED, "selection-not-offered"),
        ([X25519, b.addke(1, 36), b.addke(2, 36)], [X25519, b.addke(1, 36), b.addke(2, 36)], b.SUPPORTED,
         "duplicate-key-exchange"),
        ([X25519, b.addke(1, 36)], [X25519, b.addke(1, 36)], (), "intermediate-not-announced"),
    ],
)  # fmt: skip
def test_deviation_names_the_reason(
    offer: list[b.Transform], selected: list[b.Transform], extra: tuple[b.Payload, ...], slug: str, tmp_path: Path
) -> None:
    conversation = b.Conversation().send(b.init_request((*b.SUITE, *offer), extra=extra))
    own = one(conversation.answer(b.init_response((*b.SUITE, *selected), extra=extra)), tmp_path)
    assert own["verdict"] == "hybrid-ml-kem"
    assert own["reason"] == slug
    assert deviations(own) == [slug]


@pytest.mark.parametrize(("with_none", "expected"), [(False, ["offered-type-not-selected"]), (True, [])])
def test_a_slot_that_the_response_leaves_out(with_none: bool, expected: list[str], tmp_path: Path) -> None:
    # RFC 9370 section 2.2.1: the responder chooses one transform of each type; NONE, when offered, can be that.
    offer = [X25519, b.addke(1, 36), *([b.addke(1, 0)] if with_none else [])]
    own = one(b.negotiated(offer, [X25519]), tmp_path)
    assert (own["verdict"], own["reason"]) == ("classical-only", "responder-declined")
    assert deviations(own) == expected


def test_slots_may_have_gaps(tmp_path: Path) -> None:
    # RFC 9370 section 2.2.1: slots are run in order, and which are used is free.
    slots = [X25519, b.addke(2, 36), b.addke(7, 20)]
    own = one(b.negotiated(slots, slots), tmp_path)
    assert own["verdict"] == "hybrid-ml-kem"
    assert [(e["slot"], e["id"]) for e in own["selected"]["additional_key_exchanges"]] == [(2, 36), (7, 20)]
    assert deviations(own) == []


def test_fragments_without_their_announcement(tmp_path: Path) -> None:
    # RFC 7383 section 2.3
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.Conversation().send(b.init_request((*b.SUITE, *hybrid), extra=(b.notify(16438),)))
    conversation.answer(b.init_response((*b.SUITE, *hybrid), extra=(b.notify(16438),)))
    conversation.send(b.encrypted(b.INTERMEDIATE, 1, octets=700, fragment=(1, 2)))
    assert "fragmentation-not-announced" in deviations(one(conversation, tmp_path))


def test_ke_payload_of_another_method(tmp_path: Path) -> None:
    conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519)))
    own = one(conversation.answer(b.init_response((*b.SUITE, X25519), method=20, octets=96)), tmp_path)
    assert deviations(own) == ["ke-payload-method"]


def test_ml_kem_in_the_clear_has_the_sizes_of_fips_203(tmp_path: Path) -> None:
    # FIPS 203 table 3: ML-KEM-512 has keys of 800 and ciphertexts of 768 octets.
    for public, ciphertext, expected in ((800, 768, []), (800, 800, ["ke-payload-length"])):
        ml_kem = (*b.SUITE, (b.KE, 35))
        conversation = b.Conversation().send(b.init_request(ml_kem, method=35, octets=public))
        own = one(conversation.answer(b.init_response(ml_kem, method=35, octets=ciphertext)), tmp_path)
        assert own["verdict"] == "ml-kem-only"
        assert deviations(own) == expected


def test_a_resumed_session_inherits_nothing(tmp_path: Path) -> None:
    # RFC 5723: IKE_SESSION_RESUME (38) carries nonces and a ticket and no key exchange.
    conversation = b.Conversation().send(b.message(38, [b.nonce(), b.notify(16413, b"ticket")]))
    conversation.answer(b.message(38, [b.nonce(fill=9)], spi_r=b.SPI_R, flags=b.RESPONSE))
    own = one(b.ran(conversation, 0), tmp_path)
    assert (own["verdict"], own["reason"]) == ("undetermined", "session-resumed")


def test_ke_payload_of_the_wrong_length(tmp_path: Path) -> None:
    # RFC 8031: a Curve25519 public value has 32 octets.
    own = one(b.negotiated([X25519], [X25519], octets=31), tmp_path)
    assert deviations(own) == ["ke-payload-length"]
    assert own["verdict"] == "classical-only"


def test_skf_fragments_are_one_exchange(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    for number in (2, 1, 3, 3):
        conversation.send(b.encrypted(b.INTERMEDIATE, 1, octets=500, fragment=(number, 3)))
    conversation.answer(b.encrypted(b.INTERMEDIATE, 1, response=True))
    conversation.send(b.encrypted(b.AUTH, 2, inner=39)).answer(b.encrypted(b.AUTH, 2, inner=36, response=True))
    own = one(conversation, tmp_path)
    assert own["assurance"] == "executed"
    assert own["observed"]["exchanges"]["IKE_INTERMEDIATE"] == 1


# Least SK lengths of an ML-KEM-768 key (1184 octets) and ciphertext (1088) under AES-GCM with a 16-octet ICV: 4 generic
# header + 8 IV + (8 KE header + data) + 1 pad length + 16 ICV, so 1221 and 1125 (RFC 7296 section 3.14, FIPS 203).
@pytest.mark.parametrize(
    ("request_octets", "response_octets", "verdict", "assurance"),
    [
        (1221, 1125, "hybrid-ml-kem", "executed"),
        (1220, 1125, "undetermined", "contradicted"),
        (1221, 1124, "undetermined", "contradicted"),
        (3000, 3000, "hybrid-ml-kem", "executed"),
    ],
)
def test_room_for_the_key_and_the_ciphertext(
    request_octets: int, response_octets: int, verdict: str, assurance: str, tmp_path: Path
) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    conversation.send(b.encrypted(b.INTERMEDIATE, 1, octets=request_octets))
    conversation.answer(b.encrypted(b.INTERMEDIATE, 1, octets=response_octets, response=True))
    conversation.send(b.encrypted(b.AUTH, 2, inner=35, octets=200))
    conversation.answer(b.encrypted(b.AUTH, 2, inner=36, octets=200, response=True))
    own = one(conversation, tmp_path)
    assert (own["verdict"], own["assurance"]) == (verdict, assurance)
    assert ("intermediate-too-short" in deviations(own)) == (assurance == "contradicted")


# Two SKF fragments of GCM: 8 header + 8 IV + part + 1 + 16 ICV each; 1192 octets inside need 1192 + 2 * 33 in all.
@pytest.mark.parametrize(("second", "assurance"), [(658, "executed"), (657, "contradicted")])
def test_room_in_fragments(second: int, assurance: str, tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    conversation.send(b.encrypted(b.INTERMEDIATE, 1, octets=600, fragment=(1, 2)))
    conversation.send(b.encrypted(b.INTERMEDIATE, 1, octets=second, fragment=(2, 2)))
    conversation.answer(b.encrypted(b.INTERMEDIATE, 1, response=True))
    conversation.send(b.encrypted(b.AUTH, 2, inner=35, octets=200))
    conversation.answer(b.encrypted(b.AUTH, 2, inner=36, octets=200, response=True))
    assert one(conversation, tmp_path)["assurance"] == assurance


def test_an_exchange_for_another_purpose_may_stand_in_front(tmp_path: Path) -> None:
    # RFC 9242: a short IKE_INTERMEDIATE first, the one with ML-KEM after it.
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    for number, octets in ((1, 90), (2, 1300)):
        conversation.send(b.encrypted(b.INTERMEDIATE, number, octets=octets))
        conversation.answer(b.encrypted(b.INTERMEDIATE, number, octets=octets, response=True))
    conversation.send(b.encrypted(b.AUTH, 3, inner=35, octets=200))
    conversation.answer(b.encrypted(b.AUTH, 3, inner=36, octets=200, response=True))
    assert one(conversation, tmp_path)["assurance"] == "executed"


def test_lengths_prove_nothing_while_exchanges_are_missing(tmp_path: Path) -> None:
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.negotiated(hybrid, hybrid)
    conversation.send(b.encrypted(b.INTERMEDIATE, 2, octets=90))
    conversation.answer(b.encrypted(b.INTERMEDIATE, 2, octets=90, response=True))
    conversation.send(b.encrypted(b.AUTH, 3, inner=35, octets=200))
    conversation.answer(b.encrypted(b.AUTH, 3, inner=36, octets=200, response=True))
    assert one(conversation, tmp_path)["verdict"] == "hybrid-ml-kem"


def test_ppk_is_support_and_not_proof(tmp_path: Path) -> None:
    ppk = (*b.SUPPORTED, b.notify(16435))
    for extra, ppk_state, protection in ((ppk, "negotiated", "ppk"), (b.SUPPORTED, "offered", "none")):
        conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519), extra=ppk))
        own = one(conversation.answer(b.init_response((*b.SUITE, X25519), extra=extra)), tmp_path)
        assert (own["ppk"], own["protection"]) == (ppk_state, protection)


def test_two_responder_spis_are_two_findings_that_conflict(tmp_path: Path) -> None:
    hybrid = (*b.SUITE, X25519, b.addke(1, 36))
    conversation = b.Conversation().send(b.init_request(hybrid)).answer(b.init_response((*b.SUITE, X25519)))
    conversation.answer(b.init_response(hybrid, spi_r=b"\x33" * 8))
    findings, _ = audit(b.pcap(conversation.frames, tmp_path / "made.pcap"))
    assert sorted(f["pqaudit"]["verdict"] for f in findings) == ["classical-only", "hybrid-ml-kem"]
    for finding in findings:
        assert "conflicting-responses" in [a["id"] for a in finding["pqaudit"]["anomalies"]]


def test_octets_that_only_look_like_ike_are_no_sa(tmp_path: Path) -> None:
    good = b.init_request((*b.SUITE, X25519))
    frames = [
        b.udp_frame(good[:16] + bytes([33, 0x30]) + good[18:]),  # major version 3
        b.udp_frame(bytes(8) + good[8:]),  # initiator SPI of zero
        b.udp_frame(good[:24] + b"\xff\xff\xff\xff" + good[28:]),  # length beyond the datagram
        b.udp_frame(good[:18] + bytes([200]) + good[19:-1]),
    ]
    findings, run = audit(b.pcap(frames, tmp_path / "made.pcap"))
    assert findings == []
    assert len(run.anomalies) == 4
    assert [a.frame for a in run.anomalies] == [1, 2, 3, 4]


def response(*payloads: b.Payload, **more: object) -> bytes:
    return b.message(b.INIT, payloads, **{"spi_r": b.SPI_R, "flags": b.RESPONSE, **more})  # type: ignore[arg-type]


HYBRID = (*b.SUITE, X25519, b.addke(1, 36))
KE_AND_NONCE = (b.ke(31, 32), b.nonce(fill=9), *b.SUPPORTED)


@pytest.mark.parametrize(
    ("answer", "anomaly"),
    [
        (response(b.sa(HYBRID), b.sa((*b.SUITE, X25519)), *KE_AND_NONCE), "second-sa-payload"),
        (response(b.sa((*b.SUITE, X25519)), b.sa(HYBRID), *KE_AND_NONCE), "second-sa-payload"),
        (response(b.sa(HYBRID), *KE_AND_NONCE, message_id=5), "ike-sa-init-message-id"),
        (response(b.sa(HYBRID), *KE_AND_NONCE, flags=b.RESPONSE | b.INITIATOR), "ike-sa-init-initiator-flag"),
        (b.init_response(HYBRID)[:37] + b"\x03" + b.init_response(HYBRID)[38:], "proposal-protocol"),
    ],
)
def test_a_response_that_an_initiator_would_drop_selects_nothing(answer: bytes, anomaly: str, tmp_path: Path) -> None:
    # RFC 7296: one SA payload (1.2), message ID 0 (2.2), the initiator flag cleared (3.1), protocol IKE (3.3.1).
    own = one(b.Conversation().send(b.init_request(HYBRID)).answer(answer), tmp_path)
    assert summary(own) == ("undetermined", "response-damaged", "unknown", "offered")
    assert anomaly in [a["id"] for a in own["anomalies"]]


def test_a_second_ke_payload_is_told(tmp_path: Path) -> None:
    answer = response(b.sa(HYBRID), b.ke(36, 1088), *KE_AND_NONCE)
    own = one(b.Conversation().send(b.init_request(HYBRID)).answer(answer), tmp_path)
    assert "second-ke-payload" in [a["id"] for a in own["anomalies"]]


@pytest.mark.parametrize("is_response", [False, True])
def test_half_of_an_exchange_can_be_too_short(is_response: bool, tmp_path: Path) -> None:
    # IKE_AUTH with message ID 2 proves one IKE_INTERMEDIATE; 60 octets hold no key of 1184 and no ciphertext of 1088.
    conversation = b.negotiated([X25519, b.addke(1, 36)], [X25519, b.addke(1, 36)])
    half = b.encrypted(b.INTERMEDIATE, 1, octets=60, response=is_response)
    conversation.frames.append(b.udp_frame(half, b.B, b.A) if is_response else b.udp_frame(half))
    conversation.send(b.encrypted(b.AUTH, 2, inner=35, octets=200))
    conversation.answer(b.encrypted(b.AUTH, 2, inner=36, octets=200, response=True))
    assert one(conversation, tmp_path)["assurance"] == "contradicted"


def test_a_forged_ike_auth_does_not_undo_what_ran(tmp_path: Path) -> None:
    # Message ID 1 was used by an answered IKE_INTERMEDIATE (RFC 7296 section 2.2: each number once).
    hybrid = [X25519, b.addke(1, 36)]
    conversation = b.ran(b.negotiated(hybrid, hybrid), 1)
    for number in (0, 1):
        forged = b.encrypted(b.AUTH, number, inner=35, octets=200)
        conversation.frames.append(b.udp_frame(forged, "203.0.113.9", b.B))
    own = one(conversation, tmp_path)
    assert summary(own) == ("hybrid-ml-kem", "draft-compliant", "ml-kem", "executed")
    assert "ike-auth-out-of-place" in [a["id"] for a in own["anomalies"]]


def test_a_response_without_cipher_and_prf(tmp_path: Path) -> None:
    # RFC 7296 section 3.3.3: encryption and PRF are mandatory types.
    conversation = b.Conversation().send(b.init_request(HYBRID)).answer(b.init_response((X25519, b.addke(1, 36))))
    assert "offered-type-not-selected" in deviations(one(conversation, tmp_path))


def test_the_last_of_many_requests_decides(tmp_path: Path) -> None:
    conversation = b.Conversation()
    for number in range(30):
        cookie = b.notify(16390, bytes([number]) * 8)
        conversation.send(b.init_request((*b.SUITE, X25519), extra=(cookie, *b.SUPPORTED)))
    conversation.send(b.init_request(HYBRID)).answer(b.init_response(HYBRID))
    own = one(conversation, tmp_path)
    assert summary(own)[:2] == ("hybrid-ml-kem", "draft-compliant")
    assert own["deviations"] == []


def test_a_request_cut_between_two_proposals_did_not_offer_classical_alone(tmp_path: Path) -> None:
    first = 8 + 12 + 8 + 8  # a proposal of three transforms
    conversation = b.Conversation().send(b.init_request((*b.SUITE, X25519), HYBRID))
    cut = b.pcap(conversation.frames, tmp_path / "cut.pcap", snaplen=14 + 20 + 8 + 28 + 4 + first)
    whole = b.pcap(b.Conversation().answer(b.init_response((*b.SUITE, X25519))).frames, tmp_path / "b.pcap")
    findings, _ = audit(cut, whole)
    (own,) = [f["pqaudit"] for f in findings]
    assert (own["verdict"], own["reason"], own["responsibility"]) == ("classical-only", "offer-not-seen", "unknown")


def test_transforms_of_other_types_are_no_additional_exchange(tmp_path: Path) -> None:
    offer = (*b.SUITE, X25519, (13, 36))
    conversation = b.Conversation().send(b.init_request(offer)).answer(b.init_response((*b.SUITE, X25519)))
    own = one(conversation, tmp_path)
    assert own["reason"] == "not-offered"
    assert "ml-kem-offered-and-declined" not in [o["id"] for o in own["observations"]]
