"""What the capturing process is to do, and how it is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from pqaudit.capture.devices import ALL_INTERFACES
from pqaudit.capture.live import LEAST_BUFFER, SNAPSHOT_LENGTH, LiveOptions
from pqaudit.capture.privileges import Account
from pqaudit.capture.ring import RingOptions
from pqaudit.decode.kernel_filter import kernel_filter
from pqaudit.decode.numbers import IKE_PORTS, LinkType
from pqaudit.decode.prefilter import FrameTest, frame_test

LEAST_BACKLOG = 1024 * 1024
"""Octets."""

DEFAULT_BACKLOG = 256 * 1024 * 1024
"""Octets; some 700,000 messages of IKE_SA_INIT."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What the capturing process is to do. Raises ValueError, a sentence, for what cannot be.

    Attributes:
        interfaces: names, each once.
        ports: ports that carry IKE beside 500 and 4500, by UDP or TCP.
        tunnels: let through what tunnels carry.
        buffer_octets: the kernel's buffer for each interface, from ``LEAST_BUFFER`` on.
        promiscuous: also frames that are not for this machine.
        snapshot_length: most octets of a frame that are kept.
        ring_folder: where packets are kept, or None.
        ring: the bounds of the ring.
        account: whom to become once the interfaces are open, or None.
        backlog_octets: most octets of frames that wait for the analysis, from ``LEAST_BACKLOG`` on.
        wait: start also when an interface is not there or down, and wait for it.
    """

    interfaces: tuple[str, ...]
    ports: frozenset[int] = frozenset()
    tunnels: bool = False
    buffer_octets: int = LEAST_BUFFER
    promiscuous: bool = True
    snapshot_length: int = SNAPSHOT_LENGTH
    ring_folder: str | None = None
    ring: RingOptions = field(default_factory=RingOptions)
    account: Account | None = None
    backlog_octets: int = DEFAULT_BACKLOG
    wait: bool = False

    def __post_init__(self) -> None:
        if not self.interfaces:
            raise ValueError("At least one interface must be named.")
        if len(set(self.interfaces)) < len(self.interfaces):
            raise ValueError("Each interface can be named only once.")
        if ALL_INTERFACES in self.interfaces and len(self.interfaces) > 1:
            raise ValueError(f"{ALL_INTERFACES} stands for all interfaces: name it alone.")
        if self.buffer_octets < LEAST_BUFFER:
            raise ValueError(f"The buffer must have at least {LEAST_BUFFER} octets.")
        if self.backlog_octets < LEAST_BACKLOG:
            raise ValueError(f"The backlog must have room for at least {LEAST_BACKLOG} octets.")
        kernel_filter(LinkType.ETHERNET, self.ports, tunnels=self.tunnels)
        self.live()

    def live(self) -> LiveOptions:
        """How each interface is captured from."""
        return LiveOptions(
            partial(kernel_filter, ports=self.ports, tunnels=self.tunnels),
            self._wanted,
            self.buffer_octets,
            self.promiscuous,
            self.snapshot_length,
        )

    def _wanted(self, link_type: int) -> FrameTest | None:
        """The test of a decoder that follows no connection.

        The kernel lets TCP through on ports that are known alone, and what a tunnel carries is not looked at here.
        """
        return frame_test(link_type, self.ports - IKE_PORTS, self.tunnels, {})


def pack_options(options: CaptureOptions) -> bytes:
    """The options as octets."""
    return json.dumps(asdict(options), default=sorted).encode()


def unpack_options(octets: bytes) -> CaptureOptions:
    """The options again."""
    fields: dict[str, Any] = json.loads(octets)
    account = fields["account"]
    if account is not None:
        account = Account(account["name"], account["user"], account["group"], tuple(account["groups"]))
    return CaptureOptions(
        **{
            **fields,
            "interfaces": tuple(fields["interfaces"]),
            "ports": frozenset(fields["ports"]),
            "ring": RingOptions(**fields["ring"]),
            "account": account,
        }
    )
