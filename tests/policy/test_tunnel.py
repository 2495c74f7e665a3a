"""Which SA decides for a pair of peers."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqaudit.policy.tunnel import TunnelAssessment, TunnelAssessor, assess_tunnel
from tests.policy.make import TODAY, finding, ikev1, policies, registry, unseen

EARLY, LATE, LATER = "2026-11-20T10:00:00Z", "2026-11-20T11:00:00.5Z", "2026-11-20T11:00:00.51Z"
REKEYED = {"related": {"probably_rekeyed_from": {"initiator_spi": "1" * 16}}}


def tunnel(*findings: dict[str, Any], policy: str = "eo-14412") -> TunnelAssessment:
    return assess_tunnel(findings, policies()[policy], TODAY, registry())


def outcome(*findings: dict[str, Any]) -> str:
    return tunnel(*findings).assessment.status.value


def test_the_latest_negotiated_sa_decides_whoever_initiated() -> None:
    classical, hybrid = finding("p256", start=EARLY, id="a"), finding(start=LATE, id="b")
    back = finding("p256", start=LATER, id="c", peers=("192.0.2.2", "192.0.2.1"))
    found = tunnel(hybrid, classical)
    assert (found.assessment.status.value, found.decided_by, found.sas) == ("meets", "b", 2)
    assert (found.peers, found.later_not_seen) == (("192.0.2.1", "192.0.2.2"), False)
    found = tunnel(back, hybrid, classical)
    assert (found.assessment.status.value, found.decided_by, found.sas) == ("will-fail", "c", 3)


def test_times_of_different_resolution_are_compared_as_times() -> None:
    assert outcome(finding("p256", start="2026-11-20T10:00:00Z"), finding(start="2026-11-20T10:00:00.5Z")) == "meets"


def test_of_two_that_began_at_once_the_worse_decides() -> None:
    assert outcome(finding(start=EARLY, id="b"), finding("p256", start=EARLY, id="a")) == "will-fail"
    assert outcome(finding(start=EARLY, id="a"), finding("p256", start=EARLY, id="b")) == "will-fail"


def test_a_later_sa_in_use_whose_negotiation_does_not_show_is_no_pass() -> None:
    found = tunnel(finding(start=EARLY, id="a"), unseen(start=LATE, id="b"))
    assert (found.assessment.status.value, found.decided_by, found.later_not_seen) == ("not-assessable", "b", True)
    assert outcome(finding("p256", start=EARLY, id="a"), unseen(start=LATE, id="b")) == "will-fail"
    assert outcome(unseen(start=EARLY, id="a"), finding(start=LATE, id="b")) == "meets"


def test_an_earlier_sa_that_is_used_beside_the_latest_counts() -> None:
    """What a recorder takes of it can be read later, whatever runs beside it."""
    hybrid = finding(start="2026-11-20T11:00:00Z", id="b", end="2026-11-20T12:00:00Z")

    def beside(end: str, make: Any = finding, **own: Any) -> tuple[str, str, bool]:
        earlier = make(**{"start": EARLY, "id": "a", "end": end} | own)
        found = tunnel(hybrid, earlier)
        assert found == tunnel(earlier, hybrid)
        return found.assessment.status.value, found.decided_by, found.earlier_in_use

    classical = {"exchange": "p256"}
    assert beside("2026-11-20T20:00:00Z", **classical) == ("will-fail", "a", True)
    assert beside("2026-11-20T11:05:01Z", **classical) == ("will-fail", "a", True)
    # Handed over: peers let both run for a while, and the old one goes.
    assert beside("2026-11-20T11:05:00.9Z", **classical) == ("meets", "b", False)
    assert beside("2026-11-20T20:00:00Z") == ("meets", "b", False)
    # It was negotiated and never used, as far as packets show: its retries are no use.
    assert (
        beside("2026-11-20T20:00:00Z", observed={"exchanges": {"IKE_SA_INIT": 9}}, assurance="selected", **classical)[0]
        == "meets"
    )
    assert beside("2026-11-20T20:00:00Z", unseen) == ("not-assessable", "a", True)
    assert beside("2026-11-20T20:00:00Z", unseen, **REKEYED) == ("meets", "b", False)
    assert beside("no time", **classical) == ("meets", "b", False)


def test_a_rekey_of_an_earlier_sa_is_noted() -> None:
    found = tunnel(finding(start=EARLY, id="a"), unseen(start=LATE, id="b", **REKEYED))
    assert (found.assessment.status.value, found.decided_by, found.later_not_seen) == ("meets", "a", True)


def test_an_attempt_that_came_to_nothing_changes_nothing() -> None:
    probe = ikev1(assurance="offered", observed={"exchanges": {"IDENTITY_PROTECTION": 0}}, start=LATE, id="b")
    refused = unseen(reason="no-proposal-chosen", observed={"exchanges": {"IKE_SA_INIT": 1}}, start=LATER, id="c")
    found = tunnel(finding(start=EARLY, id="a"), probe, refused)
    assert (found.assessment.status.value, found.decided_by, found.later_not_seen) == ("meets", "a", False)


def test_without_a_negotiated_sa_the_worst_decides() -> None:
    old = ikev1(assurance="offered", observed={"exchanges": {"QUICK_MODE": 1}}, start=EARLY, id="a")
    found = assess_tunnel([unseen(start=LATE, id="b"), old], policies()["ietf-classical-baseline"], TODAY, registry())
    assert (found.assessment.status.value, found.decided_by) == ("fails-now", "a")
    assert outcome(unseen(id="b"), unseen(id="c", observed={"exchanges": {}})) == "not-assessable"


def test_no_tunnel_and_two_tunnels_are_no_pair_of_peers() -> None:
    with pytest.raises(ValueError, match="unpack"):
        tunnel()
    with pytest.raises(ValueError, match="unpack"):
        tunnel(finding(), finding(peers=("192.0.2.1", "192.0.2.9")))


DOCUMENTS = st.lists(
    st.builds(
        lambda make, start, end, identifier: make(start=start, end=end, id=identifier),
        st.sampled_from(
            [
                lambda **own: finding("p256", **own),
                lambda **own: finding(**own),
                lambda **own: unseen(**own),
                lambda **own: unseen(**{**REKEYED, **own}),
                lambda **own: finding("p256", verdict="undetermined", assurance="contradicted", **own),
            ]
        ),
        st.sampled_from([EARLY, LATE, LATER]),
        st.sampled_from([LATER, "2026-11-20T11:30:00Z", "2026-11-20T12:00:00Z"]),
        st.sampled_from("abcdef"),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda document: document["event"]["id"],
)


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_the_order_of_findings_does_not_matter(documents: list[dict[str, Any]], random: Any) -> None:
    shuffled = list(documents)
    random.shuffle(shuffled)
    assert tunnel(*documents) == tunnel(*shuffled)


def test_every_tunnel_with_every_policy_and_memory_by_tunnel() -> None:
    chosen = [policies()["cnsa-2.0"], policies()["uk-ncsc"]]
    assessor = TunnelAssessor(chosen, TODAY, registry())

    def feed(count: int) -> int:
        for number in range(count):
            assessor.add(finding(start=f"2026-11-20T10:00:{number % 60:02d}Z", id=str(number)))
            assessor.add(unseen(start=f"2026-11-20T10:00:{number % 60:02d}Z", id=f"u{number}"))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = feed(1000)
        assert feed(1000) - first < 20_000  # what is kept of one finding alone takes some 2,000 octets
    finally:
        tracemalloc.stop()
    assessor.add(finding(peers=("192.0.2.7", "192.0.2.6")))
    found = [(t.peers, t.policy, t.sas) for t in assessor.assessments()]
    assert found == [
        (("192.0.2.1", "192.0.2.2"), "cnsa-2.0", 4000),
        (("192.0.2.1", "192.0.2.2"), "uk-ncsc", 4000),
        (("192.0.2.6", "192.0.2.7"), "cnsa-2.0", 1),
        (("192.0.2.6", "192.0.2.7"), "uk-ncsc", 1),
    ]
