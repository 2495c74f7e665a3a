"""The files of a packet ring: their names, their sizes, and which is to go first."""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections import deque
from dataclasses import dataclass

_NAME = re.compile(r"ike-(\d{8,})-\d{8}T\d{6}\.\d{6}Z\.pcapng")
_MOST_SECONDS = 253_402_300_799  # 9999-12-31T23:59:59Z


@dataclass(frozen=True, slots=True)
class StockFile:
    """A finished file: its name, its octets, and when it was last written, in seconds since 1970."""

    name: str
    octets: int
    written: float


class Stock:
    """The finished files of a ring, oldest first by the number in their names.

    The number and not the time decides, as the system's clock may be set back.

    Attributes:
        octets: in all of them.
        deleted: how many were deleted to make room or for their age.
    """

    def __init__(self, folder: str) -> None:
        """Take stock of what earlier runs left. Raises OSError."""
        self._folder = folder
        self.octets = 0
        self.deleted = 0
        numbered: list[tuple[int, StockFile]] = []
        for name in os.listdir(folder):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            try:
                status = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                numbered.append((int(match[1]), StockFile(name, status.st_size, status.st_mtime)))
        numbered.sort(key=lambda entry: (entry[0], entry[1].name))
        self._number = numbered[-1][0] if numbered else 0
        self._files: deque[StockFile] = deque()
        for _, file in numbered:
            self.add(file)

    def __len__(self) -> int:
        return len(self._files)

    def new_name(self, moment: int) -> str:
        """A name that was never given before, sorting behind all others.

        ``moment`` is that of the first packet, in nanoseconds since 1970. Its microseconds make the name new even where
        somebody deleted the latest files, so that their numbers are given again after a restart.
        """
        self._number += 1
        seconds, rest = divmod(max(moment, 0), 1_000_000_000)
        written = time.strftime("%Y%m%dT%H%M%S", time.gmtime(min(seconds, _MOST_SECONDS)))
        return f"ike-{self._number:08}-{written}.{rest // 1000:06}Z.pcapng"

    def add(self, file: StockFile) -> None:
        """A file that is finished."""
        self._files.append(file)
        self.octets += file.octets

    def make_room(self, most: int) -> None:
        """Delete the oldest files until at most ``most`` octets are left. Raises OSError when that cannot be had."""
        while self._files and self.octets > most:
            self._delete_oldest()
        if self.octets > most:
            raise OSError(errno.ENOSPC, "the bound of the ring leaves no room")

    def expire(self, before: float) -> None:
        """Delete the oldest files while they were last written before that second. Raises OSError."""
        while self._files and self._files[0].written < before:
            self._delete_oldest()

    def _delete_oldest(self) -> None:
        file = self._files[0]
        try:
            os.unlink(os.path.join(self._folder, file.name))
        except FileNotFoundError:
            pass  # somebody else did
        else:
            self.deleted += 1
        self._files.popleft()
        self.octets -= file.octets
