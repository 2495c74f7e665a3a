"""Rules of the user: YAML files with conditions in CEL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from pqaudit.rules.expression import Condition, ExpressionError, compile_expression, unknown_fields
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.source import POLICIES, SCHEMA, is_built_in
from pqaudit.rules.subject import EXAMPLE, laid_over
from pqaudit.rules.untrusted import UnreadableError, line_of, read_node

SEVERITIES = {"info": 5, "low": 21, "medium": 47, "high": 73, "critical": 99}
_FIELDS = ("id", "title", "severity", "source", "when", "examples", "description")
_REQUIRED = ("id", "title", "severity", "source", "when")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SEVERITY = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class RuleExample:
    """An SA, as fields that differ from the usual one, and whether the rule must match it."""

    sa: dict[str, Any]
    match: bool
    line: int


@dataclass(frozen=True, slots=True)
class CustomRule:
    """One rule of the user."""

    id: str
    title: str
    severity: int
    source: str
    when: str
    condition: Condition
    examples: tuple[RuleExample, ...]
    file: str
    line: int


def load_custom_rules(folder: Path) -> tuple[list[CustomRule], list[RuleProblem]]:
    """Load every ``*.yaml`` and ``*.yml`` in ``folder`` and below that holds rules with a condition in CEL.

    Files that replace built-in ones of the same name are left to the rulebook, and those in ``policies/`` are policies.
    A rule with a problem is left out, and the others are used.
    """
    rules: list[CustomRule] = []
    problems: list[RuleProblem] = []
    seen: dict[str, CustomRule] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file()):
        own = path.relative_to(folder)
        if is_built_in(own.as_posix()) or own.parent.as_posix() == POLICIES:
            continue  # replaces a built-in file, which the rulebook loads, or is a policy
        for found in _load_file(path, problems):
            other = seen.get(found.id)
            if other is not None:
                text = f"id {found.id} is taken by {other.file}:{other.line}; give this rule another one"
                problems.append(RuleProblem(found.file, found.line, text))
                continue
            seen[found.id] = found
            rules.append(found)
    return rules, problems


def _load_file(path: Path, problems: list[RuleProblem]) -> Iterator[CustomRule]:
    name = str(path)
    try:
        node = read_node(path)
    except UnreadableError as error:
        problems.append(error.problem)
        return
    top = _mapping(node, name, problems, "the file")
    schema = top.get("schema")
    if schema is None or schema.value != str(SCHEMA):
        problems.append(RuleProblem(name, line_of(schema or node), f"write `schema: {SCHEMA}` at the top of the file"))
    listed = top.get("rules")
    if not isinstance(listed, yaml.SequenceNode):
        problems.append(RuleProblem(name, line_of(listed or node), "write `rules:` as a list, each rule after a dash"))
        return
    for entry in listed.value:
        rule = _rule(entry, name, problems)
        if rule is not None:
            yield rule


def _rule(node: yaml.Node, file: str, problems: list[RuleProblem]) -> CustomRule | None:
    before = len(problems)
    fields = _mapping(node, file, problems, "a rule")
    if not isinstance(node, yaml.MappingNode):
        return None
    line = line_of(node)

    def complain(at: yaml.Node | None, text: str) -> None:
        problems.append(RuleProblem(file, line if at is None else line_of(at), text))

    for key, value in fields.items():
        if key not in _FIELDS:
            near = get_close_matches(key, _FIELDS, 1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; fields are {', '.join(_FIELDS)}"
            complain(value, f"a rule has no field `{key}`{hint}")
    for key in _REQUIRED:
        if key not in fields:
            complain(None, f"the rule has no `{key}:`; write one")
        elif not isinstance(fields[key], yaml.ScalarNode) or not fields[key].value.strip():
            complain(fields[key], f"`{key}` must be text on its line")
    if len(problems) > before:
        return None
    identifier = fields["id"].value
    if not _ID.fullmatch(identifier):
        complain(fields["id"], "an id is letters, digits, dots, dashes and underscores, at most 64, such as ORG-001")
    severity = _severity(fields["severity"].value)
    if severity is None:
        complain(fields["severity"], f"severity is a number from 0 to 100 or one of {', '.join(SEVERITIES)}")
    condition = _condition(fields["when"], complain)
    examples = _examples(fields.get("examples"), complain)
    if len(problems) > before or condition is None or severity is None:
        return None
    return CustomRule(
        identifier,
        fields["title"].value,
        severity,
        fields["source"].value,
        fields["when"].value,
        condition,
        examples,
        file,
        line,
    )


def _condition(node: yaml.Node, complain: Any) -> Condition | None:
    unknown = unknown_fields(node.value, EXAMPLE)
    for field in unknown:
        near = get_close_matches(field, sorted(set(_names(EXAMPLE))), 1)
        hint = f"did you mean `{near[0]}`?" if near else "the fields are in docs/rules.md"
        complain(node, f"when: the SA has no field {field}; {hint}")
    if unknown:
        return None
    try:
        condition = compile_expression(node.value)
        condition(EXAMPLE)
    except ExpressionError as error:
        complain(node, f"when: {error}")
        return None
    return condition


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield name
            yield from _names(below)
    elif isinstance(value, list):
        for below in value:
            yield from _names(below)


def _examples(node: yaml.Node | None, complain: Any) -> tuple[RuleExample, ...]:
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode):
        complain(node, "write `examples:` as a list of `{match: true, sa: {...}}`")
        return ()
    found: list[RuleExample] = []
    for entry in node.value:
        try:
            # A constructor of its own for each: errors in one example do not hide the others.
            value = yaml.safe_load(yaml.serialize(entry))
        except yaml.YAMLError as error:
            complain(entry, f"this example cannot be read: {' '.join(str(error).split())}")
            continue
        if (
            not isinstance(value, dict)
            or not isinstance(value.get("match"), bool)
            or not isinstance(value.get("sa", {}), dict)
        ):
            complain(entry, "an example is `{match: true, sa: {...}}`, with match true or false")
            continue
        found.append(RuleExample(laid_over(value.get("sa", {})), value["match"], line_of(entry)))
    return tuple(found)


def _severity(text: str) -> int | None:
    if text in SEVERITIES:
        return SEVERITIES[text]
    return int(text) if _SEVERITY.fullmatch(text) and int(text) <= 100 else None


def _mapping(node: yaml.Node | None, file: str, problems: list[RuleProblem], what: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        problems.append(RuleProblem(file, line_of(node), f"{what} must be fields with values"))
        return {}
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            problems.append(RuleProblem(file, line_of(key), f"a name in {what} must be plain text"))
            continue
        if key.value in fields:
            problems.append(RuleProblem(file, line_of(key), f"`{key.value}` stands twice; keep one"))
        fields[key.value] = value
    return fields


def failed_examples(rule: CustomRule) -> Iterator[RuleProblem]:
    """The examples of a rule that it does not decide as they say."""
    for example in rule.examples:
        try:
            matched = rule.condition(example.sa)
        except ExpressionError as error:
            yield RuleProblem(rule.file, example.line, f"rule {rule.id}: the example cannot be evaluated: {error}")
            continue
        if matched != example.match:
            said = "does not match, but should" if example.match else "matches, but should not"
            yield RuleProblem(rule.file, example.line, f"rule {rule.id} {said}")
