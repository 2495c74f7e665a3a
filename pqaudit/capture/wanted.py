"""The test by which a reader rejects frames before it builds them."""

from __future__ import annotations

from collections.abc import Callable

Octets = bytes | bytearray | memoryview

FrameTest = Callable[[Octets, int, int], bool]
"""``test(buffer, start, captured_length)``: False when the frame at ``buffer[start:start + captured_length]`` surely
holds nothing of interest. It must look at nothing outside these octets, though there are more in the buffer."""

Wanted = Callable[[int], FrameTest | None]
"""``wanted(link_type)``: the test for frames of that link type, or None when every frame is to be yielded."""
