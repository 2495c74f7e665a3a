"""The page on what an attacker or an accident can bring, and on as much as it shows."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from pqaudit.report.html_form import Limits
from tests.report.browser import NARROW, opened
from tests.report.page_findings import Made, found_in, moved, reported

MARKUP = (
    "</td></table></style></script><script>window.ran=1</script>\"'>"
    "<img src=https://198.51.100.1/x onerror=window.ran=2>"
    "<svg onload=window.ran=3><a href=javascript:window.ran=4 id=tunnels>{{7*7}}<!--"
)
UNSEEN = "\u202eoverride\u2066\u200b\x00nul\x1b[31m\ud800lone\u2028"
LONG = "W" * 5_000
HOSTILE = MARKUP + UNSEEN + LONG
POLICY = """schema: 1
id: own
issuer: {text}
title: {text}
date: 2026-01-01
scope: {text}
requirement: {text}
source: {text}
certainty: read
deadlines:
  - {{id: goal, by: 2035-12-31, level: must, what: {text}, certainty: read}}
requirements:
  - id: ml-kem
    what: {text}
    key_exchange: {{any_of: [ml-kem-768]}}
    deadlines: [goal]
    certainty: read
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("hostile")
    (finding,) = found_in("classical_x25519.pcap")
    pqaudit = finding["pqaudit"]
    pqaudit["evidence"] = [{"file": HOSTILE, "frame": 1, "time": None, "what": HOSTILE}]
    pqaudit["fingerprint"]["responder"] = [{"vendor_id": "00", "name": HOSTILE, "vendor": HOSTILE, "version": None}]
    pqaudit["selected"]["key_exchange"]["name"] = HOSTILE
    pqaudit["selected"]["encryption"]["name"] = HOSTILE
    pqaudit["verdict"] = HOSTILE
    quoted = MARKUP.replace('"', '""')[:190]
    (folder / "assets.csv").write_text(f'network,name,owner,site\n0.0.0.0/0,"{quoted}","{quoted}","{quoted}"\n')
    own = folder / "rules/policies"
    own.mkdir(parents=True)
    single = "'" + MARKUP.replace("'", "''") + LONG[:1500] + "'"
    (own / "own.yaml").write_text(POLICY.format(text=single))
    options = ("--assets", str(folder / "assets.csv"), "--rules", str(folder / "rules"), "--policy", "own")
    return reported(folder / "made", [finding], *options)


@pytest.mark.parametrize("script", [True, False])
def test_nothing_of_it_runs(browser: Browser, hostile: Made, script: bool) -> None:
    with opened(browser, hostile.page, script=script) as seen:
        assert seen.page.evaluate("window.ran") is None
        assert seen.page.locator("img, a[href^=javascript], svg svg, [onload], [onerror]").count() == 0
        assert seen.page.locator("script").count() == 1
        shown = seen.page.locator("body").inner_text()
        for table in ("tunnels", "sas", "verdicts"):
            assert any(MARKUP in cell for row in seen.rows(table) for cell in row)
        assert "<script>window.ran=1</script>" in seen.page.locator("#certainty").inner_text()
        assert not set(UNSEEN) - set("overridenullone[31m") & set(shown)
        assert "\\u202eoverride" in shown
        assert "\\ud800lone" in shown


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_long_words_break_no_layout(browser: Browser, hostile: Made, width: int) -> None:
    with opened(browser, hostile.page, width=width) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        # Within the boxes too: a column is no wider than the screen.
        widest = seen.page.evaluate("Math.max(...[...document.querySelectorAll('td, th')].map(e => e.clientWidth))")
        assert widest <= max(width, 600)
        seen.photograph(f"hostile-{width}")


def test_it_can_be_searched_and_sorted(browser: Browser, hostile: Made) -> None:
    with opened(browser, hostile.page) as seen:
        seen.page.locator("#tunnels-text").fill(MARKUP)
        assert len(seen.rows("tunnels")) == 1
        seen.page.locator("#tunnels-text").fill("<img src=y")
        assert seen.rows("tunnels") == []
        for button in seen.page.locator("thead button").all():
            button.click()
        assert seen.page.evaluate("window.ran") is None


def test_as_many_rows_as_it_shows(browser: Browser, tmp_path: Path) -> None:
    """How long it takes is told and not judged: it depends on the machine."""
    (one,) = found_in("hybrid_x25519_mlkem768.pcap")
    most = Limits().tunnels
    findings = [
        moved(one, n, f"10.{n // 256}.{n % 256}.1", "192.0.2.1", f"2026-11-20T10:{n // 60 % 60:02}:{n % 60:02}Z")
        for n in range(most + 5)
    ]
    made = reported(tmp_path / "many", findings)
    times = [time.perf_counter()]
    with opened(browser, made.page) as seen:
        times.append(time.perf_counter())
        assert f"This page shows the {most:,} worst tunnels." in seen.page.locator("#all-tunnels .warning").inner_text()
        for table, rows in (("tunnels", most), ("sas", Limits().sas)):
            assert seen.page.locator(f"#{table} tbody tr").count() == rows
        painted = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        times.append(time.perf_counter())
        seen.page.locator("#tunnels thead button").first.dispatch_event("click")
        seen.page.evaluate(painted)
        times.append(time.perf_counter())
        seen.page.locator("#tunnels-text").fill("10.7.20")
        seen.page.evaluate(painted)
        times.append(time.perf_counter())
        # All are as bad, so that the first ones of the JSON are shown.
        shown = [tunnel["peers"][0]["address"] for tunnel in made.json["tunnels"][:most]]
        found = sorted((peer for peer in shown if "10.7.20" in peer), key=lambda peer: int(peer.split(".")[2]))
        assert seen.column("tunnels", "peer") == found
        assert len(found) > 5
    load, _, sort, choose = (after - before for before, after in pairwise(times))
    print(f"{made.page.stat().st_size:,} octets: load {load:.2f} s, sort {sort:.2f} s, filter {choose:.2f} s")
