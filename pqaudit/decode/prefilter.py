"""The cheap test that rejects frames in place, before they are built.

It may pass too much and never too little. It runs for every record of a capture, so it looks at single octets by index
and unpacks only where a frame is already likely.
"""

from __future__ import annotations

from struct import Struct

from pqaudit.capture.wanted import FrameTest, Octets
from pqaudit.decode.numbers import PORT_IKE_NAT, PROTO_UDP

_PORTS_AND_MARKER = Struct("!HH4xI").unpack_from
_OTHER_KINDS = frozenset((0x86, 0x81, 0x88, 0x91, 0x92))  # first octet of the EtherTypes of IPv6 and VLAN tags
_SHORTEST = 14 + 20 + 8 + 4  # Ethernet, IPv4, UDP, marker: anything shorter holds no IKE message


def ethernet_test(ports: frozenset[int]) -> FrameTest:
    """The test for Ethernet frames."""
    plain = ports - {PORT_IKE_NAT}

    def test(buffer: Octets, start: int, length: int) -> bool:
        if length < _SHORTEST:
            return False
        kind = buffer[start + 12]
        if kind == 0x08:
            if buffer[start + 13] != 0 or buffer[start + 23] != PROTO_UDP:
                return False
            if buffer[start + 14] != 0x45 or buffer[start + 20] & 0x3F or buffer[start + 21]:
                return True  # options or a fragment: the ports stand elsewhere
            source, destination, marker = _PORTS_AND_MARKER(buffer, start + 34)
            if source in plain or destination in plain:
                return True
            return bool(marker == 0 and PORT_IKE_NAT in (source, destination))

        return kind in _OTHER_KINDS

    return test
