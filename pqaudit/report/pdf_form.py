"""The report as PDF, to be printed and filed: the page of the form html, laid out by WeasyPrint.

It has fewer rows than the page, as laying out takes about a tenth of a second and 1 MB for each of them.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from hashlib import sha256
from typing import Any, BinaryIO

from pqaudit.report.formats import UnavailableError
from pqaudit.report.html_form import Limits, page
from pqaudit.report.model import Report

LIMITS = Limits(tunnels=150, sas=50, others=100)


def write(report: Report, out: BinaryIO, limits: Limits = LIMITS) -> None:
    """Write it, tagged as PDF/UA-1 asks, with bookmarks.

    The same report gives the same octets with the same WeasyPrint, Pango and fonts. Only the date in it is the day of
    the report, and its identifier follows from what it shows.

    Raises:
        UnavailableError: WeasyPrint, or Pango below it, is not installed.
    """
    html, closed = _loaded()
    markup = "".join(page(report, limits, "paper.css"))
    identifier = sha256(markup.encode()).hexdigest()[:32].encode()
    laid_out = html(string=markup, url_fetcher=closed())
    out.write(laid_out.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=identifier))


def _loaded() -> tuple[Any, Any]:
    """What reads a page and can write it as PDF, and what refuses to fetch anything for it."""
    try:
        with redirect_stdout(io.StringIO()):  # where WeasyPrint prints what libraries it misses
            from weasyprint import HTML

            from pqaudit.report.closed_fetcher import ClosedFetcher
    except ImportError as error:
        raise UnavailableError(
            "it needs WeasyPrint, version 68 or later; install it with: pip install 'pqaudit[pdf]'"
        ) from error
    except OSError as error:
        raise UnavailableError(
            "it needs Pango; install it with: apt install libpangoft2-1.0-0 libharfbuzz-subset0 fonts-dejavu-core"
        ) from error
    return HTML, ClosedFetcher
