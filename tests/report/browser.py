"""Debian's Chromium, and pages in it that are watched: whatever they ask for, say or try is noted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import REPOSITORY

PICTURES = REPOSITORY / "build" / "screenshots"
WIDE, NARROW = 1280, 390
HIGH = 900
_MOST_HIGH = 12_000  # Chromium paints nothing below 16,384 pixels
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. Nothing else of the process may run an event loop while it is there."""
    program = shutil.which("chromium")
    assert program, "install Chromium, which opens the report: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and what it did that a report must not do.

    Attributes:
        requests: addresses of all that it asked for, itself first.
        told: messages of the console, errors of scripts, dialogs, windows.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def rows(self, table: str) -> list[list[str]]:
        """The text of all cells as it is shown, row by row, of those rows that are shown."""
        return self._cells(table, "innerText")

    def keys(self, table: str) -> list[str]:
        """Text of whole rows, to tell them apart, in the order of the page; hidden ones too."""
        found: list[str] = self.page.evaluate(
            "id => [...document.getElementById(id).tBodies[0].rows].map(row => row.textContent)", table
        )
        return found

    def column(self, table: str, heading: str) -> list[str]:
        """The text of the cells below a heading."""
        place = self.headings(table).index(heading)
        return [row[place] for row in self.rows(table)]

    def headings(self, table: str) -> list[str]:
        """Of all columns."""
        found: list[str] = self.page.evaluate(
            "id => [...document.getElementById(id).tHead.rows[0].cells].map(cell => cell.innerText.trim())", table
        )
        return found

    def photograph(self, name: str) -> None:
        """Keep a picture of the page, as far down as it can be painted."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        width, height = self.page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
        clip: Any = {"x": 0, "y": 0, "width": width, "height": min(height, _MOST_HIGH)}
        self.page.screenshot(path=PICTURES / f"html-{name}.png", full_page=True, clip=clip, animations="disabled")

    def _cells(self, table: str, text: str) -> list[list[str]]:
        found: list[list[str]] = self.page.evaluate(
            """([id, text]) => [...document.getElementById(id).tBodies[0].rows].filter(row => !row.hidden)
                .map(row => [...row.cells].map(cell => cell[text].trim()))""",
            [table, text],
        )
        return found


@contextmanager
def watched(
    browser: Browser, file: Path, *, scheme: Scheme = "light", width: int = WIDE, script: bool = True
) -> Iterator[Watched]:
    """A file in a browser without a network."""
    context = browser.new_context(
        offline=True,
        color_scheme=scheme,
        java_script_enabled=script,
        reduced_motion="reduce",
        viewport={"width": width, "height": HIGH},
    )
    try:
        seen = Watched(context.new_page())
        context.on("request", lambda request: seen.requests.append(request.url))
        context.on("page", lambda page: seen.told.append(f"window {page.url}"))
        seen.page.on("console", lambda message: seen.told.append(f"{message.type}: {message.text}"))
        seen.page.on("pageerror", lambda error: seen.told.append(f"error: {error}"))
        seen.page.on("websocket", lambda socket: seen.requests.append(socket.url))

        def refuse(dialog: Any) -> None:
            seen.told.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        seen.page.on("dialog", refuse)
        seen.page.goto(file.as_uri())
        yield seen
    finally:
        context.close()


@contextmanager
def opened(browser: Browser, file: Path, **how: Any) -> Iterator[Watched]:
    """A file that neither asks for anything else, nor fails, nor says anything."""
    with watched(browser, file, **how) as seen:
        yield seen
        assert seen.requests == [file.as_uri()]
        assert seen.told == []
