"""A test of a frame in place, cheap enough to run on every record of a large capture."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Octets = bytes | bytearray | memoryview

FrameTest = Callable[[Octets, int, int], bool]
"""``test(buffer, start, captured_length)``: False when the frame surely holds nothing that a decoder uses."""


def frame_test(
    link_type: int, extra: frozenset[int], tunnels: bool, tcp_flows: Mapping[bytes, int]
) -> FrameTest | None:
    """The test for a link type, or None when there is none and every frame is to be decoded."""
    return None
