from __future__ import annotations

import json
import pwd
import re
import subprocess
import time
from pathlib import Path

from tests.capture.network import require
from tests.conftest import REPOSITORY, SAMPLES
from tests.sensor.machine import Machine

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


HARDENED = {
    "Uid": pwd.getpwnam("nobody").pw_uid,
    "CapEff": 1 << 13,  # CAP_NET_RAW of linux/capability.h
    "CapBnd": 1 << 13,
    "NoNewPrivs": 1,
    "Seccomp": 2,  # a filter
}


def test_it_runs_under_a_real_systemd() -> None:
    """Ready when it says so, watched, restarted with its state, hardened, and stopped in time."""
    quicker = "WatchdogSec=4\nTimeoutAbortSec=1\nRestartSec=1\n"
    with Machine(UNIT.name, quicker) as machine:
        machine.run("systemctl", "start", UNIT.name, check=True)  # waits for READY=1
        assert machine.show("ActiveState", "SubState") == {"ActiveState": "active", "SubState": "running"}

        pid = machine.show("MainPID")["MainPID"]
        (capture,) = machine.run("cat", f"/proc/{pid}/task/{pid}/children").split()
        for each in (pid, capture):
            status = dict(line.split(":\t", 1) for line in machine.run("cat", f"/proc/{each}/status").splitlines())
            for name, expected in HARDENED.items():
                value = status[name].split()[0]
                assert int(value, 16 if name.startswith("Cap") else 10) == expected, (each, name)

        machine.send(SAMPLES / "hybrid_x25519_mlkem768.pcap")
        machine.until(lambda: verdicts(machine) == ["hybrid-ml-kem"], "the finding")

        time.sleep(5)  # longer than the watchdog waits for a sign of life
        assert machine.show("NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}
        machine.run("kill", "-STOP", pid, check=True)
        machine.until(lambda: machine.show("NRestarts")["NRestarts"] == "1", "the restart by the watchdog")
        machine.until(lambda: machine.show("ActiveState")["ActiveState"] == "active", "readiness after the restart")
        assert machine.show("MainPID")["MainPID"] != pid
        machine.send(SAMPLES / "classical_x25519.pcap")
        machine.until(lambda: verdicts(machine) == ["hybrid-ml-kem", "classical-only"], "the second finding alone")

        began = time.monotonic()
        machine.run("systemctl", "stop", UNIT.name, check=True)
        assert time.monotonic() - began < 10  # TimeoutStopSec is 30
        assert machine.show("ActiveState", "Result") == {"ActiveState": "inactive", "Result": "success"}


def verdicts(machine: Machine) -> list[str]:
    lines = machine.run("cat", "/var/lib/pqaudit/findings.jsonl").splitlines()
    return [json.loads(line)["pqaudit"]["verdict"] for line in lines]
