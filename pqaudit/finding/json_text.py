"""JSON read part by part from a file of which only the part in hand is kept."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from json import JSONDecoder
from typing import Any, NoReturn, Protocol

_CHUNK = 1 << 20
_SPACE = " \t\r\n"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# NaN and Infinity are no JSON, though Python would read them.
STRICT_JSON = JSONDecoder(parse_constant=_no_constant)


class Octets(Protocol):
    """What is read of a file."""

    def read(self, size: int = -1, /) -> bytes:
        """As much as there is, at most ``size``; nothing at the end."""

    def readline(self, size: int = -1, /) -> bytes:
        """The next line, at most ``size`` of it."""


class DamagedJsonError(Exception):
    """A document that cannot be read on, with the reason."""


class JsonText:
    """A file as JSON text.

    Args:
        begun: octets that were read already.
        file: what follows them.

    Attributes:
        line: where the part in hand begins, counted from 1.
    """

    def __init__(self, begun: bytes, file: Octets) -> None:
        self._file = file
        self._octets = codecs.getincrementaldecoder("utf-8")()
        self._buffer = ""
        self._at = 0
        self._ended = False
        self._no_text = False
        self.line = 1
        self._add(begun)

    def peek(self) -> str:
        """The next character that is no space, without taking it; nothing at the end."""
        while True:
            while self._at < len(self._buffer):
                character = self._buffer[self._at]
                if character not in _SPACE:
                    return character
                self._forward(self._at + 1)
            if not self._fill():
                return ""

    def take(self, character: str) -> None:
        """Pass over a character that must be next."""
        found = self.peek()
        if not found:
            raise self._cut_off()
        if found != character:
            raise DamagedJsonError(f"has no {character!r} where one must be")
        self._forward(self._at + 1)

    def value(self, longest: int) -> Any:
        """The next JSON value."""
        self.peek()
        while True:
            try:
                value, end = STRICT_JSON.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise DamagedJsonError("is nested too deep") from None
            except ValueError:
                end = -1
            # A number may go on in what was not read yet.
            if (0 <= end < len(self._buffer)) or (end >= 0 and self._ended):
                self._forward(end)
                return value
            if len(self._buffer) - self._at > longest:
                raise DamagedJsonError(f"is no JSON, or holds a value longer than {longest:,} characters")
            if not self._fill():
                raise self._cut_off()

    def check_end(self) -> None:
        """Raise where what looks like the end is damage."""
        if self._no_text:
            raise self._cut_off()

    def _cut_off(self) -> DamagedJsonError:
        return DamagedJsonError("is no UTF-8 text" if self._no_text else "is cut off or no JSON")

    def _forward(self, to: int) -> None:
        self.line += self._buffer.count("\n", self._at, to)
        self._at = to

    def _fill(self) -> bool:
        if self._ended:
            return False
        # As much again as is in hand, so that a long value is not tried again too often.
        octets = self._file.read(max(_CHUNK, len(self._buffer) - self._at))
        self._ended = not octets
        self._add(octets)
        return True

    def _add(self, octets: bytes) -> None:
        try:
            text = self._octets.decode(octets, final=self._ended)
        except UnicodeDecodeError as error:
            # What stands before is read as if the file ended there.
            text = error.object[: error.start].decode()
            self._ended = self._no_text = True
        self._buffer = self._buffer[self._at :] + text
        self._at = 0

    def items(self, longest: int) -> Iterator[tuple[int, Any]]:
        """Each value of the array that is next, with the line that it begins in."""
        self.take("[")
        if self.peek() != "]":
            while True:
                self.peek()
                line = self.line
                yield line, self.value(longest)
                if self.peek() != ",":
                    break
                self.take(",")
        self.take("]")

    def names(self, longest: int) -> Iterator[str]:
        """Each name of the object that is next; its value is to be taken before the next one."""
        self.take("{")
        if self.peek() != "}":
            while True:
                yield str(self.value(longest))
                if self.peek() != ",":
                    break
                self.take(",")
                self.peek()
        self.take("}")
