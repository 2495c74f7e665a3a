"""Loads policies: those that travel with pqaudit, and those of the user."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from pqaudit.policy.model import NotVisible, Policy
from pqaudit.policy.parse import Vocabulary, parse_policy
from pqaudit.rules.errors import RulesError
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.registry import Registry
from pqaudit.rules.source import POLICIES, built_in, read_yaml
from pqaudit.rules.untrusted import UnreadableError, read_node

try:
    from yaml import CSafeLoader as _FastLoader
except ImportError:  # libyaml is optional; the pure loader reads the same, more slowly
    from yaml import SafeLoader as _FastLoader  # type: ignore[assignment]

MOST_POLICIES = 1000
_SUFFIXES = (".yaml", ".yml")


def load_policies(folder: Path | None = None, registry: Registry | None = None) -> dict[str, Policy]:
    """Load the built-in policies and those in ``policies/`` of the user's folder of rules.

    Args:
        folder: a file there that is named like a built-in one replaces it, any other adds a policy.
        registry: names that policies may use; that of ``folder`` without it.

    Returns:
        Policies by their id, in its order.

    Raises:
        RulesError: the first thing that is wrong with a policy, with file, line and field.
    """
    policies, problems = check_policies(folder, registry)
    if problems:
        raise RulesError(str(problems[0]))
    return policies


def check_policies(
    folder: Path | None, registry: Registry | None = None
) -> tuple[dict[str, Policy], list[RuleProblem]]:
    """As ``load_policies``, with everything that is wrong; a policy with a problem is left out.

    Raises:
        RulesError: a file that policies rest on, such as a registry, is wrong.
    """
    problems: list[RuleProblem] = []
    words = vocabulary(folder, registry)
    own = _own_files(folder, problems)
    policies: dict[str, Policy] = {}
    for source in (*_built_in_files({path.name for path in own}), *own):
        try:
            node = read_node(source) if source in own else _built_in_node(source)
            digest = sha256(source.read_bytes()).hexdigest()
        except UnreadableError as error:
            problems.append(error.problem)
            continue
        except OSError as error:
            problems.append(RuleProblem(str(source), 1, f"it cannot be read: {error}"))
            continue
        policy = parse_policy(node, str(source), words, problems)
        if policy is None:
            continue
        other = policies.get(policy.id)
        if other is not None:
            text = f"the id {policy.id} is taken by {other.file}; give this policy another one, or its file that name"
            problems.append(RuleProblem(policy.file, 1, text))
            continue
        policies[policy.id] = replace(policy, sha256=digest)
    return dict(sorted(policies.items())), problems


def own_policy_files(folder: Path | None) -> list[Path]:
    """The files of policies in the user's folder of rules, by name."""
    where = None if folder is None else folder / POLICIES
    if where is None or not where.is_dir():
        return []
    return sorted(path for path in where.iterdir() if path.suffix in _SUFFIXES and path.is_file())


def _own_files(folder: Path | None, problems: list[RuleProblem]) -> list[Path]:
    try:
        found = own_policy_files(folder)
    except OSError as error:
        problems.append(RuleProblem(str(folder), 1, f"its policies cannot be read: {error}"))
        return []
    if len(found) > MOST_POLICIES:
        problems.append(RuleProblem(str(folder), 1, f"there are more than {MOST_POLICIES:,} policies"))
    return found[:MOST_POLICIES]


def _built_in_files(replaced: set[str]) -> list[Traversable]:
    files = (path for path in (built_in() / POLICIES).iterdir() if path.name.endswith(_SUFFIXES))
    return sorted((path for path in files if path.name not in replaced), key=lambda path: path.name)


def _built_in_node(path: Traversable) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(path.read_text(encoding="utf-8"), Loader=_FastLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        text = f"it cannot be read: {' '.join(str(error).split())}"
        raise UnreadableError(RuleProblem(str(path), 1, text)) from error
    return node


def vocabulary(folder: Path | None, registry: Registry | None) -> Vocabulary:
    """What policies may name, with the rule files of the user's folder in place of built-in ones.

    Raises:
        RulesError: one of these files is wrong.
    """
    root = built_in()
    deviations: dict[str, Any] = read_yaml(root, "deviations.yaml", folder)
    limits: dict[str, Any] = read_yaml(root, "visibility.yaml", folder)
    try:
        return Vocabulary(
            Registry(root, folder) if registry is None else registry,
            frozenset(entry["id"] for entry in deviations["deviations"]),
            tuple(NotVisible(entry["id"], entry["what"], entry["why"]) for entry in limits["not_visible"]),
            frozenset(entry["id"] for entry in limits["doubtful"]),
        )
    except (KeyError, TypeError) as error:
        raise RulesError(f"a rule file lacks {error}") from error
