"""The page for everybody: structure, keyboard, and contrast as the browser computes its colours."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.report.browser import NARROW, Scheme, opened
from tests.report.page_findings import Made

# WCAG 2.2, level AA: 1.4.3 for text, whatever its size, and 1.4.11 for parts of charts and signs of controls.
TEXT, GRAPHICS = 4.5, 3.0

# Each colour of text with the one behind it. A label in a chart lies on the bar that comes before it, or on the page.
COLOURS = """() => {
  const found = new Map();
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/^rgba\\(.*, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const pieces = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (pieces.nextNode()) {
    const element = pieces.currentNode.parentElement;
    if (!pieces.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const drawn = element.localName === "text";
    const ground = element.matches(".on-bar") ? getComputedStyle(element.previousElementSibling).fill : behind(element);
    found.set([drawn ? style.fill : style.color, ground].join("|"), `${element.localName}.${element.className}`);
  }
  for (const button of document.querySelectorAll("thead button"))
    found.set([getComputedStyle(button, "::after").color, behind(button)].join("|"), "button::after");
  return [...found].map(([pair, where]) => [...pair.split("|"), where]);
}"""

FOCUSED = """() => {
  const e = document.activeElement, style = getComputedStyle(e), at = e.getBoundingClientRect();
  return [e.matches("a, button, input, select, [tabindex='0']"), style.outlineStyle, parseFloat(style.outlineWidth),
    style.outlineColor, at.bottom > 0 && at.top < innerHeight];
}"""


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(…)``, as WCAG 2.2 defines it."""
    assert colour.startswith("rgb("), colour
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (int(number) / 255 for number in re.findall(r"\d+", colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_formula_gives_known_ratios() -> None:
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(118, 118, 118)", "rgb(255, 255, 255)") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(browser: Browser, made: Made, scheme: Scheme, media: Any) -> None:
    with opened(browser, made.page, scheme=scheme) as seen:
        seen.page.emulate_media(media=media)
        pairs = seen.page.evaluate(COLOURS)
        assert len(pairs) >= 6
        assert [(*pair, contrast(*pair[:2])) for pair in pairs if contrast(*pair[:2]) < TEXT] == []
        ground = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        signs = seen.page.evaluate(
            """[...document.querySelectorAll("svg rect")].map(e => getComputedStyle(e).fill).concat(
                [...document.querySelectorAll("input, select")].map(e => getComputedStyle(e).borderTopColor))"""
        )
        assert [sign for sign in set(signs) if contrast(sign, ground) < GRAPHICS] == []


def test_headings_landmarks_and_names(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.lang") == "en"
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(e => Number(e.localName[1]))")
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        landmarks: tuple[Literal["banner", "navigation", "main"], ...] = ("banner", "navigation", "main")
        for role in landmarks:
            assert page.get_by_role(role).count() == 1
        for link in page.get_by_role("navigation").get_by_role("link").all():
            part = page.locator(link.get_attribute("href") or "")
            assert part.get_by_role("heading", name=link.inner_text(), exact=True).count() == 1
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
        named = page.evaluate(
            """[...document.querySelectorAll("[aria-labelledby]")].flatMap(e =>
                e.getAttribute("aria-labelledby").split(" "))"""
        )
        assert set(named) <= set(ids)
        for control in page.locator("input, select").all():
            assert control.evaluate("e => e.labels.length") == 1
        for status in page.get_by_role("status").all():
            assert status.inner_text()


def test_tables_name_their_cells(browser: Browser, made: Made) -> None:
    with opened(browser, made.page) as seen:
        tables = seen.page.evaluate(
            """[...document.querySelectorAll("table")].map(table => ({
                caption: table.caption?.innerText.trim(),
                heads: [...table.querySelectorAll("thead th")].map(e => e.scope),
                others: [...table.querySelectorAll("thead td")].length,
                rows: [...table.tBodies[0].rows].map(row => [row.cells[0].scope, row.cells.length]),
            }))"""
        )
        assert len(tables) == 10
        for table in tables:
            assert table["caption"]
            assert set(table["heads"]) == {"col"}
            assert table["others"] == 0
            assert all(row == ["row", len(table["heads"])] for row in table["rows"])
        regions = seen.page.locator(".wide[role=region]")
        assert regions.count() == len(tables)


def test_the_whole_page_by_keyboard(browser: Browser, made: Made) -> None:
    with opened(browser, made.page, width=NARROW) as seen:
        keyboard, page = seen.page.keyboard, seen.page
        keyboard.press("Tab")
        skip = page.locator(".skip")
        assert skip.evaluate("e => e === document.activeElement")
        box = skip.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
        reached = []
        count = page.evaluate("[...document.querySelectorAll('a, button, input, select, [tabindex=\"0\"]')].length")
        page.locator(".skip").focus()
        for _ in range(count):
            reached.append(page.evaluate(FOCUSED))
            keyboard.press("Tab")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        for known, style, width, colour, in_view in reached:
            assert known
            assert (style, width) == ("solid", 3)
            assert contrast(colour, ground) >= GRAPHICS
            assert in_view


def test_boxes_scroll_by_keyboard(browser: Browser, made: Made) -> None:
    with opened(browser, made.page, width=NARROW) as seen:
        box = seen.page.locator(".wide:has(#tunnels)")
        box.focus()
        for _ in range(3):
            seen.page.keyboard.press("ArrowRight")
        seen.page.wait_for_timeout(200)
        assert box.evaluate("e => e.scrollLeft") > 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, made: Made, scheme: Scheme) -> None:
    """What axe-core checks unless told otherwise: WCAG 2, A and AA, and good practice."""
    with opened(browser, made.page, scheme=scheme) as seen:
        found = Axe().run(seen.page)
    assert found.violations_count == 0, found.generate_report()
    passed = {rule["id"] for rule in found.response["passes"]}
    assert passed >= {"color-contrast", "html-has-lang", "empty-table-header"}
