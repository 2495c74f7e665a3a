"""The policies that travel with pqaudit, against what they say: values are stated here, not taken from the files."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from pqaudit.policy.model import CERTAINTIES
from tests.conftest import REPOSITORY
from tests.policy.make import (
    AES_CBC,
    AES_GCM,
    CHACHA,
    DES,
    SHA1,
    SHA256,
    TRIPLE_DES,
    assessed,
    finding,
    ikev1,
    policies,
    status,
)

FILES = sorted((REPOSITORY / "rules" / "policies").iterdir())
EXPECTED = {
    "anssi",
    "asd-ism",
    "bsi-tr-02102",
    "cccs-itsm-40-001",
    "cloudflare-2029",
    "cnsa-1.0-rfc9206",
    "cnsa-2.0",
    "cnsa-2.0-ipsec-profile",
    "eo-14144-14306",
    "eo-14412",
    "eu-roadmap",
    "ietf-classical-baseline",
    "ietf-ml-kem",
    "japan",
    "korea-master-plan",
    "nist-ir-8547",
    "nist-sp-800-131a",
    "nsm-10",
    "singapore-csa",
    "uk-ncsc",
}


class TestShape:
    def test_all_are_there(self) -> None:
        assert set(policies()) == EXPECTED

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_each_lies_under_its_id_and_says_how_certain_its_parts_are(self, path: Path) -> None:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert data["id"] == path.stem
        parts = [*data.get("deadlines", []), *data.get("requirements", [])]
        for part in (data, *parts):
            assert part["certainty"] in CERTAINTIES, part
            assert (part["certainty"] == "unsure") == ("unsure" in part), part

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_what_was_not_read_is_marked(self, path: Path) -> None:
        policy = policies()[path.stem]
        if policy.certainty != "read":
            assert policy.not_read is not None
            assert not policy.read_in_original

    def test_signatures_preshared_keys_and_child_sas_are_never_visible(self) -> None:
        for policy in policies().values():
            assert {item.id for item in policy.not_visible} >= {"signatures", "ppk-use", "child-sa", "rekeys"}


DEADLINES = [
    ("cnsa-2.0", "preferred", date(2026, 12, 31), "should", None),
    ("cnsa-2.0", "acquisitions", date(2027, 1, 1), "must", "new"),
    ("cnsa-2.0", "exclusive", date(2030, 12, 31), "must", None),
    ("cnsa-2.0", "mandated", date(2031, 12, 31), "must", None),
    ("cnsa-2.0", "all-systems", date(2035, 12, 31), "must", None),
    ("eo-14412", "pilot", date(2027, 12, 31), "plan", None),
    ("eo-14412", "key-establishment", date(2030, 12, 31), "must", None),
    ("eo-14412", "signatures", date(2031, 12, 31), "must", None),
    ("nsm-10", "goal", date(2035, 12, 31), "must", None),
    ("nist-ir-8547", "deprecated", date(2030, 12, 31), "should", None),
    ("nist-ir-8547", "disallowed", date(2035, 12, 31), "must", None),
    ("nist-sp-800-131a", "triple-des", date(2023, 12, 31), "must", None),
    ("nist-sp-800-131a", "bits-128", date(2030, 12, 31), "must", None),
    ("uk-ncsc", "plan", date(2028, 12, 31), "plan", None),
    ("uk-ncsc", "first", date(2031, 12, 31), "must", "high-priority"),
    ("uk-ncsc", "complete", date(2035, 12, 31), "must", None),
    ("eu-roadmap", "first-steps", date(2026, 12, 31), "plan", None),
    ("eu-roadmap", "high-risk", date(2030, 12, 31), "must", "high-priority"),
    ("eu-roadmap", "medium-risk", date(2035, 12, 31), "must", None),
    ("bsi-tr-02102", "very-high-protection", date(2030, 12, 31), "must", "high-priority"),
    ("bsi-tr-02102", "classical-alone", date(2031, 12, 31), "must", None),
    ("bsi-tr-02102", "signatures", date(2035, 12, 31), "must", None),
    ("anssi", "visas", date(2027, 1, 1), "must", "new"),
    ("anssi", "classified", date(2030, 12, 31), "must", None),
    ("asd-ism", "critical-systems", date(2028, 12, 31), "should", "high-priority"),
    ("asd-ism", "end-of-classical", date(2030, 12, 31), "must", None),
    ("cccs-itsm-40-001", "plan", date(2026, 4, 30), "plan", None),
    ("cccs-itsm-40-001", "high-priority", date(2031, 12, 31), "must", "high-priority"),
    ("cccs-itsm-40-001", "remaining", date(2035, 12, 31), "must", None),
    ("korea-master-plan", "complete", date(2035, 12, 31), "must", None),
    ("japan", "target", date(2035, 12, 31), "must", None),
    ("cloudflare-2029", "target", date(2029, 12, 31), "must", None),
]


@pytest.mark.parametrize(("policy", "identifier", "day", "level", "only"), DEADLINES)
def test_deadlines(policy: str, identifier: str, day: date, level: str, only: str | None) -> None:
    (found,) = [d for d in policies()[policy].deadlines if d.id == identifier]
    assert (found.day, found.level, found.only) == (day, level, only)


CLASSICAL, HYBRID_768, HYBRID_1024 = finding("p384"), finding("x25519+768"), finding("p384+1024")

STATUS = [
    # CNSA 2.0: ML-KEM-1024 and AES-256 and SHA-384, nothing less.
    ("cnsa-2.0", HYBRID_1024, "meets"),
    ("cnsa-2.0", finding("1024"), "meets"),
    ("cnsa-2.0", finding("p384+1024", cipher=(AES_CBC, 256), integrity=13), "meets"),
    ("cnsa-2.0", CLASSICAL, "will-fail"),
    ("cnsa-2.0", finding("p384+768"), "will-fail"),
    ("cnsa-2.0", finding("768"), "will-fail"),
    ("cnsa-2.0", finding("p384+512"), "will-fail"),
    ("cnsa-2.0", finding("p384+1024", cipher=(AES_GCM, 128)), "fails-now"),
    ("cnsa-2.0", finding("p384+1024", cipher=(CHACHA, 256)), "fails-now"),
    ("cnsa-2.0", finding("p384+1024", prf=SHA256), "fails-now"),
    ("cnsa-2.0", finding("p384+1024", cipher=(AES_CBC, 256), integrity=12), "fails-now"),
    ("cnsa-2.0", finding("p384+1024", cipher=(AES_GCM, None)), "not-assessable"),
    # What it says of the classical part is unsure: neither a pass nor a failure.
    ("cnsa-2.0", finding("x25519+1024"), "not-assessable"),
    # Pre-standard Kyber hides behind private-use numbers.
    ("cnsa-2.0", finding("p384+1082", verdict="rfc9370-non-standard"), "not-assessable"),
    ("cnsa-2.0-ipsec-profile", HYBRID_1024, "not-assessable"),
    ("cnsa-2.0-ipsec-profile", finding("p384+768"), "fails-now"),
    ("cnsa-1.0-rfc9206", CLASSICAL, "meets"),
    ("cnsa-1.0-rfc9206", finding("modp3072"), "meets"),
    ("cnsa-1.0-rfc9206", finding("p256"), "fails-now"),
    ("cnsa-1.0-rfc9206", finding("modp2048"), "fails-now"),
    ("cnsa-1.0-rfc9206", finding("p384", cipher=(AES_GCM, 128)), "fails-now"),
    ("eo-14412", finding("x25519+512"), "meets"),
    ("eo-14412", CLASSICAL, "will-fail"),
    ("nsm-10", HYBRID_768, "meets"),
    ("nsm-10", CLASSICAL, "will-fail"),
    ("nist-ir-8547", HYBRID_768, "meets"),
    ("nist-ir-8547", finding("modp2048+768"), "meets"),
    ("nist-ir-8547", CLASSICAL, "will-fail"),
    ("nist-sp-800-131a", CLASSICAL, "meets"),
    ("nist-sp-800-131a", finding("modp2048"), "will-fail"),
    ("nist-sp-800-131a", finding("modp1024"), "fails-now"),
    ("nist-sp-800-131a", finding("ecp192"), "fails-now"),
    ("nist-sp-800-131a", finding("5"), "fails-now"),
    ("nist-sp-800-131a", finding("22"), "fails-now"),
    ("nist-sp-800-131a", finding("p384", cipher=(TRIPLE_DES, None), integrity=12), "fails-now"),
    ("nist-sp-800-131a", finding("p384", cipher=(DES, None), integrity=12), "fails-now"),
    ("nist-sp-800-131a", finding("p384", prf=SHA1), "will-fail"),
    ("nist-sp-800-131a", finding("p384", prf=1), "fails-now"),
    ("nist-sp-800-131a", finding("x25519"), "not-assessable"),
    ("nist-sp-800-131a", ikev1(cipher=5, bits=None), "fails-now"),
    ("uk-ncsc", HYBRID_768, "meets"),
    ("uk-ncsc", finding("768"), "meets"),
    ("uk-ncsc", finding("x25519+512"), "not-assessable"),
    ("uk-ncsc", CLASSICAL, "will-fail"),
    ("eu-roadmap", HYBRID_768, "meets"),
    ("eu-roadmap", finding("768"), "not-assessable"),
    ("eu-roadmap", CLASSICAL, "will-fail"),
    # BSI: ML-KEM-768 or -1024, never alone; FrodoKEM has private-use numbers only, which do not tell.
    ("bsi-tr-02102", HYBRID_768, "meets"),
    ("bsi-tr-02102", HYBRID_1024, "meets"),
    ("bsi-tr-02102", finding("768"), "fails-now"),
    ("bsi-tr-02102", finding("x25519+512"), "will-fail"),
    ("bsi-tr-02102", finding("modp2048+768"), "not-assessable"),
    ("bsi-tr-02102", finding("p256+1084", verdict="rfc9370-non-standard"), "not-assessable"),
    ("bsi-tr-02102", finding("bp256"), "will-fail"),
    ("anssi", HYBRID_768, "meets"),
    ("anssi", finding("1024"), "fails-now"),
    ("anssi", CLASSICAL, "will-fail"),
    # ASD: ML-KEM-768 is approved until 2030, and so are AES-128 and SHA-256.
    ("asd-ism", HYBRID_1024, "meets"),
    ("asd-ism", HYBRID_768, "will-fail"),
    ("asd-ism", finding("p384+1024", cipher=(AES_GCM, 128)), "will-fail"),
    ("asd-ism", finding("p384+1024", prf=SHA256), "will-fail"),
    ("cccs-itsm-40-001", HYBRID_768, "meets"),
    ("cccs-itsm-40-001", finding("x25519+512"), "not-assessable"),
    ("cccs-itsm-40-001", CLASSICAL, "will-fail"),
    ("cloudflare-2029", HYBRID_768, "meets"),
    ("cloudflare-2029", finding("x25519+512"), "will-fail"),
    ("ietf-classical-baseline", CLASSICAL, "meets"),
    ("ietf-classical-baseline", finding("p256", prf=SHA1), "meets"),
    ("ietf-classical-baseline", finding("1"), "fails-now"),
    ("ietf-classical-baseline", finding("22"), "fails-now"),
    ("ietf-classical-baseline", finding("modp1024"), "not-assessable"),
    ("ietf-classical-baseline", finding("p256", cipher=(DES, None), integrity=12), "fails-now"),
    ("ietf-classical-baseline", finding("p256", cipher=(11, None), integrity=12), "fails-now"),
    ("ietf-classical-baseline", finding("p256", cipher=(AES_CBC, 128), integrity=1), "fails-now"),
    ("ietf-classical-baseline", finding("p256", cipher=(AES_CBC, 128), integrity=0), "fails-now"),
    ("ietf-classical-baseline", finding("p256", prf=1), "fails-now"),
    ("ietf-classical-baseline", ikev1(), "fails-now"),
    ("ietf-ml-kem", HYBRID_768, "meets"),
    ("ietf-ml-kem", finding("512"), "meets"),
    ("ietf-ml-kem", CLASSICAL, "fails-now"),
    ("ietf-ml-kem", finding(deviations=[{"id": "intermediate-not-announced"}]), "fails-now"),
    ("ietf-ml-kem", finding("768", deviations=[{"id": "large-ml-kem-over-udp"}]), "meets"),
    *(
        (silent, HYBRID_1024, "not-assessable")
        for silent in ("eo-14144-14306", "japan", "korea-master-plan", "singapore-csa")
    ),
]


@pytest.mark.parametrize(("policy", "document", "expected"), STATUS)
def test_what_meets_and_what_fails(policy: str, document: dict[str, object], expected: str) -> None:
    assert status(document, policy) == expected


@pytest.mark.parametrize("policy", sorted(EXPECTED))
def test_no_policy_is_met_by_ikev1_or_des(policy: str) -> None:
    weak = [{"id": "weak-encryption", "what": "ENCR_DES", "level": "must-not", "source": "RFC 8247"}]
    assert status(finding("p384+1024", cipher=(DES, None), integrity=13, weaknesses=weak), policy) != "meets"
    old = [{"id": "weak-ike-version", "what": "IKEv1", "level": "deprecated", "source": "RFC 9395"}]
    assert status(ikev1(weaknesses=old), policy) != "meets"


ENDS = [
    ("cnsa-2.0", CLASSICAL, date(2030, 12, 31), ()),
    ("cnsa-2.0", finding("p384+768"), date(2030, 12, 31), ()),
    ("eo-14412", CLASSICAL, date(2030, 12, 31), ()),
    ("nist-ir-8547", CLASSICAL, date(2035, 12, 31), ()),
    ("nist-sp-800-131a", finding("modp2048"), date(2030, 12, 31), ()),
    ("uk-ncsc", CLASSICAL, date(2035, 12, 31), ()),
    ("uk-ncsc", CLASSICAL, date(2031, 12, 31), ("high-priority",)),
    ("eu-roadmap", CLASSICAL, date(2035, 12, 31), ()),
    ("eu-roadmap", CLASSICAL, date(2030, 12, 31), ("high-priority",)),
    ("bsi-tr-02102", CLASSICAL, date(2031, 12, 31), ()),
    ("bsi-tr-02102", CLASSICAL, date(2030, 12, 31), ("high-priority",)),
    ("anssi", CLASSICAL, date(2030, 12, 31), ()),
    ("anssi", CLASSICAL, date(2030, 12, 31), ("new",)),  # the year of the rule for new products is unsure
    ("asd-ism", HYBRID_768, date(2030, 12, 31), ()),
    ("cccs-itsm-40-001", CLASSICAL, date(2035, 12, 31), ()),
    ("cccs-itsm-40-001", CLASSICAL, date(2031, 12, 31), ("high-priority",)),
    ("cloudflare-2029", CLASSICAL, date(2029, 12, 31), ()),
]


@pytest.mark.parametrize(("policy", "document", "last", "groups"), ENDS)
def test_it_fails_from_the_day_after_its_deadline(
    policy: str, document: dict[str, object], last: date, groups: tuple[str, ...]
) -> None:
    before, after = last.replace(day=last.day - 1), date(last.year + 1, 1, 1)
    assert status(document, policy, before, *groups) == "will-fail"
    assert status(document, policy, last, *groups) == "will-fail"
    assert status(document, policy, after, *groups) == "fails-now"


def test_what_counts_until_2030_in_australia_is_begun_in_time() -> None:
    begun, not_begun = (
        {
            r.requirement
            for r in assessed(document, "asd-ism", date(2029, 1, 1), "high-priority").reasons
            if r.effect != "meets"
        }
        for document in (finding("p384+768"), finding("p384"))
    )
    assert (begun, not_begun) == ({"ml-kem-1024"}, {"ml-kem-1024", "ml-kem"})
