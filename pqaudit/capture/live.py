"""Live capture from one interface, through libpcap."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from pqaudit.capture.devices import ALL_INTERFACES, DeviceState, device_index, device_state
from pqaudit.capture.frame import Frame
from pqaudit.capture.libpcap import Counts, Handle, Header, classify, library
from pqaudit.capture.live_errors import CaptureFailedError, InterfaceGoneError, LiveCaptureError
from pqaudit.capture.wanted import FrameTest, Wanted

LEAST_BUFFER = 16 * 1024 * 1024
"""Octets. Measured: with less, bursts of IKE are lost that this holds."""

SNAPSHOT_LENGTH = 262_144
"""The greatest that libpcap has: a frame that the network card put together from segments is longer than 65,535."""

# Seconds after which the kernel hands over a block that is not full. Immediate mode, which would hand over each packet,
# loses 3 % of a burst of IKE that this way of working loses nothing of (measured).
_HAND_OVER = 0.1

# The counters of libpcap have 32 bits, and a sensor runs for months.
_WRAP = 1 << 32

# DLT_RAW of Linux is LINKTYPE_RAW in files; the others that Linux interfaces have are equal.
_LINK_TYPES = {12: 101}


@dataclass(frozen=True, slots=True)
class Statistics:
    """Packets of an interface since it was first opened, across all the times that it was closed and opened again.

    Attributes:
        received: let through by the filter; on Linux those that were dropped then are among them.
        dropped: for want of room in the kernel's buffer, because this process was too slow.
        interface_dropped: by the network card or its driver, whatever they held.
    """

    received: int = 0
    dropped: int = 0
    interface_dropped: int = 0


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How an interface is captured from.

    Attributes:
        kernel_filter: gives for a LINKTYPE_ number the filter expression for the kernel; None for all frames.
        wanted: as for ``read_capture``: the test that rejects what the kernel let through needlessly.
        buffer_octets: the kernel's buffer; for IKE at least ``LEAST_BUFFER``.
        promiscuous: also frames that are not for this machine.
        snapshot_length: most octets of a frame that are kept.
    """

    kernel_filter: Callable[[int], str] | None = None
    wanted: Wanted | None = None
    buffer_octets: int = LEAST_BUFFER
    promiscuous: bool = True
    snapshot_length: int = SNAPSHOT_LENGTH

    def __post_init__(self) -> None:
        if not 0 < self.buffer_octets < 1 << 31:
            raise ValueError(f"The buffer must have from 1 to {(1 << 31) - 1} octets.")
        if not 0 < self.snapshot_length <= SNAPSHOT_LENGTH:
            raise ValueError(f"The snapshot length must be from 1 to {SNAPSHOT_LENGTH}.")


class LiveInterface:
    """One interface, opened as often as it comes back.

    ``open``, then wait until ``fileno`` is readable, then ``read`` until ``pending`` is False. Nothing blocks. Quiet
    for a while, ask ``check``: an interface that goes down just falls silent. After an error of which ``passing`` is
    True, ``close`` and try ``open`` again later; frame numbers and statistics go on. A descriptor that was readable
    because the interface is going stays readable until it is read.

    Attributes:
        name: the interface.
        source: ``interface:NAME``, as the frames have it.
        pending: the last ``read`` stopped at its limit, and there may be more that makes ``fileno`` not readable.
        frames: how many the kernel handed over so far, rejected ones included; the number of the last frame.
    """

    def __init__(self, name: str, options: LiveOptions = LiveOptions()) -> None:
        self.name = name
        self.source = f"interface:{name}"
        self.pending = False
        self.frames = 0
        self._options = options
        self._handle: Handle | None = None
        self._descriptor = -1
        self._index: int | None = None
        self._link_type = 0
        self._test: FrameTest | None = None
        self._total = Statistics()
        self._seen = (0, 0, 0)
        self._error: LiveCaptureError | None = None

    @property
    def is_open(self) -> bool:
        """Opened and not closed, whatever became of the interface."""
        return self._handle is not None

    @property
    def link_type(self) -> int:
        """LINKTYPE_ number of the frames; known once opened."""
        return self._link_type

    def open(self) -> None:
        """Begin to capture; nothing when it is open.

        Raises:
            InterfaceGoneError, InterfaceDownError: not now, perhaps later.
            NoPermissionError, LibraryMissingError, CaptureFailedError: not at all.
        """
        if self._handle is not None:
            return
        if sys.platform == "win32":
            raise CaptureFailedError("Live capture is not possible on Windows: it has nothing to wait for there.")
        binding = library()
        options = self._options
        index = device_index(self.name)
        if index is None:
            raise InterfaceGoneError(f"The interface {self.name} does not exist.")
        handle = binding.create(self.name)
        try:
            handle.set_pre_config(
                snaplen=options.snapshot_length,
                promisc=options.promiscuous and self.name != ALL_INTERFACES,
                timeout=_HAND_OVER,
                immediate_mode=False,
                buffer_size=options.buffer_octets,
            )
            with warnings.catch_warnings():
                # Promiscuous mode that an interface has not, and the like: nothing that a caller could change.
                warnings.simplefilter("ignore", binding.Warning)
                handle.activate()
            handle.setnonblock(True)
            number = int(handle.datalink())
            link_type = _LINK_TYPES.get(number, number)
            if options.kernel_filter is not None:
                # Told the netmask, the binding does not look for an address, which a mirror port has not.
                handle.setfilter(options.kernel_filter(link_type), netmask=binding.NETMASK_UNKNOWN)
            descriptor = handle.get_selectable_fd()
        except binding.Error as error:
            handle.close()
            raise classify(error, self.name) from error
        except BaseException:
            handle.close()
            raise
        if descriptor < 0:
            handle.close()
            raise CaptureFailedError(f"The interface {self.name} has no descriptor that can be waited for.")
        self._handle, self._index, self._link_type, self._descriptor = handle, index, link_type, descriptor
        self._test = options.wanted(link_type) if options.wanted is not None else None
        self._seen = (0, 0, 0)
        self._error = None
        self.pending = False

    def fileno(self) -> int:
        """The descriptor to wait for with ``select`` and its like. Raises ValueError when not open."""
        if self._handle is None:
            raise ValueError(f"{self.name} is not open")
        return self._descriptor

    def read(self, limit: int) -> list[Frame]:
        """The wanted ones of at most ``limit`` frames that are there; never waits.

        An error is raised only when all frames before it were given. Raises as ``open`` does, and ValueError when not
        open.
        """
        if self._handle is None:
            raise ValueError(f"{self.name} is not open")
        if self._error is not None:
            raise self._error
        found: list[Frame] = []
        before = number = self.frames
        source, link_type, test, append = self.source, self._link_type, self._test, found.append

        def take(header: Header, data: bytes) -> None:
            nonlocal number
            number += 1
            if test is None or test(data, 0, len(data)):
                append(Frame(_nanoseconds(header.ts), 6, link_type, data, header.len, source, number))

        binding = library()
        try:
            self._handle.dispatch(limit, take)
        except binding.Error as error:
            self._error = classify(error, self.name)
        finally:
            self.frames = number
        self.pending = number - before >= limit
        if self._error is not None:
            if not found:
                raise self._error
            self.pending = True
        return found

    def check(self) -> DeviceState:
        """Whether frames can come: GONE also when another interface has the name now.

        Cheap enough to ask every second. libpcap itself does not tell that an interface is down or was renamed.
        """
        if self._handle is not None and device_index(self.name) != self._index:
            return DeviceState.GONE
        return device_state(self.name)

    def statistics(self) -> Statistics:
        """The counts up to now; after an error those that could last be had. Never raises."""
        if self._handle is not None:
            try:
                counts = self._handle.stats()
            except library().Error:
                return self._total
            self._add(counts)
        return self._total

    def _add(self, counts: Counts) -> None:
        now = (counts.recv, counts.drop, counts.ifdrop)
        received, dropped, interface_dropped = (_advance(old, new) for old, new in zip(self._seen, now, strict=True))
        total = self._total
        self._total = Statistics(
            total.received + received, total.dropped + dropped, total.interface_dropped + interface_dropped
        )
        self._seen = now

    def close(self) -> None:
        """End the capture, after a last look at the counters. Nothing when it is not open."""
        if self._handle is None:
            return
        self.statistics()
        handle, self._handle, self._index = self._handle, None, None
        self.pending = False
        handle.close()

    def __enter__(self) -> LiveInterface:
        self.open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _nanoseconds(seconds: float) -> int:
    """A time that the binding made of seconds and microseconds: exact, as 53 bits hold them until the year 2106."""
    return round(seconds * 1_000_000) * 1000


def _advance(old: int, new: int) -> int:
    """How far a counter of 32 bits has moved; one that went back began anew, as an interface's do that was replaced."""
    ahead = (new - old) % _WRAP
    return ahead if ahead < _WRAP // 2 else new
