"""Delivery to real servers, with real refusals and with faults on the way."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import pytest

from pqaudit.elastic.delivery import CREATED, MERGED, RETRIED_ITEMS, RETRIED_REQUESTS, SAME
from pqaudit.elastic.errors import Problem, ServerError
from pqaudit.elastic.spool import REJECTED
from tests.elastic.conftest import NewDelivery, count, put_template, stored
from tests.elastic.findings import finding, findings
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.searchserver.proxy import Answer, Fault, Proxy, Request, Reset, Stall, first

BULK = ".*/_bulk.*"


@pytest.fixture
def node(elasticsearch9: Node) -> Node:
    wipe(elasticsearch9)
    put_template(elasticsearch9)
    return elasticsearch9


def dead_letters(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "dead-letters.jsonl").read_text().splitlines()]


def test_each_finding_is_one_document_and_the_spool_is_empty(search_server: Node, new_delivery: NewDelivery) -> None:
    put_template(search_server)
    delivery = new_delivery(search_server.url)
    delivery.spool.add(findings(1200))
    delivery.drain()
    assert stored(search_server) == {one["event"]["id"]: [one] for one in findings(1200)}
    assert (delivery.counters[CREATED], len(delivery.spool)) == (1200, 0)


def test_the_same_again_changes_nothing(search_server: Node, new_delivery: NewDelivery) -> None:
    put_template(search_server)
    delivery = new_delivery(search_server.url)
    delivery.spool.add(findings(50))
    delivery.drain()
    delivery.spool.add(findings(50))
    delivery.drain()
    assert (delivery.counters[CREATED], delivery.counters[SAME], delivery.counters[MERGED]) == (50, 50, 0)
    _, answer = search_server.request("GET", f"/pqaudit-sa-2026.11/_doc/{finding(7)['event']['id']}")
    assert answer["_version"] == 1


def test_namesakes_in_one_batch_become_one_document(node: Node, new_delivery: NewDelivery) -> None:
    delivery = new_delivery(node.url)
    delivery.spool.add([finding(1, 1), finding(1, 2), finding(2, 1), finding(1, 3)])
    delivery.drain()
    assert stored(node)[finding(1)["event"]["id"]] == [finding(1, 1, 2, 3)]
    assert count(node) == 2


def test_a_mapping_conflict_goes_aside_with_the_servers_reason_and_the_rest_arrives(
    node: Node, new_delivery: NewDelivery
) -> None:
    delivery = new_delivery(node.url)
    bad = finding(3, 1, source={"ip": "no address"})
    delivery.spool.add([finding(1, 1), bad, finding(2, 1)])
    delivery.drain()
    assert count(node) == 2
    (letter,) = dead_letters(delivery.spool.folder)
    assert (letter["status"], letter["finding"]) == (400, bad)
    assert letter["type"] == "document_parsing_exception"
    assert "no address" in str(letter["reason"])
    assert (delivery.counters[REJECTED], len(delivery.spool)) == (1, 0)


def test_429_for_single_items_is_waited_for(node: Node, new_delivery: NewDelivery) -> None:
    delivery = new_delivery(node.url)
    delivery.spool.add(findings(10))
    delivery.drain()
    # What a full disk does to an index, lifted after a while.
    node.request("PUT", "/pqaudit-sa-2026.11/_settings", {"index.blocks.read_only_allow_delete": True})
    lift = {"index.blocks.read_only_allow_delete": None}
    timer = threading.Timer(1.5, node.request, ("PUT", "/pqaudit-sa-2026.11/_settings", lift))
    timer.start()
    delivery.spool.add(finding(number, 1) for number in range(10, 40))
    delivery.spool.add([finding(100, 1, month="2026-10")])  # into another index, which has no such block
    delivery.drain()
    timer.join()
    assert count(node) == 41
    assert delivery.counters[RETRIED_ITEMS] > 0


def test_429_for_the_whole_request_shrinks_batches_until_they_fit(tmp_path: Path, new_delivery: NewDelivery) -> None:
    settings = {"indexing_pressure.memory.limit": "20kb"}
    with Node("elasticsearch", data=tmp_path / "node", settings=settings) as small:
        put_template(small)
        delivery = new_delivery(small.url)
        delivery.spool.add(findings(200))
        delivery.drain()
        assert count(small) == 200
        assert delivery.counters[RETRIED_REQUESTS] > 0


def test_413_halves_until_it_fits_and_what_never_fits_goes_aside(tmp_path: Path, new_delivery: NewDelivery) -> None:
    with Node("elasticsearch", data=tmp_path / "node", settings={"http.max_content_length": "100kb"}) as small:
        put_template(small)
        delivery = new_delivery(small.url)
        huge = finding(1_000, 1, note="y" * 200_000)
        delivery.spool.add(findings(400))
        delivery.spool.add([huge])
        delivery.spool.add(finding(number, 1) for number in range(400, 500))
        delivery.drain()
        assert count(small) == 500
        (letter,) = dead_letters(delivery.spool.folder)
        assert (letter["status"], letter["finding"]) == (413, huge)


@pytest.mark.parametrize(
    "fault",
    [
        Reset(),
        Reset(after=10),
        Reset(delivered=False),
        Stall(seconds=4.0),
        Stall(seconds=4.0, after=10),
        Answer(429),
        Answer(503),
        Answer(502, "<html>bad gateway</html>", (("content-type", "text/html"),)),
        Answer(200, "{}", (("content-type", "application/json"), ("X-elastic-product", "Elasticsearch"))),
        Answer(200, '{"items": [{}]}', (("content-type", "application/json"), ("X-elastic-product", "Elasticsearch"))),
    ],
    ids=repr,
)
def test_a_fault_on_the_way_neither_loses_nor_doubles(fault: Fault, node: Node, new_delivery: NewDelivery) -> None:
    with Proxy(node, faults=first(3, fault, path=BULK)) as proxy:
        delivery = new_delivery(proxy.url, timeout=1.5, patience=60.0)
        delivery.spool.add(findings(300))
        delivery.drain()
    assert stored(node) == {one["event"]["id"]: [one] for one in findings(300)}
    assert delivery.counters[RETRIED_REQUESTS] >= 3
    assert len(delivery.spool) == 0


def test_a_server_that_comes_back_is_used_again(node: Node, new_delivery: NewDelivery) -> None:
    told: list[str | None] = []
    with Proxy(node) as proxy:
        delivery = new_delivery(proxy.url)
        delivery.tell = lambda error: told.append(error and str(error))
        proxy.refuse()
        threading.Timer(1.0, proxy.accept).start()
        delivery.spool.add(findings(100))
        delivery.drain()
    assert count(node) == 100
    assert told[0] is not None
    assert "cannot be reached" in told[0]
    assert told[1:] == [None]


def test_a_node_that_restarts_in_the_middle(tmp_path: Path, new_delivery: NewDelivery) -> None:
    with Node("elasticsearch", data=tmp_path / "node") as own:
        put_template(own)
        delivery = new_delivery(own.url, patience=120.0)
        delivery.spool.add(findings(10_000))
        sender = threading.Thread(target=delivery.drain)
        sender.start()
        while len(delivery.spool) > 8_000 and sender.is_alive():
            time.sleep(0.005)
        own.kill()
        own.restart()
        sender.join()
        assert count(own) == 10_000
        assert len(stored(own)) == 10_000


def test_patience_ends_and_the_findings_are_safe(new_delivery: NewDelivery) -> None:
    delivery = new_delivery("http://127.0.0.1:9", patience=0.5)  # the discard port, which nothing serves
    delivery.spool.add(findings(5))
    with pytest.raises(ServerError) as caught:
        delivery.drain()
    assert caught.value.problem is Problem.UNREACHABLE
    assert len(delivery.spool) == 5


def test_an_index_that_may_not_be_made_is_one_sentence(node: Node, new_delivery: NewDelivery) -> None:
    node.request("PUT", "/_cluster/settings", {"persistent": {"action.auto_create_index": "false"}})
    delivery = new_delivery(node.url)
    delivery.spool.add(findings(5))
    with pytest.raises(ServerError, match="auto_create_index") as caught:
        delivery.drain()
    assert not caught.value.passing
    assert len(delivery.spool) == 5


# -- merging with what is stored --------------------------------------------------------------------------------------


def test_what_another_run_saw_is_merged(search_server: Node, new_delivery: NewDelivery) -> None:
    put_template(search_server)
    for seen in ((1,), (2, 3), (1, 4)):
        delivery = new_delivery(search_server.url)
        delivery.spool.add([finding(5, *seen), finding(6, 1)])
        delivery.drain()
    assert stored(search_server) == {
        finding(5)["event"]["id"]: [finding(5, 1, 2, 3, 4)],
        finding(6)["event"]["id"]: [finding(6, 1)],
    }


def test_two_writers_racing_lose_nothing(search_server: Node, new_delivery: NewDelivery) -> None:
    put_template(search_server)
    deliveries = [new_delivery(search_server.url, spool=f"spool{writer}") for writer in range(2)]
    for writer, delivery in enumerate(deliveries):
        for round_ in range(10):
            delivery.spool.add(finding(number, 100 * writer + round_) for number in range(30))
    threads = [threading.Thread(target=delivery.drain) for delivery in deliveries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [*range(10), *range(100, 110)]
    assert stored(search_server) == {
        finding(number)["event"]["id"]: [finding(number, *everything)] for number in range(30)
    }


def test_an_sa_that_began_in_an_earlier_month_moves_there(search_server: Node, new_delivery: NewDelivery) -> None:
    put_template(search_server)
    for month, seen in (("2026-11", 1), ("2026-10", 2), ("2026-11", 3), ("2026-11", 1)):
        delivery = new_delivery(search_server.url)
        delivery.spool.add([finding(1, seen, month=month), finding(2, seen, month="2026-11")])
        delivery.drain()
        assert len(delivery.spool) == 0
    assert stored(search_server) == {
        finding(1)["event"]["id"]: [finding(1, 1, 2, 3, month="2026-10")],
        finding(2)["event"]["id"]: [finding(2, 1, 2, 3)],
    }


def test_two_writers_racing_over_a_months_border_leave_one_document(node: Node, new_delivery: NewDelivery) -> None:
    deliveries = [new_delivery(node.url, spool=f"spool{writer}") for writer in range(2)]
    for round_ in range(6):
        for writer, delivery in enumerate(deliveries):
            month = ("2026-10", "2026-11")[writer]
            delivery.spool.add(finding(number, 100 * writer + round_, month=month) for number in range(40))
    threads = [threading.Thread(target=delivery.drain) for delivery in deliveries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [*range(6), *range(100, 106)]
    assert stored(node) == {
        finding(number)["event"]["id"]: [finding(number, *everything, month="2026-10")] for number in range(40)
    }


def test_a_month_that_cannot_be_searched_now_is_waited_for(search_server: Node, new_delivery: NewDelivery) -> None:
    put_template(search_server)
    delivery = new_delivery(search_server.url, patience=60.0)
    delivery.spool.add([finding(1, 1, month="2026-10"), finding(2, 1, month="2026-09"), finding(3, 1)])
    delivery.drain()
    # As while a server restarts: the shard of one month is not there yet.
    setting = "cluster.routing.allocation.node_initial_primaries_recoveries"
    search_server.request("POST", "/pqaudit-sa-2026.10/_close")
    search_server.request("PUT", "/_cluster/settings", {"persistent": {setting: 0}})
    search_server.request("POST", "/pqaudit-sa-2026.10/_open?wait_for_active_shards=0")
    lift = {"persistent": {setting: None}}
    timer = threading.Timer(2.0, search_server.request, ("PUT", "/_cluster/settings", lift))
    timer.start()
    delivery.spool.add([finding(1, 2, month="2026-11")])
    delivery.drain()
    timer.join()
    assert stored(search_server)[finding(1)["event"]["id"]] == [finding(1, 1, 2, month="2026-10")]


def test_a_writer_that_dies_between_two_copies_leaves_work_for_the_next(node: Node, new_delivery: NewDelivery) -> None:
    # As it is after SIGKILL between the two writes of a move: one copy in each month.
    for month in ("2026-10", "2026-11"):
        index, one = f"pqaudit-sa-{month.replace('-', '.')}", finding(1, 1, month=month)
        assert node.request("PUT", f"/{index}/_doc/{one['event']['id']}", one)[0] == 201
    delivery = new_delivery(node.url)
    delivery.spool.add([finding(1, 1, month="2026-11")])
    delivery.drain()
    assert stored(node) == {finding(1)["event"]["id"]: [finding(1, 1, month="2026-10")]}


def test_a_merge_that_is_impossible_goes_aside(node: Node, new_delivery: NewDelivery) -> None:
    delivery = new_delivery(node.url)
    delivery.spool.add([finding(1, 1)])
    delivery.drain()

    def impossible(one: object, other: object) -> dict[str, object]:
        raise ValueError("the stored finding was made by a later pqaudit")

    delivery.merge = impossible
    delivery.spool.add([finding(1, 2), finding(2, 1)])
    delivery.drain()
    (letter,) = dead_letters(delivery.spool.folder)
    assert letter["reason"] == "the stored finding was made by a later pqaudit"
    assert stored(node)[finding(1)["event"]["id"]] == [finding(1, 1)]
    assert count(node) == 2


def test_requests_stay_under_the_bound_on_size(node: Node, new_delivery: NewDelivery) -> None:
    with Proxy(node) as proxy:
        delivery = new_delivery(proxy.url)
        delivery.spool.add(finding(number, 1, note="z" * 50_000) for number in range(300))
        delivery.drain()
        sizes = [record.size for record in proxy.records if "_bulk" in record.path]
    assert count(node) == 300
    assert max(sizes) < 6 << 20


def test_faults_at_any_request_lose_nothing(node: Node, new_delivery: NewDelivery) -> None:
    """One request in ten of every kind fails, in different ways, while findings merge over months."""
    faults: list[Fault] = [Reset(), Answer(503), Reset(after=5), Answer(429), Reset(delivered=False)]
    chance = random.Random(9370)

    def sometimes(request: Request) -> Fault | None:
        return chance.choice(faults) if chance.random() < 1 / 10 else None

    with Proxy(node, faults=sometimes) as proxy:
        delivery = new_delivery(proxy.url, patience=120.0)
        for seen in range(4):
            month = ("2026-11", "2026-10")[seen % 2]
            delivery.spool.add(finding(number, seen, month=month) for number in range(60))
        delivery.drain()
    assert stored(node) == {
        finding(number)["event"]["id"]: [finding(number, 0, 1, 2, 3, month="2026-10")] for number in range(60)
    }
