"""Where in which capture something was seen."""

from __future__ import annotations

from typing import Final, NamedTuple


class Reference(NamedTuple):
    """A frame in a capture. The order of the fields is the order of sorting: time first, then a stable tie-break.

    ``time`` is in nanoseconds since the epoch, ``digits`` the decimal digits of a second that the capture resolves.
    """

    time: int
    file: str
    frame: int
    digits: int


class Endpoint(NamedTuple):
    """An address (4 or 16 octets) and a port."""

    address: bytes
    port: int


NO_VLAN: Final = -1  # keeps paths sortable


class Path(NamedTuple):
    """The way a message took; ``vlan`` is the outermost tag or ``NO_VLAN``."""

    source: Endpoint
    destination: Endpoint
    transport: str
    vlan: int

    def turned(self) -> Path:
        """The way back."""
        return self._replace(source=self.destination, destination=self.source)
