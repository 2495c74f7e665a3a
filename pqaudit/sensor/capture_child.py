"""The beginning of the capturing process: open, give up root, say so, go to work."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
from types import FrameType

from pqaudit.capture.live_errors import LiveCaptureError
from pqaudit.capture.octets import reason
from pqaudit.capture.privileges import Account, PrivilegeError, drop_privileges
from pqaudit.capture.ring import PacketRing, RingError
from pqaudit.sensor.capture_loop import CaptureLoop, new_notes
from pqaudit.sensor.capture_options import CaptureOptions, unpack_options
from pqaudit.sensor.capture_wire import Kind, first_message, message
from pqaudit.sensor.watched import WatchedInterface, open_interface

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
        packed = first_message(link)
        if packed is None:
            return
        try:
            loop = _prepare(unpack_options(packed), link)
        except (LiveCaptureError, PrivilegeError, RingError) as error:
            with contextlib.suppress(ConnectionError):
                link.sendall(message(Kind.REFUSED, str(error).encode()))
            return
        loop.run()


def _prepare(options: CaptureOptions, link: socket.socket) -> CaptureLoop:
    """Open everything and give up root. Raises LiveCaptureError, PrivilegeError or RingError."""
    # Where the processor is short, the analysis can wait and the kernel's buffer cannot. Root alone may do this.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    live = options.live()
    interfaces = [WatchedInterface(name, live) for name in options.interfaces]
    for interface in interfaces:
        open_interface(interface, wait=options.wait)
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
