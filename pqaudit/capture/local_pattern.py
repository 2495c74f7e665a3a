"""Local files by pattern, as a shell gives them, and for ``**`` without following a loop of links."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable

from pqaudit.capture.faults import InputFault
from pqaudit.capture.octets import cannot_open


def is_pattern(path: str) -> bool:
    """Whether a path has ``*``, ``?`` or ``[`` in it."""
    return glob.has_magic(path)


def matching(
    pattern: str, files_below: Callable[[str], Iterable[str]], report: Callable[[str, InputFault], None]
) -> list[str]:
    """The files and directories that match, sorted; names that begin with a dot count too. Raises InputFault.

    Directories that may hold matches and cannot be read go to ``report``.

    ``**`` stands for any number of directories and gives files only, of those that ``files_below`` finds.
    """
    parts = pattern.split(os.sep)
    magic = [index for index, part in enumerate(parts) if is_pattern(part)]
    for index in magic[: magic.index(parts.index("**")) if "**" in parts else None]:
        _report_closed(os.sep.join([*parts[:index], ""]) if index else os.curdir, report)
    if "**" not in parts:
        return sorted(glob.glob(pattern, include_hidden=True))
    # Imported here, as most command lines have no such pattern.
    from fsspec.utils import glob_translate

    at = parts.index("**")
    tops = glob.glob(os.sep.join([*parts[:at], ""]), include_hidden=True) if at else [""]
    try:
        test = re.compile(glob_translate("/".join(parts[at:])))
    except (ValueError, re.error) as error:
        raise InputFault("unreadable", f"The pattern is not understood: {error}.") from error
    found = {
        path
        for top in tops
        for path in (os.path.normpath(each) if not top else each for each in files_below(top or os.curdir))
        if test.match(path[len(top) :])
    }
    return sorted(found, key=lambda path: path.split(os.sep))


def _report_closed(folders: str, report: Callable[[str, InputFault], None]) -> None:
    """Say which of the directories, a pattern that ends with a slash, cannot be read: glob passes over them."""
    for folder in sorted(glob.glob(folders, include_hidden=True)):
        try:
            with os.scandir(folder):
                pass
        except FileNotFoundError:
            continue
        except OSError as error:
            report(folder, cannot_open(error))
