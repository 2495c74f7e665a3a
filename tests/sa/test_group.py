"""Which messages under one initiator SPI are one SA, with forgers, restarts and clocks that differ in mind.

Every expected value follows from RFC 7296 sections 1.2, 2.1 and 2.6: the request names no responder SPI, a response
that selects carries SA, KE and nonce and names its own SPI, refusals create no SA and may or may not name one.
"""

from __future__ import annotations

import itertools
import struct
import time

import pytest

from pqaudit.decode.datagram import Datagram
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.bounds import MOST_RESPONDER_SPIS
from pqaudit.sa.group import CONFLICTING_RESPONSES
from pqaudit.verdict.negotiation import find_negotiation
from tests import build as b
from tests.sa.make import (
    COOKIE,
    INVALID_KE,
    NO_PROPOSAL,
    OTHER_I,
    OTHER_R,
    PLAIN,
    R_END,
    X,
    Y,
    answered,
    associations,
    packets,
    refusal,
    request,
    response,
    sent,
    table_of,
)


def summary(sas: list[SecurityAssociation]) -> list[tuple[object, ...]]:
    """All that must not depend on the order."""
    found: list[tuple[object, ...]] = []
    for sa in sas:
        deciding = find_negotiation(sa)
        found.append(
            (
                sa.initiator_spi,
                sa.responder_spi,
                set(sa.requests),
                set(sa.responses),
                set(sa.phase1),
                {key: ids.ranges for key, ids in sa.exchanges.items()},
                packets(sa),
                sa.first,
                sa.last,
                {slug: set(references) for slug, references in sa.anomalies.items()},
                set(sa.overflow),
                deciding.outcome,
                deciding.request and deciding.request.content.digest,
                deciding.response and deciding.response.content.digest,
            )
        )
    return found


def same_in_every_order(*datagrams: Datagram) -> list[SecurityAssociation]:
    expected = associations(*datagrams)
    orders = list(itertools.permutations(datagrams))
    for order in orders[:: max(1, len(orders) // 60)]:
        assert summary(associations(*order)) == summary(expected)
    return expected


@pytest.mark.parametrize("spi_of_refusal", [bytes(8), X, Y])
@pytest.mark.parametrize(("kind", "data"), [(COOKIE, b"c" * 8), (INVALID_KE, b"\x00\x1f")])
def test_a_retry_is_one_sa_whatever_spi_the_refusal_names(spi_of_refusal: bytes, kind: int, data: bytes) -> None:
    (sa,) = same_in_every_order(
        sent(request(1), 0),
        answered(refusal(kind, data, spi_r=spi_of_refusal), 1),
        sent(request(2), 2),
        answered(response(X), 3),
        sent(b.encrypted(b.AUTH, 1, inner=35, octets=200, spi_r=X), 4, port=4500),
    )
    deciding = find_negotiation(sa)
    assert (sa.responder_spi, packets(sa)) == (X, 5)
    assert (deciding.outcome, deciding.retries, deciding.refusal) == ("selected", 1, None)
    assert deciding.request is not None
    assert deciding.request.seen.first.time == 2
    assert CONFLICTING_RESPONSES not in sa.anomalies


def test_cookie_then_invalid_ke_then_success() -> None:
    # RFC 7296 section 2.6.1: both retries may follow one another.
    (sa,) = same_in_every_order(
        sent(request(1), 0),
        answered(refusal(COOKIE, b"c", spi_r=X), 1),
        sent(request(2), 2),
        answered(refusal(INVALID_KE, b"\x00\x13", spi_r=X), 3),
        sent(request(3, 19), 4),
        answered(response(X, method=19), 5),
    )
    deciding = find_negotiation(sa)
    assert deciding.retries == 2
    assert deciding.request is not None
    assert deciding.request.content.ke_method == 19


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (refusal(NO_PROPOSAL), "refused"),
        (refusal(NO_PROPOSAL, spi_r=X), "refused"),
        (refusal(INVALID_KE, b"\x00\x13"), "invalid-ke"),
        (refusal(COOKIE, b"c", spi_r=X), "challenged"),
        (refusal(16407, b"\x01\x04\xc0\x00\x02\x09"), "redirected"),
        (refusal(24), "refused-with-error"),
    ],
)
def test_an_attempt_without_an_sa_is_one_finding(answer: bytes, outcome: str) -> None:
    (sa,) = same_in_every_order(sent(request(), 0), answered(answer, 1), sent(request(), 2))
    assert find_negotiation(sa).outcome == outcome
    assert packets(sa) == 3


def test_refusals_under_many_spis_are_one_attempt() -> None:
    (sa,) = same_in_every_order(
        sent(request(), 0), answered(refusal(COOKIE, b"1", spi_r=X), 1), answered(refusal(COOKIE, b"2", spi_r=Y), 2)
    )
    assert sa.responder_spi == bytes(8)  # which of the two is the responder's cannot be known
    assert packets(sa) == 3


def test_a_refusal_forged_before_or_after_the_response_changes_nothing() -> None:
    # RFC 7296 section 2.21.1: errors in IKE_SA_INIT are not authenticated, an initiator waits for a better answer.
    for at in (1, 5):
        (sa,) = same_in_every_order(
            sent(request(), 0), answered(refusal(NO_PROPOSAL, spi_r=Y), at), answered(response(X), 3)
        )
        assert (sa.responder_spi, find_negotiation(sa).outcome) == (X, "selected")


def test_two_responders_are_two_sas_and_marked() -> None:
    forged, real = same_in_every_order(
        sent(request(), 0),
        answered(response(Y, fill=1), 1),
        answered(response(X, fill=2), 2),
        sent(b.encrypted(b.AUTH, 1, inner=35, octets=200, spi_r=X), 3),
    )
    assert (forged.responder_spi, real.responder_spi) == (Y, X)
    assert packets(forged) + packets(real) == 4
    for sa in (forged, real):
        assert CONFLICTING_RESPONSES in sa.anomalies
        assert find_negotiation(sa).outcome == "selected"


def test_two_answers_of_one_responder_are_one_sa_and_marked() -> None:
    (sa,) = same_in_every_order(
        sent(request(), 0), answered(response(X, fill=1), 1), answered(response(X, fill=2, method=19), 2)
    )
    assert len(sa.anomalies[CONFLICTING_RESPONSES]) == 2
    deciding = find_negotiation(sa)
    assert deciding.response is not None
    assert deciding.response.content.ke_method == 31  # the first: the initiator drops a second one


def test_a_retransmitted_response_is_no_conflict() -> None:
    (sa,) = same_in_every_order(sent(request(), 0), answered(response(X), 1), answered(response(X), 2, file="g"))
    assert CONFLICTING_RESPONSES not in sa.anomalies


def test_a_response_without_a_responder_spi_selects_nothing() -> None:
    # Sections 2.6 and 3.1: the responder's SPI is not zero in an answer that creates an SA.
    (sa,) = same_in_every_order(sent(request(), 0), answered(response(bytes(8)), 1))
    assert sa.responder_spi == bytes(8)
    assert find_negotiation(sa).outcome != "selected"


def test_an_initiator_spi_that_two_pairs_of_hosts_use_at_once() -> None:
    # SPIs are chosen by each end alone (section 2.6); here two initiators chose the same, and their messages mingle.
    one, two = same_in_every_order(
        sent(request(1), 0),
        sent(request(2), 1, source=OTHER_I, destination=OTHER_R),
        answered(response(Y, fill=3), 2, source=OTHER_R, destination=OTHER_I),
        answered(response(X, fill=4), 3),
    )
    assert (one.responder_spi, two.responder_spi) == (Y, X)
    assert [[m.seen.first.time for m in sa.requests.values()] for sa in (one, two)] == [[1], [0]]
    assert [find_negotiation(sa).retries for sa in (one, two)] == [0, 0]
    assert [packets(sa) for sa in (one, two)] == [2, 2]


def test_an_initiator_spi_that_is_used_again_later() -> None:
    # Equipment without randomness: the same initiator SPI after a restart, another answer.
    first, second = same_in_every_order(
        sent(request(1), 0), answered(response(X, fill=3), 1), sent(request(2), 100), answered(response(Y, fill=4), 101)
    )
    assert [[m.seen.first.time for m in sa.requests.values()] for sa in (first, second)] == [[0], [100]]
    assert first.last is not None
    assert first.last.time == 1


def test_a_nat_between_two_capture_points_duplicates_nothing() -> None:
    # The same octets with other addresses: a message of the inside and of the outside is one message.
    inside = [sent(request(), 0, file="in"), answered(response(X), 5, file="in")]
    public = b"\xcb\x00\x71\x09"
    outside = [
        sent(request(), 1, source=public, file="out", port=10_500),
        answered(response(X), 4, destination=public, file="out", port=10_500),
    ]
    (sa,) = same_in_every_order(*inside, *outside)
    assert (len(sa.requests), len(sa.responses), packets(sa)) == (1, 1, 4)
    assert CONFLICTING_RESPONSES not in sa.anomalies
    assert {path.source.address for path in sa.paths} == {b"\xc0\x00\x02\x01", public, R_END}


def test_tables_of_the_two_sides_of_a_conflict_merge_in_either_order() -> None:
    left = [sent(request(), 0, file="a"), answered(response(X, fill=1), 3, file="a")]
    right = [answered(response(Y, fill=2), 2, file="b"), answered(refusal(COOKIE, b"c"), 1, file="b")]
    one, two = table_of(*left), table_of(*right)
    one.merge(table_of(*right))
    two.merge(table_of(*left))
    expected = summary(associations(*left, *right))
    assert summary(list(one.associations())) == summary(list(two.associations())) == expected


def v1(responder: bytes, fill: int, *, flags: int = 0, spi_i: bytes = b.SPI_I, group: int | None = 14) -> bytes:
    """A main mode message (RFC 2408 section 3): SA with one transform, or a KE payload when ``group`` is None."""
    if group is None:
        first, body = 4, struct.pack("!BBH", 0, 0, 20) + bytes([fill]) * 16
    else:
        attributes = struct.pack("!HHHH", 0x8001, 7, 0x8004, group)
        transform = struct.pack("!BBHBBH", 0, 0, 8 + len(attributes), 1, 1, 0) + attributes
        proposal = struct.pack("!BBHBBBB", 0, 0, 8 + len(transform), 1, 1, 0, 1) + transform
        sa = struct.pack("!BBHII", 13, 0, 12 + len(proposal), 1, 1) + proposal
        first, body = 1, sa + struct.pack("!BBH", 0, 0, 20) + bytes([fill]) * 16
    return spi_i + responder + struct.pack("!BBBBII", first, 0x10, 2, flags, 0, 28 + len(body)) + body


def test_ikev1_is_one_sa_with_a_zero_cookie_in_the_middle() -> None:
    (sa,) = same_in_every_order(
        sent(v1(bytes(8), 1), 0),
        answered(v1(X, 2), 1),
        sent(v1(bytes(8), 3, group=None), 2),
        answered(v1(X, 4, group=None), 3),
        sent(v1(X, 5, group=None, flags=1), 4),
    )
    assert (sa.version, sa.responder_spi, packets(sa)) == (1, X, 5)
    assert len(sa.phase1) == 2


def test_an_ikev1_offer_stays_when_two_responders_answer() -> None:
    sas = same_in_every_order(sent(v1(bytes(8), 1), 0), answered(v1(X, 2), 1), answered(v1(Y, 3), 2))
    assert sum(packets(sa) for sa in sas) == 3
    offers = [m for sa in sas for m in sa.phase1.values() if m.content.responder_spi == bytes(8)]
    assert len(offers) == 1


def test_both_versions_under_one_spi_are_two_sas() -> None:
    sas = same_in_every_order(sent(request(), 0), answered(response(X), 1), sent(v1(bytes(8), 1), 2))
    assert [sa.version for sa in sas] == [2, 1]


def test_a_forger_with_any_number_of_responder_spis_is_bounded_and_named() -> None:
    def forged(count: int) -> list[Datagram]:
        spis = [struct.pack("!Q", number) for number in range(1, count + 1)]
        refused = [answered(refusal(COOKIE, spi, spi_r=spi), 10 + n) for n, spi in enumerate(spis)]
        selected = [answered(response(spi), 10 + n) for n, spi in enumerate(spis, start=1 << 20)]
        return [*refused, *selected]

    real = [sent(request(), 0), answered(response(X), 1)]
    start = time.process_time()
    sas = associations(*real, *forged(3000))
    assert time.process_time() - start < 20  # minutes when each part is compared to each
    assert len(sas) <= MOST_RESPONDER_SPIS
    assert X in {sa.responder_spi for sa in sas}
    assert all("responder-spis" in sa.overflow for sa in sas)


def test_refusals_under_many_spis_never_push_out_the_sa() -> None:
    noise = [answered(refusal(COOKIE, b"c", spi_r=struct.pack("!Q", n)), n) for n in range(1, 1000)]
    (sa,) = associations(sent(request(), 0), *noise, answered(response(X), 2000))
    assert (sa.responder_spi, find_negotiation(sa).outcome) == (X, "selected")
    assert "responder-spis" in sa.overflow


def test_requests_of_a_conflict_keep_the_name_of_a_reached_bound() -> None:
    flood = [sent(request(fill), fill) for fill in range(1, 30)]
    sas = associations(*flood, answered(response(X, fill=1), 40), answered(response(Y, fill=2), 41))
    assert any("init-messages" in sa.overflow for sa in sas)


def test_a_cut_response_is_not_pushed_out_by_refusals() -> None:
    whole = b.message(b.INIT, [b.sa(PLAIN), b.ke(31, 32), b.nonce()], spi_r=X, flags=b.RESPONSE)
    noise = [answered(refusal(COOKIE, bytes([n]), spi_r=X), n) for n in range(1, 40)]
    (sa,) = associations(sent(request(), 0), *noise, answered(whole, 50, kept=60))
    assert find_negotiation(sa).outcome == "response-truncated"


def test_a_cut_protected_message_is_not_called_unprotected() -> None:
    # 33 octets: the header and one of the fragment header. What follows was sent but not captured.
    octets = b.encrypted(b.AUTH, 1, inner=35, octets=200, fragment=(1, 2))
    (sa,) = associations(sent(octets, 0, kept=33))
    assert "unprotected-message" not in sa.anomalies
    assert "packet-truncated" in sa.anomalies
    (sa,) = associations(sent(b.message(b.AUTH, [b.nonce()], spi_r=b.SPI_R, message_id=1), 0))
    assert "unprotected-message" in sa.anomalies
