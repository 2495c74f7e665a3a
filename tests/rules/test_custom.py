"""Rules of the user: conditions, errors that say what to write instead, examples, and their use in an audit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pqaudit.rules.custom import failed_examples, load_custom_rules
from pqaudit.rules.expression import ExpressionError, compile_expression, unknown_fields
from pqaudit.rules.subject import EXAMPLE, laid_over, subject_of
from tests.conftest import REPOSITORY, SAMPLES, audit

GOOD = """\
schema: 1
rules:
  - id: ORG-001
    title: Site tunnels must be hybrid
    severity: high
    source: our policy, section 4
    when: sa.verdict != "hybrid-ml-kem" && sa.source.ip.startsWith("10.")
    examples:
      - {match: true, sa: {verdict: classical-only, source: {ip: 10.1.0.1}}}
      - {match: false, sa: {source: {ip: 10.1.0.1}}}
  - id: ORG-002
    title: ML-KEM-1024 is wanted
    severity: 30
    source: our policy, section 5
    when: >-
      !sa.selected.additional_key_exchanges.exists(x, x.id == 37)
"""


def write(folder: Path, text: str, name: str = "own.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_rules_and_their_examples(tmp_path: Path) -> None:
    rules, problems = load_custom_rules(write(tmp_path, GOOD))
    assert problems == []
    assert [(r.id, r.severity, r.line) for r in rules] == [("ORG-001", 73, 3), ("ORG-002", 30, 11)]
    assert [p for rule in rules for p in failed_examples(rule)] == []
    assert rules[1].condition(EXAMPLE) is True


def test_every_error_at_once_with_line_and_hint(tmp_path: Path) -> None:
    text = """\
rules:
  - id: "bad id!"
    title: t
    severity: enormous
    source: s
    when: sa.verdict == 'x'
  - id: B
    titel: t
    severity: 5
    source: s
    when: sa.verdikt == 'x'
  - id: C
    title: t
    severity: 5
    source: s
    when: sa.verdict == 'x' && sa.selected.encryptoin == null
  - id: D
    title: t
    severity: 5
    source: s
    when: sa.verdict ==
  - id: E
    title: t
    severity: 5
    source: s
    when: sa.severity + 1
  - just text
"""
    rules, problems = load_custom_rules(write(tmp_path, text))
    assert rules == []
    found = {(p.line, p.text) for p in problems}
    for line, part in (
        (1, "schema: 1"),
        (2, "an id is letters"),
        (4, "severity is a number"),
        (8, "did you mean `title`?"),
        (7, "no `title:`"),
        (16, "did you mean `encryption`?"),
        (21, "column"),
        (26, "must give true or false"),
        (27, "must be fields with values"),
    ):
        assert any(at == line and part in said for at, said in found), (line, part, sorted(found))


def test_a_misspelt_field_behind_a_short_circuit_is_found() -> None:
    assert unknown_fields("sa.verdict == 'sa.nope' || sa.ike.versoin == '1.0'", EXAMPLE) == ["versoin"]
    assert unknown_fields("sa.source.ip.startsWith('x') && size(sa.deviations) == 0", EXAMPLE) == []


def test_not_yaml_names_the_line(tmp_path: Path) -> None:
    rules, problems = load_custom_rules(write(tmp_path, GOOD + "  bad indent\n:::\n"))
    assert rules == []
    assert len(problems) == 1
    assert problems[0].line >= 16


def test_an_id_taken_twice(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.yaml")
    rules, problems = load_custom_rules(write(tmp_path, GOOD, "b.yaml"))
    assert len(rules) == 2
    assert [("b.yaml" in p.file, "is taken by" in p.text) for p in problems] == [(True, True)] * 2


def test_a_wrong_example_is_told(tmp_path: Path) -> None:
    wrong = GOOD.replace("{match: true, sa: {verdict: classical-only", "{match: false, sa: {verdict: classical-only")
    rules, _ = load_custom_rules(write(tmp_path, wrong))
    (problem,) = [p for rule in rules for p in failed_examples(rule)]
    assert (problem.line, "matches, but should not" in problem.text) == (9, True)


@pytest.mark.parametrize("text", ["open('/etc/passwd') == ''", "import os", "__import__('os')", "sa.__class__", "1 +"])
def test_a_condition_reaches_nothing_but_the_sa(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)(EXAMPLE)


def test_the_example_has_every_field_of_a_real_finding() -> None:
    findings, _ = audit(SAMPLES / "hybrid_x25519_mlkem768.pcap")
    real = subject_of(findings[0])

    def compare(example: object, found: object, where: str) -> None:
        if isinstance(example, dict) and isinstance(found, dict):
            assert set(example) == set(found), where
            for name in example:
                compare(example[name], found[name], f"{where}.{name}")

    compare({**EXAMPLE, "network": {**EXAMPLE["network"]}}, real, "sa")


def test_laid_over_changes_nothing_of_the_base() -> None:
    before = json.dumps(EXAMPLE)
    merged = laid_over({"ike": {"version": "1.0"}})
    assert merged["ike"]["initiator_spi"] == EXAMPLE["ike"]["initiator_spi"]
    assert merged["ike"]["version"] == "1.0"
    assert json.dumps(EXAMPLE) == before


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pqaudit", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
        check=False,
    )


def test_a_broken_rule_stops_nothing(tmp_path: Path) -> None:
    broken = "schema: 1\nrules:\n  - {id: X, title: t, severity: 1, source: s, when: 'sa.nope'}\n"
    fails = "schema: 1\nrules:\n  - {id: Y, title: t, severity: 1, source: s, when: 'sa.selected.integrity.id == 12'}\n"
    write(tmp_path, GOOD, "good.yaml")
    write(tmp_path, broken, "broken.yaml")
    write(tmp_path, fails, "fails.yaml")
    # ML-KEM with AES-GCM selects no integrity transform, so rule Y cannot be decided there.
    sources = [SAMPLES / "default_proposals.pcap", SAMPLES / "hybrid_ecp384_mlkem1024.pcap"]
    result = run("audit", *sources, "--rules", tmp_path, "--format", "jsonl")
    assert result.returncode == 0
    matched = [[r["id"] for r in json.loads(line)["pqaudit"]["rules"]] for line in result.stdout.splitlines()]
    assert sorted(matched) == [[], ["ORG-001", "ORG-002", "Y"]] or sorted(matched) == [[], ["Y", "ORG-001", "ORG-002"]]
    assert "rule left out" in result.stderr
    assert "rule Y could not be decided for 1 SAs" in result.stderr


def test_commands(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    assert run("rules", "check", tmp_path).stdout == "2 rules are fine.\n"
    assert run("rules", "test", tmp_path).stdout == "2 examples of 2 rules hold.\n"
    listed = run("rules", "list", "--rules", tmp_path).stdout
    assert "PQA-151" in listed
    assert "ORG-001" in listed
    assert "source: RFC 7296 section 2.7" in run("rules", "show", "PQA-162").stdout
    assert "our policy, section 5" in run("rules", "show", "ORG-002", "--rules", tmp_path).stdout
    assert run("rules", "show", "nothing").returncode == 2
    write(tmp_path, "rules: 5\n", "bad.yaml")
    assert run("rules", "check", tmp_path).returncode == 1


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("schema: 1\nrules:\n  - {id: A\x07}\n", "not YAML"),
        ("schema: 1\nrules:\n  - ? [a]\n    : b\n", "must be plain text"),
        (GOOD.replace("severity: 30", "severity: " + "9" * 5000), "severity is a number"),
        ("schema: 1\nrule:\n  - {id: A}\n", "write `rules:` as a list"),
        ("{schema: 1, rules: [{id: A}]}", "no `title:`"),
        ("schema: 1\na: &x [1]\nrules: [*x, *x]\n", "aliases are not read"),
    ],
)
def test_odd_files_are_told_and_end_nothing(text: str, part: str, tmp_path: Path) -> None:
    _, problems = load_custom_rules(write(tmp_path, text))
    assert any(part in problem.text for problem in problems), problems


def test_a_wrong_replacement_of_built_in_rules_is_told(tmp_path: Path) -> None:
    (tmp_path / "verdicts.yaml").write_text("schema: 1\nverdicts: []\nrules: []\n")
    result = run("rules", "check", tmp_path)
    assert result.returncode == 1
    assert "lacks" in result.stderr
