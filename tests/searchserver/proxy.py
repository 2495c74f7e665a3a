"""A proxy before a real search server for what that one lacks: TLS, accounts, and faults on the way.

What is neither refused for its account nor picked for a fault reaches the server as it came, and so does the answer.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.searchserver.node import Node

# Of one connection only, and not passed on.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
SCHEMES = ['Basic realm="security", charset="UTF-8"', 'Bearer realm="security"', "ApiKey"]
SERVER_SECONDS = 60.0

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """One request as it came from the client."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Record:
    """One request, and the status of its answer: None where there was none to send."""

    request: Request
    status: int | None

    @property
    def method(self) -> str:
        return self.request.method

    @property
    def path(self) -> str:
        return self.request.path

    @property
    def size(self) -> int:
        """Octets of the request's body."""
        return len(self.request.body)


@dataclass(frozen=True)
class Answer:
    """Answer in the server's place: it never sees the request. Without a body, with the one that a server sends."""

    status: int
    body: str | None = None
    headers: Headers = ()


@dataclass(frozen=True)
class Reset:
    """Cut the connection after this many octets of the answer's body; None: before its status line.

    The server has done what was asked by then, unless it is not delivered.
    """

    after: int | None = None
    delivered: bool = True


@dataclass(frozen=True)
class Stall:
    """Pause for so long after this many octets of the answer's body; None: before its status line."""

    seconds: float
    after: int | None = None


Fault = Answer | Reset | Stall
Faults = Callable[[Request], Fault | None]


@dataclass(frozen=True)
class Forbid:
    """No account may do this: expressions that match all of a method and of a path without its query."""

    method: str
    path: str
    action: str = "indices:data/write/bulk"  # as the server would name it in its answer


def first(count: int, fault: Fault, method: str = ".*", path: str = ".*") -> Faults:
    """The fault for the first requests that match, then none."""
    lock = threading.Lock()
    left = count

    def pick(request: Request) -> Fault | None:
        nonlocal left
        with lock:
            if not left or not _matches(method, path, request):
                return None
            left -= 1
            return fault

    return pick


@dataclass
class Proxy:
    """Listens on loopback in a thread of this process, from the start of its `with` block to the end."""

    node: Node
    tls: ssl.SSLContext | None = None
    users: Mapping[str, str] = field(default_factory=dict)  # name: password
    api_keys: Collection[str] = ()  # in Base64, as clients send them
    forbidden: Sequence[Forbid] = ()
    faults: Faults | None = None  # may be changed at any time
    records: list[Record] = field(default_factory=list)
    port: int = 0
    _listener: _Listener | None = None

    @property
    def url(self) -> str:
        """Where clients reach the server through this proxy."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def refuse(self) -> None:
        """Stop listening and cut what is connected: clients find the connection refused."""
        if self._listener:
            self._listener.stop()
            self._listener = None

    def accept(self) -> None:
        """Listen, again on the same port after refuse()."""
        if not self._listener:
            self._listener = _Listener(self)
            self.port = self._listener.server_address[1]

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def refusal(self, request: Request) -> Answer | None:
        """The answer to a request without an account, or one that its account does not permit."""
        account = self._account(request)
        if isinstance(account, Answer):
            return account
        for each in self.forbidden:
            if _matches(each.method, each.path, request):
                return self._error(403, "security_exception", self._forbidden(each.action, account))
        return None

    def in_place_of_server(self, fault: Answer) -> Answer:
        """The answer of a fault, with the body that a server would send."""
        if fault.body is not None or fault.status == 413:  # the real one has no body
            return fault
        kind, reason = {
            429: ("es_rejected_execution_exception", "rejected execution of coordinating operation"),
            503: ("cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered / initialized];"),
        }.get(fault.status, ("exception", HTTPStatus(fault.status).phrase))
        return self._error(fault.status, kind, reason, fault.headers)

    def _account(self, request: Request) -> str | Answer:
        """Who asks, as a server's answer names them, or the answer to somebody unknown."""
        if not self.users and not self.api_keys:
            return self._user("_anonymous")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        where = f"for REST request [{request.path}]"
        if scheme.lower() == "basic":
            name, _, password = _decoded(given).partition(":")
            if self.users.get(name) == password:
                return self._user(name)
            return self._unauthorized(f"unable to authenticate user [{name}] {where}")
        if scheme.lower() == "apikey":
            if given in self.api_keys:
                return f"API key id [{_decoded(given).partition(':')[0]}] of user [elastic]"
            given_up = "anonymous access is not allowed for this request"
            return self._unauthorized(f"unable to authenticate with provided credentials and {given_up}")
        return self._unauthorized(f"missing authentication credentials {where}")

    def _user(self, name: str) -> str:
        if self.node.engine == "opensearch":
            return f"User [name={name}, backend_roles=[], requestedTenant=null]"
        return f"user [{name}]"

    def _unauthorized(self, reason: str) -> Answer:
        if self.node.engine == "opensearch":
            realm = ("WWW-Authenticate", 'Basic realm="OpenSearch Security"')
            return Answer(401, "Unauthorized", [realm, ("content-type", "text/plain; charset=UTF-8")])
        asked = [("WWW-Authenticate", scheme) for scheme in SCHEMES]
        return self._error(401, "security_exception", reason, asked, {"header": {"WWW-Authenticate": SCHEMES}})

    def _forbidden(self, action: str, account: str) -> str:
        if self.node.engine == "opensearch":
            return f"no permissions for [{action}] and {account}"
        return f"action [{action}] is unauthorized for {account}, this action is granted by the privileges [all]"

    def _error(
        self, status: int, kind: str, reason: str, headers: Headers = (), more: Mapping[str, Any] | None = None
    ) -> Answer:
        cause = {"type": kind, "reason": reason, **(more or {})}
        body = json.dumps({"error": {"root_cause": [cause], **cause}, "status": status})
        return Answer(status, body, [*headers, ("content-type", "application/json")])

    def product(self) -> Headers:
        """The header by which clients know what they talk to."""
        return [] if self.node.engine == "opensearch" else [("X-elastic-product", "Elasticsearch")]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(("127.0.0.1", proxy.port), _Handler)
        self.proxy = proxy
        self.ending = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In a thread for each connection, so that a slow handshake holds up no other."""
        connection: socket.socket = request
        try:
            if self.proxy.tls:
                connection = self.proxy.tls.wrap_socket(request, server_side=True)
            with self._lock:
                self._open.add(connection)
            super().finish_request(connection, client_address)
        except OSError:
            pass  # the client does not trust us or has gone, or this end has cut the connection
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def stop(self) -> None:
        self.ending.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):  # any method there is
            return self._serve
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Nothing: Proxy.records has it all."""

    def _serve(self) -> None:
        proxy = self.server.proxy
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, self._body())
        fault = proxy.refusal(request) or (proxy.faults(request) if proxy.faults else None)
        if isinstance(fault, Reset) and not fault.delivered:
            proxy.records.append(Record(request, None))
            return self._cut()
        if isinstance(fault, Answer):
            made = proxy.in_place_of_server(fault)
            status, reason, body = made.status, HTTPStatus(made.status).phrase, (made.body or "").encode()
            answer_headers: Headers = [*made.headers, *proxy.product(), ("content-length", str(len(body)))]
        else:
            try:
                status, reason, answer_headers, body = self._ask_server(request)
            except (OSError, http.client.HTTPException):
                proxy.records.append(Record(request, None))
                return self._cut()  # no server there is no answer
        proxy.records.append(Record(request, status))
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in answer_headers), "", ""]
        return self._send("\r\n".join(lines).encode("latin-1"), b"" if request.method == "HEAD" else body, fault)

    def _send(self, head: bytes, body: bytes, fault: Fault | None) -> None:
        if not isinstance(fault, Reset | Stall):
            self.wfile.write(head + body)
            return
        whole = head + body
        until = 0 if fault.after is None else len(head) + fault.after
        self.wfile.write(whole[:until])
        if isinstance(fault, Reset):
            self._cut()
        elif not self.server.ending.wait(fault.seconds):
            self.wfile.write(whole[until:])

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self._exactly(int(self.headers.get("content-length", 0)))
        chunks = []
        while size := int(self._line().partition(b";")[0], 16):
            chunks.append(self._exactly(size))
            self._line()
        while self._line().strip():
            pass  # trailers
        return b"".join(chunks)

    def _line(self) -> bytes:
        if not (line := self.rfile.readline()):
            raise ConnectionResetError("the client has gone in the middle of a request")
        return line

    def _exactly(self, size: int) -> bytes:
        """So many octets: a server does nothing about a request of which it has only a part."""
        if len(data := self.rfile.read(size)) < size:
            raise ConnectionResetError("the client has gone in the middle of a request")
        return data

    def _ask_server(self, request: Request) -> tuple[int, str, Headers, bytes]:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.server.proxy.node.port, timeout=SERVER_SECONDS)
        ) as connection:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    connection.putheader(name, value)
            if request.body or "content-length" in request.headers:
                connection.putheader("Content-Length", str(len(request.body)))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(request.body)  # a server that will not have it all may have answered already
            answer = connection.getresponse()
            body = answer.read()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
            if "content-length" not in answer.headers:
                kept.append(("content-length", str(len(body))))
            return answer.status, answer.reason, kept, body

    def _cut(self) -> None:
        """Reset the connection: closed with linger 0, and at once, whoever still holds it."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())


def _matches(method: str, path: str, request: Request) -> bool:
    return bool(re.fullmatch(method, request.method) and re.fullmatch(path, request.path.partition("?")[0]))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
