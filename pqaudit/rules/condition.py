"""Conditions of the built-in rules: facts by name, tested for equality, membership or content of a set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pqaudit.rules.errors import RulesError

Facts = Mapping[str, object]
Test = Callable[[Facts], bool]

_SET_TESTS: dict[str, Callable[[frozenset[str], Any], bool]] = {
    "has": lambda found, wanted: found >= set(wanted),
    "any": lambda found, wanted: bool(found & set(wanted)),
    "lacks": lambda found, wanted: not found & set(wanted),
    "only": lambda found, wanted: found <= set(wanted),
    "empty": lambda found, wanted: (not found) == wanted,
}


def compile_condition(when: object, known: frozenset[str], where: str) -> Test:
    """Turn the ``when`` of a rule into a test.

    Args:
        when: mapping of fact name to a value, a list of values, or set tests.
        known: names of the facts there are.
        where: rule id, for errors.

    Raises:
        RulesError: an unknown fact or test.
    """
    if not isinstance(when, dict):
        raise RulesError(f"rule {where}: `when` must be a mapping of fact names")
    tests: list[Test] = []
    for name, wanted in when.items():
        if name not in known:
            raise RulesError(f"rule {where}: there is no fact {name!r}; facts are {', '.join(sorted(known))}")
        tests.append(_test(name, wanted, where))
    return lambda facts: all(test(facts) for test in tests)


def _test(name: str, wanted: object, where: str) -> Test:
    if isinstance(wanted, dict):
        parts: list[tuple[Callable[[frozenset[str], Any], bool], object]] = []
        for word, value in wanted.items():
            if word not in _SET_TESTS:
                raise RulesError(f"rule {where}: {word!r} is no test of {name}; tests are {', '.join(_SET_TESTS)}")
            parts.append((_SET_TESTS[word], value))

        def test_set(facts: Facts) -> bool:
            found = facts[name]
            return isinstance(found, frozenset) and all(test(found, value) for test, value in parts)

        return test_set
    if isinstance(wanted, list):
        return lambda facts: facts[name] in wanted
    return lambda facts: facts[name] == wanted
