"""The network interfaces of this machine."""

from __future__ import annotations

import socket
import struct
import sys
from dataclasses import dataclass
from enum import Enum

from pqaudit.capture.libpcap import classify, library

if sys.platform != "win32":
    import fcntl

ALL_INTERFACES = "any"
"""The name by which Linux captures from all interfaces at once."""

# The call that gives the flags of an interface, and IFF_UP: linux/sockios.h and linux/if.h, sys/sockio.h of macOS.
_GET_FLAGS = {"linux": 0x8913, "darwin": 0xC0206911}
_UP = 1
_NAME_OCTETS = 16
# pcap/pcap.h
_DEVICE_LOOPBACK = 1
_DEVICE_UP = 2


class DeviceState(Enum):
    """Whether an interface can give frames."""

    UP = "up"
    DOWN = "down"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that can be captured from.

    Attributes:
        name: as ``LiveInterface`` takes it.
        description: a sentence for a person, or an empty string.
        up: it is up.
        loopback: it leads nowhere but to this machine.
    """

    name: str
    description: str
    up: bool
    loopback: bool


def list_devices() -> list[Device]:
    """The network interfaces, the likeliest first as libpcap sorts them; takes up to a tenth of a second.

    libpcap also lists Bluetooth, USB and the like; they are left out. Raises LiveCaptureError.
    """
    binding = library()
    try:
        found = binding.findalldevs()
    except binding.Error as error:
        raise classify(error, "this machine") from error
    networks = {name for _, name in socket.if_nameindex()} | {ALL_INTERFACES}
    return [
        Device(
            device.name,
            device.description or "",
            bool(device.flags & _DEVICE_UP),
            bool(device.flags & _DEVICE_LOOPBACK),
        )
        for device in found
        if device.name in networks or sys.platform == "win32"
    ]


def device_index(name: str) -> int | None:
    """The number under which the system knows the interface now, None when there is none of that name.

    An interface that was deleted and made again has another number. ``any`` has 0.
    """
    if name == ALL_INTERFACES:
        return 0
    try:
        return socket.if_nametoindex(name)
    except (OSError, ValueError):
        return None


def device_state(name: str) -> DeviceState:
    """Whether the interface exists and is up; cheap enough to ask every second, and needs no privilege.

    Where the system does not tell, an interface that exists counts as up.
    """
    if device_index(name) is None:
        return DeviceState.GONE
    call = _GET_FLAGS.get(sys.platform)
    if sys.platform == "win32" or name == ALL_INTERFACES or call is None:
        return DeviceState.UP
    request = struct.pack(f"{_NAME_OCTETS}s 16x", name.encode())
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            answer = fcntl.ioctl(asker, call, request)
    except OSError:
        # Deleted in between.
        return DeviceState.GONE
    (flags,) = struct.unpack_from("=H", answer, _NAME_OCTETS)
    return DeviceState.UP if flags & _UP else DeviceState.DOWN
