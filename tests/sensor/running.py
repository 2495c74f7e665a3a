"""``pqaudit sensor`` as a process."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.conftest import REPOSITORY

PATIENCE = 20.0


def hand_over(folder: Path, user: str) -> pwd.struct_passwd:
    """Make a folder, with the one for the state in it, that of another account, which can then reach it."""
    account = pwd.getpwnam(user)
    state = folder / "state"
    state.mkdir()
    for own in (folder, state):
        os.chown(own, account.pw_uid, account.pw_gid)
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.getuid() and above != Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    return account


class RunningSensor:
    """A sensor with its state in a folder; findings are appended to ``findings.jsonl`` there."""

    def __init__(self, folder: Path, *interfaces: str, options: tuple[object, ...] = (), **environment: str) -> None:
        self.folder = folder
        self.out = folder / "findings.jsonl"
        self.log = folder / "log"
        self._kills = folder / "kills"
        self._kills.touch()
        command = [sys.executable, "-m", "pqaudit", "sensor", "--state", str(folder / "state"), "-o", str(self.out)]
        for interface in interfaces:
            command += ["-i", interface]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PQAUDIT_")}
        before = self.log.read_text().count('"started"') if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *map(str, options)], stderr=log, cwd=REPOSITORY, env={**clean, **environment}
            )
        self.until(lambda: self.log.read_text().count('"started"') > before, "the start")

    def until(self, happened: Callable[[], object], what: str) -> None:
        """Wait for something; an assertion with the log when it does not come."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"{what} did not come: {self.log.read_text()[-3000:]}"
            time.sleep(0.05)

    @property
    def findings(self) -> list[dict[str, Any]]:
        """All that were told, oldest first; each SIGKILL may have left one line torn."""
        if not self.out.exists():
            return []
        found: list[dict[str, Any]] = []
        torn = 0
        text = self.out.read_text()
        for line in text[: text.rfind("\n") + 1].splitlines():  # what is behind may be under way
            try:
                found.append(json.loads(line))
            except ValueError:
                torn += 1
        assert torn <= self._kills.read_text().count("\n"), torn
        return found

    def finding(self, initiator_spi: str, **own: object) -> dict[str, Any]:
        """The last finding of an SA, once there is one with these values under ``pqaudit``."""
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [f for f in self.findings if f["pqaudit"]["ike"]["initiator_spi"] == initiator_spi]
            return bool(found) and all(found[-1]["pqaudit"][name] == value for name, value in own.items())

        self.until(there, f"a finding of {initiator_spi} with {own}")
        return found[-1]

    def stop(self) -> None:
        """SIGTERM, as a service manager does it."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()

    def kill(self) -> None:
        """SIGKILL."""
        with self._kills.open("a") as kills:
            kills.write("killed\n")
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
