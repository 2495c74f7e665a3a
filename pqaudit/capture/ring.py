"""The packets behind the findings of a live capture, kept as pcapng files in bounded space."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pqaudit import __version__
from pqaudit.capture.frame import Frame
from pqaudit.capture.octets import reason
from pqaudit.capture.pcapng_blocks import enhanced_packet, interface_description, section_header
from pqaudit.capture.ring_places import Place
from pqaudit.capture.ring_stock import Stock, StockFile

if sys.platform != "win32":
    import fcntl

LEAST_FILE_OCTETS = 1024 * 1024
"""Holds the longest frame of a live capture with room to spare."""

# What stands around a packet: section header, interface description, and the fields of its block.
_OVERHEAD = 4096
_MOST_NAME = 255

# Seconds for which nothing is tried after an error: a failing disk can take long to say so, and packets go on arriving.
_PAUSE = 1.0

# Other processes may read what belongs to the group, and nobody else: IKE tells who talks to whom.
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750


class RingError(Exception):
    """The ring cannot be used at all. The message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class RingOptions:
    """The bounds of a ring.

    Attributes:
        file_octets: most octets of one file, at least ``LEAST_FILE_OCTETS``.
        total_octets: most octets of all its files, those of earlier runs included; at least ``file_octets``.
        max_age: seconds from a file's first packet after which a new file is begun.
        keep: seconds after its last packet for which a file is kept, at most; None for as long as there is room.
    """

    file_octets: int = 64 * 1024 * 1024
    total_octets: int = 1024 * 1024 * 1024
    max_age: float = 3600.0
    keep: float | None = None

    def __post_init__(self) -> None:
        if self.file_octets < LEAST_FILE_OCTETS:
            raise ValueError(f"A file must have room for at least {LEAST_FILE_OCTETS} octets.")
        if self.total_octets < self.file_octets:
            raise ValueError("All files together must have room for at least one.")
        if self.max_age <= 0 or (self.keep is not None and self.keep <= 0):
            raise ValueError("Ages must be more than 0 seconds.")


@dataclass(frozen=True, slots=True)
class RingState:
    """What became of the packets.

    Attributes:
        kept: packets written in this run.
        not_kept: packets that could not be written.
        files: in the folder now, earlier runs included.
        octets: in these files.
        deleted: files deleted in this run, oldest first.
        error: what is wrong at the moment, a sentence, or None.
    """

    kept: int
    not_kept: int
    files: int
    octets: int
    deleted: int
    error: str | None


class _Trouble(Enum):
    WRITING = "writing"
    DELETING = "deleting"
    SYNCING = "syncing"


class _Open:
    """The file that is being written."""

    __slots__ = ("began", "descriptor", "identity", "interfaces", "name", "packets", "path", "size", "written")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
        status = os.fstat(self.descriptor)
        self.identity = (status.st_dev, status.st_ino)
        self.began = time.monotonic()
        self.written = time.time()
        self.size = 0
        self.packets = 0
        self.interfaces: dict[tuple[str, int, int], int] = {}


class PacketRing:
    """Keeps frames as pcapng files in a folder, within bounds that hold at every moment; the oldest file goes first.

    Each frame is written at once and whole, so that what was kept is in the file whatever becomes of this process. A
    file that a power failure cut can be read up to its last whole block. Names sort by time; no file is ever continued
    or overwritten.

    Nothing here raises once the ring stands: what cannot be written is counted, and reported once when that begins and
    once when writing works again.
    """

    def __init__(
        self,
        folder: str,
        options: RingOptions = RingOptions(),
        *,
        report: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """Take over the folder, which is made if need be.

        Args:
            folder: for this ring alone; other files in it are left alone.
            options: the bounds; what earlier runs left beyond them is deleted now.
            report: called with a sentence when packets begin to be lost, and when that ends.

        Raises:
            RingError: the folder cannot be made, read or written, or another process keeps packets there.
        """
        self._folder = folder
        self._options = options
        self._report = report
        self._file: _Open | None = None
        self._kept = 0
        self._not_kept = 0
        self._troubles: dict[_Trouble, str] = {}
        self._not_kept_before = 0
        self._pause_until = 0.0
        try:
            os.makedirs(folder, _FOLDER_MODE, exist_ok=True)
            self._lock = _lock(folder)
        except OSError as error:
            raise RingError(f"The folder {folder} cannot be used for packets: {reason(error)}.") from error
        try:
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "this user may not write there")
            self._stock = Stock(folder)
            self._expire()
            self._stock.make_room(options.total_octets)
        except OSError as error:
            self._unlock()
            raise RingError(f"The folder {folder} cannot be used for packets: {reason(error)}.") from error

    @property
    def state(self) -> RingState:
        """What became of the packets so far."""
        size = self._file.size if self._file is not None else 0
        return RingState(
            self._kept,
            self._not_kept,
            len(self._stock) + (self._file is not None),
            self._stock.octets + size,
            self._stock.deleted,
            next(iter(self._troubles.values()), None),
        )

    def add(self, frame: Frame) -> Place | None:
        """Keep a frame, under the name of its source and with the digits of its time; None when it could not be."""
        now = time.monotonic()
        if now < self._pause_until or len(frame.data) > self._options.file_octets - _OVERHEAD:
            self._not_kept += 1
            return None
        try:
            place = self._write(frame, now)
        except OSError as error:
            self._begins(_Trouble.WRITING, f"Packets cannot be kept in {self._folder}: {reason(error)}.")
            self._pause_until = now + _PAUSE
            self._not_kept += 1
            return None
        self._kept += 1
        if self._troubles:
            missing = self._not_kept - self._not_kept_before
            self._ends(_Trouble.WRITING, f"Packets are kept in {self._folder} again; {missing} in between were not.")
        return place

    def tick(self) -> None:
        """What is to be done from time to time, also when nothing arrives: end an old file, delete expired ones.

        Every second is often enough. A file that somebody deleted while it was written is given up.
        """
        now = time.monotonic()
        file = self._file
        if file is not None and (now - file.began >= self._options.max_age or not _is_there(file)):
            self._finish()
        try:
            self._expire()
        except OSError as error:
            self._begins(_Trouble.DELETING, f"Old packets in {self._folder} cannot be deleted: {reason(error)}.")
        else:
            self._ends(_Trouble.DELETING, f"Old packets in {self._folder} are deleted again.")

    def sync(self) -> None:
        """Have the disk hold what was kept, against power failures. May block for as long as the disk is busy."""
        if self._file is None:
            return
        try:
            os.fdatasync(self._file.descriptor)
        except OSError as error:
            self._begins(_Trouble.SYNCING, f"The disk does not take the packets in {self._folder}: {reason(error)}.")
        else:
            self._ends(_Trouble.SYNCING, f"The disk takes the packets in {self._folder} again.")

    def close(self) -> None:
        """End the file and release the folder."""
        self._finish()
        self._unlock()

    def __enter__(self) -> PacketRing:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, frame: Frame, now: float) -> Place:
        """Raises OSError."""
        options = self._options
        digits = min(max(frame.digits, 0), 9)
        ticks = frame.time // 10 ** (9 - digits)
        interface = (frame.source, frame.link_type, digits)
        file = self._file
        if file is not None:
            index, octets = self._blocks(file, interface, ticks, frame)
            if now - file.began >= options.max_age or file.size + len(octets) > options.file_octets:
                self._finish()
                file = None
        if file is None:
            index = 0
            octets = section_header(f"pqaudit {__version__}") + _describe(interface)
            octets += enhanced_packet(index, ticks, frame.data, frame.original_length)
            # Room first: the bound holds at every moment.
            self._stock.make_room(options.total_octets - len(octets))
            file = self._begin(frame.time)
        else:
            self._stock.make_room(options.total_octets - file.size - len(octets))
        self._put(file, octets)
        file.interfaces[interface] = index
        file.packets += 1
        return Place(file.path, file.packets)

    def _blocks(self, file: _Open, interface: tuple[str, int, int], ticks: int, frame: Frame) -> tuple[int, bytes]:
        """The number of the interface in a file, and the blocks that the frame adds there."""
        index = file.interfaces.get(interface)
        if index is not None:
            return index, enhanced_packet(index, ticks, frame.data, frame.original_length)
        index = len(file.interfaces)
        return index, _describe(interface) + enhanced_packet(index, ticks, frame.data, frame.original_length)

    def _begin(self, moment: int) -> _Open:
        """A new file. Raises OSError."""
        while True:
            name = self._stock.new_name(moment)
            try:
                self._file = _Open(name, os.path.join(self._folder, name))
            except FileExistsError:
                # Put there since the folder was read; the next number is tried.
                continue
            return self._file

    def _put(self, file: _Open, octets: bytes) -> None:
        """Append all of it or nothing. Raises OSError."""
        try:
            written = os.pwrite(file.descriptor, octets, file.size)
            if written < len(octets):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            try:
                os.ftruncate(file.descriptor, file.size)
            except OSError:
                # A part of a block may stand at its end: nothing may follow that.
                file.size += len(octets)
                self._finish()
            else:
                if not file.packets:
                    self._finish()
            raise
        file.size += written
        file.written = time.time()

    def _finish(self) -> None:
        """End the file; the next frame begins another."""
        file, self._file = self._file, None
        if file is None:
            return
        with contextlib.suppress(OSError):
            os.close(file.descriptor)
        if not file.size:
            with contextlib.suppress(OSError):
                os.unlink(file.path)
        elif _is_there(file):
            self._stock.add(StockFile(file.name, file.size, file.written))

    def _expire(self) -> None:
        """Raises OSError."""
        if self._options.keep is not None:
            self._stock.expire(time.time() - self._options.keep)

    def _begins(self, trouble: _Trouble, sentence: str) -> None:
        """Report a trouble, once for as long as it lasts."""
        if trouble not in self._troubles:
            self._troubles[trouble] = sentence
            if trouble is _Trouble.WRITING:
                self._not_kept_before = self._not_kept
            self._report(sentence)

    def _ends(self, trouble: _Trouble, sentence: str) -> None:
        if self._troubles.pop(trouble, None) is not None:
            self._report(sentence)

    def _unlock(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._lock)


def _describe(interface: tuple[str, int, int]) -> bytes:
    source, link_type, digits = interface
    return interface_description(link_type, source.removeprefix("interface:")[:_MOST_NAME], digits)


def _is_there(file: _Open) -> bool:
    try:
        status = os.lstat(file.path)
    except FileNotFoundError:
        return False
    except OSError:
        # It cannot be known; what may be there counts towards the bound.
        return True
    return (status.st_dev, status.st_ino) == file.identity


def _lock(folder: str) -> int:
    """A descriptor that keeps other rings out of the folder. Raises OSError."""
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "there is no live capture on Windows")
    # The folder itself is locked: a file for it would lie among the captures.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise OSError(errno.EBUSY, "another process keeps packets there") from error
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
