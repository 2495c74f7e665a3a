"""The files and folders that a page of an HTTP server links to, as servers list what is in a folder."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from pqaudit.capture.faults import InputFault
from pqaudit.capture.remote_stream import RemoteStream

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from pqaudit.capture.remote import Info

MOST_PAGE_OCTETS = 32 * 1024 * 1024
_PIECE = 1 << 16


def linked(folder: str, filesystem: AbstractFileSystem) -> list[Info]:
    """What the page at ``folder``, a URL that ends with a slash, links to below itself. Raises InputFault.

    fsspec's own listing holds a page of any size, does not decode it as HTML, and takes every URL in its text.
    """
    octets = bytearray()
    with RemoteStream(folder, (filesystem, folder)) as stream:
        while piece := stream.read(_PIECE):
            octets += piece
            if len(octets) > MOST_PAGE_OCTETS:
                raise InputFault(
                    "unreadable", f"Its page has more than {MOST_PAGE_OCTETS:,} octets; name what is in it."
                )
    page = _Links()
    page.feed(octets.decode("utf-8", "replace"))
    return [
        {"name": url, "size": None, "type": "directory" if url.endswith("/") else "file"}
        for url in dict.fromkeys(_joined(folder, link) for link in page.links)
        if url.startswith(folder) and _is_below(url[len(folder) :])
    ]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _joined(folder: str, link: str) -> str:
    try:
        return urljoin(folder, link)
    except ValueError:  # a link to no possible host
        return ""


def _is_below(relative: str) -> bool:
    """Whether a link goes down: not to the page itself, in another order, or to anywhere."""
    parts = relative.removesuffix("/").split("/")
    return not any(part in ("", ".", "..") or "?" in part or "#" in part for part in parts)
