"""The part of libpcap's binding, cypcap, that is used here; it has no types of its own."""

# ruff: noqa: D102 - the binding documents its methods

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable
from typing import Protocol, cast

from pqaudit.capture.live_errors import (
    CaptureFailedError,
    InterfaceDownError,
    InterfaceGoneError,
    LibraryMissingError,
    LiveCaptureError,
    NoPermissionError,
)


class Header(Protocol):
    """``cypcap.Pkthdr``. ``ts`` are seconds; exact to the microsecond, and wrong where libpcap counts nanoseconds."""

    ts: float
    len: int


class Counts(Protocol):
    """``cypcap.Stat``: counters of 32 bits since the handle was activated."""

    recv: int
    drop: int
    ifdrop: int


class Handle(Protocol):
    """``cypcap.Pcap``."""

    def set_pre_config(
        self, *, snaplen: int, promisc: bool, timeout: float, immediate_mode: bool, buffer_size: int
    ) -> None: ...
    def activate(self) -> None: ...
    def setnonblock(self, nonblock: bool) -> None: ...
    def setfilter(self, filter: str, *, netmask: int) -> None: ...
    def datalink(self) -> int: ...
    def get_selectable_fd(self) -> int: ...
    def dispatch(self, cnt: int, callback: Callable[[Header, bytes], None]) -> None: ...
    def stats(self) -> Counts: ...
    def close(self) -> None: ...


class Device(Protocol):
    """``cypcap.PcapIf``."""

    name: str
    description: str | None
    flags: int


class Library(Protocol):
    """The module ``cypcap``."""

    Error: type[Exception]
    Warning: type[Warning]
    NETMASK_UNKNOWN: int

    def create(self, source: str) -> Handle: ...
    def findalldevs(self) -> list[Device]: ...


def library() -> Library:
    """The binding. Raises LibraryMissingError."""
    try:
        return cast("Library", importlib.import_module("cypcap"))
    except ImportError as error:
        where = (
            f"Python {platform.python_version()} for {platform.system()} on {platform.machine() or 'this processor'}"
        )
        raise LibraryMissingError(
            f"Live capture needs the package cypcap, which cannot be loaded here ({where}: {error}). There are wheels"
            " of it for Linux with glibc on x86_64 and for macOS. Elsewhere record with tcpdump and give its file or"
            " pipe to `pqaudit audit`."
        ) from error


# pcap/pcap.h
_NO_SUCH_DEVICE = -5
_PERMISSION_DENIED = -8
_NOT_UP = -9
_PROMISCUOUS_DENIED = -11

_GONE = ("disappeared", "No such device")
_DOWN = ("went down", "is down")


def classify(error: Exception, interface: str) -> LiveCaptureError:
    """What an error of the binding means for the capture from ``interface``."""
    code = int(getattr(error, "code", 0) or 0)
    # The binding's errors have the code first and libpcap's words second.
    words = str(error.args[-1]).strip() if error.args else ""
    if code in (_PERMISSION_DENIED, _PROMISCUOUS_DENIED):
        return NoPermissionError(
            f"Capturing from {interface} needs root or the capability CAP_NET_RAW (setcap cap_net_raw+ep on the Python"
            " that runs pqaudit, or AmbientCapabilities=CAP_NET_RAW in a systemd unit)."
        )
    if code == _NO_SUCH_DEVICE or any(part in words for part in _GONE):
        return InterfaceGoneError(f"The interface {interface} does not exist, or exists no more.")
    if code == _NOT_UP or any(part in words for part in _DOWN):
        return InterfaceDownError(f"The interface {interface} is down.")
    return CaptureFailedError(f"Capturing from {interface} failed: {words or type(error).__name__}.")
