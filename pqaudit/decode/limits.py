"""The bounds of what a decoder holds, so that no capture makes it grow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a decoder may hold. Reaching a bound gives up the oldest and counts it.

    Attributes:
        layers: headers that a frame may have before the first tunnel and inside each (VLAN tags, PPPoE, IP).
        tunnels: tunnels that a frame may have one inside the other.
        fragment_seconds: capture time after which an incomplete IP datagram is given up (RFC 1122 says 60 to 120,
            Linux uses 30).
        fragment_datagrams: incomplete IP datagrams held.
        fragment_octets: octets held of them.
        tcp_connections: TCP connections followed.
        tcp_octets: octets held of all of them.
        tcp_stream_octets: octets held of one direction behind a gap before the gap is given up.
        tcp_stream_segments: segments held of one direction behind a gap before the gap is given up.
        tcp_gap_seconds: capture time after which a gap is given up.
        tcp_idle_seconds: capture time after which a silent connection is forgotten.
        anomalies: anomalies kept; more are only counted.
    """

    layers: int = 16
    tunnels: int = 8
    fragment_seconds: int = 30
    fragment_datagrams: int = 4096
    fragment_octets: int = 16 * 1024 * 1024
    tcp_connections: int = 4096
    tcp_octets: int = 16 * 1024 * 1024
    tcp_stream_octets: int = 256 * 1024
    tcp_stream_segments: int = 256
    tcp_gap_seconds: int = 30
    tcp_idle_seconds: int = 3600
    anomalies: int = 1000
