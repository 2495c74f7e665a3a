"""Tells the service manager how the sensor is, by the protocol of sd_notify(3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from pqaudit.sensor.status import Status


class Notifier:
    """Sends datagrams to the socket that the service manager named; without one it does nothing.

    Args:
        address: path of the socket, or a name in the abstract namespace with an ``@`` in front; None for none.
    """

    def __init__(self, address: str | None) -> None:
        self._address: str | None = None
        self._socket: socket.socket | None = None
        if address and address[0] in "/@":
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # A manager that does not read must not hold up the sensor.
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """The one that NOTIFY_SOCKET describes."""
        return cls(environment.get("NOTIFY_SOCKET"))

    def ready(self) -> None:
        """The interfaces are open and the sensor begins to work."""
        self._send("READY=1")

    def alive(self, status: Status) -> None:
        """Keeps the watchdog quiet, and shows in the manager's status how things are."""
        text = f"{status.sas} SAs, {status.messages} IKE messages"
        if status.trouble is not None:
            text += ", the server takes no findings"
        self._send(f"WATCHDOG=1\nSTATUS={text}")

    def stopping(self) -> None:
        """The sensor is about to end."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        except OSError:
            return  # who does not listen is not told
