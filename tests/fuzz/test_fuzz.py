"""The kept corpus goes through every target, and each is fuzzed for a few seconds."""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
SECONDS = 8


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) >= 5
    for path in inputs:
        TARGETS[name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_short_fuzz(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        # requirements/test.in names the machines that have a wheel.
        has_wheel = sys.version_info < (3, 14) and sys.platform == "linux" and platform.machine() == "x86_64"
        if has_wheel and os.environ.get("CI"):
            pytest.fail("atheris is not here")
        pytest.skip("optional: atheris is not here")
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz",
            name,
            str(tmp_path),
            str(CORPUS / name),
            f"-max_total_time={SECONDS}",
            "-timeout=10",
            f"-artifact_prefix={tmp_path}/",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=SECONDS * 20 + 60,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "Done" in result.stderr
