"""Coverage-guided fuzzing of one target.

    python -m tests.fuzz reader found tests/fuzz/corpus/reader -max_total_time=600

Folders of inputs and libFuzzer's options follow the target. New inputs go into the first folder; without any folder
that is the kept corpus. What breaks something is written to the present folder, or to that of -artifact_prefix.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Fuzz the target that the first argument names."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=["pqaudit"]):
        from tests.fuzz.targets import TARGETS
    # The folder that is written to comes first; it may be a scratch folder of the caller's.
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    arguments = [sys.argv[0], *sys.argv[1:], *([] if folders else [str(CORPUS / name)])]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


main()
