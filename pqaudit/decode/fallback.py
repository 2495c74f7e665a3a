"""Scapy's dissectors, for link types that this package does not read itself."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import Any

from pqaudit.decode.layers import Layer

_MOST_LAYERS = 32


@cache
def _modules() -> tuple[Any, Any, Any] | None:
    """Scapy's table of link types, its IPv4 and its IPv6; None when it is not installed.

    It is loaded only when it is needed, for that alone takes longer than reading a small capture.
    """
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    try:
        config = importlib.import_module("scapy.config")
        importlib.import_module("scapy.layers.all")
        ipv4 = importlib.import_module("scapy.layers.inet")
        ipv6 = importlib.import_module("scapy.layers.inet6")
    except Exception:  # an optional package of which any version may be installed, for any reason unable to load
        return None
    return config.conf.l2types, ipv4.IP, ipv6.IPv6


@cache
def _dissector(link_type: int) -> Any:
    modules = _modules()
    if modules is None:
        return None
    try:
        return modules[0][link_type]
    except KeyError:
        return None


def knows(link_type: int) -> bool:
    """True when scapy is installed and has a dissector for the link type."""
    return _dissector(link_type) is not None


def find_ip(link_type: int, data: bytes) -> tuple[Layer, bytes] | None:
    """The outermost IP packet that scapy finds in a frame, as it was captured."""
    dissector, modules = _dissector(link_type), _modules()
    if dissector is None or modules is None:
        return None
    _, ipv4, ipv6 = modules
    try:
        layer = dissector(data)
        for _ in range(_MOST_LAYERS):
            if isinstance(layer, ipv4):
                return Layer.IPV4, bytes(layer.original)
            if isinstance(layer, ipv6):
                return Layer.IPV6, bytes(layer.original)
            layer = layer.payload
            if not layer:
                return None
    except Exception:  # its dissectors raise whatever damaged octets lead them to
        return None
    return None
