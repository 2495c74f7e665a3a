"""SFTP to servers whose host key is known; loaded only for ``sftp://``, as it needs paramiko."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import paramiko  # type: ignore[import-untyped]
from fsspec.implementations.sftp import SFTPFileSystem

from pqaudit.capture.remote_patience import CONNECT_SECONDS, SILENT_SECONDS

_HELPER = "_prefetch_thread"
_OF_THE_MACHINE = "/etc/ssh/ssh_known_hosts"


def _without_paramikos_helper(previous: Callable[[threading.ExceptHookArgs], object]) -> None:
    def hook(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or _HELPER not in args.thread.name:
            previous(args)

    threading.excepthook = hook


# A thread of paramiko that sends requests dies with the connection and would print where; the reader sees it as well.
_without_paramikos_helper(threading.excepthook)


class UnknownHostKeyError(paramiko.SSHException):  # type: ignore[misc]
    """The server showed a key that is in no known_hosts."""


class VerifiedSftp(SFTPFileSystem):  # type: ignore[misc]
    """fsspec's filesystem takes any host key, also one that has changed; this one takes those that ssh takes."""

    def _connect(self) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_system_host_keys()
        if os.path.isfile(_OF_THE_MACHINE):
            self.client.load_system_host_keys(_OF_THE_MACHINE)
        self.client.set_missing_host_key_policy(_Refuse())
        times = dict.fromkeys(("timeout", "banner_timeout", "auth_timeout"), CONNECT_SECONDS)
        self.client.connect(self.host, **(times | self.ssh_kwargs))
        self.ftp = self.client.open_sftp()
        channel = self.ftp.get_channel()
        if channel is not None:
            channel.settimeout(SILENT_SECONDS)

    def real_path(self, path: str) -> str:
        """The path with all links in it followed by the server."""
        return str(self.ftp.normalize(path))


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        raise UnknownHostKeyError(
            f"the host key of {hostname}, {key.get_name()} {key.fingerprint}, is not in known_hosts; connect once with "
            "ssh and compare it there"
        )
