"""Batches that are under way at the same time, and one of them fails."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence

import pytest

from pqaudit.elastic import delivery as module
from pqaudit.elastic.bulk import Action, Outcome, send_bulk
from pqaudit.elastic.delivery import RETRIED_REQUESTS
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.server import Server
from pqaudit.elastic.spool import DELIVERED
from tests.elastic.conftest import NewDelivery, put_template, stored
from tests.elastic.findings import finding, findings
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.searchserver.proxy import Answer, Fault, Proxy, Request, Reset

COUNT = 6_000


@pytest.fixture
def node(elasticsearch9: Node) -> Node:
    wipe(elasticsearch9)
    put_template(elasticsearch9)
    return elasticsearch9


def _watched(monkeypatch: pytest.MonkeyPatch, before: Callable[[int], None]) -> list[int]:
    """How many requests were under way, at each one's beginning; ``before`` gets the number of each."""
    lock = threading.Lock()
    under_way: list[int] = []
    running = 0

    def send(server: Server, actions: Sequence[Action]) -> list[Outcome]:
        nonlocal running
        with lock:
            running += 1
            under_way.append(running)
            number = len(under_way)
        try:
            outcomes = send_bulk(server, actions)
            before(number)
            return outcomes
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(module, "send_bulk", send)
    return under_way


def test_two_are_under_way_and_no_more(node: Node, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = _watched(monkeypatch, lambda _: None)
    delivery = new_delivery(node.url)
    delivery.spool.add(findings(COUNT))
    delivery.drain()
    assert set(under_way) == {1, 2}
    assert stored(node) == {one["event"]["id"]: [one] for one in findings(COUNT)}


@pytest.mark.parametrize("passing", [True, False])
def test_what_the_other_request_brought_there_is_not_sent_again(
    passing: bool, node: Node, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        if number == 3:  # the server has the findings, and its answer is lost
            raise ServerError(Problem.OVERLOADED if passing else Problem.CREDENTIALS, "as a test has it")

    under_way = _watched(monkeypatch, fail)
    delivery = new_delivery(node.url)
    delivery.spool.add(findings(COUNT))
    if passing:
        delivery.drain()
        assert delivery.counters[RETRIED_REQUESTS] == 1
    else:
        with pytest.raises(ServerError, match="as a test has it"):
            delivery.drain()
        # All that was answered has left, the batch behind the failed one too.
        assert len(delivery.spool) == COUNT - 500 * (len(under_way) - 1)
        delivery.drain()
    assert stored(node) == {one["event"]["id"]: [one] for one in findings(COUNT)}
    assert delivery.spool.state().counters[DELIVERED] == COUNT


def test_a_server_that_fails_now_and_then(node: Node, new_delivery: NewDelivery) -> None:
    """Namesakes lie in batches that are under way together, in two months, while requests of all kinds fail."""
    faults: list[Fault] = [Reset(), Answer(503), Reset(after=5), Answer(429), Reset(delivered=False)]
    chance = random.Random(20261125)
    lock = threading.Lock()

    def sometimes(request: Request) -> Fault | None:
        with lock:
            return chance.choice(faults) if chance.random() < 1 / 10 else None

    with Proxy(node, faults=sometimes) as proxy:
        delivery = new_delivery(proxy.url, patience=120.0)
        for seen in range(4):
            month = ("2026-11", "2026-10")[seen % 2]
            delivery.spool.add(finding(number, seen, month=month) for number in range(700))
        delivery.drain()
    assert stored(node) == {
        finding(number)["event"]["id"]: [finding(number, 0, 1, 2, 3, month="2026-10")] for number in range(700)
    }


def test_stopping_waits_for_what_is_under_way(
    node: Node, new_delivery: NewDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = new_delivery(node.url)
    delivery.spool.add(findings(COUNT))
    under_way = _watched(monkeypatch, lambda number: delivery.stopping.set() if number == 3 else None)
    delivery.drain()
    assert len(delivery.spool) == COUNT - len(stored(node)) == COUNT - 500 * len(under_way)
