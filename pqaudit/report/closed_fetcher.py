"""What keeps WeasyPrint from the network and from files. To import it needs WeasyPrint."""

from __future__ import annotations

from typing import NoReturn

from weasyprint.urls import URLFetcher


class ClosedFetcher(URLFetcher):  # type: ignore[misc]  # it brings no types
    """Fetches nothing, whatever a page may ask for."""

    def fetch(self, url: str, headers: object = None) -> NoReturn:
        """Refuse.

        Raises:
            ValueError: always; WeasyPrint goes on without what it asked for.
        """
        raise ValueError("a report fetches nothing")
