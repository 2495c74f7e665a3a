from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.capture.network import require
from tests.conftest import REPOSITORY

UNIT = REPOSITORY / "packaging" / "systemd" / "pqaudit-sensor.service"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # The user of the unit is made by who installs it: here any user serves.
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("User=pqaudit", "User=nobody"))
    done = subprocess.run(
        [require("systemd-analyze"), "verify", str(unit)], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if UNIT.name in line and "nobody" not in line]
    assert (done.returncode, said) == (0, [])


def test_little_is_exposed() -> None:
    command = [require("systemd-analyze"), "security", "--offline=true", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # systemd's scale: up to 2 is "OK". A sensor cannot do without packet sockets and the network.
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None, done.stderr
    assert float(level[1]) <= 2.0
