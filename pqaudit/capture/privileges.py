"""Giving up root once the sockets are open."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from dataclasses import dataclass

from pqaudit.capture.libpcap import library
from pqaudit.capture.live_errors import LibraryMissingError
from pqaudit.capture.octets import reason

# linux/capability.h and linux/prctl.h
_CAP_NET_RAW = 13
_CAPABILITY_VERSION_3 = 0x20080522
_PR_SET_KEEPCAPS = 8
_PR_SET_NO_NEW_PRIVS = 38


class PrivilegeError(Exception):
    """Privileges could not be given up, or could be regained. The message is one sentence for a person.

    Some may be gone already: the process must not go on.
    """


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine, with the numbers of its primary group and of all its groups."""

    name: str
    user: int
    group: int
    groups: tuple[int, ...]


def find_account(name: str) -> Account:
    """The user of that name or number. Raises PrivilegeError when there is none, or when it is root."""
    if sys.platform == "win32":
        raise PrivilegeError("Running as another user is not possible on Windows.")
    import pwd

    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as error:
        raise PrivilegeError(f"There is no user {name} on this machine.") from error
    if not entry.pw_uid or not entry.pw_gid:
        raise PrivilegeError(f"The user {name} has the privileges of root, so changing to it would give up nothing.")
    groups = tuple(os.getgrouplist(entry.pw_name, entry.pw_gid))
    if 0 in groups:
        raise PrivilegeError(f"The user {name} is in the group of root; take one that is not.")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, groups)


def drop_privileges(account: Account, *, keep_capture: bool = False) -> None:
    """Become ``account`` for good: user, group and groups, in every thread; what is open stays open.

    To be called after everything is imported that this user may not be allowed to read. Afterwards neither this process
    nor a program that it starts can become root again, and this is tried out.

    Args:
        account: who to become.
        keep_capture: keep CAP_NET_RAW, and nothing else, so that an interface that went away can be opened again;
            Linux only. Without it an interface that is gone stays closed.

    Raises:
        PrivilegeError: the process is not root, the system refused, or root could be regained.
    """
    if sys.platform == "win32" or not hasattr(os, "setresuid"):
        raise PrivilegeError(
            "Giving up root is not possible on this system: start pqaudit as the user it shall run as."
        )
    if keep_capture and sys.platform != "linux":
        raise PrivilegeError("Keeping the right to capture while giving up root is possible on Linux only.")
    if os.geteuid() != 0:
        raise PrivilegeError(f"Only root can become {account.name}: start pqaudit as root, or as that user.")
    try:
        if keep_capture:
            # What opening an interface again needs.
            with contextlib.suppress(LibraryMissingError):
                library()
            _control(_PR_SET_KEEPCAPS, 1)
        os.setgroups(account.groups)
        os.setresgid(account.group, account.group, account.group)
        os.setresuid(account.user, account.user, account.user)
        if keep_capture:
            _keep_only(_CAP_NET_RAW)
        if sys.platform == "linux":
            # So that no program with the set-user-ID bit or file capabilities leads back.
            _control(_PR_SET_NO_NEW_PRIVS, 1)
    except (OSError, ValueError) as error:
        raise PrivilegeError(f"The system refused the change to the user {account.name}: {reason(error)}.") from error
    _verify(account, keep_capture)


def _verify(account: Account, keep_capture: bool) -> None:
    """Raise PrivilegeError when anything but ``account`` is left or can be had back."""
    if os.getresuid() != (account.user,) * 3 or os.getresgid() != (account.group,) * 3:
        raise PrivilegeError(f"The process did not become {account.name} entirely.")
    if set(os.getgroups()) - {account.group} != set(account.groups) - {account.group}:
        raise PrivilegeError(f"The process has other groups than {account.name}.")
    for regain in (os.setuid, os.seteuid, os.setgid, os.setegid):
        try:
            regain(0)
        except PermissionError:
            continue
        raise PrivilegeError("The process could become root again.")
    if sys.platform == "linux":
        allowed = 1 << _CAP_NET_RAW if keep_capture else 0
        for field, value in _capabilities().items():
            if value & ~allowed:
                raise PrivilegeError(f"The process still has capabilities of root ({field} {value:#x}).")


def _capabilities() -> dict[str, int]:
    """The sets of capabilities that this process has or can take, from /proc; empty where that is not mounted."""
    found: dict[str, int] = {}
    try:
        # As octets: the user may not be allowed to read the modules with which Python would decode a text.
        with open("/proc/self/status", "rb") as status:
            for line in status:
                field, _, value = line.partition(b":")
                if field in (b"CapInh", b"CapPrm", b"CapEff", b"CapAmb"):
                    found[field.decode()] = int(value, 16)
    except (OSError, ValueError):
        return {}
    return found


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("process", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def _keep_only(capability: int) -> None:
    """Keep one capability below 32, and give up all others. Raises OSError."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()  # the second for capabilities from 32 on
    data[0].effective = data[0].permitted = 1 << capability
    _call("capset", ctypes.byref(header), ctypes.byref(data))


def _control(option: int, value: int) -> None:
    """prctl(2). Raises OSError."""
    zero = ctypes.c_ulong(0)
    _call("prctl", ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library for which Python has none. Raises OSError."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
