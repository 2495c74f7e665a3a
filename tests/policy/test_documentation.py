"""What docs/policies.md shows works, and names every policy."""

from __future__ import annotations

import re
from pathlib import Path

from pqaudit.policy.load import load_policies
from tests.conftest import REPOSITORY
from tests.policy.make import policies, registry

TEXT = (REPOSITORY / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_policy_that_it_shows_is_fine(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "ours.yaml").write_text(example, encoding="utf-8")
    assert len(load_policies(tmp_path, registry())["our-policy"].requirements) == 2


def test_it_tells_what_each_policy_asks() -> None:
    for name in policies():
        assert f"| `{name}`" in TEXT or f", `{name}`" in TEXT, name
