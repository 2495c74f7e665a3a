"""What all tests share: where captures lie, and an audit of a file as findings."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from hypothesis import settings

from pqaudit.finding.document import Document, Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from pqaudit.rules.rulebook import Rulebook, load_rulebook
from tests.capture.fixtures import network  # noqa: F401
from tests.daemons.fixtures import peers  # noqa: F401
from tests.objectstore.fixtures import object_store  # noqa: F401
from tests.searchserver.fixtures import elasticsearch8, elasticsearch9, opensearch, search_server  # noqa: F401

# How long an example takes says more about what else the machine does than about what is tested.
settings.register_profile("any-speed", settings(), deadline=None)
settings.load_profile("any-speed")

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLES = REPOSITORY / "samples"
SHARED_CAPTURES = REPOSITORY.parent / "shared" / "captures"


@functools.cache
def rulebook_cached() -> Rulebook:
    return load_rulebook()


@pytest.fixture(scope="session")
def rulebook() -> Rulebook:
    return rulebook_cached()


def audit(*sources: Path | str, ports: tuple[int, ...] = ()) -> tuple[list[Document], AuditRun]:
    """Findings of captures, and the run they come from."""
    run = AuditRun()
    read_inputs([str(s) for s in sources], run, ReadOptions(ports))
    return list(drain_findings(run.table, rulebook_cached(), Observer("test"))), run


def shared_folder(name: str) -> Path:
    """A folder of captures beside the repository; the test is skipped where there is none."""
    folder = SHARED_CAPTURES / name
    if not (folder / "manifest.json").is_file():
        pytest.skip(f"optional: captures/{name} is not here")
    return folder
