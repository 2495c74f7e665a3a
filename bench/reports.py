"""Times ``pqaudit report`` over many findings, made from those of the samples, as a whole process.

python -m bench.reports                          # 1,000,000 findings of 50,000 tunnels, 4 GB
python -m bench.reports --findings 100000 --tunnels 5000 --format markdown
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from ipaddress import ip_address
from pathlib import Path
from random import Random

from tests.finding.made import sample_findings

_FORMS = ("json", "markdown", "csv", "csv-sas", "html", "cyclonedx", "sarif")
_ADDRESSES = 0x0A00_0000
_START = datetime(2026, 1, 1, tzinfo=UTC)
_DUMP = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def make(path: Path, findings: int, tunnels: int) -> None:
    """Write findings, each another SA, as ``audit --format jsonl`` does."""
    random = Random(1)
    samples = sample_findings()
    with path.open("w") as out:
        for number in range(findings):
            finding = dict(samples[random.randrange(len(samples))])
            first = _ADDRESSES + 2 * random.randrange(tunnels)
            ends = [{"ip": str(ip_address(first + end)), "port": 500} for end in (0, 1)]
            random.shuffle(ends)
            finding["source"], finding["destination"] = ends
            begun = _START + timedelta(microseconds=random.randrange(300 * 86400 * 10**6))
            start = begun.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            identifier = sha1(str(number).encode()).hexdigest()
            finding["@timestamp"] = start
            finding["event"] = {**finding["event"], "id": identifier, "start": start, "end": start}
            out.write(_DUMP(finding) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--findings", type=int, default=1_000_000)
    parser.add_argument("--tunnels", type=int, default=50_000)
    parser.add_argument("--format", action="append", dest="forms")
    parser.add_argument("--file", type=Path, help="findings made before, or to be kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder) / "findings.jsonl"
        if not path.exists():
            make(path, options.findings, options.tunnels)
        for form in options.forms or _FORMS:
            command = [sys.executable, "-m", "pqaudit", "report", path, "--as-of", "2026-11-25", "--format", form]
            started = time.monotonic()
            process = subprocess.Popen([*command, "-o", Path(folder) / "report"])
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
            assert status == 0
            processor = usage.ru_utime + usage.ru_stime
            print(f"{form}: {wall:.1f} s, user+sys {processor:.1f} s, {usage.ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
