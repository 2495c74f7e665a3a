"""Local files by pattern, as a shell gives them, and for ``**`` without following a loop of links."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable

from pqaudit.capture.faults import InputFault


def is_pattern(path: str) -> bool:
    """Whether a path has ``*``, ``?`` or ``[`` in it."""
    return glob.has_magic(path)


def matching(pattern: str, files_below: Callable[[str], Iterable[str]]) -> list[str]:
    """The files and directories that match, sorted; names that begin with a dot count too. Raises InputFault.

    ``**`` stands for any number of directories and gives files only, of those that ``files_below`` finds.
    """
    parts = pattern.split(os.sep)
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
