"""The beginning of the capturing process: open, give up root, say so, go to work."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from types import FrameType

from pqaudit.capture.devices import DeviceState, device_state, list_devices
from pqaudit.capture.live_errors import InterfaceDownError, InterfaceGoneError, LiveCaptureError
from pqaudit.capture.octets import reason
from pqaudit.capture.privileges import Account, PrivilegeError, drop_privileges
from pqaudit.capture.ring import PacketRing, RingError
from pqaudit.sensor.capture_loop import CaptureLoop, new_notes
from pqaudit.sensor.capture_options import CaptureOptions, unpack_options
from pqaudit.sensor.capture_wire import Kind, Unpacker, message
from pqaudit.sensor.watched import WatchedInterface

_FOLDER_MODE = 0o750
_PRIORITY = -10


def main(descriptor: int) -> None:
    """The capturing process. ``descriptor`` is its end of a socket, on which the options come first."""
    # The interrupt of a terminal is for the process that shows something there; it ends this one in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is built here has no cycles, and there is much of it.
    gc.freeze()
    gc.set_threshold(100_000)
    with socket.socket(fileno=descriptor) as link:
        options = _options(link)
        if options is None:
            return
        try:
            loop = _prepare(options, link)
        except (LiveCaptureError, PrivilegeError, RingError) as error:
            with contextlib.suppress(ConnectionError):
                link.sendall(message(Kind.REFUSED, str(error).encode()))
            return
        loop.run()


def _options(link: socket.socket) -> CaptureOptions | None:
    """What is to be done; None when the other process is gone already."""
    unpacker = Unpacker()
    while octets := link.recv(65_536):
        for _, packed in unpacker.feed(octets):
            return unpack_options(packed)
    return None


def _prepare(options: CaptureOptions, link: socket.socket) -> CaptureLoop:
    """Open everything and give up root. Raises LiveCaptureError, PrivilegeError or RingError."""
    # Where the processor is short, the analysis can wait and the kernel's buffer cannot. Root alone may do this.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    live = options.live()
    interfaces = [WatchedInterface(name, live) for name in options.interfaces]
    for interface in interfaces:
        _open(interface, options)
    if options.account is not None:
        if options.ring_folder is not None:
            _give_folder(options.ring_folder, options.account)
        # So that an interface that comes back can be opened.
        drop_privileges(options.account, keep_capture=sys.platform == "linux")
    notes = new_notes()
    ring = None
    if options.ring_folder is not None:
        # As the user that will write it for months, so that it shows now whether that is possible.
        ring = PacketRing(options.ring_folder, options.ring, report=notes.append)
    link.setblocking(False)
    alarm, waker = os.pipe()
    os.set_blocking(alarm, False)
    os.set_blocking(waker, False)
    loop = CaptureLoop(interfaces, ring, notes, link, options.backlog_octets, alarm)

    def stop(number: int, _: FrameType | None) -> None:
        loop.stop(f"The capturing process was told to end ({signal.Signals(number).name}).")

    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGTERM, stop)
    return loop


def _open(interface: WatchedInterface, options: CaptureOptions) -> None:
    """Open an interface, or prepare to wait for it. Raises LiveCaptureError."""
    try:
        # The system lets open an interface that is down, and nothing comes.
        if device_state(interface.name) is DeviceState.DOWN:
            raise InterfaceDownError(f"The interface {interface.name} is down.")
        interface.open()
    except InterfaceGoneError as error:
        if not options.wait:
            names = ", ".join(device.name for device in list_devices()) or "none that can be captured from"
            raise InterfaceGoneError(f"{error.message.removesuffix('.')}; there are: {names}.") from error
        interface.absent(error)
    except InterfaceDownError as error:
        if not options.wait:
            raise
        interface.absent(error)


def _give_folder(folder: str, account: Account) -> None:
    """Make the ring's folder for its user, who may not be allowed to; one that is there is left as it is.

    Raises RingError.
    """
    try:
        os.makedirs(os.path.dirname(os.path.abspath(folder)), exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, _FOLDER_MODE)
            os.chown(folder, account.user, account.group, follow_symlinks=False)
    except OSError as error:
        raise RingError(f"The folder {folder} cannot be made: {reason(error)}.") from error
