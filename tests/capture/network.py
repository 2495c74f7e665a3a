"""Two network namespaces joined by a veth pair, and sockets in them that send real packets. Needs root and iproute2."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

Result = TypeVar("Result")

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_SO_BINDTODEVICE = 25
MAC = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
IPV4 = {"a": "10.77.0.1", "b": "10.77.0.2"}
IPV6 = {"a": "fd77::1", "b": "fd77::2"}


def require(name: str) -> str:
    """The path of a program; the test fails without it."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not here; `make tools` installs it")
    return path


def require_root() -> None:
    """Skip for a developer who is not root; that is a failure in CI, which is."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root")


def require_library() -> None:
    """Skip where there is no binding of libpcap; elsewhere it is a requirement of pqaudit."""
    if platform.machine() != "x86_64" and importlib.util.find_spec("cypcap") is None:
        pytest.skip("optional: there is no cypcap for this kind of machine")


def run(*command: str) -> str:
    done = subprocess.run([require(command[0]), *command[1:]], capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Network:
    """The namespaces ``a`` and ``b``, with ``a0`` in one and ``b0`` in the other. Packets go from ``a`` to ``b``.

    With IPv6 the kernel sends packets of its own at times that it chooses (MLD), which pass the filter.
    """

    def __init__(self, *, ipv6: bool = False) -> None:
        require_root()
        require_library()
        self._ipv6 = ipv6
        self._names = {side: f"pqaudit{os.getpid()}{side}" for side in "ab"}
        self._tools: list[subprocess.Popen[bytes]] = []
        for name in self._names.values():
            run("ip", "netns", "add", name)
        if not ipv6:
            for side in self._names:
                self.inside(side, lambda: Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1"))
        self.connect()

    def connect(self) -> None:
        """Make the pair. The addresses of the other side are entered by hand, so that nothing has to be asked for."""
        a, b = self._names["a"], self._names["b"]
        run("ip", "link", "add", "a0", "netns", a, "type", "veth", "peer", "name", "b0", "netns", b)
        for side, other in (("a", "b"), ("b", "a")):
            device = f"{side}0"
            self.ip(side, "link", "set", device, "address", MAC[side], "mtu", "1500")
            self.ip(side, "address", "add", f"{IPV4[side]}/24", "dev", device)
            if self._ipv6:
                self.ip(side, "address", "add", f"{IPV6[side]}/64", "dev", device, "nodad")
            self.ip(side, "link", "set", device, "up")
            for address in (IPV4[other], *((IPV6[other],) if self._ipv6 else ())):
                self.ip(side, "neighbour", "add", address, "lladdr", MAC[other], "dev", device, "nud", "permanent")

    def ip(self, side: str, *arguments: str) -> str:
        return run("ip", "-n", self._names[side], *arguments)

    def inside(self, side: str, action: Callable[[], Result]) -> Result:
        """Do something in a namespace. A socket made there belongs there wherever it is used."""
        results: list[Result] = []
        errors: list[BaseException] = []

        def act() -> None:
            try:
                descriptor = os.open(f"/run/netns/{self._names[side]}", os.O_RDONLY)
                try:
                    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                finally:
                    os.close(descriptor)
                results.append(action())
            except BaseException as error:
                errors.append(error)

        # A thread of its own: the test itself stays where it is.
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def udp(self, side: str, port: int, *, ipv6: bool = False) -> socket.socket:
        """A UDP socket bound to a port."""
        family, address = (socket.AF_INET6, IPV6[side]) if ipv6 else (socket.AF_INET, IPV4[side])

        def make() -> socket.socket:
            made = socket.socket(family, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            return made

        return self.inside(side, make)

    def send(self, payload: bytes, sport: int, dport: int, *, ipv6: bool = False) -> None:
        """A UDP datagram from ``a`` to ``b``; the kernel cuts it into fragments if need be."""
        with self.udp("a", sport, ipv6=ipv6) as sender:
            sender.sendto(payload, ((IPV6 if ipv6 else IPV4)["b"], dport))

    def send_raw(self, *frames: bytes) -> None:
        """Ethernet frames from ``a``, as they are."""
        with self.inside("a", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)) as sender:
            sender.bind(("a0", 0))
            for frame in frames:
                sender.send(frame)

    def tcpdump(self, path: Path, *filter_terms: str) -> subprocess.Popen[bytes]:
        """tcpdump on ``b0``, recording already."""
        command = [require("ip"), "netns", "exec", self._names["b"], require("tcpdump"), "-i", "b0", "--immediate-mode"]
        tool = subprocess.Popen(
            [*command, "-U", "-s", "0", "-Z", "root", "-w", str(path), *filter_terms], stderr=subprocess.PIPE
        )
        self._tools.append(tool)
        assert tool.stderr is not None
        for line in tool.stderr:
            if b"listening on" in line:
                return tool
        pytest.fail(f"tcpdump does not record: {tool.wait()}")

    def stop(self, tool: subprocess.Popen[bytes]) -> str:
        """End tcpdump; what it says of its packets."""
        time.sleep(0.3)
        tool.send_signal(signal.SIGINT)
        _, said = tool.communicate(timeout=20)
        self._tools.remove(tool)
        return said.decode()

    def close(self) -> None:
        for tool in self._tools:
            tool.kill()
            tool.communicate()
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
