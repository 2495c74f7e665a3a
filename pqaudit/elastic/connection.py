"""How a server is reached, and the secrets for it, which never leave this module in any text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")
_PORTS = {"http": 80, "https": 443}
_MOST_SECRET_OCTETS = 65_536


class Engine(StrEnum):
    """Kinds of server."""

    ELASTICSEARCH = "elasticsearch"
    OPENSEARCH = "opensearch"


class ConnectionSettingsError(ValueError):
    """A setting that cannot be used, in one sentence."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a server is and how to log in.

    Attributes:
        url: ``scheme://host:port`` with an optional path, and no credentials.
        user, password, api_key: what to log in with; secrets are left out of ``repr``.
        ca_file: certificates that the server's is checked against, beside none other.
        fingerprint: SHA-256 of the server's certificate as hex; it alone is then checked.
        engine: the kind of server, or None to ask it.
        timeout: seconds for one request.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    fingerprint: str | None = None
    engine: Engine | None = None
    timeout: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", checked_url(self.url))
        if self.api_key is not None and self.user is not None:
            raise ConnectionSettingsError("give an API key or a user with a password, not both")
        if (self.user is None) != (self.password is None):
            raise ConnectionSettingsError("a user needs a password, and a password a user")
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise ConnectionSettingsError("the fingerprint is not the SHA-256 of a certificate, 64 hex digits")
        if not self.url.startswith("https:") and (self.ca_file is not None or self.fingerprint is not None):
            raise ConnectionSettingsError("a CA file or fingerprint needs a URL that begins with https://")
        if self.ca_file is not None and not self.ca_file.is_file():
            raise ConnectionSettingsError(f"the CA file {self.ca_file} cannot be read")


def checked_url(url: str) -> str:
    """The URL with its port.

    Raises:
        ConnectionSettingsError: it is none of a server, or it holds a password, which process lists would show.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConnectionSettingsError("the server's URL cannot be read; it looks like https://host:9200") from error
    if parts.username or parts.password:
        raise ConnectionSettingsError("the URL holds credentials; give them by environment or file instead")
    if parts.scheme not in _PORTS or not parts.hostname or parts.query or parts.fragment:
        raise ConnectionSettingsError("the server's URL cannot be read; it looks like https://host:9200")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}{parts.path.rstrip('/')}"


def secret_from_file(path: Path) -> str:
    """The first line of a file that holds a secret.

    Raises:
        ConnectionSettingsError: it cannot be read, or is empty.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(_MOST_SECRET_OCTETS)
        text = octets.decode("utf-8").split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectionSettingsError(f"the file {path} with a secret cannot be read") from error
    if not text:
        raise ConnectionSettingsError(f"the file {path} holds no secret in its first line")
    return text
