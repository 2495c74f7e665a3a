"""``pqaudit audit`` on what two real IKE daemons say to each other. Their own logs and lists are what is right."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pqaudit.finding.document import Document
from tests import build as b
from tests.daemons.log import Sa
from tests.daemons.peers import Options, Peers, wait_for

CLASSICAL = "aes256-sha256-x25519"
HYBRID = "aes256-sha256-x25519-ke1_mlkem768"
MORE = "aes256gcm16-prfsha384-ecp384-ke1_mlkem1024"

# IANA's numbers and key lengths, by strongSwan's names.
NUMBERS = {
    "AES_CBC_256": (12, 256), "AES_GCM_16_256": (20, 256), "HMAC_SHA2_256_128": (12, None),
    "PRF_HMAC_SHA2_256": (5, None), "PRF_HMAC_SHA2_384": (6, None),
}  # fmt: skip

HYBRID_FOUND = ("hybrid-ml-kem", "draft-compliant", "ml-kem")
ESTABLISHED: list[tuple[str, str | tuple[str, ...], Options, tuple[str, str, str]]] = [
    ("classical", CLASSICAL, {}, ("classical-only", "not-offered", "none")),
    ("x25519 and ML-KEM-768", HYBRID, {}, HYBRID_FOUND),
    ("ecp384 and ML-KEM-1024", MORE, {}, HYBRID_FOUND),
    ("two additional", "aes256-sha256-x25519-ke1_mlkem512-ke2_ecp256", {}, HYBRID_FOUND),
    ("only classical ones", "aes256-sha256-x25519-ke1_ecp384", {},
     ("classical-only", "additional-exchanges-classical", "none")),
    ("ML-KEM alone", "aes256-sha256-mlkem768", {}, ("ml-kem-only", "ml-kem-without-classical", "ml-kem")),
    ("childless", HYBRID, {"childless": True}, HYBRID_FOUND),
    ("PPK", CLASSICAL, {"ppk": "ab", "ppk_required": True}, ("classical-only", "not-offered", "ppk")),
    ("PPK and ML-KEM", HYBRID, {"ppk": "ab"}, HYBRID_FOUND),
    ("PPK on one side", CLASSICAL, {"ppk": "a"}, ("classical-only", "not-offered", "none")),
    ("declined", (HYBRID, CLASSICAL), {"answer": CLASSICAL}, ("classical-only", "responder-declined", "none")),
    ("port 4500", HYBRID, {"connection": {"mobike": "yes"}}, HYBRID_FOUND),
]  # fmt: skip


def audit(capture: Path) -> dict[str, Document]:
    """Findings by the initiator's SPI, from a process as a user starts it."""
    done = subprocess.run(
        [sys.executable, "-m", "pqaudit", "audit", "--format", "jsonl", str(capture)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    return {finding["pqaudit"]["ike"]["initiator_spi"]: finding for finding in findings}


def found(finding: Document) -> tuple[str, str, str]:
    own = finding["pqaudit"]
    return own["verdict"], own["reason"], own["protection"]


def assert_selected(finding: Document, sa: Sa) -> None:
    """What a daemon said of an IKE_SA whose key exchange was seen."""
    own, selected = finding["pqaudit"], finding["pqaudit"]["selected"]
    assert (own["ike"]["initiator_spi"], own["ike"]["responder_spi"]) == (sa.initiator_spi, sa.responder_spi)
    additional = {each["slot"]: each["id"] for each in selected["additional_key_exchanges"]}
    assert [selected["key_exchange"]["id"], *additional.values()] == sa.key_exchanges
    assert additional == sa.additional
    symmetric = [NUMBERS[name] for name in sa.proposal if name in NUMBERS]
    integrity = [(selected["integrity"]["id"], None)] if selected["integrity"] else []
    encryption = (selected["encryption"]["id"], selected["encryption"]["key_bits"])
    assert [encryption, *integrity, (selected["prf"]["id"], None)] == symmetric


@pytest.fixture(autouse=True)
def _nothing_before(peers: Peers) -> None:
    """So that deleting what an earlier test left is in no capture."""
    peers.terminate()


@contextmanager
def half_open(peers: Peers) -> Iterator[None]:
    """While one IKE_SA is half open, the responder asks everybody for a cookie."""
    peers.terminate()
    peers.b.stop()
    peers.b.start({"cookie_threshold": "1"})
    try:
        peers.set_up((HYBRID, "aes256gcm16-prfsha256-x25519"))
        key = (34, struct.pack("!HH", 31, 0) + os.urandom(32))
        offer = b.sa((*b.SUITE, (b.KE, 31)))
        peers.a.send(b.message(b.INIT, [offer, key, b.nonce()], spi_i=os.urandom(8)), peers.b.address, 500)
        wait_for(lambda: "1 half-open" in peers.b.swanctl("--stats"), "a half-open IKE_SA")
        yield
    finally:
        peers.b.kill()
        peers.b.start()


@pytest.mark.parametrize(
    ("proposal", "options", "expected"), [case[1:] for case in ESTABLISHED], ids=[case[0] for case in ESTABLISHED]
)
def test_established(
    proposal: str | tuple[str, ...], options: Options, expected: tuple[str, str, str], peers: Peers, tmp_path: Path
) -> None:
    with peers.record(tmp_path / "capture.pcap") as capture:
        sa = peers.establish(proposal, **options)
    finding = audit(capture)[sa.initiator_spi]
    assert_selected(finding, sa)
    assert found(finding) == expected
    own = finding["pqaudit"]
    assert own["assurance"] == "executed"
    assert own["observed"]["exchanges"]["IKE_INTERMEDIATE"] == len(sa.additional)
    assert sa.ppk == (options.get("ppk") == "ab")
    assert own["ppk"] == ("negotiated" if sa.ppk else "offered" if options.get("ppk") else "not-offered")
    assert (finding["source"]["ip"], finding["destination"]["ip"]) == (peers.a.address, peers.b.address)


def test_rekeyed(peers: Peers, tmp_path: Path) -> None:
    with peers.record(tmp_path / "capture.pcap") as capture:
        first = peers.establish(HYBRID, child="aes256gcm16-x25519-ke1_mlkem768")
        peers.rekey_child()
        second = peers.rekey_ike()
        third = peers.rekey_ike("b")
        peers.terminate()
    assert peers.a.sas() == peers.b.sas() == [first, second, third]
    assert second.key_exchanges == third.key_exchanges == [31, 36]
    findings = audit(capture)
    # The third was begun by the other side, which thereby is its initiator.
    assert set(findings) == {sa.initiator_spi for sa in (first, second, third)}
    assert_selected(findings[first.initiator_spi], first)
    assert findings[first.initiator_spi]["pqaudit"]["observed"]["exchanges"]["IKE_FOLLOWUP_KE"] == 2
    for old, new in ((first, second), (second, third)):
        finding = findings[new.initiator_spi]
        own, origin = finding["pqaudit"], finding["pqaudit"]["related"]["probably_rekeyed_from"]
        assert own["ike"]["responder_spi"] == new.responder_spi
        # What was selected is inside the encryption: only the daemons know.
        assert found(finding) == ("undetermined", "negotiation-not-captured", "unknown")
        assert own["selected"]["key_exchange"] is None
        assert new.replaces == (old.initiator_spi, old.responder_spi)
        assert (origin["initiator_spi"], origin["responder_spi"]) == new.replaces


def test_silently_weakened_by_a_rekeying(peers: Peers, tmp_path: Path) -> None:
    with peers.record(tmp_path / "capture.pcap") as capture:
        # A responder goes by its own order: in the rekeying that is the other side.
        first = peers.establish((CLASSICAL, HYBRID), answer=(HYBRID, CLASSICAL))
        second = peers.rekey_ike("b")
    assert (first.key_exchanges, second.key_exchanges) == ([31, 36], [31])
    finding = audit(capture)[first.initiator_spi]
    assert found(finding) == HYBRID_FOUND
    assert "rekey-without-additional-exchange" in [each["id"] for each in finding["pqaudit"]["observations"]]


def test_no_proposal_chosen(peers: Peers, tmp_path: Path) -> None:
    with peers.record(tmp_path / "capture.pcap") as capture:
        said = peers.attempt(CLASSICAL, answer=HYBRID)
    assert "received NO_PROPOSAL_CHOSEN notify error" in said
    (sa,) = peers.a.sas()
    assert (sa.proposal, sa.responder_spi, sa.established) == ((), "", False)
    (finding,) = audit(capture).values()
    assert finding["pqaudit"]["ike"] == {
        "version": "2.0", "initiator_spi": sa.initiator_spi, "responder_spi": None,
    }  # fmt: skip
    assert found(finding) == ("undetermined", "no-proposal-chosen", "unknown")
    assert finding["pqaudit"]["assurance"] == "offered"


def test_authentication_fails_after_the_key_exchange(peers: Peers, tmp_path: Path) -> None:
    with peers.record(tmp_path / "capture.pcap") as capture:
        said = peers.attempt(HYBRID, psk_of_b="another secret")
    assert "AUTHENTICATION_FAILED" in said
    (sa,) = peers.a.sas()
    assert not sa.established
    (finding,) = audit(capture).values()
    assert_selected(finding, sa)
    assert found(finding) == HYBRID_FOUND


def test_another_method_is_asked_for(peers: Peers, tmp_path: Path) -> None:
    with peers.record(tmp_path / "capture.pcap") as capture:
        sa = peers.establish("aes256-sha256-x25519-ecp384-ke1_mlkem768", answer="aes256-sha256-ecp384-ke1_mlkem768")
    assert sa.key_exchanges == [20, 36]
    assert "requested ECP_384" in peers.log_a
    (finding,) = audit(capture).values()
    assert_selected(finding, sa)
    assert found(finding) == HYBRID_FOUND
    assert finding["pqaudit"]["observed"]["ike_sa_init_retries"] == 1


def test_a_cookie_is_asked_for(peers: Peers, tmp_path: Path) -> None:
    with half_open(peers), peers.record(tmp_path / "capture.pcap") as capture:
        said = peers.initiate()
        (sa,) = (sa for sa in peers.a.sas() if sa.established)
    assert "N(COOKIE)" in said
    finding = audit(capture)[sa.initiator_spi]
    assert_selected(finding, sa)
    assert found(finding) == HYBRID_FOUND
    assert finding["pqaudit"]["observed"]["ike_sa_init_retries"] == 1
