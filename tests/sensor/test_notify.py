"""The protocol of sd_notify(3), with a real socket."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pqaudit.sensor.notify import Notifier
from pqaudit.sensor.status import Status


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_hears(abstract: bool, tmp_path: Path) -> None:
    name = f"@pqaudit-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": name})
        notifier.ready()
        assert manager.recv(1000) == b"READY=1"
        notifier.alive(Status(0.0, "test", sas=3, messages=9))
        assert manager.recv(1000).splitlines() == [b"WATCHDOG=1", b"STATUS=3 SAs, 9 IKE messages"]
        notifier.stopping()
        assert manager.recv(1000) == b"STOPPING=1"


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    Notifier.from_environment({}).ready()
    Notifier(str(tmp_path / "nobody listens")).ready()
