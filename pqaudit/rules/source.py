"""Where rule files lie and how they are read."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from pqaudit.rules.errors import RulesError

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # libyaml is optional; the pure loader reads the same, more slowly
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

SCHEMA = 1
POLICIES = "policies"
"""The folder of policies below that of the rules."""


def built_in() -> Traversable:
    """The rules that travel with pqaudit: inside the wheel, or ``rules/`` of a checkout."""
    packaged = files("pqaudit") / "rules_data"
    if packaged.is_dir():
        return packaged
    checkout = Path(__file__).resolve().parents[2] / "rules"
    if checkout.is_dir():
        return checkout
    raise RulesError("the rules that belong to pqaudit are missing; install it again")


def is_built_in(name: str) -> bool:
    """True when a rule file of that relative path, with slashes, travels with pqaudit."""
    path: Traversable = built_in()
    for part in name.split("/"):
        path = path / part
    return path.is_file()


def read_yaml(root: Traversable, name: str, override: Path | None = None) -> dict[str, Any]:
    """Read rule file ``name`` (a relative path with slashes), from ``override`` when it holds one.

    Raises:
        RulesError: unreadable, not YAML, or not a mapping with ``schema: 1``.
    """
    path: Traversable = root
    for part in name.split("/"):
        path = path / part
    if override is not None and (override / name).is_file():
        path = override / name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"cannot read rule file {path}: {error}") from error
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RulesError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise RulesError(f"{path} must be a mapping that says `schema: {SCHEMA}`")
    return data
