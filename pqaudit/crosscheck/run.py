"""A crosscheck of captures from beginning to end."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import STANDARD_INPUT
from pqaudit.crosscheck.compare import Comparison, Difference
from pqaudit.crosscheck.dissected import Layer, dissected_readings
from pqaudit.crosscheck.gaps import Gap, Gaps
from pqaudit.crosscheck.own import marked_ports, own_readings
from pqaudit.crosscheck.reading import Value
from pqaudit.crosscheck.runner import Tshark, TsharkError
from pqaudit.pipeline import ReadOptions

MOST_LISTED = 10_000  # differences kept of each sort; the others are counted


class Listed(NamedTuple):
    """A difference as it is reported. ``gap`` is the gap of tshark that explains it, None where none does."""

    file: str
    frame: int
    field: str
    own: Value
    tshark: Value
    gap: str | None


@dataclass(slots=True)
class CheckedFile:
    """What came of one capture. ``error`` says why it was not compared to its end, None where it was."""

    name: str
    messages: int = 0
    fields: int = 0
    explained: int = 0
    unexplained: int = 0
    error: str | None = None


@dataclass(slots=True)
class Crosscheck:
    """Compares captures and gathers what differs.

    Attributes:
        tshark: the other reader.
        gaps: what is known not to be read well by its version.
        options: how captures are read.
        files: the captures, in order.
        unexplained, explained: the first differences of each sort.
        by_gap: how many differences each gap explains.
        notes: what was wrong with the inputs.
        interrupted: True when Ctrl-C ended it.
    """

    tshark: Tshark
    gaps: Gaps
    options: ReadOptions
    files: list[CheckedFile] = field(default_factory=list)
    unexplained: list[Listed] = field(default_factory=list)
    explained: list[Listed] = field(default_factory=list)
    by_gap: Counter[str] = field(default_factory=Counter)
    notes: list[InputNote] = field(default_factory=list)
    interrupted: bool = False

    @property
    def unreadable(self) -> bool:
        """True when some input was not compared to its end."""
        return any(note.fatal for note in self.notes) or any(file.error is not None for file in self.files)

    @property
    def differing(self) -> int:
        """How many differences no gap explains."""
        return sum(file.unexplained for file in self.files)

    def check(self, sources: Iterable[str]) -> None:
        """Compare captures one after the other. An interrupt keeps what was found."""
        try:
            for source in sources:
                self._check(source)
        except KeyboardInterrupt:
            self.interrupted = True

    def _check(self, source: str) -> None:
        checked = CheckedFile(source)
        self.files.append(checked)

        def note(found: InputNote) -> None:
            self.notes.append(replace(found, source=source))

        def report(difference: Difference) -> None:
            self._add(checked, difference)

        try:
            with _regular_file(source) as path:
                marked = marked_ports(path, self.options) if self.options.ports else frozenset()
                decode_as = {
                    f"udp.port=={port}": "udpencap" if port in marked else "isakmp" for port in self.options.ports
                }
                with closing(own_readings(path, self.options, note, marked)) as own:
                    comparison = Comparison(source, own, report)

                    def take(frame: int, layers: list[Layer]) -> None:
                        comparison.frame(frame, dissected_readings(frame, layers))
                        checked.messages, checked.fields = comparison.messages, comparison.fields

                    fault = self.tshark.read(path, decode_as, take)
                    comparison.finish()
                    checked.messages, checked.fields = comparison.messages, comparison.fields
            if fault is not None:
                self.notes.append(InputNote(source, None, "tshark", f"tshark says: {fault}", False))
        except TsharkError as error:
            checked.error = str(error)
        except OSError as error:
            checked.error = f"cannot be read: {error.strerror or error}"

    def _add(self, checked: CheckedFile, difference: Difference) -> None:
        gap: Gap | None = self.gaps.explain(difference)
        if gap is None:
            checked.unexplained += 1
        else:
            checked.explained += 1
            self.by_gap[gap.id] += 1
        kept = self.unexplained if gap is None else self.explained
        if len(kept) < MOST_LISTED:
            kept.append(Listed(*difference[:5], None if gap is None else gap.id))


@contextmanager
def _regular_file(source: str) -> Iterator[str]:
    """The source as a file that can be read twice: standard input and pipes are copied to a temporary file."""
    if source != STANDARD_INPUT and stat.S_ISREG(os.stat(source).st_mode):
        yield source
        return
    with tempfile.NamedTemporaryFile(prefix="pqaudit-", suffix=".pcap") as copy:
        if source == STANDARD_INPUT:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            with open(source, "rb") as pipe:
                shutil.copyfileobj(pipe, copy)
        copy.flush()
        yield copy.name
