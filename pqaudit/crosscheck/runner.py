"""Running tshark through pyshark so that it always ends.

pyshark is made for interactive use. What is taken care of here: it finds its event loop by itself (it gets one of its
own), kills tshark at the end of its output and so loses the exit status (the status is waited for first), does not
notice a tshark that a signal ended, asks for the version without a limit of time, reads ``config.ini`` of the current
directory to find tshark (the path is given), and may leave processes when reading is broken off (they are killed).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from pqaudit.crosscheck.dissected import LAYER, Layer
from pqaudit.crosscheck.gaps import Version

OnFrame = Callable[[int, list[Layer]], None]

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_VERSION_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_CUT_SHORT = "cut short"
_OCTETS_A_SECOND = 1_000_000  # tshark reads faster; a frame without IKE gives no sign of life


class NotInstalledError(Exception):
    """tshark or pyshark is missing. The text says what to install."""


class TsharkError(Exception):
    """tshark died, hung, or refused the input. The text is one sentence."""


class Tshark:
    """A tshark that is there, and its version."""

    def __init__(self, seconds: float) -> None:
        """Find tshark and pyshark.

        Args:
            seconds: how long tshark may say nothing, beside a second for every megabyte of a capture.

        Raises:
            NotInstalledError: one of them is missing.
            TsharkError: tshark does not tell its version.
        """
        path = shutil.which("tshark")
        if path is None:
            raise NotInstalledError(
                "tshark was not found; install it (package tshark or wireshark-cli) or add it to PATH"
            )
        try:
            self._file_capture: Any = import_module("pyshark").FileCapture
            self._crash: type[Exception] = import_module("pyshark.capture.capture").TSharkCrashException
            self._stop: type[Exception] = import_module("pyshark.capture.capture").StopCapture
        except ImportError as error:
            raise NotInstalledError(f"pyshark is missing ({error}); install pqaudit[crosscheck]") from error
        self._path = os.path.abspath(path)
        self._seconds = seconds
        self.version = self._ask_version()

    def _ask_version(self) -> Version:
        try:
            done = subprocess.run(
                [self._path, "--version"],
                capture_output=True,
                timeout=min(self._seconds, _VERSION_SECONDS),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TsharkError("tshark does not answer when it is asked for its version") from error
        except OSError as error:
            raise TsharkError(f"tshark cannot be started: {error.strerror}") from error
        found = _VERSION.search(done.stdout.decode("utf-8", "replace"))
        if found is None:
            raise TsharkError("tshark does not tell its version")
        return int(found[1]), int(found[2]), int(found[3])

    def read(self, path: str, decode_as: dict[str, str], on_frame: OnFrame) -> str | None:
        """Dissect a capture and hand over every frame that holds IKE, in order.

        Args:
            path: a regular file.
            decode_as: dissectors for ports, as for ``tshark -d``.
            on_frame: called with the number of the frame and its ``isakmp`` layers.

        Returns:
            What tshark found wrong with the end of the file, or None.

        Raises:
            TsharkError: tshark died, hung or refused the file; frames before that were handed over.
        """
        # An empty profile: results must not depend on preferences, decryption keys or scripts of the user.
        with tempfile.TemporaryDirectory(prefix="pqaudit-") as profile, _environment("WIRESHARK_CONFIG_DIR", profile):
            run = _Run(self, path, decode_as, on_frame)
            try:
                return run.read()
            finally:
                run.close()

    def _capture(self, path: str, decode_as: dict[str, str], loop: asyncio.AbstractEventLoop) -> Any:
        preferences = {"ip.defragment": "TRUE", "ipv6.defragment": "TRUE", "tcp.desegment_tcp_streams": "TRUE"}
        if self.version >= (3, 0, 0):
            preferences["tcp.reassemble_out_of_order"] = "TRUE"
        return self._file_capture(
            input_file=path,
            keep_packets=False,
            eventloop=loop,
            tshark_path=self._path,
            decode_as=decode_as,
            override_prefs=preferences,
            # Given as parameters of tshark: for its own display_filter pyshark runs tshark once more, without a limit.
            custom_parameters=["-Y", LAYER],
        )


class _Run:
    """One run of tshark over one file."""

    def __init__(self, tshark: Tshark, path: str, decode_as: dict[str, str], on_frame: OnFrame) -> None:
        self._tshark = tshark
        self._on_frame = on_frame
        self._quiet = tshark._seconds + os.path.getsize(path) / _OCTETS_A_SECOND
        self._frames = 0
        self._fault: BaseException | None = None
        self._processes: list[asyncio.subprocess.Process] = []
        self._loop = asyncio.new_event_loop()
        # What matters is raised by read(); the loop would also print what it finds when it is broken off.
        self._loop.set_exception_handler(lambda loop, context: None)
        self._capture = tshark._capture(os.path.abspath(path), decode_as, self._loop)
        # pyshark raises for a process that has already ended, before its output is read, and forgets the others once it
        # has cleaned them up; the output, the status and the end of each are what matters here.
        self._capture._created_new_process = self._keep

    def _keep(self, parameters: list[str], process: asyncio.subprocess.Process, *rest: Any, **named: Any) -> None:
        self._processes.append(process)
        self._capture._running_processes.add(process)

    def read(self) -> str | None:
        try:
            return self._loop.run_until_complete(self._read())
        finally:
            if self._fault is not None:
                raise self._fault

    async def _read(self) -> str | None:
        reading = asyncio.ensure_future(self._capture.packets_from_tshark(self._take, close_tshark=False))
        while not reading.done():
            before = self._frames
            await asyncio.wait({reading}, timeout=self._quiet)
            if not reading.done() and self._frames == before:
                raise TsharkError(f"tshark said nothing for {self._quiet:.0f} seconds and was ended")
        try:
            await reading
        except (OSError, self._tshark._crash) as error:
            raise TsharkError(f"tshark cannot be run: {error}") from error
        except Exception as error:  # pyshark lets through whatever its XML parser raises
            raise TsharkError(f"pyshark cannot read the output of tshark: {type(error).__name__}: {error}") from error
        return None if self._fault is not None else await self._verdict()

    async def _verdict(self) -> str | None:
        try:
            status = await asyncio.wait_for(self._processes[0].wait(), self._quiet)
        except TimeoutError as error:
            raise TsharkError("tshark closed its output but did not end, and was ended") from error
        await asyncio.wait(self._capture._stderr_handling_tasks, timeout=_CLOSE_SECONDS)
        last = self._capture._last_error_line or "it gave no reason"
        if status < 0:
            raise TsharkError(f"tshark was ended by signal {-status}")
        if status and _CUT_SHORT not in last:
            raise TsharkError(f"tshark ended with status {status}: {last}")
        return last if status else None

    def _take(self, packet: Any) -> None:
        self._frames += 1
        try:
            self._on_frame(int(packet.number), list(packet.layers))
        except Exception as error:
            # Kept apart from what pyshark itself raises.
            self._fault = error
            raise self._tshark._stop from error

    def close(self) -> None:
        """End tshark, whatever happened, and wait for its end."""
        loop = self._loop
        try:
            # Errors of closing tell nothing that the reading did not tell; the processes are ended below anyway.
            with contextlib.suppress(Exception):
                loop.run_until_complete(asyncio.wait_for(self._capture.close_async(), _CLOSE_SECONDS))
        finally:
            self._capture._running_processes.clear()
            for process in self._processes:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    with contextlib.suppress(TimeoutError):
                        loop.run_until_complete(asyncio.wait_for(process.wait(), _CLOSE_SECONDS))
            loop.run_until_complete(self._release())
            loop.close()

    async def _release(self) -> None:
        """Leave nothing to the garbage collector, which would find the loop closed."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for process in self._processes:
            process._transport.close()  # type: ignore[attr-defined]
        # Closing a transport and its pipes takes two rounds of the loop.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
