"""Findings as JSON lines, and a whole run as one JSON document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TextIO

from pqaudit import __version__
from pqaudit.finding.document import SCHEMA_VERSION, Document
from pqaudit.pipeline import AuditRun
from pqaudit.rules.rulebook import Rulebook

# ASCII only: names of files may hold octets that are no text, and every reader takes escapes. One encoder for all:
# json.dumps makes a new one for each call with separators.
_dump = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode


def line_of(document: Document) -> str:
    """A document as one line, its end included."""
    return _dump(document) + "\n"


def write_lines(findings: Iterable[Document], out: TextIO) -> None:
    """One finding a line."""
    for finding in findings:
        out.write(line_of(finding))


def write_list(documents: Iterable[Document], out: TextIO) -> None:
    """One JSON array."""
    out.write("[")
    for index, document in enumerate(documents):
        out.write((",\n" if index else "\n") + _dump(document))
    out.write("\n]\n")


def write_run(findings: Iterable[Document], run: AuditRun, rulebook: Rulebook, out: TextIO) -> None:
    """The whole run as one JSON object; findings are streamed, so memory does not grow with them."""
    counts: Counter[str] = Counter()
    head = {
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "pqaudit", "version": __version__, "rules": rulebook.version},
        "files": [
            {"name": f.name, "octets": f.octets, "sha256": f.sha256, "ike_messages": f.messages} for f in run.files
        ],
    }
    out.write(_dump(head)[:-1] + ',"findings":[')
    for index, finding in enumerate(findings):
        counts[finding["pqaudit"]["verdict"]] += 1
        out.write(("," if index else "") + "\n" + _dump(finding))
    tail = {
        "counts": {
            "sas": counts.total(),
            "by_verdict": {name.id: counts[name.id] for name in rulebook.verdicts},
        },
        "anomalies": [{"file": a.file, "frame": a.frame, "id": a.slug, "what": a.text} for a in run.anomalies],
        "notes": [
            {"file": n.source, "frame": n.frame, "id": n.kind, "what": n.message, "unread": n.fatal} for n in run.notes
        ],
        "counters": dict(sorted((run.counters + run.table.counters).items())),
        "complete": not (run.interrupted or run.unreadable),
    }
    out.write("\n]," + _dump(tail)[1:] + "\n")
