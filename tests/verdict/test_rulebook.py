"""The rules themselves: reasons are documented, checks have their entry, wrong rules are refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from pqaudit.rules.errors import RulesError
from pqaudit.rules.rulebook import DEVIATION_REASON, Rulebook, load_rulebook
from pqaudit.verdict.deviations import CHECKS
from tests.conftest import REPOSITORY


def test_every_reason_is_documented(rulebook: Rulebook) -> None:
    text = (REPOSITORY / "docs" / "verdicts.md").read_text()
    for rule in rulebook.rules:
        assert rule.reason == DEVIATION_REASON or f"`{rule.reason}`" in text


def test_every_rule_names_its_source_and_has_its_own_id(rulebook: Rulebook) -> None:
    assert all(rule.source for rule in rulebook.rules)
    assert len({rule.id for rule in rulebook.rules}) == len(rulebook.rules)
    assert all(0 <= rule.severity <= 100 for rule in rulebook.rules)


def test_deviations_and_checks_belong_together(rulebook: Rulebook) -> None:
    assert set(rulebook.deviations) == set(CHECKS)


def test_the_choices_of_fail_on_are_the_verdicts(rulebook: Rulebook) -> None:
    from pqaudit.cli.audit import VERDICTS

    assert tuple(verdict.id for verdict in rulebook.verdicts) == VERDICTS


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("schema: 2", "schema: 1"),
        ("a: [", "not YAML"),
        ("schema: 1\nversion: x\nverdicts: []\nprotections: []\nrules: [{id: R1}]", "lacks"),
        (
            "schema: 1\nversion: x\nverdicts: [{id: v, title: t, meaning: m}]\nprotections: [{id: p, meaning: m}]\n"
            "rules: [{id: R1, name: n, when: {nonsense: 1}, verdict: v, reason: r, protection: p, severity: 1, "
            "source: s}]",
            "no fact 'nonsense'",
        ),
    ],
)
def test_wrong_rules_are_refused_with_a_sentence(text: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "verdicts.yaml").write_text(text)
    with pytest.raises(RulesError, match=part):
        load_rulebook(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="not a folder"):
        load_rulebook(tmp_path / "missing")
