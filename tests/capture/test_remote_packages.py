"""What is said when the package for a kind of URL is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import SAMPLES

CLASSICAL = SAMPLES / "classical_x25519.pcap"
_WITHOUT = (
    "import sys\n"
    "without = sys.argv.pop(1)\n"
    "class Without:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name.partition('.')[0] == without:\n"
    "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
    "sys.meta_path.insert(0, Without())\n"
    "from pqaudit.cli.main import entry\n"
    "entry()\n"
)


@pytest.mark.parametrize(
    ("packages", "url", "extra"),
    [
        ("s3fs", "s3://bucket/prefix/", "s3"),
        ("gcsfs", "gs://bucket/a.pcap", "gcs"),
        ("paramiko", "sftp://host/a.pcap", "sftp"),
        ("aiohttp", "https://host/a.pcap", "http"),
    ],
)
def test_it_names_the_extra_and_reads_the_rest(packages: str, url: str, extra: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT, packages, "audit", "--format", "jsonl", url, str(CLASSICAL)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 1)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"pqaudit: error: {url}: ")
    assert line.endswith(f"pip install 'pqaudit[{extra}]'")
