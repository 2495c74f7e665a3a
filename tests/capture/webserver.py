"""An HTTP server on loopback that gives the files of a folder in several ways, good and bad."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import threading
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

USER = "auditor"
PASSWORD = "s3cret-Pa55"  # of this server only
_PIECE = 1 << 16


class WebServer:
    """Gives a folder under names that say how.

    ``/ranges/`` with ranges, length, ETag and a list of each folder; ``/plain/`` with neither ranges nor length;
    ``/breaks/`` as ``ranges``, but the first answer for a file ends in the middle; ``/cut/`` as ``breaks`` each time
    and without ranges; ``/private/`` as ``ranges`` for the user and password; ``/signed/`` as ``ranges`` for GET with a
    signature; ``/status/NNN`` answers with that status; ``/endless/`` gives ``flood`` again and again, as often as
    ``floods`` says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: Counter[str] = Counter()
        self.broken: set[str] = set()
        self.head = b""
        self.flood = b""
        self.floods = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.web = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self.host}"

    def __enter__(self) -> WebServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def web(self) -> WebServer:
        return cast("WebServer", cast("Any", self.server).web)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        with suppress(ConnectionError):  # the client has what it wanted
            self._answered(body=body)

    def _answered(self, *, body: bool) -> None:
        parts = urlsplit(self.path)
        way, _, name = unquote(parts.path).removeprefix("/").partition("/")
        self.web.requests[f"{self.command} {way}"] += 1
        if way == "status":
            self._short(int(name.rstrip("/")))
        elif way == "endless":
            self._flood()
        elif way == "private" and self.headers.get("Authorization") != _basic():
            self._short(401)
        elif way == "signed" and (self.command != "GET" or "X-Amz-Signature=" not in parts.query):
            self._short(403)
        elif (path := self.web.folder / name).is_dir():
            self._list(path)
        elif not path.is_file():
            self._short(404)
        else:
            self._file(way, path.read_bytes(), body)

    def _short(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _list(self, folder: Path) -> None:
        names = sorted(each.name + ("/" if each.is_dir() else "") for each in folder.iterdir())
        links = "".join(f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names)
        page = f'<a href="?C=N;O=D">Name</a> <a href="../">up</a> <a href="./">here</a> <a href="http://[">broken</a>\n{links}'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def _file(self, way: str, octets: bytes, body: bool) -> None:
        whole, total = octets, len(octets)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if way in ("plain", "cut"):
            wanted = None
        first = int(wanted[1]) if wanted else 0
        octets = octets[first : int(wanted[2]) + 1 if wanted and wanted[2] else total]
        self.send_response(206 if wanted else 200)
        if way == "plain":
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(octets)))
            self.send_header("ETag", f'"{hashlib.sha256(whole).hexdigest()[:16]}"')
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{first + len(octets) - 1}/{total}")
        self.end_headers()
        if not body:
            return
        if way == "cut" or (way == "breaks" and self.path not in self.web.broken):
            self.web.broken.add(self.path)
            self.close_connection = True
            octets = octets[: len(octets) // 2]
        for start in range(0, len(octets), _PIECE):
            self.wfile.write(octets[start : start + _PIECE])

    def _flood(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(self.web.head)
        for _ in range(self.web.floods):
            self.wfile.write(self.web.flood)


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
