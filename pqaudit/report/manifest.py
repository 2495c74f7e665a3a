"""The manifest of a report: hashes of its files and of all that it rests on, as JSON that is the same for the same.

A manifest that is read comes from anywhere. It is bounded, every field of it is tested, and a name in it opens nothing:
`pqaudit.report.verifying` looks for files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from pqaudit.report.model import Report

KIND = "pqaudit-manifest"
SCHEMA_VERSION = 1
FILE = "manifest.json"
"""Its name in the folder of a report."""

MOST_OCTETS = 64 * 1024 * 1024
"""Of a manifest, some 300,000 captures."""

_MOST_FILE_OCTETS = 1 << 62
_LONGEST_INTEGER = 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOP = {
    "schema_version": int, "kind": str, "tool": dict, "found_by": list, "as_of": str, "groups": list, "filters": list,
    "complete": bool, "policies": list, "reports": list, "inputs": list, "captures": list,
}  # fmt: skip
_FILE_FIELDS = ("name", "octets", "sha256")


class ManifestError(Exception):
    """A manifest cannot be used; says in one sentence why."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file that a manifest lists.

    Attributes:
        kind: ``report``, ``capture``, or the kind of an input.
        name: a report's own name without a folder; of an input and a capture as the report has it.
        octets, sha256: None where the report does not know them.
    """

    kind: str
    name: str
    octets: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says of files.

    Attributes:
        tool: name, version and rules of what wrote it.
        as_of: the day of the report.
    """

    tool: str
    as_of: str
    reports: tuple[ListedFile, ...]
    inputs: tuple[ListedFile, ...]
    captures: tuple[ListedFile, ...]


def manifest_of(report: Report, reports: Iterable[ListedFile]) -> bytes:
    """The manifest of a report that was written to these files.

    Raises:
        ManifestError: it would be longer than one that is read.
    """
    header = report.header
    octets = _dump(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": KIND,
            "tool": {"name": header.tool, "version": header.version, "rules": header.rules},
            "found_by": [{"version": version, "rules": rules} for version, rules in header.found_by],
            "as_of": header.as_of.isoformat(),
            "groups": list(header.groups),
            "filters": list(header.filters),
            "complete": report.complete,
            "policies": [
                {"id": p.policy.id, "date": p.policy.date, "updated": p.policy.updated, "sha256": p.policy.sha256}
                for p in header.policies
            ],
            "reports": sorted(map(_fields, reports), key=lambda file: str(file["name"])),
            "inputs": [{"kind": i.kind, "name": i.name, "octets": i.octets, "sha256": i.sha256} for i in header.inputs],
            "captures": [{"name": c.name, "octets": c.octets, "sha256": c.sha256} for c in header.captures],
        }
    )
    if len(octets) > MOST_OCTETS:
        raise ManifestError(
            f"the manifest would have more than {MOST_OCTETS:,} octets, as the findings name "
            f"{len(header.captures):,} captures; report on fewer of them at once"
        )
    return octets


def read_manifest(octets: bytes) -> Manifest:
    """What a manifest says.

    Raises:
        ManifestError: it is none that this version reads.
    """
    if len(octets) > MOST_OCTETS:
        raise ManifestError(f"it has more than {MOST_OCTETS:,} octets, which no manifest of pqaudit has")
    try:
        found = json.loads(
            octets.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except RecursionError as error:
        raise ManifestError("it is nested too deeply to be a manifest") from error
    except ValueError as error:
        raise ManifestError("it is no JSON") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise ManifestError("it is no manifest of a pqaudit report")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise ManifestError(f"it is not of version {SCHEMA_VERSION}, the only one that this pqaudit reads")
    _test(found, _TOP, "the manifest")
    tool = found["tool"]
    _test(tool, {"name": str, "version": str, "rules": str}, "its tool")
    reports = tuple(_listed(entry, "report", "reports") for entry in found["reports"])
    names = [file.name for file in reports]
    if len(set(names)) < len(names):
        raise ManifestError("it lists a report twice")
    for file in reports:
        if file.sha256 is None or file.octets is None:
            raise ManifestError("it lists a report without its hash or size")
        if file.name in ("", ".", "..") or "/" in file.name or "\0" in file.name:
            raise ManifestError("it lists a report whose name is no plain file name, and nothing is opened elsewhere")
    return Manifest(
        f"{tool['name']} {tool['version']} with rules {tool['rules']}",
        found["as_of"],
        reports,
        tuple(_listed(entry, None, "inputs") for entry in found["inputs"]),
        tuple(_listed(entry, "capture", "captures") for entry in found["captures"]),
    )


def _dump(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii") + b"\n"


def _fields(file: ListedFile) -> dict[str, str | int | None]:
    return {"name": file.name, "octets": file.octets, "sha256": file.sha256}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ManifestError("it says something twice, and what counts would depend on the reader")
    return found


def _integer(text: str) -> int:
    if len(text) > _LONGEST_INTEGER:
        raise ManifestError("it has a number that is no size")
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ManifestError("it has a number that is no size")


def _test(found: Any, fields: Mapping[str, type], what: str) -> None:
    """Test that these fields are there, with values of these types, and no others."""
    if not isinstance(found, dict) or found.keys() != fields.keys():
        raise ManifestError(f"{what} has not the fields that pqaudit writes")
    for name, kind in fields.items():
        if type(found[name]) is not kind:
            raise ManifestError(f"{what} has something else than pqaudit writes in {name}")


def _listed(entry: object, kind: str | None, where: str) -> ListedFile:
    names = {*_FILE_FIELDS, "kind"} if kind is None else {*_FILE_FIELDS}
    if not isinstance(entry, dict) or entry.keys() != names:
        raise ManifestError(f"an entry of its {where} has not the fields that pqaudit writes")
    name, octets, digest = (entry[field] for field in _FILE_FIELDS)
    said = entry.get("kind", kind)
    if not isinstance(name, str) or not isinstance(said, str):
        raise ManifestError(f"an entry of its {where} has no name")
    if octets is not None and (type(octets) is not int or not 0 <= octets <= _MOST_FILE_OCTETS):
        raise ManifestError(f"an entry of its {where} has no size that a file can have")
    if digest is not None and (not isinstance(digest, str) or not _SHA256.fullmatch(digest)):
        raise ManifestError(f"an entry of its {where} has no SHA-256")
    return ListedFile(said, name, octets, digest)
