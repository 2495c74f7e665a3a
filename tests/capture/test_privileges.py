"""Giving up root, each time in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

from pqaudit.capture.privileges import Account, PrivilegeError, drop_privileges, find_account
from tests.capture.network import require_library, require_root
from tests.conftest import REPOSITORY

# What is needed is imported first: the interpreter may lie where only root can read.
FRONT = """
import os, subprocess, sys, threading
from pqaudit.capture.live import LiveInterface
from pqaudit.capture.live_errors import NoPermissionError
from pqaudit.capture.privileges import Account, PrivilegeError, drop_privileges, find_account
"""


def in_a_process(code: str) -> list[str]:
    """What a process that starts as root prints, line by line."""
    require_root()
    command = [sys.executable, "-c", FRONT + textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


STATUS = """
def status():
    with open("/proc/self/status", "rb") as file:
        fields = dict(line.split(b":\\t", 1) for line in file)
    print(*(fields[name].decode().split() for name in (b"Uid", b"Gid", b"Groups")))
    print(*(int(fields[name], 16) for name in (b"CapInh", b"CapPrm", b"CapEff", b"CapAmb")))
"""


def test_root_is_gone_and_what_is_open_stays() -> None:
    require_library()
    nobody = find_account("nobody")
    lines = in_a_process(
        STATUS
        + """
interface = LiveInterface("lo")
interface.open()
secret = open("/etc/shadow", "rb")
drop_privileges(find_account("nobody"))
status()
print(len(interface.read(10)) >= 0, len(secret.read(1)))
for attempt in (
    lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0),
    lambda: os.setgroups([0]), lambda: open("/etc/shadow", "rb"), lambda: os.chroot("/"),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
interface.close()
try:
    interface.open()
except NoPermissionError as error:
    print("CAP_NET_RAW" in error.message, "root" in error.message, error.passing)
sys.stdout.flush()
os.system("id -u; id -G; cat /etc/shadow 2>/dev/null || echo refused")
"""
    )
    user, group = str(nobody.user), str(nobody.group)
    assert lines[0] == f"{[user] * 4} {[group] * 4} {[str(one) for one in sorted(nobody.groups)]}"
    assert lines[1] == "0 0 0 0"
    assert lines[2] == "True 1"
    assert lines[3:10] == ["refused"] * 7
    assert lines[10] == "True True False"
    assert lines[11:] == [user, group, "refused"]


def test_the_right_to_capture_may_stay() -> None:
    require_library()
    lines = in_a_process(
        STATUS
        + """
drop_privileges(find_account("nobody"), keep_capture=True)
status()
interface = LiveInterface("lo")
interface.open()
print(interface.is_open)
interface.close()
for attempt in (lambda: os.setuid(0), lambda: open("/etc/shadow", "rb"), lambda: os.chroot("/")):
    try:
        attempt()
    except PermissionError:
        print("refused")
sys.stdout.flush()
os.system("grep ^CapEff: /proc/self/status")
"""
    )
    assert lines[1] == f"0 {1 << 13} {1 << 13} 0"
    assert lines[2:6] == ["True", "refused", "refused", "refused"]
    assert lines[6].split() == ["CapEff:", "0" * 16]  # a program that is started does not have it


def test_other_threads_lose_root_too() -> None:
    lines = in_a_process(
        """
go, done = threading.Event(), threading.Event()
def wait():
    go.wait()
    print(os.getresuid(), os.getresgid())
    done.set()
threading.Thread(target=wait, daemon=True).start()
account = find_account("nobody")
drop_privileges(account)
go.set()
done.wait()
print((account.user,) * 3, (account.group,) * 3)
"""
    )
    assert lines[0] == lines[1]


def test_who_is_not_root_cannot_become_another() -> None:
    lines = in_a_process(
        """
account = find_account("nobody")
drop_privileges(account)
try:
    drop_privileges(account)
except PrivilegeError as error:
    print(error)
"""
    )
    assert lines == ["Only root can become nobody: start pqaudit as root, or as that user."]


def test_root_that_could_be_regained_is_an_error() -> None:
    """The verification itself: with the saved user ID left at root."""
    lines = in_a_process(
        """
real = os.setresuid
os.setresuid = lambda user, effective, saved: real(user, effective, 0)
try:
    drop_privileges(find_account("nobody"))
except PrivilegeError as error:
    print(error)
"""
    )
    assert lines == ["The process did not become nobody entirely."]


def test_capabilities_that_stay_are_an_error() -> None:
    lines = in_a_process(
        """
import pqaudit.capture.privileges as module
module._keep_only = lambda capability: None
try:
    drop_privileges(find_account("nobody"), keep_capture=True)
except PrivilegeError as error:
    print(error)
"""
    )
    assert len(lines) == 1
    assert lines[0].startswith("The process still has capabilities of root (CapPrm")


@pytest.mark.skipif(not hasattr(os, "setresuid"), reason="optional: this system has no setresuid")
def test_accounts() -> None:
    nobody = find_account("nobody")
    assert nobody == find_account(str(nobody.user))
    assert nobody.group in nobody.groups
    with pytest.raises(PrivilegeError, match="no user nosuchuser"):
        find_account("nosuchuser")
    for number in ("4000000000", "99999999999999999999"):
        with pytest.raises(PrivilegeError, match="no user"):
            find_account(number)
    for name in ("root", "0"):
        with pytest.raises(PrivilegeError, match="privileges of root"):
            find_account(name)


def test_an_account_that_the_system_refuses() -> None:
    require_root()
    with pytest.raises(PrivilegeError, match="refused the change"):
        # More groups than a process can have: refused before anything is given up.
        drop_privileges(Account("many", 65_534, 65_534, tuple(range(1, 70_000))))
    assert os.geteuid() == 0
