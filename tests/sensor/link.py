"""A pair of interfaces for tests of the whole command."""

from __future__ import annotations

import os
import socket
import subprocess

from pqaudit.capture.reader import read_capture
from tests.capture.network import require_library, require_root, run
from tests.conftest import SAMPLES, audit


class Link:
    """A pair of interfaces: what is sent into one comes out of the other."""

    def __init__(self, mark: str = "") -> None:
        require_root()
        require_library()
        self.sending, self.watched = f"pqs{os.getpid()}{mark}a", f"pqs{os.getpid()}{mark}b"
        self.make()

    def make(self) -> None:
        run("ip", "link", "add", self.sending, "type", "veth", "peer", "name", self.watched)
        for name in (self.sending, self.watched):
            run("ip", "link", "set", name, "up")

    def delete(self) -> None:
        subprocess.run(["ip", "link", "delete", self.sending], capture_output=True, check=False)

    def send_raw(self, *frames: bytes) -> None:
        """Send Ethernet frames as they are."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((self.sending, 0))
            for frame in frames:
                sender.send(frame)

    def send(self, name: str) -> str:
        """Play a sample; the initiator SPI of its one SA."""
        frames = read_capture(str(SAMPLES / name), wanted=None, note=lambda note: None)
        self.send_raw(*(frame.data for frame in frames))
        (finding,), _ = audit(SAMPLES / name)
        return str(finding["pqaudit"]["ike"]["initiator_spi"])
