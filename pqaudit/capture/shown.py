"""What an input is called in findings, notes and progress: its name without what gives access to it."""

from __future__ import annotations

import re
from urllib.parse import unquote

# A scheme has two characters at least: one letter and a colon is a drive.
_SCHEME = "[A-Za-z][A-Za-z0-9+.-]+"
# What stands before :: asks fsspec for a file inside another one, or a copy of it, as in zip://name::https://host/a.zip
_URL = re.compile(f"({_SCHEME})(?:://|::(?:{_SCHEME}::)*{_SCHEME}://)", re.ASCII)
_LINK = re.compile(f"::(?={_SCHEME}(?:://|::))", re.ASCII)
_URL_INSIDE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://[^\s'\"<>|()]+", re.ASCII)
_HTTP = ("http", "https")


def scheme_of(source: str) -> str | None:
    """The scheme of an input that is a URL, in small letters; None for a local path and for the standard input."""
    match = _URL.match(source)
    return match[1].lower() if match else None


def shown_name(source: str) -> str:
    """The name of ``source`` that may be shown and stored: without password, and for HTTP without user and query.

    Over HTTP tokens are given as user names and in queries, as presigned URLs do. Elsewhere ``?`` and ``#`` belong to
    names. A local path is its own name.
    """
    if scheme_of(source) is None:
        return source
    first, *links = _LINK.split(source)
    scheme = scheme_of(first)
    if scheme in _HTTP and re.search("[?#]", first):
        links = []  # they are in the query
    return "::".join([_shown(first, scheme), *map(shown_name, links)])


def _shown(source: str, scheme: str | None) -> str:
    if scheme is None:
        return source
    userinfo, rest = _split(source)
    if scheme in _HTTP:
        return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"
    user = userinfo.partition(":")[0]
    return f"{scheme}://{user}@{rest}" if user else f"{scheme}://{rest}"


def without_secrets(text: str, source: str) -> str:
    """What a library said of ``source``, with URLs in it as ``shown_name`` gives them and without the password."""
    text = text.replace(source, shown_name(source))
    text = _URL_INSIDE.sub(lambda match: shown_name(match[0]), text)
    secrets: list[str] = []
    for link in _LINK.split(source) if scheme_of(source) is not None else ():
        userinfo, rest = _split(link)
        user, _, password = userinfo.partition(":")
        secrets += [password] if scheme_of(link) not in _HTTP else [password, user, rest.partition("?")[2]]
    for secret in sorted({each for one in secrets for each in (one, unquote(one)) if each}, key=len, reverse=True):
        text = text.replace(secret, "...")
    return text


def _split(source: str) -> tuple[str, str]:
    """What stands before the ``@`` of a URL's host, and all behind it."""
    rest = source.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    userinfo, at, _ = authority.rpartition("@")
    if at:
        return userinfo, rest[len(userinfo) + 1 :]
    port = authority.rpartition("]")[2].partition(":")[2]
    if port and not port.isdecimal() and "@" in rest:
        # No port: a password with a slash in it, which should have been written %2F.
        userinfo, _, rest = rest.rpartition("@")
        return userinfo, rest
    return "", rest
