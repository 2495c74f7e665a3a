"""What all unwrapping functions share: the names of layers, the step from one to the next, and the fault."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, auto


class Layer(IntEnum):
    """What the octets at a position are."""

    IPV4 = auto()
    IPV6 = auto()
    IP = auto()
    """IPv4 or IPv6, which the first four bits tell."""
    ETHERNET = auto()
    VLAN = auto()
    """A VLAN tag behind its EtherType."""
    PPP = auto()
    PPPOE = auto()
    MPLS = auto()
    NULL = auto()
    C_HDLC = auto()
    LINUX_SLL = auto()
    LINUX_SLL2 = auto()
    NFLOG = auto()
    WIFI = auto()
    WIFI_RADIOTAP = auto()
    WIFI_PRISM = auto()
    WIFI_AVS = auto()
    GRE = auto()
    ETHERIP = auto()
    L2TPV3 = auto()
    VXLAN = auto()
    GENEVE = auto()
    GTP_USER = auto()
    L2TP_UDP = auto()
    TEREDO = auto()


Step = tuple[Layer, int, int]
"""The next layer, and where it starts and ends in the same octets. The end never exceeds the captured octets."""

Unwrap = Callable[[bytes, int, int], Step | None]
"""``unwrap(data, start, end)``: the step to the layer inside, or None when what is inside is of no interest.

Raises MalformedError when a header is cut off or contradicts itself. It looks at ``data[start:end]`` alone.
"""


class MalformedError(Exception):
    """A header is cut off or contradicts itself; the text is a sentence for a person."""


def need(start: int, length: int, end: int, what: str) -> None:
    """Raise MalformedError unless ``length`` octets lie between ``start`` and ``end``."""
    if end - start < length:
        raise MalformedError(f"{what} needs {length} octets and {max(end - start, 0)} are there.")
