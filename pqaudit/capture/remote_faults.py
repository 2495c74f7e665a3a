"""What the libraries of remote inputs raise, as faults of the input that say what to do."""

from __future__ import annotations

from pqaudit.capture.faults import InputFault
from pqaudit.capture.shown import scheme_of, without_secrets

_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "sftp": "sftp",
    "ssh": "sftp",
    "http": "http",
    "https": "http",
}
# By name, so that no library is loaded to look at what another one raised.
_NO_ACCESS = frozenset(
    (
        "PermissionError",
        "NoCredentialsError",  # botocore, and the next three
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "ProfileNotFound",
        "DefaultCredentialsError",  # google-auth, and the next
        "RefreshError",
        "AuthenticationException",  # paramiko
    )
)
_BROKEN_OFF = frozenset(("ClientPayloadError", "ServerDisconnectedError", "IncompleteRead", "EOFError"))
_LASTING = (ImportError, ValueError, TypeError, AttributeError, NotImplementedError, LookupError)
_MISSING = (404, 410)
_REFUSED = (401, 403, 407)
_ONCE_MORE = (408, 425, 429)
_LEAST_SERVER_ERROR = 500
_MOST_TEXT = 300


def remote_fault(error: Exception, source: str, *, begun: bool = False) -> InputFault:
    """The fault for an error met at a remote input; ``begun`` when it had been opened already.

    The kind is ``missing``, ``unreadable`` or, when begun, ``read-error``: the place is at fault, not the capture, and
    another try may succeed.
    """
    if isinstance(error, InputFault):
        return error
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
        # fsspec's HTTP says this of all that kept it from asking.
        error = error.__cause__
    said = _said(error, source)
    if begun:
        return InputFault("read-error", f"Reading failed: {said}; everything before was read.")
    if isinstance(error, ImportError):
        scheme = scheme_of(source) or ""
        extra = _EXTRAS.get(scheme)
        todo = f"pip install 'pqaudit[{extra}]'" if extra else said
        return InputFault("unreadable", f"Reading {scheme}:// needs a package that is not installed: {todo}")
    if _is_missing(error):
        return InputFault("missing", "There is no such file or folder on the server.")
    return InputFault("unreadable", f"It cannot be opened: {said}.")


def may_succeed(error: Exception) -> bool:
    """Whether trying again at once makes sense: the network or the server failed, and nothing was refused."""
    status = _status(error)
    if status is not None:
        return status >= _LEAST_SERVER_ERROR or status in _ONCE_MORE
    names = _names(error)
    return not (
        isinstance(error, (*_LASTING, InputFault))
        or _is_missing(error)
        or _NO_ACCESS & names
        or names & {"FileExpired", "BadHostKeyException", "UnknownHostKeyError"}
    )


def _said(error: Exception, source: str) -> str:
    status = _status(error)
    names = _names(error)
    if status in _REFUSED or _NO_ACCESS & names:
        detail = f"HTTP status {status}" if status else _text(error, source)
        return f"access is refused ({detail}); check the credentials and the permissions"
    if status is not None:
        return f"the server answered with HTTP status {status}"
    if "FileExpired" in names:
        return "it was changed meanwhile; read it again"
    if "BadHostKeyException" in names:
        return "the server's host key is not the one in known_hosts; find out why before removing that one"
    if names & _BROKEN_OFF:
        return "the server broke off"
    if isinstance(error, TimeoutError) or any("Timeout" in name for name in names):
        return "the server did not answer in time"
    return _text(error, source)


def _text(error: Exception, source: str) -> str:
    """One line of what the library said."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    said = without_secrets(" ".join(str(said).split()), source).rstrip(".")
    return said if len(said) <= _MOST_TEXT else said[:_MOST_TEXT] + "..."


def _status(error: Exception) -> int | None:
    """The HTTP status in an error of botocore, aiohttp or gcsfs."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict) and isinstance(status := answer.get("ResponseMetadata", {}).get("HTTPStatusCode"), int):
        return status
    for name in ("status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int | str) and str(value).isdecimal() and len(str(value)) == 3:
            return int(value)
    return None


def _is_missing(error: Exception) -> bool:
    return isinstance(error, FileNotFoundError) or _status(error) in _MISSING


def _names(error: Exception) -> set[str]:
    return {each.__name__ for each in type(error).__mro__}
