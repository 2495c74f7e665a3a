"""The page as octets: complete in itself, and nothing in it from the wire is markup."""

from __future__ import annotations

import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SAMPLES

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Elements(HTMLParser):
    """Names of elements and attributes, and what refers to somewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.startswith("on"):
                self.handlers.append(name)
            if name in ("src", "href", "action", "xlink:href"):
                self.references.append(value or "")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("html")
    capture = folder / "<b>&capture.pcap"
    capture.write_bytes((SAMPLES / "classical_x25519.pcap").read_bytes())
    assets = folder / "assets.csv"
    quoted = HOSTILE.replace('"', '""')
    assets.write_text(f'network,name,owner,site,criticality\n10.1.0.1,"{quoted}","{quoted}",s,high\n')
    pqaudit = [sys.executable, "-m", "pqaudit"]
    findings = subprocess.run(
        [*pqaudit, "audit", "--format", "json", str(capture)], capture_output=True, cwd=REPOSITORY, check=True
    ).stdout
    command = [*pqaudit, "report", "-", "--as-of", "2026-11-25", "--format", "html", "--assets", str(assets)]
    made = [
        subprocess.run(command, input=findings, capture_output=True, cwd=REPOSITORY, check=True).stdout
        for _ in range(2)
    ]
    assert made[0] == made[1]
    return made[0].decode()


def test_nothing_from_outside_becomes_markup(page: str) -> None:
    found = Elements()
    found.feed(page)
    assert "img" not in found.tags
    assert "b" not in found.tags
    assert found.handlers == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("<script") == 1


def test_it_is_complete_in_itself(page: str) -> None:
    found = Elements()
    found.feed(page)
    assert all(reference.startswith("#") for reference in found.references)
    assert "default-src 'none'" in unescape(page)
    assert not re.search(r"url\(|@import|https?://[^<]*\.(?:js|css|woff)", page)


def test_it_is_a_page_for_everybody(page: str) -> None:
    assert page.startswith("<!DOCTYPE html>") or page.startswith("<!doctype html>")
    assert re.search(r"<html[^>]* lang=", page)
    assert "<caption" in page
    assert 'scope="col"' in page
    assert "prefers-color-scheme" in page
    assert "@media print" in page


def test_without_assets_it_works_too(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    pqaudit = [sys.executable, "-m", "pqaudit"]
    findings = subprocess.run(
        [*pqaudit, "audit", "--format", "jsonl", str(SAMPLES)], capture_output=True, cwd=REPOSITORY, check=True
    ).stdout
    command = [*pqaudit, "report", "-", "--as-of", "2026-11-25", "--format", "html", "-o", str(out)]
    subprocess.run(command, input=findings, capture_output=True, cwd=REPOSITORY, check=True)
    assert "10.1.0.1" in out.read_text()
