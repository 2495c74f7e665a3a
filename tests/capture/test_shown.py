"""Names that may be shown: no password, no token, and one name for one input."""

from __future__ import annotations

import pytest

from pqaudit.capture.shown import scheme_of, shown_name, without_secrets


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("captures/a.pcap", "captures/a.pcap"),
        ("-", "-"),
        ("a?b#c", "a?b#c"),
        ("c:/a.pcap", "c:/a.pcap"),
        ("s3://bucket/a b?c#d.pcap", "s3://bucket/a b?c#d.pcap"),
        ("S3://bucket/a", "s3://bucket/a"),
        ("sftp://user:secret@host:22/a@b?c", "sftp://user@host:22/a@b?c"),
        ("sftp://user:s@cret@host/a", "sftp://user@host/a"),
        ("sftp://user:se/cret@host/a", "sftp://user@host/a"),
        ("sftp://host:22/a@b", "sftp://host:22/a@b"),
        ("sftp://[::1]:22/a@b", "sftp://[::1]:22/a@b"),
        ("https://user:secret@host/a.pcap", "https://host/a.pcap"),
        ("https://secret@host/a.pcap", "https://host/a.pcap"),
        ("https://host/a.pcap?X-Amz-Signature=secret&x=1", "https://host/a.pcap"),
        ("https://host/a.pcap?b@c", "https://host/a.pcap"),
        ("https://host?token=secret", "https://host"),
        ("https://host/a.pcap#secret", "https://host/a.pcap"),
        ("s3://bucket/a::b", "s3://bucket/a::b"),
        ("simplecache::https://user:secret@host/a?sig=secret", "simplecache::https://host/a"),
        ("zip://a.pcap::https://user:secret@host/a.zip?sig=secret", "zip://a.pcap::https://host/a.zip"),
        ("cached::zip://a::sftp://user:secret@host/a.zip", "cached::zip://a::sftp://user@host/a.zip"),
        ("https://host/a?from=zip::s3://user:secret@b/c", "https://host/a"),
        ("abfs://container@account.example/a", "abfs://container@account.example/a"),
    ],
)
def test_what_is_shown(source: str, shown: str) -> None:
    assert shown_name(source) == shown
    assert shown_name(shown) == shown


def test_what_libraries_say_is_cleaned() -> None:
    source = "https://user:pass%2Fword@host/a?sig=abc%3D"
    said = f"403 for {source} and https://other:geheim@h/?t=1: pass/word pass%2Fword sig=abc%3D user"
    cleaned = without_secrets(said, source)
    for secret in ("pass", "geheim", "abc", "user", "t=1"):
        assert secret not in cleaned
    assert "https://host/a" in cleaned


def test_what_libraries_say_of_chains_is_cleaned() -> None:
    source = "zip://a.pcap::https://user:geheim@host/a.zip?sig=abc%3D"
    cleaned = without_secrets(f"no {source} with geheim and sig=abc=", source)
    assert not any(secret in cleaned for secret in ("geheim", "abc", "user"))


def test_schemes() -> None:
    assert scheme_of("s3://b/k") == "s3"
    assert scheme_of("HTTPS://h/") == "https"
    assert scheme_of("simplecache::zip::s3://b/k") == "simplecache"
    assert scheme_of("a::b/c://d") is None
    assert scheme_of("a/b://c") is None
    assert scheme_of("://c") is None
