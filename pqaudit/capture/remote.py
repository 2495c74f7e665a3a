"""Inputs that are not local files: the filesystem of fsspec that holds one, and what the server knows about it."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pqaudit.capture.faults import InputFault
from pqaudit.capture.remote_faults import remote_fault
from pqaudit.capture.remote_patience import CONNECT_SECONDS, SILENT_SECONDS
from pqaudit.capture.shown import scheme_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Info = dict[str, Any]
"""What a filesystem says about a file: ``name``, ``type``, ``size`` (None where unknown) and fields of its own."""

HTTP = ("http", "https")
_SSH = ("sftp", "ssh")
# They stand for a file inside another one, or copy files to the disk.
_NEED_ANOTHER = frozenset(
    [
        "asynccached",
        "blockcache",
        "cached",
        "data",
        "dir",
        "filecache",
        "generic",
        "libarchive",
        "reference",
        "simplecache",
        "tar",
        "zip",
    ]
)
_LOGGERS = ("aiobotocore", "aiohttp", "asyncio", "botocore", "fsspec", "gcsfs", "google", "paramiko", "s3fs", "urllib3")


def located(source: str) -> tuple[AbstractFileSystem, str]:
    """The filesystem of a URL and the path in it. Raises InputFault.

    A filesystem is kept by fsspec for the next call. It must not be handed to another process; the URL can be.
    """
    import fsspec

    scheme = scheme_of(source) or ""
    _keep_logs_back()
    if not source.partition("://")[2].strip("/"):
        raise InputFault("unreadable", f"The URL names nothing behind {scheme}://.")
    try:
        # Not url_to_fs, which reads "::" as a chain: it is allowed in names of objects and in IPv6 addresses.
        kind = None if scheme in _NEED_ANOTHER else _class(fsspec, scheme)
        if kind is None:
            known = "s3://, gs://, sftp://, http:// and https://"
            raise InputFault("unreadable", f"Inputs of the kind {scheme}:// are not known; give a path, or {known}.")
        if scheme in _SSH:
            return kind(**_ssh_options(source)), _ssh_path(source)
        options = dict(kind._get_kwargs_from_urls(source))
        if scheme in HTTP:
            options["client_kwargs"] = _http_client(fsspec.config.conf)
        filesystem = kind(**options)
        return filesystem, source if scheme in HTTP else filesystem._strip_protocol(source)
    except Exception as error:  # libraries of all kinds raise what they like
        raise remote_fault(error, source) from error


def asked(source: str, at: tuple[AbstractFileSystem, str] | None = None) -> Info:
    """What the server says about a file or folder now, by one request or a few. Raises InputFault.

    ``at`` is where it was located already, for threads: fsspec would make a filesystem for each.
    """
    filesystem, path = at or located(source)
    try:
        filesystem.invalidate_cache(path)  # a listing that the filesystem keeps may be old
        info: Info = filesystem.info(path)
    except Exception as error:
        raise remote_fault(error, source) from error
    return info


@cache
def _keep_logs_back() -> None:
    """Python prints what libraries log when nobody listens; what matters is in faults, and URLs may hold secrets."""
    for library in _LOGGERS:
        logging.getLogger(library).addHandler(logging.NullHandler())


def _class(fsspec: Any, scheme: str) -> Any:
    if scheme in _SSH:
        from pqaudit.capture.remote_sftp import VerifiedSftp

        return VerifiedSftp
    if scheme not in fsspec.available_protocols():
        return None
    return fsspec.get_filesystem_class(scheme)


def _http_client(configured: dict[str, Any]) -> dict[str, Any]:
    """Options of the HTTP client; what the user configured for fsspec goes before ours."""
    import aiohttp

    # By default aiohttp ends what takes longer than five minutes.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    own = {"timeout": timeout, "trust_env": True}
    return own | dict(configured.get("http", {}).get("client_kwargs", {}))


def _ssh_options(source: str) -> dict[str, Any]:
    parts = urlsplit("ssh://" + source.partition("://")[2].partition("/")[0])
    if not parts.hostname:
        raise InputFault("unreadable", "The URL names no host; write sftp://user@host/path.")
    options: dict[str, Any] = {"host": parts.hostname}
    try:
        options |= {"port": parts.port} if parts.port else {}
    except ValueError as error:
        raise InputFault(
            "unreadable", "The port in the URL is no number; write %2F for a slash in a password."
        ) from error
    for name, value in (("username", parts.username), ("password", parts.password)):
        if value:
            options[name] = unquote(value)
    return options


def _ssh_path(source: str) -> str:
    """All behind the host as it stands; ``?``, ``#`` and line ends may be in names."""
    return "/" + source.partition("://")[2].partition("/")[2]
