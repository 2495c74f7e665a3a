"""Reading one input, whatever its format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from pqaudit.capture.faults import InputFault, cut_off
from pqaudit.capture.frame import Frame
from pqaudit.capture.magic import CAPTURES, MAGIC_LENGTH, Format, recognise
from pqaudit.capture.note import InputNote
from pqaudit.capture.octets import STANDARD_INPUT, OctetSource, RawOctets, opened
from pqaudit.capture.shown import scheme_of, shown_name
from pqaudit.capture.wanted import Wanted
from pqaudit.capture.window import INITIAL_CAPACITY, Window

if TYPE_CHECKING:
    from hashlib import _Hash


def read_capture(
    source: str,
    *,
    wanted: Wanted | None = None,
    note: Callable[[InputNote], None],
    progress: Callable[[int], None] | None = None,
    stream: BinaryIO | None = None,
    digest: _Hash | None = None,
    folder: str | None = None,
) -> Iterator[Frame]:
    """Yield the frames of a capture file, compressed or not; the format is told by the content.

    Nothing about the input raises: what is wrong with it goes to ``note``, and everything before it is yielded.
    Frames come as soon as they are complete, also from a pipe.

    Args:
        source: a path, a URL, or ``-`` for the standard input. Frames and notes carry its ``shown_name``.
        wanted: gives for a link type the test that rejects frames before they are built; rejected frames are numbered
            all the same. Without it every frame is yielded.
        note: called with each remark.
        progress: called with the number of octets of the file (compressed ones, if it is) taken since the last call.
        stream: read for ``-`` in place of the standard input; it is not closed.
        digest: updated with the octets of the file as they are taken.
        folder: where a relative path starts, when that is not the current folder.
    """
    name = shown_name(source)
    try:
        with opened(_from_folder(source, folder), stream) as file:
            raw = RawOctets(file, progress=progress, digest=digest)
            window, form = identify(raw)
            read = _reader(form)
            yield from read(window, name, wanted, note)
    except InputFault as fault:
        note(InputNote(name, None, fault.kind, fault.message, fault.fatal))


def _from_folder(source: str, folder: str | None) -> str:
    if folder is None or source == STANDARD_INPUT or scheme_of(source) is not None:
        return source
    return os.path.join(folder, source)


def identify(raw: OctetSource, capacity: int = INITIAL_CAPACITY) -> tuple[Window, Format]:
    """The window on the capture in ``raw``, decoded if it is compressed, and its format.

    ``capacity`` is the number of octets read at first; few are enough where only the format is asked for.

    Raises InputFault when it is no capture, or one that cannot be read here.
    """
    window = Window(raw, capacity)
    form = _format(window, "The input")
    if form in CAPTURES:
        return window, form
    # Imported here: most captures are not compressed, and the command line should start fast.
    from pqaudit.capture.compression import DecodedOctets

    start = bytes(window.buffer[window.start : window.end])
    inside = Window(DecodedOctets(raw, start, form), capacity)
    inner = _format(inside, f"What was compressed with {form.value}")
    if inner not in CAPTURES:
        raise InputFault(
            "nested-compression",
            f"It is compressed twice ({inner.value} in {form.value}); one level is read, so decompress it once first.",
        )
    return inside, inner


def _format(window: Window, what: str) -> Format:
    complete = window.fill(MAGIC_LENGTH)
    start = bytes(window.buffer[window.start : window.end][:MAGIC_LENGTH])
    if not start:
        raise InputFault("empty", f"{what} is empty.")
    form = recognise(start)
    if form is None:
        raise InputFault("not-a-capture", f"{what} is neither pcap nor pcapng, nor one of these compressed.")
    if not complete:
        raise cut_off("its first octets")
    return form


def _reader(form: Format) -> Callable[[Window, str, Wanted | None, Callable[[InputNote], None]], Iterator[Frame]]:
    if form is Format.PCAP:
        from pqaudit.capture.pcap import read_pcap

        return read_pcap
    from pqaudit.capture.pcapng import read_pcapng

    return read_pcapng
