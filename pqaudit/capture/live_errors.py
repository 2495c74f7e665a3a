"""Why a live capture cannot begin or go on."""

from __future__ import annotations


class LiveCaptureError(Exception):
    """A live capture cannot begin or go on.

    Attributes:
        message: one sentence for a person; what to do, when there is something to do.
        passing: True when waiting may help, as the interface may come back.
    """

    passing = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InterfaceGoneError(LiveCaptureError):
    """There is no such interface (any more), or another one has its name now."""

    passing = True


class InterfaceDownError(LiveCaptureError):
    """The interface exists and is down, and the system refuses to capture from it."""

    passing = True


class NoPermissionError(LiveCaptureError):
    """The process may not capture."""


class LibraryMissingError(LiveCaptureError):
    """The binding of libpcap is not installed, or there is none for this machine."""


class CaptureFailedError(LiveCaptureError):
    """Anything else that libpcap reports, in its words."""
