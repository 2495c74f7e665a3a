"""Finding the captures that the arguments of a command line mean."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pqaudit.capture.faults import PERHAPS_CAPTURES, PLACE_FAULTS, InputFault
from pqaudit.capture.local_pattern import is_pattern, matching
from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import STANDARD_INPUT, RawOctets, cannot_open, opened
from pqaudit.capture.reader import identify
from pqaudit.capture.shown import scheme_of, shown_name
from pqaudit.capture.stamp import remember, stamp

if TYPE_CHECKING:
    from pqaudit.capture.remote_listing import Listed

MOST_NOTES = 1000
"""Notes of one kind; more of them are counted, as a list of inputs may be long and wrong from end to end."""

# Octets of a file in a directory that are looked at.
_START = 4096

_Report = Callable[[str, InputFault], None]


def find_captures(
    paths: Iterable[str],
    note: Callable[[InputNote], None],
    known: Callable[[str], bool] | None = None,
    own: Callable[[str], bool] = lambda path: False,
) -> list[str]:
    """The inputs that ``paths`` mean, for ``read_capture``: files as named, and the captures inside directories.

    A path may be a local one, a URL that fsspec knows, or a pattern of either with ``*``, ``?``, ``[...]`` and ``**``;
    a file whose own name looks like a pattern is that file. A named file is taken whatever it holds, and so is one
    that a pattern matches. Directories are searched with all below them, in the order of names, and files there count
    when their content starts as a capture does, compressed or not; the others are counted in one note for each
    directory named. An input that is reached twice, by whatever names, is given once. What is missing or cannot be
    opened, and a directory without captures, give a fatal note. What is ``known`` to be a capture is not opened; what
    listings said of remote files is there for ``stamp`` by then, and with ``known`` what servers said of those of which
    listings are silent. Local files that are the run's ``own`` are never
    opened: directories are searched without them, and one that is named gives a fatal note.
    """
    search = _Search(note, known, own)
    named = [_local_path(path) for path in paths]
    remote = [path for path in named if scheme_of(path) is not None]
    if remote:
        from pqaudit.capture.remote_listing import infos

        asked = list(dict.fromkeys(path for path in remote if not path.endswith("/")))
        answers = infos(asked)
    for path in named:
        if path == STANDARD_INPUT:
            search.add(path)
        elif scheme_of(path) is not None:
            search.remote(path, answers.get(path))
        elif is_pattern(path) and not os.path.lexists(path):
            search.pattern(path)
        else:
            search.local(path)
    search.finish()
    return search.found


def is_capture(path: str) -> bool:
    """Whether a regular file starts as a capture does, compressed or not."""
    return os.path.isfile(path) and _holds_capture(path, lambda path, fault: None) is True


class _Search:
    """What was found so far, and what was said about the rest."""

    def __init__(
        self, note: Callable[[InputNote], None], known: Callable[[str], bool] | None, own: Callable[[str], bool]
    ) -> None:
        self.found: list[str] = []
        self._known = known or (lambda path: False)
        self._stamps_matter = known is not None
        self._own = own
        self._seen: dict[str, str] = {}
        self._note = note
        self._noted: Counter[str] = Counter()
        self._left_out: dict[str, InputNote] = {}

    def add(self, path: str) -> None:
        """Take an input, unless it is there already."""
        remote = scheme_of(path) is not None
        key = shown_name(path) if remote else path if path == STANDARD_INPUT else os.path.realpath(path)
        first = self._seen.get(key)
        if first is None:
            self._seen[key] = path
            self.found.append(path)
        elif remote and first != path and (stamp(path) is None or stamp(path) != stamp(first)):
            # Not one object with two signatures, as far as the server says.
            text = (
                "Its name without user and query is that of an input before it, and it may be another file: "
                "audit it in a run of its own."
            )
            self.report(path, InputFault("same-name", text))

    def report(self, path: str, fault: InputFault) -> None:
        """Say what is wrong with an input, or count it after many of the same kind."""
        self._noted[fault.kind] += 1
        note = InputNote(shown_name(path), None, fault.kind, fault.message, fault.fatal)
        if self._noted[fault.kind] <= MOST_NOTES:
            self._note(note)
        else:
            self._left_out[fault.kind] = note

    def finish(self) -> None:
        """Say how many notes were left out."""
        for kind, last in self._left_out.items():
            more = self._noted[kind] - MOST_NOTES
            self._note(
                replace(last, message=f"{last.message} The same goes for {more:,} inputs in all that are not listed.")
            )

    def local(self, path: str) -> None:
        """A local file, taken as named, or a directory, searched."""
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError) as error:
            self.report(path, cannot_open(error))
            return
        if stat.S_ISDIR(mode):
            held = (
                (file, self._known(file) or _holds_capture(file, self.report))
                for file in files_below(path, self.report)
                if not self._own(file)
            )
            self._take_captures(path, held)
        elif self._own(path):
            self.report(path, InputFault("not-a-capture", "This run writes to it; name only captures."))
        # Opening a named pipe here would take its writer away from the reader that comes later.
        elif not stat.S_ISREG(mode) or self._known(path) or _is_readable(path, self.report):
            self.add(path)

    def pattern(self, pattern: str) -> None:
        """All that a local pattern matches, in the order of names."""
        try:
            said = self._noted.total()
            matches = matching(pattern, lambda folder: files_below(folder, self.report), self.report)
            if not matches and self._noted.total() == said:
                raise InputFault("missing", "Nothing matches this pattern.")
        except InputFault as fault:
            self.report(pattern, fault)
            return
        for path in matches:
            self.local(path)

    def remote(self, source: str, info: dict[str, object] | InputFault | None) -> None:
        """A URL of a file, a folder or a pattern; ``info`` is what the server said about it, None for a folder."""
        from pqaudit.capture.remote_listing import is_pattern, matching

        try:
            if info is None:
                self._search_remote(source)
            elif isinstance(info, InputFault):
                if info.kind != "missing" or not is_pattern(source):
                    raise info
                listing = matching(source, self.report)
                if not listing.files and not listing.folders:
                    raise InputFault("missing", "Nothing matches this pattern.")
                self._remember(listing.files)
                for file in listing.files:
                    self.add(file.source)
                for folder in listing.folders:
                    self._search_remote(folder)
                self._report_cut(source, listing.cut)
            elif info["type"] == "directory":
                self._search_remote(source)
            else:
                remember(source, info)
                self.add(source)
        except InputFault as fault:
            self.report(source, fault)

    def _search_remote(self, folder: str) -> None:
        from pqaudit.capture.remote_listing import below, hold_captures

        listing = below(folder, self.report)
        self._remember(listing.files)
        self._take_captures(folder, hold_captures(listing.files, self._known, self.report))
        self._report_cut(folder, listing.cut)

    def _remember(self, files: Sequence[Listed]) -> None:
        """Keep what listings say for ``stamp``. Pages of HTTP say nothing: where it matters, servers are asked."""
        from pqaudit.capture.remote_listing import infos

        answers = infos([file.source for file in files if file.size is None] if self._stamps_matter else [])
        for file in files:
            answer = answers.get(file.source)
            remember(file.source, answer if isinstance(answer, dict) else file.info)

    def _report_cut(self, source: str, cut: bool) -> None:
        if cut:
            from pqaudit.capture.remote_listing import MOST_LISTED

            text = (
                f"It holds more than {MOST_LISTED:,} files and folders; the rest was not looked at: name parts of it."
            )
            self.report(source, InputFault("too-many-files", text))

    def _take_captures(self, folder: str, files: Iterable[tuple[str, bool | None]]) -> None:
        captures = others = 0
        for path, answer in files:
            if answer:
                self.add(path)
                captures += 1
            elif answer is False:
                others += 1
        if others:
            text = f"Files in it that are not captures: {others}."
            self.report(folder, InputFault("skipped-files", text, fatal=False))
        if not captures:
            self.report(folder, InputFault("no-captures", "There is no capture in this directory."))


def files_below(directory: str, report: _Report) -> Iterator[str]:
    """The regular files in ``directory`` and below, sorted by path within each directory.

    Symbolic links are followed, and a directory is entered once, so that a loop of links ends.
    """
    entered: set[str] = set()
    # A stack and not recursion: directories may be nested deeper than Python calls.
    waiting = [directory]
    while waiting:
        path = waiting.pop()
        try:
            mode = os.stat(path).st_mode
            if stat.S_ISREG(mode):
                yield path
            if not stat.S_ISDIR(mode):
                continue
            real = os.path.realpath(path)
            if real in entered:
                continue
            entered.add(real)
            names = sorted(os.listdir(path), reverse=True)
        except FileNotFoundError:
            # A link to nowhere, or a file that a rotating recorder has just deleted.
            continue
        except OSError as error:
            report(path, cannot_open(error))
            continue
        waiting.extend(os.path.join(path, name) for name in names)


def _local_path(path: str) -> str:
    """The path that a ``file://`` URL of this machine means; all else as it is."""
    if scheme_of(path) != "file":
        return path
    host, slash, rest = path.partition("://")[2].partition("/")
    # Percent signs as RFC 8089 and pathlib write them.
    return unquote(slash + rest, errors="surrogateescape") if host in ("", "localhost") else path


def _holds_capture(path: str, report: _Report) -> bool | None:
    """True when the file starts as a capture does, None when that cannot be known, which is reported."""
    try:
        with opened(path, None) as file:
            identify(RawOctets(file), _START)
    except InputFault as fault:
        if fault.kind in PERHAPS_CAPTURES:
            # The reader meets the same fault and says what to do about it.
            return True
        if fault.kind in PLACE_FAULTS and fault.kind != "missing":
            report(path, fault)
            return None
        return False
    return True


def _is_readable(path: str, report: _Report) -> bool:
    try:
        with opened(path, None):
            return True
    except InputFault as fault:
        report(path, fault)
        return False
