"""systemd as the first process of namespaces of its own, so that a unit runs as it does on a machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.capture.network import require, require_root
from tests.conftest import REPOSITORY

INIT = Path("/usr/lib/systemd/systemd")
PATIENCE = 30.0
UNITS = "/run/systemd/system"

# A unit sees neither homes nor what its user may not read: interpreter, packages and repository are put elsewhere.
_SETUP = """
set -e
mount --make-rprivate /
mount -o remount,bind,ro /
mount -t tmpfs -o mode=755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /run/lock {units}/{unit}.d /run/pq/python /run/pq/packages /run/pq/repository /run/pq/bin
mount --bind {python} /run/pq/python
mount --bind {packages} /run/pq/packages
mount --bind {repository} /run/pq/repository
# Only now: the repository may lie there.
for folder in /tmp /var/lib /var/tmp; do mount -t tmpfs -o mode=755 tmpfs $folder; done
chmod 1777 /tmp /var/tmp
cp /run/pq/repository/packaging/systemd/{unit} {units}/
printf '#!/bin/sh\\nexec /run/pq/python/bin/python{version} -m pqaudit "$@"\\n' > /run/pq/bin/pqaudit
chmod 755 /run/pq/bin/pqaudit
printf '%s' "$DROP_IN" > {units}/{unit}.d/test.conf
printf '[Unit]\\nDefaultDependencies=no\\n' > {units}/test.target
ip link set lo up
ip link add sending type veth peer name watched
ip link set sending up
ip link set watched up
: > /run/console
mount --bind /run/console /dev/console
exec env -i container=pqaudit PATH=/usr/sbin:/usr/bin:/sbin:/bin {init} --system --unit=test.target --show-status=0
"""
_ENVIRONMENT = """
[Service]
User=nobody
Environment=PQAUDIT_INTERFACE=watched PATH=/run/pq/bin:/usr/bin:/bin LD_LIBRARY_PATH=/run/pq/python/lib
Environment=PYTHONPATH=/run/pq/repository:/run/pq/packages PYTHONDONTWRITEBYTECODE=1
"""
_SEND = """
import socket, sys
from pqaudit.capture.reader import read_capture
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.bind(("sending", 0))
    for frame in read_capture(sys.argv[1], note=print):
        sender.send(frame.data)
"""


class Machine:
    """A systemd that has ``unit`` of the package, and a pair of interfaces ``sending`` and ``watched``.

    Args:
        unit: name of the unit's file.
        drop_in: what is set otherwise.
    """

    def __init__(self, unit: str, drop_in: str) -> None:
        require_root()
        if not INIT.exists():
            pytest.fail(f"{INIT} is not here; `make tools` installs it")
        self.unit = unit
        self._group = _own_cgroup()
        script = _SETUP.format(
            unit=unit,
            units=UNITS,
            python=sys.base_prefix,
            packages=sysconfig.get_path("purelib"),
            repository=REPOSITORY,
            version=f"{sys.version_info.major}.{sys.version_info.minor}",
            init=INIT,
        )
        namespaces = ("--pid", "--mount", "--cgroup", "--uts", "--ipc", "--net")
        self._process = subprocess.Popen(
            [require("unshare"), *namespaces, "--fork", "--mount-proc", "--kill-child", "sh", "-c", script],
            env={**os.environ, "DROP_IN": _ENVIRONMENT + drop_in},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: (self._group / "cgroup.procs").write_text(str(os.getpid())),
        )
        try:
            self.until(lambda: self.run("systemctl", "is-active", "test.target").strip() == "active", "systemd")
        except BaseException:
            self.end()
            raise

    def run(self, *command: str, check: bool = False, namespaces: tuple[str, ...] = ("-m", "-p", "-n", "-C")) -> str:
        """What a command says inside, as root."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return ""
        enter = [require("nsenter"), "-t", children[0], *namespaces, *command]
        done = subprocess.run(enter, capture_output=True, text=True, check=False, cwd=REPOSITORY)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr, self.show("StatusText", "Result"))
        return done.stdout

    def send(self, capture: Path) -> None:
        """Play a capture to the sensor's interface."""
        self.run(sys.executable, "-c", _SEND, str(capture), check=True, namespaces=("-n",))

    def show(self, *properties: str) -> dict[str, str]:
        """Properties of the unit."""
        said = self.run("systemctl", "show", self.unit, *(f"--property={name}" for name in properties))
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def until(self, happened: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            if self._process.poll() is not None:
                assert self._process.stderr is not None
                pytest.fail(f"systemd ended: {self._process.stderr.read()}")
            assert time.monotonic() < deadline, f"{what} did not come"
            time.sleep(0.1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End all of it."""
        # With the first process of their namespace all others go.
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()
        deadline = time.monotonic() + PATIENCE
        while (self._group / "cgroup.events").exists() and time.monotonic() < deadline:
            for folder in sorted(self._group.rglob("*/"), reverse=True):
                _remove(folder)
            _remove(self._group)
            time.sleep(0.05)


def _own_cgroup() -> Path:
    """A group of its own, below which systemd does what it likes."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "cgroup2":
            group = Path(folder) / f"pqaudit-test-{os.getpid()}"
            try:
                group.mkdir()
            except OSError:
                continue
            return group
    pytest.skip("optional: no control group can be made here")


def _remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
