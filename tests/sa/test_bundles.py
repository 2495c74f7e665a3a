"""Evidence that travelled between processes is the evidence that was sent."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest

from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from pqaudit.sa.bundles import bundled, unbundled
from pqaudit.sa.message_ids import MessageIds
from pqaudit.sa.table import SaTable
from tests.conftest import SAMPLES


@pytest.fixture(scope="module")
def table() -> SaTable:
    run = AuditRun()
    read_inputs(sorted(str(path) for path in SAMPLES.glob("*.pcap")), run, ReadOptions())
    return run.table


def test_a_table_travels(table: SaTable) -> None:
    counted = SaTable()
    counted.merge(table)
    counted.counters["sas-evicted"] = 3
    travelled = pickle.loads(pickle.dumps(counted))
    assert travelled.counters == Counter({"sas-evicted": 3})
    sent = [(sa, sa.file_counts) for sa in table.associations()]
    assert len(sent) > 20
    assert [(sa, sa.file_counts) for sa in travelled.associations()] == sent


def test_a_table_that_travelled_keeps_its_bound(table: SaTable) -> None:
    small = SaTable(most_groups=5)
    small.merge(table)
    evicted = len(table) - 5
    small = pickle.loads(pickle.dumps(small))
    assert len(small) == 5
    assert small.counters["sas-evicted"] == evicted
    small.merge(table)
    assert len(small) == 5


def test_many_message_ids_travel() -> None:
    ids = MessageIds()
    for message_id in range(0, 1 << 32, 1 << 20):
        ids.add(message_id)
    assert ids.limited
    travelled = MessageIds.from_bits(*pickle.loads(pickle.dumps(ids.bits)))
    assert (travelled.ranges, travelled.limited) == (ids.ranges, True)


def test_bundles_name_what_they_hold(table: SaTable) -> None:
    bundles = list(table.bundles())
    assert [key for bundle in bundles for key in bundle.keys] == [key for key, _ in unbundled(bundles)]
    again = list(bundled(unbundled(bundles)))
    assert [bundle.keys for bundle in again] == [bundle.keys for bundle in bundles]
