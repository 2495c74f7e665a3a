"""What the tests of remote inputs share: captures to serve, and an audit of what arguments mean."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import lz4.frame
import zstandard

from pqaudit.capture.discover import find_captures
from pqaudit.capture.note import InputNote
from pqaudit.finding.document import Document, Observer
from pqaudit.finding.stream import drain_findings
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from tests.conftest import SAMPLES, rulebook_cached

NAMES = ("classical_x25519.pcap", "hybrid_x25519_mlkem768.pcap", "ikev1_main_mode.pcap")
NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def fill(folder: Path) -> Path:
    """Captures, plain and compressed, in folders, and files beside them that are none: 9 and 4 of them."""
    (folder / "site a" / "deep").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(SAMPLES / name, folder / name)
    octets = (SAMPLES / "rekey_hybrid_ike_and_child.pcap").read_bytes()
    (folder / "site a" / "x.pcap.gz").write_bytes(gzip.compress(octets))
    (folder / "site a" / "x.pcap.xz").write_bytes(lzma.compress(octets))
    (folder / "site a" / "x.pcap.zst").write_bytes(zstandard.compress(octets))
    (folder / "site a" / "deep" / "x.pcap.lz4").write_bytes(lz4.frame.compress(octets))
    # Nothing comes out of their first few octets: one block of zstd, and one of lz4 that is larger still.
    noisy = octets + zero_record(os.urandom(100_000))
    (folder / "noisy.pcap.zst").write_bytes(zstandard.compress(noisy))
    many = octets + b"".join(zero_record(os.urandom(60_000)) for _ in range(20))
    block = lz4.frame.BLOCKSIZE_MAX4MB
    (folder / "site a" / "noisy.pcap.lz4").write_bytes(lz4.frame.compress(many, block_size=block))
    (folder / "README").write_text("no capture")
    (folder / "empty").write_bytes(b"")
    (folder / "site a" / "log.zst").write_bytes(zstandard.compress(os.urandom(100_000)))
    (folder / "site a" / "log.gz").write_bytes(gzip.compress(b"no capture" * 1000))
    return folder


def zero_record(octets: bytes) -> bytes:
    """A record of a pcap, from 1970, that holds no IKE."""
    return bytes(8) + len(octets).to_bytes(4, "little") * 2 + octets


def audited(*arguments: str) -> tuple[list[Document], AuditRun]:
    """Findings of what arguments mean, read in this process, and the run."""
    run = AuditRun()
    read_inputs(find_captures(arguments, run.notes.append), run, ReadOptions(digest=True))
    return list(drain_findings(run.table, rulebook_cached(), Observer("test"))), run


def renamed(findings: list[Document], before: str, after: str) -> list[Document]:
    """The same findings with other names of files."""
    return json.loads(json.dumps(findings).replace(json.dumps(before)[1:-1], json.dumps(after)[1:-1]))  # type: ignore[no-any-return]


def same_but_names(folder: Path, base: str) -> AuditRun:
    """Check that a remote folder gives what the local one gives; returns the run."""
    expected, local = audited(f"{folder}/")
    findings, run = audited(f"{base}/")
    assert findings == renamed(expected, f"{folder}/", f"{base}/")
    assert [(f.name, f.octets, f.sha256) for f in run.files] == [
        (f.name.replace(f"{folder}/", f"{base}/"), f.octets, f.sha256) for f in local.files
    ]
    assert kinds(run) == kinds(local) == ["skipped-files"]
    assert run.notes[0].message == local.notes[0].message
    assert len(run.files) == 9
    return run


def kinds(run: AuditRun) -> list[str]:
    return [note.kind for note in run.notes]


def notes_of(*arguments: str) -> list[InputNote]:
    notes: list[InputNote] = []
    find_captures(arguments, notes.append)
    return notes


def command(
    *arguments: str, environment: Mapping[str, str] | None = None, stdin: bytes | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run pqaudit as users do."""
    return subprocess.run(
        [sys.executable, "-m", "pqaudit", *arguments],
        input=stdin,
        capture_output=True,
        env={**os.environ, **NO_PROXY, **(environment or {})},
        check=False,
        timeout=120,
    )
