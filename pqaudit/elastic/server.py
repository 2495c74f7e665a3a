"""One way to ask either kind of server, through the maintained client of each."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from typing import Any, Protocol
from urllib.parse import urlencode

from pqaudit.elastic.connection import Connection, Engine
from pqaudit.elastic.errors import Problem, ServerError

Json = Any
Body = Mapping[str, Json] | Sequence[bytes]

_JSON = "application/json"
_LINES = "application/x-ndjson"
_TOO_LARGE = 413
_STATUS = {
    401: Problem.CREDENTIALS,
    403: Problem.PRIVILEGES,
    404: Problem.NOT_FOUND,
    409: Problem.CONFLICT,
    _TOO_LARGE: Problem.TOO_LARGE,
    429: Problem.OVERLOADED,
    502: Problem.OVERLOADED,
    503: Problem.OVERLOADED,
    504: Problem.OVERLOADED,
}
_MOST_REASON = 300  # characters of a server's own words in a sentence


class Server(Protocol):
    """A server that was reached; ``version`` is what it says of itself."""

    engine: Engine
    version: str

    def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Body | None = None
    ) -> Json:
        """Ask once, without retrying, and give the JSON of the answer.

        Args:
            method: HTTP method.
            path: from the root, already quoted.
            params: query.
            body: JSON, or lines of newline-delimited JSON, each ended.

        Raises:
            ServerError: the request failed as a whole.
        """

    def close(self) -> None:
        """Close connections."""


def connect(connection: Connection) -> Server:
    """Reach a server and see which kind it is.

    Raises:
        ServerError: it cannot be reached or used.
    """
    if connection.engine is Engine.OPENSEARCH:
        return _open_search(connection)
    try:
        return _elasticsearch(connection)
    except ServerError as error:
        if error.problem is not Problem.WRONG_SERVER or connection.engine is not None:
            raise
        return _open_search(connection)


def _elasticsearch(connection: Connection) -> Server:
    import elasticsearch

    # What a server says of deprecated parts of its interface is for the makers of pqaudit, not for its users.
    warnings.simplefilter("ignore", elasticsearch.ElasticsearchWarning)
    options: dict[str, Any] = {}
    if connection.api_key is not None:
        options["api_key"] = connection.api_key
    elif connection.user is not None:
        options["basic_auth"] = (connection.user, connection.password)
    if connection.ca_file is not None:
        options["ca_certs"] = str(connection.ca_file)
    if connection.fingerprint is not None:
        options["ssl_assert_fingerprint"] = connection.fingerprint
    try:
        client = elasticsearch.Elasticsearch(
            connection.url,
            request_timeout=connection.timeout,
            max_retries=0,  # what is sent again, and when, is decided where the answer is read
            retry_on_timeout=False,
            connections_per_node=4,
            **options,
        )
    except (ValueError, ssl.SSLError, OSError) as error:
        raise ServerError(Problem.TLS, f"the TLS settings for {connection.url} cannot be used: {error}") from error
    return _named(_Elasticsearch(client, connection))


def _open_search(connection: Connection) -> Server:
    try:
        import opensearchpy
    except ImportError as error:
        raise ServerError(
            Problem.WRONG_CLIENT,
            f"{connection.url} is no Elasticsearch; check the URL, or install pqaudit[opensearch] if it is OpenSearch",
        ) from error
    warnings.simplefilter("ignore", opensearchpy.OpenSearchWarning)
    options: dict[str, Any] = {}
    if connection.api_key is not None:
        options["headers"] = {"Authorization": f"ApiKey {connection.api_key}"}
    elif connection.user is not None:
        options["http_auth"] = (connection.user, connection.password)
    if connection.ca_file is not None:
        options["ca_certs"] = str(connection.ca_file)
    if connection.fingerprint is not None:
        options.update(ssl_assert_fingerprint=connection.fingerprint, verify_certs=False, ssl_show_warn=False)
        options["ssl_assert_hostname"] = False
    client = opensearchpy.OpenSearch(
        connection.url, timeout=connection.timeout, max_retries=0, retry_on_timeout=False, **options
    )
    return _named(_OpenSearch(client, connection))


def _named(server: _Elasticsearch | _OpenSearch) -> Server:
    answer = server.request("GET", "/")
    try:
        own = answer["version"]
        server.version = str(own["number"])
        distribution = str(own.get("distribution", Engine.ELASTICSEARCH))
    except (TypeError, KeyError, AttributeError) as error:
        raise ServerError(
            Problem.WRONG_SERVER, f"{server.url} answers, but not as a search server; check the URL"
        ) from error
    if distribution != server.engine:
        raise ServerError(
            Problem.WRONG_SERVER, f"{server.url} is {_shown(distribution)} and not {server.engine}; check --engine"
        )
    return server


class _Elasticsearch:
    engine = Engine.ELASTICSEARCH

    def __init__(self, client: Any, connection: Connection) -> None:
        self._client = client
        self.url = connection.url
        self.version = ""

    def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Body | None = None
    ) -> Json:
        import elasticsearch

        headers = {"accept": _JSON}
        if body is not None:
            headers["content-type"] = _JSON if isinstance(body, Mapping) else _LINES
        target = f"{path}?{urlencode(params)}" if params else path
        try:
            return self._client.perform_request(method, target, headers=headers, body=body).body
        except elasticsearch.UnsupportedProductError as error:
            raise ServerError(Problem.WRONG_SERVER, f"{self.url} is no Elasticsearch; check the URL") from error
        except elasticsearch.ApiError as error:
            raise self._from_answer(int(error.meta.status), error.body) from error
        except elasticsearch.ConnectionTimeout as error:
            raise _timeout(self.url) from error
        except elasticsearch.SSLError as error:
            raise _tls(self.url, error) from error
        except elasticsearch.ConnectionError as error:
            raise _unreachable(self.url, error) from error
        except elasticsearch.SerializationError as error:
            raise _no_json(self.url, path) from error
        except elasticsearch.TransportError as error:
            raise ServerError(Problem.FAILED, f"{self.url} gave an answer that cannot be read") from error

    def _from_answer(self, status: int, body: Json) -> ServerError:
        kind, words = _reason(body)
        if kind == "media_type_header_exception":
            major = installed_version("elasticsearch").partition(".")[0]
            return ServerError(
                Problem.WRONG_CLIENT,
                f"{self.url} does not speak with the installed elasticsearch client {major}; "
                "install elasticsearch 8.19 ('elasticsearch>=8.19,<9'), which servers of version 8 and 9 accept",
                status,
                kind,
            )
        if status == 406:  # what OpenSearch says to the media types of an Elasticsearch client
            return ServerError(Problem.WRONG_SERVER, f"{self.url} is no Elasticsearch; check the URL", status, kind)
        return _from_status(self.url, status, kind, words)

    def close(self) -> None:
        self._client.close()


class _OpenSearch:
    engine = Engine.OPENSEARCH

    def __init__(self, client: Any, connection: Connection) -> None:
        self._client = client
        self.url = connection.url
        self.version = ""

    def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Body | None = None
    ) -> Json:
        import opensearchpy

        headers = {"content-type": _JSON if body is None or isinstance(body, Mapping) else _LINES}
        lines = body if body is None or isinstance(body, Mapping) else b"".join(body)
        # Part of the path: of parameters this client takes those that it knows, "timeout" for one, as meant for itself.
        target = f"{path}?{urlencode(params)}" if params else path
        try:
            return self._client.transport.perform_request(method, target, body=lines, headers=headers)
        except opensearchpy.ConnectionTimeout as error:
            raise _timeout(self.url) from error
        except opensearchpy.SSLError as error:
            raise _tls(self.url, error) from error
        except opensearchpy.ConnectionError as error:
            raise _unreachable(self.url, error) from error
        except opensearchpy.TransportError as error:
            kind, words = _reason(error.info)
            raise _from_status(self.url, int(error.status_code), kind, words) from error
        except opensearchpy.SerializationError as error:
            raise _no_json(self.url, path) from error
        except opensearchpy.OpenSearchException as error:
            raise ServerError(Problem.FAILED, f"{self.url} gave an answer that cannot be read") from error

    def close(self) -> None:
        self._client.close()


def _no_json(url: str, path: str) -> ServerError:
    if path == "/":
        return ServerError(Problem.WRONG_SERVER, f"{url} answers, but not as a search server; check the URL")
    return ServerError(Problem.FAILED, f"{url} gave an answer that is no JSON; see what is between it and here")


def _timeout(url: str) -> ServerError:
    return ServerError(
        Problem.TIMEOUT, f"{url} did not answer in time; see whether it is overloaded, or raise --timeout"
    )


def _unreachable(url: str, error: Exception) -> ServerError:
    # A server that speaks TLS on a port asked in the clear hangs up, and one that does not answers with no TLS.
    hint = "check the URL and that the server runs"
    text = _words(error)
    if "SSL" in text or "TLS" in text:
        return _tls(url, error)
    if "Name or service" in text or "resolve" in text or "nodename" in text:
        hint = "its name cannot be resolved; check the URL"
    return ServerError(Problem.UNREACHABLE, f"{url} cannot be reached: {hint}")


def _words(error: Exception) -> str:
    """What went wrong; the text of an error of the Elasticsearch client names its kind alone."""
    return str(getattr(error, "message", error))


def _tls(url: str, error: Exception) -> ServerError:
    text = _words(error)
    if "WRONG_VERSION_NUMBER" in text or "record layer" in text:
        hint = "it does not speak TLS; does the URL begin with http://?"
    elif "ngerprint" in text:
        hint = "its certificate is not the one of the fingerprint"
    elif "expired" in text:
        hint = "its certificate has expired"
    elif "ostname mismatch" in text or "doesn't match" in text or "IP address mismatch" in text:
        hint = "its certificate is for another name; use that name in the URL, or give --fingerprint"
    elif "CERTIFICATE_VERIFY_FAILED" in text or "certificate verify failed" in text:
        hint = "its certificate is not trusted; give its authority with --ca-file, or --fingerprint"
    else:
        hint = "the TLS connection failed; check the URL and the certificates"
    return ServerError(Problem.TLS, f"{url} cannot be used: {hint}")


def _from_status(url: str, status: int, kind: str, words: str) -> ServerError:
    problem = _STATUS.get(status, Problem.FAILED if status >= 500 else Problem.REFUSED)
    if problem is Problem.PRIVILEGES and kind.startswith("cluster_block"):
        # What a full disk does to indices; it passes when there is room again.
        problem = Problem.OVERLOADED
    said = f" ({_shown(words or kind)})" if words or kind else ""
    sentence = {
        Problem.CREDENTIALS: f"{url} refuses the credentials; check the API key, or the user and password",
        Problem.PRIVILEGES: f"{url} does not allow this to the user or API key{said}; "
        "docs/elasticsearch.md lists the privileges that are needed",
        Problem.OVERLOADED: f"{url} is overloaded or not ready{said}; try again later",
        Problem.TOO_LARGE: f"{url} takes no request of that size; raise http.max_content_length there",
        Problem.NOT_FOUND: f"{url} knows nothing there{said}; check the URL",
    }.get(problem, f"{url} answered with status {status}{said}")
    return ServerError(problem, sentence, status, kind)


def _reason(body: Json) -> tuple[str, str]:
    """The server's error type and words; an answer of another shape, a proxy's for one, has none."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return ("", error if isinstance(error, str) else "")
    return (str(error.get("type", "")), str(error.get("reason", "")))


def _shown(text: str) -> str:
    """A server's words, short and without what a terminal would obey."""
    from pqaudit.outputs.escape import printable

    return printable(text if len(text) <= _MOST_REASON else text[:_MOST_REASON] + "...")
