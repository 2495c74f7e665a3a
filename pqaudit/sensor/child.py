"""A process of this package, with a socket to it: started so that it ends with this one, and never holds it up."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

from pqaudit.sensor.capture_wire import Kind, Unpacker, message

_RECEIVE = 256 * 1024
_SOCKET_BUFFER = 1024 * 1024

# Octets of what the process said last.
_SAID = 4096

# Modules are looked for where this process does: -c alone would put the folder first in which it stands, and that may
# be anybody's.
_PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from {module} import main; main(int(sys.argv[1]))"


class ChildStartError(Exception):
    """The process cannot be started: one sentence."""


class Child:
    """Runs ``main`` of a module in a process of its own, with the number of its end of a socket.

    It belongs to a process group of its own, so that an interrupt at the terminal reaches this process alone.

    Args:
        module: has ``main``.
        name: how sentences call the process.
        options: what it is told first.

    Attributes:
        pid: its number.
        link: this process's end of the socket; None once it is closed.

    Raises:
        ChildStartError: it cannot be started.
    """

    def __init__(self, module: str, name: str, options: bytes) -> None:
        self._name = name
        self._said = b""
        self._unpacker = Unpacker()
        ours, theirs = socket.socketpair()
        self.link: socket.socket | None = ours
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
            command = [sys.executable, "-I", "-c", _PROGRAM.format(module=module), str(theirs.fileno()), *_paths()]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,
                )
            except OSError as error:
                ours.close()
                raise ChildStartError(f"The {name} cannot be started: {error}.") from error
        self.pid = self._process.pid
        assert self._process.stderr is not None
        self._errors = self._process.stderr
        os.set_blocking(self._errors.fileno(), False)
        try:
            ours.sendall(message(Kind.OPTIONS, options))
        except ConnectionError:
            pass  # it is gone already, which the first reading shows
        except BaseException:
            self.kill()
            raise
        ours.setblocking(False)

    def poll(self, seconds: float) -> bool:
        """Wait until it sends or ends, at most so long; True when it did."""
        if self.link is None:
            return True
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def receive(self, enough: int | None) -> Iterator[tuple[Kind, bytes]]:
        """What it sent, about ``enough`` octets of it or all; never waits.

        Raises:
            EOFError: it sends nothing more.
            ValueError: it sent what is no message.
        """
        taken = 0
        while self.link is not None and (enough is None or taken < enough):
            try:
                octets = self.link.recv(_RECEIVE)
            except (BlockingIOError, InterruptedError):
                break
            except ConnectionError:
                octets = b""
            if not octets:
                raise EOFError
            taken += len(octets)
            yield from self._unpacker.feed(octets)
        self.listen()

    def tell_to_end(self) -> None:
        """Let it know that nobody wants more; it may still send."""
        if self.link is not None:
            with contextlib.suppress(OSError):
                self.link.shutdown(socket.SHUT_WR)

    def listen(self) -> None:
        """Remember what it said last, so that it is never held up by saying it."""
        with contextlib.suppress(BlockingIOError, ValueError):
            while octets := os.read(self._errors.fileno(), _SAID):
                self._said = (self._said + octets)[-_SAID:]

    def obituary(self) -> str:
        """A sentence about how it ended."""
        try:
            code = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            how = "fell silent"
        else:
            how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
        self.listen()
        lines = self._said.decode(errors="replace").strip().splitlines()
        return f"The {self._name} {how}: {lines[-1].strip()}" if lines else f"The {self._name} {how}."

    def kill(self, patience: float = 0.0) -> None:
        """Close the socket, and make sure that it is gone after so many seconds at most."""
        if self.link is not None:
            self.link.close()
            self.link = None
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


def _paths() -> list[str]:
    """Where this process finds modules, as paths that do not depend on where it stands."""
    return [os.path.abspath(path) if path else os.getcwd() for path in sys.path]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
