"""From the YAML of one policy to a ``Policy``; every error is noted with its line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import cast

import yaml

from pqaudit.policy.fields import Fields
from pqaudit.policy.model import (
    CERTAINTIES,
    DEADLINE_LEVELS,
    GROUPS,
    HYBRID,
    LEVELS,
    AlgorithmTest,
    Certainty,
    Deadline,
    DeviationTest,
    KeyExchangeTest,
    NotVisible,
    Policy,
    Requirement,
    Test,
    VersionTest,
)
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.registry import Registry
from pqaudit.rules.source import SCHEMA

_NO_DAY = date.min
TESTED = ("key_exchange", "encryption", "prf", "integrity", "ike_version", "deviations")
_CRYPTOGRAPHY = TESTED[:4]
_VERSIONS = ("1.0", "2.0")
_OWN_WORD = {"key_exchange": "key exchange method", "prf": "PRF"}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a policy may name, and what holds for every policy.

    Attributes:
        not_visible: what no passive observer sees, whatever the policy.
        doubtful: deviations after which what was selected is not certain.
    """

    registry: Registry
    deviations: frozenset[str]
    not_visible: tuple[NotVisible, ...]
    doubtful: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Trust:
    """Where something was taken from; what a policy says of itself holds for its parts that do not say it."""

    source: str
    certainty: Certainty
    unsure: str | None


def parse_policy(node: yaml.Node | None, file: str, words: Vocabulary, problems: list[RuleProblem]) -> Policy | None:
    """The policy in a file, or None when something is wrong with it."""
    before = len(problems)
    fields = Fields(node, "the policy", file, problems)
    if len(problems) > before:
        return None
    if fields.text("schema", "") != str(SCHEMA):
        fields.complain(fields.at("schema"), f"write `schema: {SCHEMA}` at the top of the file")
    trust = _trust(fields, None)
    deadlines = tuple(_deadline(entry, file, trust, problems) for entry in fields.nodes("deadlines"))
    by_id = {deadline.id: deadline for deadline in deadlines}
    requirements = tuple(
        found
        for entry in fields.nodes("requirements")
        if (found := _requirement(entry, file, trust, by_id, words, problems)) is not None
    )
    for what, ids in (("deadline", [d.id for d in deadlines]), ("requirement", [r.id for r in requirements])):
        for taken in sorted({i for i in ids if ids.count(i) > 1}):
            fields.complain(None, f"two {what}s have the id {taken}; give each its own")
    not_read = fields.optional_text("not_read")
    if not_read is None and trust.certainty != "read":
        fields.complain(None, "say in `not_read:` what was not read in the original, or write `certainty: read`")
    tested = {requirement.field for requirement in requirements}
    policy = Policy(
        fields.identifier(),
        fields.text("issuer"),
        fields.text("title"),
        fields.part_of_date("date") if fields.has("date") else None,
        fields.optional_text("updated"),
        fields.optional_text("status"),
        fields.text("scope"),
        fields.text("requirement"),
        requirements,
        deadlines,
        _not_visible(fields, file, words, problems),
        trust.source,
        trust.certainty,
        not_read,
        trust.unsure,
        tuple(field for field in _CRYPTOGRAPHY if field not in tested),
        words.doubtful,
        file,
        successor=fields.optional_text("successor"),
    )
    fields.done()
    return policy if len(problems) == before else None


def _trust(fields: Fields, above: _Trust | None) -> _Trust:
    source = fields.text("source", above.source if above else None)
    certainty = cast(Certainty, fields.choice("certainty", CERTAINTIES, above.certainty if above else "read"))
    unsure = fields.optional_text("unsure")
    if certainty == "unsure" and unsure is None:
        unsure = above.unsure if above and not fields.has("certainty") else None
        if unsure is None:
            fields.complain(fields.at("certainty"), "say in `unsure:` why it is unsure")
    if certainty != "unsure" and unsure is not None:
        fields.complain(fields.at("unsure"), "what has a reason to be unsure is `certainty: unsure`")
    return _Trust(source, certainty, unsure)


def _deadline(node: yaml.Node, file: str, above: _Trust, problems: list[RuleProblem]) -> Deadline:
    fields = Fields(node, "a deadline", file, problems)
    identifier = fields.identifier()
    fields.what = f"deadline {identifier}"
    by, start = fields.day("by"), fields.day("from")
    if (by is None) == (start is None):
        fields.complain(None, "write either `by:`, the last day, or `from:`, the first one")
    day = by or start or _NO_DAY
    trust = _trust(fields, above)
    deadline = Deadline(
        identifier,
        day,
        day + timedelta(days=1) if by else day,
        fields.choice("level", DEADLINE_LEVELS),
        fields.text("what"),
        fields.choice("only", GROUPS) if fields.has("only") else None,
        trust.source,
        trust.certainty,
        trust.unsure,
    )
    fields.done()
    return deadline


def _requirement(
    node: yaml.Node,
    file: str,
    above: _Trust,
    deadlines: dict[str, Deadline],
    words: Vocabulary,
    problems: list[RuleProblem],
) -> Requirement | None:
    before = len(problems)
    fields = Fields(node, "a requirement", file, problems)
    identifier = fields.identifier()
    fields.what = f"requirement {identifier}"
    tested = [name for name in TESTED if fields.has(name)]
    test: Test | None = None
    if len(tested) != 1:
        fields.complain(
            None, f"it tests one of {', '.join(TESTED)}; write one of them, and another requirement for more"
        )
    else:
        test = _test(fields.below(tested[0], f"{fields.what}, {tested[0]}"), tested[0], words)
    level = fields.choice("level", LEVELS, "must")
    linked = tuple(deadlines[i] for i in fields.names("deadlines", deadlines, "deadline"))
    decisive = [d for d in linked if d.level == "must" and d.only is None and d.certainty != "unsure"]
    if level == "must" and linked and not decisive:
        # Without one, nobody could say from which day an SA fails that does not meet it.
        fields.complain(
            fields.at("deadlines"),
            "a `must` needs one deadline of level `must` that is not unsure and has no `only`, or none at all",
        )
    trust = _trust(fields, above)
    what, until = fields.text("what"), fields.day("until")
    fields.done()
    if len(problems) > before or test is None:
        return None
    return Requirement(
        identifier, what, tested[0], test, level, linked, until, trust.source, trust.certainty, trust.unsure
    )


def _test(fields: Fields, field: str, words: Vocabulary) -> Test:
    before = len(fields.problems)
    test: Test
    if field == "key_exchange":
        names = words.registry.assigned(field)

        def methods(name: str) -> tuple[str, ...]:
            return fields.names(name, names, _OWN_WORD["key_exchange"])

        test = KeyExchangeTest(
            methods("any_of"),
            methods("allowed"),
            methods("classical_allowed"),
            methods("forbidden"),
            fields.choice("hybrid", HYBRID, "allowed"),
            fields.number("min_bits"),
        )
        asks = test != KeyExchangeTest((), (), (), (), "allowed", None)
    elif field == "ike_version":
        test = VersionTest(fields.names("allowed", _VERSIONS, "IKE version"))
        asks = bool(test.allowed)
    elif field == "deviations":
        # The test itself, that nothing else was seen, needs no list: `deviations: {}` allows none.
        test = DeviationTest(fields.names("allowed", words.deviations, "deviation"))
        asks = True
    else:
        names = words.registry.assigned(field)
        word = _OWN_WORD.get(field, f"{field} algorithm")
        test = AlgorithmTest(
            field,
            fields.names("allowed", names, word),
            fields.names("forbidden", names, word),
            fields.number("min_key_bits") if field == "encryption" else None,
        )
        asks = test != AlgorithmTest(field, (), (), None)
    fields.done()
    if not asks and len(fields.problems) == before:
        fields.complain(None, "it asks for nothing")
    return test


def _not_visible(fields: Fields, file: str, words: Vocabulary, problems: list[RuleProblem]) -> tuple[NotVisible, ...]:
    """What holds for every policy, in the words of this one where it has any, and what it adds."""
    found = {item.id: item for item in words.not_visible}
    for node in fields.nodes("not_visible"):
        own = Fields(node, "not_visible", file, problems)
        identifier, what = own.identifier(), own.text("what")
        if identifier in found:
            found[identifier] = replace(found[identifier], what=what)
        else:
            found[identifier] = NotVisible(identifier, what, own.text("why"))
        own.done()
    return tuple(found.values())
