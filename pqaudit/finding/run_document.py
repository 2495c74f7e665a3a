"""The findings of a run document, ``audit --format json``, one after the other, however it is laid out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pqaudit.finding.json_text import DamagedJsonError, JsonText, Octets

LONGEST_FINDING = 16 * 1024 * 1024
_LONGEST_OTHER = 256 * 1024 * 1024  # the list of all files of a run, for one
_NO_FINDINGS = "the document has no list of findings; give one that `pqaudit audit --format json` wrote"
Note = Callable[[int, str], None]
Take = Callable[[str, object], None]


def read_run(begun: bytes, file: Octets, note: Note, take: Take | None = None) -> Iterator[tuple[int, object]]:
    """Each item of ``findings`` with the line that it begins in; several documents may follow each other.

    Args:
        begun: octets that were read already.
        file: what follows them.
        note: takes a line and what keeps the rest from being read.
        take: takes names and values of what else is in the document.
    """
    text = JsonText(begun, file)
    try:
        while text.peek():
            yield from _document(text, note, take)
        text.check_end()
    except DamagedJsonError as error:
        note(text.line, f"the run document {error}; what follows is not read")


def _document(text: JsonText, note: Note, take: Take | None) -> Iterator[tuple[int, object]]:
    listed = False
    for name in text.names(LONGEST_FINDING):
        text.take(":")
        if name == "findings" and text.peek() == "[":
            listed = True
            yield from text.items(LONGEST_FINDING)
        else:
            value = text.value(_LONGEST_OTHER)
            if take is not None:
                take(name, value)
    if not listed:  # a report, for one, begins as runs do, and must not pass for a run that saw nothing
        note(text.line, _NO_FINDINGS)
