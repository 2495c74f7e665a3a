"""Findings for pages, and reports on them by the command line."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY

AS_OF = "2026-11-25"
POLICIES = ("cnsa-2.0", "uk-ncsc", "ietf-ml-kem", "cccs-itsm-40-001")
_PQAUDIT = (sys.executable, "-m", "pqaudit")


@dataclass(frozen=True)
class Made:
    """A report in two forms."""

    page: Path
    json: dict[str, Any]


def found_in(*captures: str) -> list[dict[str, Any]]:
    """Findings of samples."""
    command = [*_PQAUDIT, "audit", "--format", "jsonl", *(f"samples/{name}" for name in captures)]
    told = subprocess.run(command, stdout=subprocess.PIPE, cwd=REPOSITORY, check=True).stdout
    return [json.loads(line) for line in told.splitlines()]


def moved(finding: dict[str, Any], number: int, source: str, destination: str, start: str) -> dict[str, Any]:
    """The same between other peers at another time."""
    other = copy.deepcopy(finding)
    other["event"] |= {"id": f"{number:040x}", "start": start, "end": start}
    other["@timestamp"] = start
    other["source"]["ip"], other["destination"]["ip"] = source, destination
    return other


def reported(folder: Path, findings: Iterable[dict[str, Any]], *options: str) -> Made:
    """The report of the command line on these findings."""
    folder.mkdir(exist_ok=True)
    lines = folder / "findings.jsonl"
    lines.write_text("".join(json.dumps(finding) + "\n" for finding in findings))
    out = folder / "report"
    policies = [word for policy in POLICIES for word in ("--policy", policy)]
    command = [*_PQAUDIT, "report", str(lines), "--as-of", AS_OF, "--format", "html", "--format", "json"]
    subprocess.run([*command, *policies, *options, "-o", str(out)], cwd=REPOSITORY, check=True)
    return Made(out / "report.html", json.loads((out / "report.json").read_text()))
