"""The page in Debian's Chromium: it says what the JSON says, sorts, filters, prints, and asks for nothing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.report.browser import NARROW, opened, watched
from tests.report.page_findings import Made

STATUSES = {
    "fails-now": "fails now",
    "will-fail": "will fail",
    "not-assessable": "cannot be assessed",
    "meets": "meets",
}


def worst(states: list[dict[str, Any]]) -> str:
    return next(words for status, words in STATUSES.items() if any(s["status"] == status for s in states))


def address(shown: str) -> tuple[int, int]:
    """The address in a cell, with or without a name, for sorting."""
    found = ip_address(re.findall(r"[0-9a-f.:]{3,}(?=\)|\s|$)", shown.split("\n")[0].split(" port ")[0])[-1])
    return found.version, int(found)


def natural(shown: str) -> list[tuple[int, int, str]]:
    """Text with numbers in it by their value."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", shown) if part]


def moment(shown: str) -> tuple[str, Decimal]:
    second, _, fraction = shown.removesuffix("Z").partition(".")
    return second, Decimal(f"0.{fraction or 0}")


def whole(shown: str) -> int:
    return int(shown.replace(",", ""))


def first_number(shown: str) -> Decimal:
    return Decimal(shown.split()[0])


def share(shown: str) -> Decimal:
    some, whole_ = shown.split(" of ")
    return Decimal(some) / Decimal(whole_)


def day(shown: str) -> str:
    return shown.split()[1].rstrip(",") if shown != "-" else ""


def status_rank(shown: str) -> int:
    return list(STATUSES.values()).index(shown)


def test_it_asks_for_nothing_and_says_nothing(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        assert seen.page.title() == made.json["title"]
        assert seen.page.locator("#tunnels tbody tr").count() == len(made.json["tunnels"])


def test_what_a_page_does_is_seen_and_its_policy_forbids_it(browser: Browser, made: Made, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    intruder = "<script>window.ran = 1</script><img src='https://198.51.100.1/x' onerror='window.ran = 2'>"
    page.write_text(made.page.read_text().replace("</main>", intruder + "</main>"))
    with watched(browser, page) as seen:
        assert seen.page.evaluate("window.ran") is None
        assert seen.page.locator("#tunnels button").count()
        violated = [line for line in seen.told if "Content Security Policy" in line]
        assert len(violated) >= 2


def test_totals_are_those_of_the_json(browser: Browser, made: Made) -> None:
    report, counts = made.json, made.json["counts"]
    with opened(browser, made.page) as seen:
        for count, what in ((counts["tunnels"], "tunnels"), (counts["peers"], "peers"), (counts["sas"], "SAs")):
            assert f"{count:,} {what}" in seen.page.locator("header p").first.inner_text()
        for shown, policy in zip(seen.rows("by-policy"), report["policies"], strict=True):
            totals = [f"{policy[kind][status]:,}" for kind in ("tunnels", "sas") for status in STATUSES]
            acts = ", ".join(f"{who} {n:,}" for who, n in policy["acts"].items() if n) or "-"
            assert shown[:-1] == [policy["id"], f"{policy['ready_percent']:.1f} %", *totals, acts]
            coming = [line for line in policy["deadlines"] if line["days_left"] >= 0]
            assert (f"in {coming[0]['days_left']:,} day" in shown[-1]) if coming else shown[-1] == "-"
        for table, counted in (("verdicts", counts["verdicts"]), ("protections", counts["protections"])):
            assert {name: whole(n) for name, n in seen.rows(table)} == counted
        lines = [(p["id"], f"{d['days_left']:,}", d["what"]) for p in report["policies"] for d in p["deadlines"]]
        assert [(row[0], row[2], row[4]) for row in seen.rows("all-deadlines")] == lines
        owners = [
            [o["owner"] or "without an owner", f"{o['peers']:,}"]
            + [f"{of['meets']:,} of {sum(of.values()):,}" for of in o["tunnels"].values()]
            for o in report["owners"]
        ]
        assert seen.rows("by-owner") == owners
        changes = report["comparison"]["changes"]
        assert [row[1:] for row in seen.rows("changed")] == [[f"{n:,}" for n in of.values()] for of in changes.values()]
        gone = [
            [*one["peers"], ", ".join(f"{policy}: {STATUSES[status]}" for policy, status in one["before"].items())]
            for one in report["comparison"]["gone"]
        ]
        assert seen.rows("gone") == gone
        files = [(i["name"], i["sha256"]) for i in report["inputs"]]
        assert set(files) <= {(row[0], row[2]) for row in seen.rows("inputs")}


def test_tunnels_and_sas_are_those_of_the_json(browser: Browser, made: Made) -> None:
    report = made.json
    read = """id => [...document.getElementById(id).tBodies[0].rows].map(row =>
        [...row.querySelectorAll("[data-policy]")].map(e => [e.dataset.policy, e.dataset.status]))"""
    with opened(browser, made.page) as seen:
        tunnels = {
            (address(row[0]), address(row[1])): (whole(row[2]), row[4], dict(states))
            for row, states in zip(seen.rows("tunnels"), seen.page.evaluate(read, "tunnels"), strict=True)
        }
        assert tunnels == {
            (address(t["peers"][0]["address"]), address(t["peers"][1]["address"])): (
                t["sas"],
                worst(t["states"]),
                {state["policy"]: state["status"] for state in t["states"]},
            )
            for t in report["tunnels"]
        }
        sas = {
            row[0]: (row[1], address(row[2]), address(row[3]), row[6], row[7], dict(states))
            for row, states in zip(seen.rows("sas"), seen.page.evaluate(read, "sas"), strict=True)
        }
        assert sas == {
            sa["id"]: (
                sa["begun"],
                address(sa["initiator"]["address"]),
                address(sa["responder"]["address"]),
                case["verdict"],
                worst(case["assessments"]),
                {a["policy"]: a["status"] for a in case["assessments"]},
            )
            for sa in report["sas"]
            for case in (report["cases"][sa["case"]],)
        }
        evidence = {row[0]: row[-1] for row in seen.rows("sas")}
        for sa in report["sas"]:
            for piece in sa["evidence"]:
                assert f"frame {piece['frame']}: {piece['what']}" in evidence[sa["id"]]
                assert piece["file"] in evidence[sa["id"]]


def test_charts_have_the_numbers_of_the_tables(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        for name in ("shares", "days"):
            chart = seen.page.locator(f"#chart-{name}")
            assert chart.get_attribute("role") == "img"
            named = [seen.page.locator(f"[id={one}]") for one in (chart.get_attribute("aria-labelledby") or "").split()]
            assert [one.evaluate("e => e.tagName") for one in named] == ["title", "desc"]
        said = seen.page.locator("#chart-shares-text").text_content() or ""
        for policy in made.json["policies"]:
            counts = ", ".join(f"{STATUSES[status]} {n:,}" for status, n in policy["tunnels"].items())
            assert f"{policy['id']}: {counts}" in said
        drawn = seen.page.locator("#chart-days text").all_text_contents()
        coming = [d for p in made.json["policies"] for d in p["deadlines"] if d["days_left"] >= 0]
        days = sorted(whole(text.split()[1]) for text in drawn if ", " in text)
        assert days == sorted(d["days_left"] for d in coming)


COLUMNS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("tunnels", "peer", address),
    ("tunnels", "other peer", address),
    ("tunnels", "SAs", whole),
    ("tunnels", "key exchange", natural),
    ("tunnels", "worst", status_rank),
    ("sas", "begun", moment),
    ("sas", "initiator", address),
    ("sas", "responder", address),
    ("sas", "verdict", natural),
    ("by-policy", "ready", first_number),
    ("all-deadlines", "when", day),
    ("all-deadlines", "days left", whole),
    ("all-deadlines", "what", lambda shown: re.sub(r"[^a-z0-9]", "", shown.lower())),
    ("by-owner", "ready: uk-ncsc", share),
    ("inputs", "name", lambda shown: natural(shown.lower())),
)


def test_columns_sort_by_what_they_mean(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        assert seen.page.locator("[aria-sort]").count() == 0
        order = {table: seen.keys(table) for table, _, _ in COLUMNS}
        for table, heading, key in COLUMNS:
            place = seen.headings(table).index(heading)
            shown = dict(zip(seen.keys(table), seen.column(table, heading), strict=True))
            head = seen.page.locator(f"#{table} thead th").nth(place)
            for reverse, direction in ((False, "ascending"), (True, "descending"), (False, "ascending")):
                head.get_by_role("button").click()
                # Rows that are equal stay in the order of the page, as with `sorted`.
                by_hand = sorted(order[table], key=lambda row: key(shown[row]), reverse=reverse)
                assert seen.keys(table) == by_hand, (table, heading, direction)
                assert head.get_attribute("aria-sort") == direction
                assert seen.page.locator(f"#{table} [aria-sort]").count() == 1


def test_every_heading_sorts_by_keyboard(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        for table in seen.page.evaluate("[...document.querySelectorAll('table')].map(table => table.id)"):
            assert seen.page.locator(f"#{table} thead th > button").count() == len(seen.headings(table))
        seen.page.locator("#tunnels-status").focus()
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.matches('.wide')")
        for place in range(len(seen.headings("tunnels"))):
            seen.page.keyboard.press("Tab")
            head = seen.page.locator("#tunnels thead th").nth(place)
            assert head.get_by_role("button").evaluate("e => e === document.activeElement")
            seen.page.keyboard.press("Enter")
            assert head.get_attribute("aria-sort") == "ascending"
            seen.page.keyboard.press("Space")
            assert head.get_attribute("aria-sort") == "descending"
        assert len(set(seen.keys("tunnels"))) == len(made.json["tunnels"])


@pytest.mark.parametrize("table", ["tunnels", "sas"])
def test_a_search_leaves_the_rows_that_have_it(browser: Browser, made: Made, table: str) -> None:
    with opened(browser, made.page) as seen:
        whole_table = seen.rows(table)
        field = seen.page.locator(f"#{table}-text")
        told = seen.page.locator(f".filter:has(#{table}-text) [role=status]")
        assert told.inner_text() == f"{len(whole_table)} of {len(whole_table)} rows are shown."
        # The end of one cell and the beginning of the next are no word; signs of patterns are plain text.
        joined = f"{whole_table[0][0].split()[-1][-3:]}{whole_table[0][1].split()[0][:3]}"
        for search in (
            "ml-kem",
            "ML-KEM",
            "10.0.0.1",
            "gw-9",
            "10.0.0.100  fails",
            joined,
            ".*",
            "[",
            "(",
            "\\d",
            "<td",
        ):
            field.fill(search)
            words = search.lower().split()
            left = [row for row in whole_table if all(any(w in cell.lower() for cell in row) for w in words)]
            assert seen.rows(table) == left
            assert told.inner_text() == f"{len(left)} of {len(whole_table)} rows are shown."
        field.fill("10.0.0.9")
        assert 0 < len(seen.rows(table)) < len(whole_table)
        # What is sorted while it is filtered stays filtered, and comes back whole.
        seen.page.locator(f"#{table} thead button").first.click()
        assert all("10.0.0.9" in "\n".join(row).lower() for row in seen.rows(table))
        field.press("Escape")
        assert field.input_value() == ""
        assert sorted(seen.rows(table)) == sorted(whole_table)
        field.fill("no such word")
        assert seen.rows(table) == []
        field.fill("")
        assert told.inner_text() == f"{len(whole_table)} of {len(whole_table)} rows are shown."


def test_filters_by_policy_and_status(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        by_id = {sa["id"]: made.json["cases"][sa["case"]]["assessments"] for sa in made.json["sas"]}
        policies = [policy["id"] for policy in made.json["policies"]]
        for policy in ("", *policies):
            seen.page.locator("#sas-policy").select_option(policy)
            for status in ("", *STATUSES):
                seen.page.locator("#sas-status").select_option(status)
                expected = {
                    name
                    for name, states in by_id.items()
                    if any(policy in ("", s["policy"]) and status in ("", s["status"]) for s in states)
                }
                assert {row[0] for row in seen.rows("sas")} == expected
        assert len(seen.rows("tunnels")) == len(made.json["tunnels"])


def test_without_its_script_it_is_whole(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        with_script = {table: seen.rows(table) for table in ("tunnels", "sas", "by-policy", "inputs")}
    with opened(browser, made.page, script=False) as seen:
        assert {table: seen.rows(table) for table in with_script} == with_script
        assert seen.page.locator("button").count() == 0
        assert not any(control.is_visible() for control in seen.page.locator("input, select, .filter").all())
        seen.photograph("no-script")


def test_pictures_of_screens(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as light, opened(browser, made.page, scheme="dark") as dark:
        colours = [seen.page.evaluate("getComputedStyle(document.body).backgroundColor") for seen in (light, dark)]
        assert colours == ["rgb(255, 255, 255)", "rgb(22, 24, 28)"]
        light.photograph("light")
        dark.photograph("dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_small_screen_scrolls_tables_alone(browser: Browser, made: Made, scheme: str) -> None:
    with opened(browser, made.page, scheme=scheme, width=NARROW) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == NARROW
        boxes = seen.page.evaluate(
            """[...document.querySelectorAll(".wide")].map(box =>
                [box.scrollWidth > box.clientWidth, getComputedStyle(box).overflowX, box.tabIndex])"""
        )
        assert any(scrolls for scrolls, _, _ in boxes)
        assert all(overflow == "auto" and tab == 0 for _, overflow, tab in boxes)
        seen.photograph(f"{scheme}-narrow")


def test_print_shows_all_and_no_controls(browser: Browser, made: Made) -> None:
    with opened(browser, made.page, scheme="dark") as seen:
        on_screen = seen.rows("sas")
        paper_width = round((297 - 2 * 14) / 25.4 * 96)
        seen.page.set_viewport_size({"width": paper_width, "height": 700})
        seen.page.emulate_media(media="print")
        assert seen.page.evaluate("document.documentElement.scrollWidth") == paper_width
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        for control in seen.page.locator("nav, .skip, input, select, label").all():
            assert not control.is_visible()
        assert seen.rows("sas") == on_screen
        assert seen.page.locator("#chart-shares").is_visible()
        seen.photograph("print")


def test_headings_stand_on_each_sheet(browser: Browser, made: Made, tmp_path: Path) -> None:
    sheets = tmp_path / "page.pdf"
    with opened(browser, made.page) as seen:
        seen.page.pdf(path=sheets, prefer_css_page_size=True)
    text = subprocess.run(["pdftotext", "-layout", str(sheets), "-"], capture_output=True, check=True, text=True).stdout
    heads = [page for page in text.split("\f") if re.search(r"^\s*id\s+begun\s.*\bevidence$", page, re.MULTILINE)]
    last = next(sa["id"] for sa in reversed(made.json["sas"]))
    assert len(heads) > 2
    assert last[:8] in "".join(heads)


def test_hidden_rows_are_told_in_print(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        seen.page.locator("#tunnels-text").fill("gw-9")
        seen.page.emulate_media(media="print")
        assert f"of {len(made.json['tunnels'])} rows are shown." in seen.page.locator("#all-tunnels").inner_text()
