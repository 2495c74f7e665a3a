"""Debian's sshd on loopback, with SFTP and one key that it lets in."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

READY_SECONDS = 20


class SshServer:
    """A server with its own host key; ``home`` is the home folder of a client that knows it and has a key for it."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise RuntimeError("sshd is not installed: apt-get install openssh-server")
        self.home = folder / "home"
        keys = self.home / ".ssh"
        keys.mkdir(parents=True, mode=0o700)
        self.port = _free_port()
        _make_key(folder / "host")
        _make_key(keys / "id_ed25519")
        shutil.copy(keys / "id_ed25519.pub", folder / "authorized")
        self.known_hosts = keys / "known_hosts"
        self.known_hosts.write_text(self.host_line((folder / "host.pub").read_text()))
        self._config = folder / "config"
        self._config.write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder / 'host'}\nPidFile none\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\nUseDNS no\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where a server of root keeps nothing, as it demands
        self._program = program
        self._log = (folder / "log").open("wb")
        self.start()

    @property
    def url(self) -> str:
        """Of the root folder, without a slash at the end."""
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}"

    def host_line(self, public_key: str) -> str:
        """The line of known_hosts for this server with a public key."""
        return f"[127.0.0.1]:{self.port} {public_key}"

    def start(self) -> None:
        """Begin, or begin again, to serve."""
        self._process = subprocess.Popen(
            [self._program, "-D", "-e", "-f", str(self._config)], stdout=self._log, stderr=self._log
        )
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"sshd did not start: {Path(self._log.name).read_text()}")

    def stop(self) -> None:
        """End the server and its sessions, as a crash of the machine does."""
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        self._process.terminate()
        self._process.wait(10)
        for child in children:
            subprocess.run(["kill", child], check=False, stderr=subprocess.DEVNULL)

    def __enter__(self) -> SshServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._log.close()


def new_public_key(file: Path) -> str:
    """Make a key and give its public half."""
    _make_key(file)
    return file.with_suffix(".pub").read_text()


def _make_key(file: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
