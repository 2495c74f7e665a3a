"""A user of pqaudit: whole processes, with a home of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pqaudit.elastic.spool import Spool
from tests.conftest import REPOSITORY
from tests.searchserver.node import Node

SECRET = "dGhpcyBpczphIHNlY3JldA=="
PASSWORD = "correct horse battery staple"
# What pqaudit says, and what wrong usage adds; any other line is noise of a library.
EXPECTED = re.compile(r"pqaudit: .+|Usage: .+|Try '.+|Error: .+|")
Done = subprocess.CompletedProcess[str]


class User:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.spool = home / "spool"

    def environment(self, **more: str) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PQAUDIT_")}
        return {**clean, "XDG_STATE_HOME": str(self.home / "state"), "PQAUDIT_SPOOL": str(self.spool), **more}

    def start(self, *arguments: object, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pqaudit", *map(str, arguments)],
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=REPOSITORY, env=self.environment(**more),
        )  # fmt: skip

    def run(self, *arguments: object, text: str | None = None, **more: str) -> Done:
        return self.end(self.start(*arguments, **more), text)

    def end(self, process: subprocess.Popen[str], text: str | None = None) -> Done:
        """Wait for the end; what it said must be clean whatever it did."""
        try:
            out, said = process.communicate(text, timeout=120)
        finally:
            process.kill()
        for line in said.splitlines():
            assert EXPECTED.fullmatch(line), said
        files = [file.read_bytes() for file in self.spool.glob("*")]
        for secret in (SECRET, PASSWORD):
            assert secret not in (out or "") + said
            assert not any(secret.encode() in octets for octets in files)
        return Done(process.args, process.returncode, out or "", said)

    @property
    def waiting(self) -> int:
        return len(Spool(self.spool))


def complaint(done: Done) -> str:
    """The one line that says what is wrong."""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith(("pqaudit: error:", "Error:"))]
    return line


def count(node: Node) -> int:
    node.request("POST", "/pqaudit-sa-*/_refresh")
    return int(node.request("GET", "/pqaudit-sa-*/_count")[1]["count"])


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)
