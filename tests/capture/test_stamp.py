"""What tells that a local input is still the same."""

from __future__ import annotations

import os
from pathlib import Path

from pqaudit.capture.stamp import size, stamp


def test_a_file_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    file.write_bytes(b"one")
    os.utime(file, ns=(1, 10**18))
    first = stamp(str(file))
    assert first is not None
    assert stamp(str(file)) == first
    assert size(str(file)) == 3
    os.utime(file, ns=(1, 10**18 + 1))
    later = stamp(str(file))
    assert later != first
    # Another file in its place, with the same size and time.
    (tmp_path / "b").write_bytes(b"two")
    os.utime(tmp_path / "b", ns=(1, 10**18 + 1))
    (tmp_path / "b").replace(file)
    assert stamp(str(file)) not in (first, later)


def test_what_has_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in ("-", str(tmp_path), str(tmp_path / "missing"), str(tmp_path / "pipe"), "a\0b", "foo://bar", "s3://"):
        assert (stamp(source), size(source)) == (None, None)
