"""What lies below a remote folder or matches a remote pattern, and how its files begin."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from pqaudit.capture.faults import PERHAPS_CAPTURES, PLACE_FAULTS, InputFault
from pqaudit.capture.octets import RawOctets
from pqaudit.capture.reader import identify
from pqaudit.capture.remote import HTTP, Info, asked, located
from pqaudit.capture.remote_faults import remote_fault
from pqaudit.capture.remote_page import linked
from pqaudit.capture.remote_stream import RemoteStream
from pqaudit.capture.shown import scheme_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

MOST_LISTED = 1_000_000
"""Files and folders of one listing."""
_MOST_DEPTH = 100
_MAGIC = re.compile(r"[*?[]")
_AT_ONCE = 32
# First little of each file, then a whole block of zstd, which gives nothing before it is complete; at last the file.
_STARTS = (4096, 192 * 1024)
_MOST_STARTS_OCTETS = 8 * 1024 * 1024
_MOST_BATCH = 512


At = tuple["AbstractFileSystem", str]
Report = Callable[[str, InputFault], None]
One = TypeVar("One")
Answer = TypeVar("Answer")


class Listed(NamedTuple):
    """A file of a listing: its URL and what the listing says about it."""

    source: str
    info: Info

    @property
    def size(self) -> int | None:
        """Its octets, None where the listing does not say."""
        octets = self.info.get("size")
        return octets if isinstance(octets, int) else None


class Listing(NamedTuple):
    """Files in the order of names, folder by folder; ``cut`` when there were more than may be listed."""

    files: list[Listed]
    folders: list[str]
    cut: bool


def is_pattern(source: str) -> bool:
    """Whether a URL has ``*``, ``?`` or ``[`` behind its host; over HTTP ``?`` begins a query, and then it has not."""
    parts = source.partition("://")[2].split("/")[1:]
    return not (scheme_of(source) in HTTP and "?" in source) and any(_MAGIC.search(part) for part in parts)


def below(source: str, report: Report) -> Listing:
    """All files in a remote folder and below it; ``report`` is told of folders that cannot be listed.

    Raises InputFault when ``source`` itself cannot be listed.
    """
    located(source)  # what is wrong with the URL as it stands
    return _listing(source.rstrip("/"), None, None, report)


def matching(pattern: str, report: Report) -> Listing:
    """The files and folders that match a URL with ``*``, ``?``, ``[...]`` and ``**``; otherwise as ``below``."""
    from fsspec.utils import glob_translate

    parts = pattern.rstrip("/").split("/")
    # The first three are scheme, nothing, and host or bucket.
    fixed = next(index for index, part in enumerate(parts) if index > 2 and _MAGIC.search(part))
    root, wanted = "/".join(parts[:fixed]), "/".join(parts[fixed:])
    try:
        test = re.compile(glob_translate(wanted))
    except (ValueError, re.error) as error:
        raise InputFault("unreadable", f"The pattern is not understood: {error}.") from error
    return _listing(root, None if "**" in wanted else len(parts) - fixed, test, report)


def hold_captures(
    files: Sequence[Listed], known: Callable[[str], bool], report: Report
) -> Iterator[tuple[str, bool | None]]:
    """Each file, in order, with whether it begins as a capture does; None when that cannot be known, which is reported.

    The beginnings are fetched many at once, as each costs the time of a request; of what is ``known`` none is.
    """
    size = min(_MOST_BATCH, _MOST_STARTS_OCTETS // _STARTS[0])
    for first in range(0, len(files), size):
        batch = files[first : first + size]
        answers = _decided([file for file in batch if not known(file.source)], _STARTS)
        for file in batch:
            answer = answers.get(file.source, True)
            if isinstance(answer, InputFault):
                report(file.source, answer)
            yield file.source, None if isinstance(answer, InputFault) else answer


def infos(sources: Sequence[str]) -> dict[str, Info | InputFault]:
    """What servers say about each of many files or folders, asked many at once."""
    found: dict[str, Info | InputFault] = {}
    waiting: list[tuple[str, At]] = []
    for source in sources:
        try:
            waiting.append((source, located(source)))
        except InputFault as fault:
            found[source] = fault

    def ask(one: tuple[str, At]) -> Info | InputFault:
        try:
            return asked(*one)
        except InputFault as fault:
            return fault

    found.update(zip([source for source, _ in waiting], _many(ask, waiting, [at for _, at in waiting]), strict=True))
    return found


def _listing(root: str, depth: int | None, test: re.Pattern[str] | None, report: Report) -> Listing:
    filesystem, base = located(root)
    base = base.rstrip("/")
    http = scheme_of(root) in HTTP
    files: list[tuple[list[str], Listed]] = []
    folders: list[str] = []
    cut = False
    try:
        entries = _entries(filesystem, base, root, depth, http, report)
        for count, info in enumerate(entries):
            if count >= MOST_LISTED:
                cut = True
                break
            name = info["name"].rstrip("/") if info["type"] == "directory" else info["name"]
            relative = name[len(base) + 1 :]
            # Markers of folders in object stores end with a slash.
            if not name.startswith(base + "/") or not relative or relative.endswith("/"):
                continue
            if test is not None and not test.match(relative):
                continue
            if info["type"] == "directory":
                folders.append(f"{root}/{relative}")
            else:
                files.append((relative.split("/"), Listed(f"{root}/{relative}", info)))
    except Exception as error:
        raise remote_fault(error, root) from error
    files.sort(key=lambda file: file[0])
    return Listing([file for _, file in files], sorted(folders), cut)


def _entries(
    filesystem: AbstractFileSystem, base: str, root: str, depth: int | None, http: bool, report: Report
) -> Iterator[Info]:
    from fsspec.asyn import AsyncFileSystem

    if depth is None and filesystem.async_impl and type(filesystem)._find is not AsyncFileSystem._find:
        # Object stores have no folders and list a thousand objects of all that is below at a time.
        yield from filesystem.find(base, detail=True).values()
        return
    real_path = getattr(filesystem, "real_path", lambda path: path)
    entered: set[str] = set()
    waiting = [(base, 1)]
    while waiting:
        path, level = waiting.pop()
        try:
            real = real_path(path or "/")
            if real in entered:
                continue
            entered.add(real)
            infos = linked(path + "/", filesystem) if http else filesystem.ls(path or "/", detail=True)
        except Exception as error:
            if path == base:
                raise
            report(root + path[len(base) :], remote_fault(error, root))
            continue
        for info in infos:
            followed = _followed(filesystem, info)
            if followed is None:
                continue
            yield followed
            if followed["type"] == "directory" and level < (depth or _MOST_DEPTH):
                waiting.append((followed["name"].rstrip("/"), level + 1))


def _followed(filesystem: AbstractFileSystem, info: Info) -> Info | None:
    """What a link leads to, under its own name; None for a link to nowhere."""
    if info["type"] in ("file", "directory"):
        return info
    try:
        return {**filesystem.info(info["name"]), "name": info["name"]}
    except OSError:
        return None


def _decided(files: Sequence[Listed], lengths: Sequence[int]) -> dict[str, bool | InputFault]:
    """For each file whether it begins as a capture, told by its first octets or, where those are too few, by more."""
    length, longer = lengths[0], lengths[1:]
    answers: dict[str, bool | InputFault] = {}
    unsure: list[Listed] = []
    for file, start in zip(files, _starts(files, length), strict=True):
        answer = start if isinstance(start, InputFault) else _begins_capture(start)
        if isinstance(answer, InputFault) and answer.kind == "missing":
            answer = False  # deleted since the listing, as a rotating recorder does
        if answer is None and not isinstance(start, InputFault) and len(start) >= length:
            unsure.append(file)
        else:
            answers[file.source] = answer or False
    if longer:
        step = _MOST_STARTS_OCTETS // longer[0]
        for first in range(0, len(unsure), step):
            answers.update(_decided(unsure[first : first + step], longer))
    else:
        answers.update((file.source, _opens_as_capture(file.source)) for file in unsure)
    return answers


def _begins_capture(start: bytes) -> bool | None:
    """Whether these are the first octets of a capture; None when more of them are needed to know."""
    try:
        identify(RawOctets(io.BytesIO(start)), _STARTS[0])
    except InputFault as fault:
        return None if fault.kind == "cut-off-record" else fault.kind in PERHAPS_CAPTURES
    return True


def _opens_as_capture(source: str) -> bool | InputFault:
    try:
        with RemoteStream(source) as stream:
            identify(RawOctets(stream), _STARTS[0])
    except InputFault as fault:
        return fault if fault.kind in PLACE_FAULTS else fault.kind in PERHAPS_CAPTURES
    return True


def _starts(files: Sequence[Listed], length: int) -> list[bytes | InputFault]:
    """The first octets of each file, or why they cannot be had."""
    if not files:
        return []
    places = [located(file.source) for file in files]
    filesystem = places[0][0]
    if not filesystem.async_impl or scheme_of(files[0].source) in HTTP:
        # Not as ranges: an HTTP server without them would send whole files, and they would be held.
        return _many(lambda one: _start(one[0], one[1], length), list(zip(files, places, strict=True)), places)
    # An empty object has no first octet, and object stores refuse to give it.
    asking = [index for index, file in enumerate(files) if file.size != 0]
    ends = [min(length, files[index].size or length) for index in asking]
    paths = [places[index][1] for index in asking]
    got = filesystem.cat_ranges(paths, [0] * len(paths), ends, on_error="return", batch_size=_AT_ONCE) if paths else []
    starts: list[bytes | InputFault] = [b""] * len(files)
    for index, start in zip(asking, got, strict=True):
        starts[index] = remote_fault(start, files[index].source) if isinstance(start, Exception) else bytes(start)
    return starts


def _start(file: Listed, at: At, length: int) -> bytes | InputFault:
    octets = b""
    try:
        with RemoteStream(file.source, at, most=length) as stream:
            while len(octets) < length and (piece := stream.read(length - len(octets))):
                octets += piece
    except InputFault as fault:
        return fault
    return octets


def _many(call: Callable[[One], Answer], ones: Sequence[One], places: Sequence[At]) -> list[Answer]:
    """Call for each, many at once where each filesystem can do that; answers in order."""
    if len(ones) < 2 or not all(filesystem.async_impl for filesystem, _ in places):
        return [call(one) for one in ones]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(call, ones))
