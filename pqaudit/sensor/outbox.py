"""What waits in the capturing process for the analysis, in bounded space."""

from __future__ import annotations

import socket
from collections import deque

# What Python needs for a batch beside its octets.
_OVERHEAD = 128

# Octets given to the socket in one call; more than its buffer takes.
_MOST_AT_ONCE = 1 << 20


class Outbox:
    """Messages for a socket that must not be waited for. Urgent ones overtake, but never tear a message apart.

    Attributes:
        octets: of the messages that wait and are not urgent, and of what holds them; at most ``most`` and one message.
    """

    def __init__(self, destination: socket.socket, most: int) -> None:
        self.octets = 0
        self._socket = destination
        self._most = most
        self._urgent: deque[bytes] = deque()
        self._waiting: deque[bytes] = deque()
        self._current: memoryview | None = None

    def __bool__(self) -> bool:
        return self._current is not None or bool(self._urgent) or bool(self._waiting)

    @property
    def urgent(self) -> int:
        """Urgent messages that wait."""
        return len(self._urgent)

    def add(self, message: bytes) -> bool:
        """Have a message wait; False when there is no room for it. An empty outbox takes any message."""
        octets = len(message) + _OVERHEAD
        if self._waiting and self.octets + octets > self._most:
            return False
        self.octets += octets
        self._waiting.append(message)
        return True

    def add_urgent(self, message: bytes) -> None:
        """Send this one next. The bound does not hold for these: let no more than a few wait."""
        self._urgent.append(message)

    def send(self) -> None:
        """Send as much as the socket takes now. Raises OSError when nobody is there to receive."""
        while True:
            if self._current is None:
                if self._urgent:
                    self._current = memoryview(self._urgent.popleft())
                elif self._waiting:
                    message = self._waiting.popleft()
                    self.octets -= len(message) + _OVERHEAD
                    self._current = memoryview(message)
                else:
                    return
            try:
                sent = self._socket.send(self._current[:_MOST_AT_ONCE])
            except (BlockingIOError, InterruptedError):
                return
            self._current = self._current[sent:] if sent < len(self._current) else None
