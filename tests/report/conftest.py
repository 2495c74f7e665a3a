"""What tests of the page share: a browser, and a report with all parts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.conftest import SAMPLES
from tests.report.browser import chromium
from tests.report.page_findings import Made, found_in, moved, reported

ASSETS = """network,name,owner,site,criticality
10.0.0.0/24,,network team,Berlin,
10.0.0.9,gw-9,gateway team,Berlin,high
2001:db8::/32,,six team,,low
"""
# As text, each of these comes in another order: by digits, by hexadecimal digits, by digits of a second.
ENDS = (
    ("10.0.0.9", "10.0.0.10", "2026-11-20T10:00:00.5Z"),
    ("10.0.0.10", "10.0.0.100", "2026-11-20T10:00:00.123456789Z"),
    ("10.0.0.100", "9.255.0.1", "2026-11-20T10:00:00Z"),
    ("2001:db8::a", "2001:db8::10", "2026-11-20T09:59:59.999999Z"),
    ("2001:db8::10", "2001:db8::9", "2026-11-20T10:00:00.000001Z"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer than a module: its event loop would be in the way of others."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report with all parts: samples, addresses that are hard to sort, owners, an earlier report."""
    folder = tmp_path_factory.mktemp("page")
    samples = found_in(*sorted(path.name for path in SAMPLES.glob("*.pcap"))[:14])
    known = [finding for finding in samples if finding["pqaudit"]["selected"]["key_exchange"]]
    moves = [moved(known[number % len(known)], number, *ends) for number, ends in enumerate(ENDS)]
    more = [moved(moves[0], 100 + n, *ENDS[0][:2], f"2026-11-21T10:00:{n:02}Z") for n in range(11)]
    gone = moved(known[0], 99, "10.0.0.77", "10.0.0.78", "2026-01-01T00:00:00Z")
    earlier = reported(folder / "earlier", [*samples, *moves[:2], gone])
    (folder / "assets.csv").write_text(ASSETS)
    options = ("--assets", str(folder / "assets.csv"), "--baseline", str(earlier.page.with_name("report.json")))
    return reported(folder / "now", [*samples, *moves, *more], *options)
