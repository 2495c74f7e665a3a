"""Partials merged in a tree give what one reader gives."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bench import corpus
from pqaudit.archive.partial import merged, packed, take, unpacked
from pqaudit.finding.document import Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.outputs.jsonl import write_run
from pqaudit.pipeline import AuditRun, ReadOptions, new_run, read_inputs
from tests.conftest import SAMPLES, rulebook_cached


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Samples, and SAs over two captures each."""
    folder = corpus.write_many(tmp_path_factory.mktemp("archive"), 12)
    return [str(path) for path in (*sorted(folder.iterdir()), *sorted(SAMPLES.glob("*.pcap")), folder / "missing")]


def read(sources: list[str], options: ReadOptions) -> AuditRun:
    run = new_run(options)
    read_inputs(sources, run, options)
    return run


def as_json(run: AuditRun) -> str:
    out = io.StringIO()
    write_run(drain_findings(run.table, rulebook_cached(), Observer("test")), run, rulebook_cached(), out)
    return out.getvalue()


@pytest.mark.parametrize("fan_in", [2, 3, 50])
def test_a_tree_of_partials_is_one_run(sources: list[str], fan_in: int) -> None:
    options = ReadOptions(digest=True, exposure=True)
    parts = [packed(read([source], options)) for source in sources]
    while len(parts) > 1:
        parts = [merged(parts[start : start + fan_in], options) for start in range(0, len(parts), fan_in)]
    expected = read(sources, options)
    found = unpacked(parts[0], options)
    assert found.exposure == expected.exposure
    assert as_json(found) == as_json(expected)


def test_merging_leaves_its_inputs_as_they_are(sources: list[str]) -> None:
    parts = [packed(read([source], ReadOptions())) for source in sources]
    assert merged(parts, ReadOptions()) == merged(parts, ReadOptions())


def test_the_bound_on_sas_is_kept_and_counted(sources: list[str]) -> None:
    """Which SAs are given up depends on the order; that none is lost uncounted does not."""
    whole = read(sources, ReadOptions())
    options = ReadOptions(most_sas=5)
    parts = [packed(read([source], options)) for source in sources]
    run = new_run(options)
    take(merged(parts, options), run)
    assert len(run.table) == 5
    assert run.table.counters["sas-evicted"] >= len(whole.table) - 5


def test_file_names_that_are_no_text_travel(tmp_path: Path) -> None:
    name = str(tmp_path) + "/\udcff.pcap"
    Path(name).write_bytes((SAMPLES / "classical_x25519.pcap").read_bytes())
    run = read([name], ReadOptions())
    assert as_json(unpacked(packed(read([name], ReadOptions())), ReadOptions())) == as_json(run)
