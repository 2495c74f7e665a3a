"""The kept corpus goes through every target; each is fuzzed for a few seconds; hostile input costs linear work."""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pqaudit.capture.frame import Frame
from pqaudit.capture.reader import read_capture
from pqaudit.decode.decoder import Decoder
from pqaudit.ike.header import parse_header
from pqaudit.ike.message import parse_message
from tests import build as b
from tests.capture import build as c
from tests.conftest import REPOSITORY
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 8


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) >= 5
    for path in inputs:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_fuzz(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        if sys.version_info[:2] == (3, 11) and os.environ.get("CI"):
            pytest.fail("atheris is not here")
        pytest.skip("optional: atheris is not here")
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz",
            name,
            str(tmp_path),
            str(CORPUS / name),
            f"-max_total_time={SECONDS}",
            "-timeout=10",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=SECONDS * 20 + 60,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "Done" in result.stderr


def calls(work: Callable[[], object]) -> int:
    """How many Python and C functions ``work`` calls: a measure of work that no busy machine changes."""
    count = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def feed(frames: list[bytes], link_type: int = 1) -> None:
    decoder = Decoder()
    for number, data in enumerate(frames, start=1):
        decoder.feed(Frame(number, 6, link_type, data, len(data), "f", number))
    decoder.flush()


def ip_fragments(count: int, *, datagrams: int = 1, backwards: bool = False) -> list[bytes]:
    frames = []
    for datagram in range(datagrams):
        for index in range(count):
            more = 0x2000 if index < count - 1 else 0
            head = struct.pack("!BBHHHBBH", 0x45, 0, 28, datagram, more | index, 64, 17, 0)
            data = struct.pack("!HHHH", 500, 500, count * 8, 0) if index == 0 else bytes(8)
            frames.append(bytes(12) + b"\x08\x00" + head + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + data)
    return frames[::-1] if backwards else frames


def tcp_segments(count: int) -> list[bytes]:
    """Segments on port 4500 in reverse order: none can be used before the last has come."""
    frames = []
    for index in range(count):
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 60, 0, 0, 64, 6, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
        tcp = struct.pack("!HHIIHHHH", 40_000, 4500, 1000 + index * 20, 1, 0x5010, 1000, 0, 0)
        frames.append(bytes(12) + b"\x08\x00" + ip + tcp + bytes(20))
    return frames[::-1]


def message(payloads: list[b.Payload]) -> None:
    octets = b.message(b.INIT, payloads)
    parse_message(parse_header(octets), octets)


def pcapng(octets: bytes) -> None:
    for _ in read_capture("-", note=lambda _: None, stream=io.BytesIO(octets)):
        pass


HOSTILE: dict[str, Callable[[int], None]] = {
    "tiny payloads": lambda n: message([(200, b"")] * n),
    "transforms": lambda n: message([b.sa(*[[(b.KE, 31)] * 250] * (n // 250))]),
    "fragments of one datagram": lambda n: feed(ip_fragments(n)),
    "fragments backwards": lambda n: feed(ip_fragments(n, backwards=True)),
    "fragments of many datagrams": lambda n: feed(ip_fragments(2, datagrams=n)),
    "first fragments only": lambda n: feed(ip_fragments(2, datagrams=n)[::2]),
    "segments backwards": lambda n: feed(tcp_segments(n)),
    "options": lambda n: pcapng(c.section() + c.interface() + c.enhanced(0, 1, b"x", options=c.option(1, b"") * n)),
    "interfaces": lambda n: pcapng(c.section() + c.interface() * n + c.enhanced(0, 1, b"x")),
    "tags": lambda n: feed([bytes(12) + b"\x81\x00\x00\x01" * n + b"\x08\x00"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_four_times_the_input_is_no_more_than_five_times_the_work(name: str) -> None:
    work = HOSTILE[name]
    work(64)  # what is imported or cached on first use does not count
    small, large = calls(lambda: work(2000)), calls(lambda: work(8000))
    assert large <= small * 5
