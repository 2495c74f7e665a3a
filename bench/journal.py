"""What a journal costs, and what it saves: processor time and memory of audits with and without one.

    python -m bench.journal [--sas N]

The same archives are audited in turn: mixed traffic with two IKE frames in a hundred, and captures of IKE_SA_INIT and
nothing else. With a journal first anew, then with all known, then for what changed alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from bench import corpus
from bench.run import audit, take

MIXED_OCTETS = 400_000_000
FILES = 10


def write_archive(folder: Path, frames: Iterator[bytes], frames_in_file: int) -> Path:
    """Captures of so many frames each, as old as those that are no longer written to."""
    folder.mkdir()
    for number in range(FILES):
        path = corpus.write_pcap(folder / f"{number:03d}.pcap", islice(frames, frames_in_file))
        os.utime(path, (path.stat().st_mtime - 3600,) * 2)
    return folder


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sas", type=int, default=100_000, help="in the archive of nothing but IKE")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    print("| archive | audit | user+sys s | peak MB | journal MB |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        tally = corpus.Tally()
        for _ in corpus.mixed_frames(MIXED_OCTETS, tally):
            pass
        mixed = write_archive(folder / "mixed", corpus.mixed_frames(MIXED_OCTETS), tally.frames // FILES)
        dense = write_archive(folder / "dense", corpus.dense_frames(2 * options.sas), 2 * options.sas // FILES)
        for archive, sas in ((mixed, tally.sas), (dense, options.sas)):
            journal = folder / f"{archive.name}.journal"
            command = audit(archive, workers=options.workers)
            kept = [*command, "--journal", str(journal)]
            for name, arguments in (
                ("without", command),
                ("without, SHA-256 taken", [*command, "--format", "json"]),
                ("anew", kept),
                ("all known", kept),
                ("all known, what changed", [*kept, "--changed-only"]),
                ("the same again", [*kept, "--changed-only"]),
            ):
                taken = take(arguments)
                size = f"{journal.stat().st_size / 1e6:.1f}" if "--journal" in arguments else ""
                title = f"{archive.name}, {sas:,} SAs"
                print(f"| {title} | {name} | {taken.cpu:.1f} | {taken.memory:.0f} | {size} |", flush=True)


if __name__ == "__main__":
    main()
