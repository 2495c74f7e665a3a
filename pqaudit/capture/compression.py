"""Compressed inputs: the octets inside, decoded piece by piece through maintained libraries in bounded memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Protocol, cast

from pqaudit.capture.faults import InputFault
from pqaudit.capture.magic import Format
from pqaudit.capture.octets import OctetSource

_PIECE = 1 << 13

# xz files name the size of their dictionary and may ask for 4 GiB; `xz -9` needs 65 MiB. The zstd library has its own
# limit, 128 MiB.
_XZ_MEMORY = 128 * 1024 * 1024

# Four octets of zstd can stand for 128 KiB, and its library gives all at once; so this much input gives 32 MiB at most.
_ZSTD_PIECE = 1 << 10


class Decoder(Protocol):
    """One member (gzip), stream (xz) or frame (zstd, lz4); the interface of ``lzma.LZMADecompressor``."""

    @property
    def eof(self) -> bool:
        """True behind the end of the member."""
        ...

    @property
    def needs_input(self) -> bool:
        """False while there is more to get without new input."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What followed the member in the input."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decode ``data``, giving at most ``max_length`` octets."""
        ...


class DecodedOctets:
    """The octets inside a compressed input; an ``OctetSource``.

    Members that follow one another are read as one, as the command-line tools do. The libraries give nothing of a piece
    in which they find damage; so pieces are small, to lose little, and always cut at the same places, however short the
    reads from a pipe are, to give the same frames each time.
    """

    def __init__(self, raw: OctetSource, start: bytes, compression: Format) -> None:
        """``start`` is what was already taken from ``raw``. Raises InputFault when a library is missing."""
        self._raw = raw
        self._start = memoryview(start)
        self._name = compression.value
        self._new_decoder, self._errors = _decoders(compression)
        self._decoder = self._new_decoder()
        self._begun = True
        self._pending = b""
        self._piece = bytearray(_PIECE)
        self._fault: InputFault | None = None

    def readinto(self, target: memoryview) -> int:
        """See ``OctetSource``."""
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data or b""  # None from lz4 when nothing is left
                # Tapes and xz pad with zeros.
                self._pending = rest.lstrip(b"\0")
                self._decoder = self._new_decoder()
                self._begun = False
            data, self._pending = self._pending, b""
            ended = False
            if not data and self._decoder.needs_input:
                data = self._next_piece()
                ended = not data
                if not self._begun:
                    data = data.lstrip(b"\0")
                    if ended:
                        return self._end()
                    if not data:
                        continue
            self._begun = True
            try:
                octets = self._decoder.decompress(data, len(target))
            except self._errors as error:
                raise InputFault(
                    "damaged-compression",
                    f"The {self._name} data is damaged ({error}); the last frames before the damage may be missing.",
                ) from error
            if octets:
                target[: len(octets)] = octets
                return len(octets)
            if ended and not self._decoder.eof:
                self._end()
                raise InputFault(
                    "cut-off-record",
                    f"The {self._name} data ends early; it may still be being written, and everything before was read.",
                    fatal=False,
                )

    def _next_piece(self) -> bytes:
        """The next ``_PIECE`` octets of the input; fewer only at its end or before an error, which is kept."""
        head = self._start[:_PIECE]
        self._start = self._start[_PIECE:]
        filled = len(head)
        with memoryview(self._piece) as view:
            view[:filled] = head
            while filled < _PIECE and self._fault is None:
                try:
                    count = self._raw.readinto(view[filled:])
                except InputFault as fault:
                    self._fault = fault
                    break
                if not count:
                    break
                filled += count
        return bytes(self._piece[:filled])

    def _end(self) -> int:
        """The end of the input, if no error made it end."""
        if self._fault is not None:
            raise self._fault
        return 0


class _GzipDecoder:
    """``zlib.decompressobj`` behind the interface that the other libraries share."""

    def __init__(self) -> None:
        import zlib

        self._member = zlib.decompressobj(wbits=31)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def needs_input(self) -> bool:
        return not self._full and not self._member.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        octets = self._member.decompress(self._member.unconsumed_tail + data, max_length)
        self._full = len(octets) == max_length
        return octets


class _ZstdDecoder:
    """A frame decoder of ``zstandard`` behind the same interface, for which it has no output limit of its own."""

    def __init__(self, frame: _ZstdFrame) -> None:
        self._frame = frame
        self._input = b""
        self._next = 0
        self._output = b""
        self._given = 0

    @property
    def eof(self) -> bool:
        return self._frame.eof and self._given == len(self._output)

    @property
    def needs_input(self) -> bool:
        return self._given == len(self._output) and self._next >= len(self._input)

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data + self._input[self._next :]

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if data:
            self._input = self._input[self._next :] + data
            self._next = 0
        while self._given == len(self._output) and self._next < len(self._input) and not self._frame.eof:
            piece = self._input[self._next : self._next + _ZSTD_PIECE]
            self._next += len(piece)
            self._output, self._given = b"", 0  # released before as much again is made
            self._output = self._frame.decompress(piece)
        octets = self._output[self._given : self._given + max_length]
        self._given += len(octets)
        return octets


class _ZstdFrame(Protocol):
    """What is used of ``zstandard.ZstdDecompressionObj``."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes) -> bytes: ...


def _decoders(compression: Format) -> tuple[Callable[[], Decoder], tuple[type[Exception], ...]]:
    """How to start decoding a member, and the exceptions by which the library says that data is damaged."""
    if compression is Format.GZIP:
        import zlib

        return _GzipDecoder, (zlib.error,)
    if compression is Format.XZ:
        import lzma

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), (lzma.LZMAError, EOFError)
    if compression is Format.ZSTD:
        zstandard = _library("zstandard", "zstd")
        decompressor = zstandard.ZstdDecompressor()
        return lambda: _ZstdDecoder(decompressor.decompressobj()), (zstandard.ZstdError,)
    lz4 = _library("lz4.frame", "lz4")
    return cast("Callable[[], Decoder]", lz4.LZ4FrameDecompressor), (RuntimeError, EOFError)


def _library(module: str, compression: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputFault(
            "missing-library",
            f"Reading {compression} needs a library that is not installed: pip install {package}",
        ) from error
