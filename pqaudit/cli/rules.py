"""``pqaudit rules``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import rulebook_or_exit, rules_option
from pqaudit.outputs.escape import printable
from pqaudit.rules.custom import CustomRule, failed_examples, load_custom_rules
from pqaudit.rules.errors import RulesError
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.rulebook import load_rulebook

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group("rules")
def command() -> None:
    """Show the rules that decide verdicts, and check rules of your own.

    A rule of your own is YAML with a condition in CEL; docs/rules.md tells how to write one.
    """


@command.command("list")
@rules_option
def list_rules(rules_folder: Path | None) -> None:
    """List the rules: id, verdict or severity, title."""
    rulebook = rulebook_or_exit(rules_folder)
    for rule in rulebook.rules:
        click.echo(f"{rule.id:<12} {rule.verdict:<21} {rule.name}")
    for deviation in rulebook.deviations.values():
        click.echo(f"{'deviation':<12} {deviation.id:<31} {deviation.source}")
    for own in _custom(rules_folder):
        click.echo(f"{own.id:<12} severity {own.severity:<12} {own.title}")


@command.command("show")
@click.argument("rule_id", metavar="ID")
@rules_option
def show(rule_id: str, rules_folder: Path | None) -> None:
    """Show one rule or deviation with its source."""
    rulebook = rulebook_or_exit(rules_folder)
    for rule in rulebook.rules:
        if rule.id == rule_id:
            click.echo(f"{rule.id}: {rule.name}\nverdict: {rule.verdict}\nreason: {rule.reason}")
            click.echo(f"protection: {rule.protection}\nseverity: {rule.severity}\nsource: {rule.source}")
            return
    if rule_id in rulebook.deviations:
        deviation = rulebook.deviations[rule_id]
        click.echo(f"{deviation.id}: departure from a document\nrequirement: {deviation.requirement}")
        click.echo(f"source: {deviation.source}")
        return
    for own in _custom(rules_folder):
        if own.id == rule_id:
            click.echo(f"{own.id}: {own.title}\nseverity: {own.severity}\nsource: {own.source}")
            click.echo(f"when: {own.when}\nfile: {own.file}:{own.line}")
            return
    raise click.UsageError(f"there is no rule {rule_id}; `pqaudit rules list` shows all")


@command.command("check")
@click.argument("folder", type=FOLDER, metavar="DIR")
def check(folder: Path) -> None:
    """Check the rules in DIR: every error with file, line and what to write instead, all at once."""
    rules, problems = load_custom_rules(folder)
    try:
        load_rulebook(folder)
    except RulesError as error:
        problems.append(RuleProblem(str(folder), 1, str(error)))
    _end(problems, f"{len(rules)} rules are fine.")


@command.command("test")
@click.argument("folder", type=FOLDER, metavar="DIR")
def test(folder: Path) -> None:
    """Run the examples that the rules in DIR carry."""
    rules, problems = load_custom_rules(folder)
    for rule in rules:
        problems += failed_examples(rule)
    _end(problems, f"{sum(len(rule.examples) for rule in rules)} examples of {len(rules)} rules hold.")


def _custom(folder: Path | None) -> list[CustomRule]:
    return [] if folder is None else load_custom_rules(folder)[0]


def _end(problems: list[RuleProblem], fine: str) -> None:
    for problem in sorted(problems, key=lambda p: (p.file, p.line)):
        click.echo(printable(str(problem)), err=True)
    if problems:
        sys.exit(ExitCode.FINDINGS)
    click.echo(fine)
