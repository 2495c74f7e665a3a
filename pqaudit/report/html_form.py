"""The report as a page: one file that needs no network, in print and on screens, with and without its script.

The page forbids itself every request and every script but its own, by their hashes. Nothing of the report is in the
script: it works on the tables alone.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import BinaryIO

from pqaudit.outputs.wording import plural
from pqaudit.report.html_parts import text
from pqaudit.report.html_sections import sections
from pqaudit.report.model import Report


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rows the page shows of what grows with the findings."""

    tunnels: int = 2_000
    sas: int = 1_000
    others: int = 500


def write(report: Report, out: BinaryIO) -> None:
    """Write the page."""
    for piece in page(report, Limits()):
        out.write(piece.encode())


def page(report: Report, limits: Limits, look: str = "page.css") -> Iterator[str]:
    """The page in pieces, with the styles of the file ``look`` of this package."""
    header, counts = report.header, report.counts
    style, script = _beside(look), _beside("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{text(policy)}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="referrer" content="no-referrer">\n'
    yield f'<meta name="generator" content="{text(header.tool)} {text(header.version)}">\n'
    # Not the time of writing, which would make each file differ.
    yield f'<meta name="dcterms.created" content="{header.as_of}">\n'
    yield f"<title>{text(header.title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
    yield '<a class="skip" href="#main">To the content</a>\n<header>\n'
    yield f"<h1>{text(header.title)}</h1>\n"
    yield (
        f"<p>As of <strong>{header.as_of}</strong>: {plural(counts.tunnels, 'tunnel')} between "
        f"{plural(counts.peers, 'peer')}, {plural(counts.sas, 'SA')}{text(_span(report))}.</p>\n"
    )
    if not report.complete:
        yield '<p class="warning">The report is not complete.</p>\n'
    if report.notes:
        yield f"<ul>{''.join(f'<li>{text(note)}</li>' for note in report.notes)}</ul>\n"
    parts = list(sections(report, limits.tunnels, limits.sas, limits.others))
    links = "".join(f'<li><a href="#{part.name}">{text(part.title)}</a></li>' for part in parts)
    yield f'</header>\n<nav aria-label="Parts">\n<ul>{links}</ul>\n</nav>\n<main id="main" tabindex="-1">\n'
    for part in parts:
        yield from part.markup()
    yield f"</main>\n<script>{script}</script>\n</body>\n</html>\n"


def _span(report: Report) -> str:
    first, last = report.counts.first, report.counts.last
    return "" if first is None or last is None else f", begun from {first} to {last}"


def _beside(name: str) -> str:
    return files("pqaudit.report").joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
