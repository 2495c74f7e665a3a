"""What an assessment says beside its status, and what it must never take for a pass."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.policy.assess import Status, assess, deadline_states
from tests.conftest import SAMPLES, audit
from tests.policy.make import (
    AES_CBC,
    AES_GCM,
    TODAY,
    TRIPLE_DES,
    assessed,
    finding,
    ikev1,
    policies,
    registry,
    slugs,
    status,
    unseen,
)

GOOD = finding("p384+1024")
NOT_EXECUTED = {"verdict": "undetermined", "reason": "selected-exchange-not-executed", "assurance": "contradicted"}


def test_a_failure_to_come_says_when_why_and_who() -> None:
    found = assessed(finding("p384"), "cnsa-2.0")
    assert (found.status, found.fails_on, found.responsibility) == (Status.WILL_FAIL, date(2031, 1, 1), "initiator")
    reason = found.reasons[0]
    assert (reason.slug, reason.requirement, reason.value) == ("key-exchange-lacking", "ml-kem-1024", "ecp384")
    assert reason.field == "pqaudit.selected.key_exchange"
    assert reason.sentence == "ecp384 was selected; one of ml-kem-1024 is required."
    assert reason.certainty == found.certainty == "second-hand"
    assert [(d.deadline.id, d.days_left, d.passed) for d in found.deadlines] == [
        ("preferred", 36, False),
        ("exclusive", 1497, False),
        ("mandated", 1862, False),
        ("all-systems", 3323, False),
    ]
    assert {item.id for item in found.not_visible} >= {"signatures", "ppk-use", "child-sa"}


def test_what_is_met_rests_on_fields_and_concerns_no_deadline_and_nobody() -> None:
    found = assessed(GOOD, "cnsa-2.0")
    assert (found.status, found.fails_on, found.responsibility, found.deadlines) == (Status.MEETS, None, None, ())
    assert {r.field.removeprefix("pqaudit.selected.") for r in found.reasons} == {
        "additional_key_exchanges",
        "encryption",
        "prf",
    }
    # The list of classical groups beside ML-KEM is unsure, and so is what rests on it.
    assert found.certainty == "unsure"
    assert assessed(finding("1024"), "asd-ism").certainty == "second-hand"


def test_a_failure_without_anyone_named_is_of_unknown_responsibility() -> None:
    assert assessed(finding("p384+768"), "cnsa-2.0").responsibility == "unknown"


@pytest.mark.parametrize(("day", "left", "passed"), [(30, 1, False), (31, 0, False), (32, -1, True)])
def test_days_left_of_a_last_day(day: int, left: int, passed: bool) -> None:
    as_of = date(2030, 12, day) if day < 32 else date(2031, 1, 1)
    (state,) = [s for s in deadline_states(policies()["cnsa-2.0"].deadlines, as_of) if s.deadline.id == "exclusive"]
    assert (state.days_left, state.passed, state.applies) == (left, passed, True)


@pytest.mark.parametrize(("as_of", "left", "passed"), [(date(2026, 12, 31), 1, False), (date(2027, 1, 1), 0, True)])
def test_days_left_to_a_first_day(as_of: date, left: int, passed: bool) -> None:
    states = deadline_states(policies()["cnsa-2.0"].deadlines, as_of)
    (state,) = [s for s in states if s.deadline.id == "acquisitions"]
    assert (state.days_left, state.passed, state.applies) == (left, passed, False)
    assert [s.deadline.day for s in states] == sorted(s.deadline.day for s in states)


def test_a_deadline_of_some_is_told_when_it_has_passed_and_decides_for_those_who_are_named() -> None:
    later = date(2033, 1, 1)
    found = assessed(finding("p384"), "uk-ncsc", later)
    assert (found.status, found.fails_on) == (Status.WILL_FAIL, date(2036, 1, 1))
    (note,) = [reason for reason in found.reasons if reason.slug == "late-for-some"]
    assert note.begins == date(2032, 1, 1)
    named = assessed(finding("p384"), "uk-ncsc", later, "high-priority")
    assert (named.status, named.fails_on) == (Status.FAILS_NOW, date(2032, 1, 1))


def test_a_requirement_that_is_over_asks_nothing() -> None:
    assert status(finding("p384"), "cnsa-1.0-rfc9206", date(2030, 12, 31)) == "meets"
    over = assessed(finding("p384"), "cnsa-1.0-rfc9206", date(2031, 1, 1))
    assert (over.status, slugs(over)) == (Status.NOT_ASSESSABLE, {"no-requirement"})


class TestNeverAPass:
    @pytest.mark.parametrize(
        "document",
        [
            unseen(),
            unseen(assurance="selected"),
            finding("p384+1024", assurance="offered"),
            finding("p384+1024", assurance="contradicted"),
            finding("p384+1024", verdict="undetermined"),
            finding("p384+1024", **NOT_EXECUTED),
            finding("p384+1024", assurance="something new"),
            finding("p384+1024", schema_version=2),
            finding("p384+1024", deviations=[{"id": "several-transforms-selected"}]),
            finding("p384+1024", deviations=[{"id": "several-proposals-selected"}]),
            finding("p384+1024", deviations=[{"id": "selection-not-offered"}]),
            finding("p384+1024", deviations=[{"id": "ke-payload-method"}]),
            finding("p384+1024", deviations=None),
            finding("p384+1024", weaknesses=None),
            finding("p384+1024", ike={"version": "3.0"}),
            finding("p384+1024", prf=1024),
            finding("p384+1024", cipher=(1030, 256)),
            finding("p384+1024", cipher=(AES_GCM, None)),
            finding("p384+1024", cipher=(AES_CBC, 256)),
        ],
        ids=lambda document: document["pqaudit"]["assurance"],
    )
    def test_of_cnsa(self, document: dict[str, Any]) -> None:
        assert status(document, "cnsa-2.0") == "not-assessable"

    def test_what_is_not_selected_for_certain_is_no_failure_either(self) -> None:
        assert status(finding("p384", assurance="offered"), "cnsa-2.0", date(2040, 1, 1)) == "not-assessable"
        assert slugs(assessed(unseen(), "cnsa-2.0")) == {"undetermined"}

    def test_what_is_certain_fails_although_the_exchanges_are_contradicted(self) -> None:
        weak = finding("modp1024+768", cipher=(TRIPLE_DES, None), integrity=12, **NOT_EXECUTED)
        assert slugs(assessed(weak, "nist-sp-800-131a")) >= {"encryption-forbidden"}
        assert status(finding("p384+768", **NOT_EXECUTED), "cnsa-2.0", date(2031, 1, 1)) == "fails-now"
        # With ML-KEM-1024 it would pass, without it would fail: which of the two does not show.
        assert slugs(assessed(finding("p384+1024", **NOT_EXECUTED), "eo-14412")) == {"contradicted"}

    def test_a_forbidden_group_that_may_not_have_run_is_uncertain(self) -> None:
        assert status(finding("p256+22", assurance="contradicted"), "ietf-classical-baseline") == "not-assessable"
        assert status(finding("22+19", assurance="contradicted"), "ietf-classical-baseline") == "fails-now"

    def test_a_weak_choice_that_the_policy_does_not_cover(self) -> None:
        weak = [{"id": "weak-encryption", "what": "ENCR_3DES", "level": "64-bit block", "source": "RFC 8247"}]
        found = assessed(finding(cipher=(TRIPLE_DES, None), integrity=12, weaknesses=weak), "uk-ncsc")
        assert (found.status, slugs(found)) == (Status.NOT_ASSESSABLE, {"weak-choice-not-covered"})
        assert found.not_covered == ("encryption", "prf", "integrity")

    def test_no_integrity_beside_a_cipher_without_its_own(self) -> None:
        found = assessed(finding(cipher=(AES_CBC, 256), integrity=0), "uk-ncsc")
        assert (found.status, slugs(found)) == (Status.NOT_ASSESSABLE, {"no-integrity"})

    def test_a_hybrid_that_was_only_selected_is_noted(self) -> None:
        found = assessed(finding("p384+1024", assurance="selected"), "cnsa-2.0")
        assert found.status is Status.MEETS
        assert [r.slug for r in found.reasons if r.effect is None] == ["not-seen-to-run"]


class TestIkev1:
    def test_in_use_it_fails_for_certain_though_its_negotiation_was_not_seen(self) -> None:
        running = {"assurance": "offered", "observed": {"exchanges": {"QUICK_MODE": 1}}}
        document = ikev1(group=None, **running)
        document["pqaudit"]["selected"] = unseen()["pqaudit"]["selected"]
        assert status(document, "ietf-classical-baseline") == "fails-now"
        assert slugs(assessed(document, "eo-14412")) == {"ikev1"}
        assert status(document, "nist-sp-800-131a") == "not-assessable"

    def test_an_attempt_without_an_answer_is_no_sa(self) -> None:
        document = ikev1(group=None, assurance="offered", observed={"exchanges": {"IDENTITY_PROTECTION": 0}})
        assert slugs(assessed(document, "ietf-classical-baseline")) == {"not-selected"}

    def test_its_ciphers_are_judged_by_their_names_in_ikev2(self) -> None:
        assert "encryption-forbidden" in slugs(assessed(ikev1(cipher=5, bits=None), "nist-sp-800-131a"))
        assert "key-too-short" in slugs(assessed(ikev1(group=20, bits=128), "cnsa-1.0-rfc9206"))
        assert status(ikev1(group=20), "cnsa-1.0-rfc9206") == "not-assessable"


# Any JSON; among it what findings hold.
WORDS = st.sampled_from(["1.0", "2.0", "executed", "selected", "contradicted", "hybrid-ml-kem", "x", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70000) | st.floats(allow_nan=False) | WORDS | st.text(max_size=4),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(GOOD["pqaudit"])
SELECTED = sorted(GOOD["pqaudit"]["selected"])


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.dictionaries(st.sampled_from(SELECTED), JSON))
def test_a_damaged_finding_raises_nothing_and_never_turns_into_a_pass(
    own: dict[str, Any], chosen: dict[str, Any]
) -> None:
    document = copy.deepcopy(finding("p384+768"))
    document["pqaudit"]["selected"].update(chosen)
    document["pqaudit"].update(own)
    for policy in policies().values():
        found = assess(document, policy, TODAY, registry())
        if policy.id == "cnsa-2.0" and not {"selected"} & set(own) and "additional_key_exchanges" not in chosen:
            assert found.status is not Status.MEETS


@settings(max_examples=50, deadline=None)
@given(JSON)
def test_no_document_at_all(document: Any) -> None:
    for policy in policies().values():
        assert assess(document, policy, TODAY, registry()).status is Status.NOT_ASSESSABLE


@settings(max_examples=100, deadline=None)
@given(st.dates(date(2024, 1, 1), date(2040, 1, 1)), st.dates(date(2024, 1, 1), date(2040, 1, 1)))
def test_time_only_makes_it_worse(one: date, other: date) -> None:
    earlier, later = sorted((one, other))
    for policy in policies().values():
        if any(requirement.until is not None for requirement in policy.requirements):
            continue
        for exchange in ("modp2048", "p384", "x25519+768", "p384+1024", "768"):
            document = finding(exchange)
            before = assess(document, policy, earlier, registry()).status.rank
            assert assess(document, policy, later, registry()).status.rank <= before


def test_samples() -> None:
    expected = {
        "hybrid_ecp384_mlkem1024.pcap": ("meets", "meets"),
        "hybrid_x25519_mlkem768.pcap": ("fails-now", "meets"),
        "classical_x25519.pcap": ("fails-now", "will-fail"),
        "midstream_no_ike_sa_init.pcap": ("not-assessable", "not-assessable"),
        "private_x25519_ke1-1081.pcap": ("fails-now", "not-assessable"),
    }
    for name, statuses in expected.items():
        (document, *_), _ = audit(SAMPLES / name)
        assert (status(document, "cnsa-2.0"), status(document, "uk-ncsc")) == statuses, name
