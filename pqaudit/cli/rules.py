"""``pqaudit rules``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import rulebook_or_exit, rules_option
from pqaudit.outputs.escape import printable
from pqaudit.policy.load import check_policies, own_policy_files
from pqaudit.policy.model import Deadline, Policy, Requirement
from pqaudit.rules.custom import CustomRule, failed_examples, load_custom_rules
from pqaudit.rules.errors import RulesError
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.rulebook import Rulebook, load_rulebook

FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group("rules")
def command() -> None:
    """Show the rules that decide verdicts and the policies, and check your own.

    A rule of your own is YAML with a condition in CEL; docs/rules.md tells how to write one, docs/policies.md how to
    write a policy.
    """


@command.command("list")
@rules_option
def list_rules(rules_folder: Path | None) -> None:
    """List the rules and policies: id, verdict or severity, title."""
    rulebook = rulebook_or_exit(rules_folder)
    for rule in rulebook.rules:
        click.echo(f"{rule.id:<12} {rule.verdict:<21} {rule.name}")
    for deviation in rulebook.deviations.values():
        click.echo(f"{'deviation':<12} {deviation.id:<31} {deviation.source}")
    for own in _custom(rules_folder):
        click.echo(f"{own.id:<12} severity {own.severity:<12} {own.title}")
    for policy in _policies(rules_folder, rulebook).values():
        click.echo(printable(f"{'policy':<12} {policy.id:<31} {policy.issuer}: {policy.title}"))


@command.command("show")
@click.argument("rule_id", metavar="ID")
@rules_option
def show(rule_id: str, rules_folder: Path | None) -> None:
    """Show one rule, deviation or policy with its source."""
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
    policy = _policies(rules_folder, rulebook).get(rule_id)
    if policy is not None:
        for line in _shown(policy):
            click.echo(printable(line))
        return
    raise click.UsageError(f"there is no rule or policy {rule_id}; `pqaudit rules list` shows all")


@command.command("check")
@click.argument("folder", type=FOLDER, metavar="DIR")
def check(folder: Path) -> None:
    """Check the rules and policies in DIR: every error with file, line and what to write instead, all at once."""
    rules, problems = load_custom_rules(folder)
    try:
        problems += check_policies(folder, load_rulebook(folder).registry)[1]
    except RulesError as error:
        problems.append(RuleProblem(str(folder), 1, str(error)))
    policies = len(own_policy_files(folder))
    also = f" and {policies} {'policy' if policies == 1 else 'policies'}" if policies else ""
    _end(problems, f"{len(rules)} rules{also} are fine.")


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


def _policies(folder: Path | None, rulebook: Rulebook) -> dict[str, Policy]:
    """Every policy that can be used; `pqaudit rules check` tells what is wrong with the others."""
    try:
        return check_policies(folder, rulebook.registry)[0]
    except RulesError as error:
        raise click.UsageError(str(error)) from error


def _shown(policy: Policy) -> Iterator[str]:
    yield f"{policy.id}: {policy.title}"
    yield f"issuer: {policy.issuer}"
    for name, value in (
        ("date", policy.date),
        ("updated", policy.updated),
        ("status", policy.status),
        ("scope", policy.scope),
        ("requirement", policy.requirement),
    ):
        if value is not None:
            yield f"{name}: {value}"
    for asked in policy.requirements:
        until = "" if asked.until is None else f" until {asked.until}"
        yield f"{asked.level}{until}: {asked.what} ({asked.source}; {_trust(asked)})"
    for deadline in policy.deadlines:
        when = f"by {deadline.day}" if deadline.begins > deadline.day else f"from {deadline.day}"
        only = "" if deadline.only is None else f", {deadline.only} only"
        yield f"{when} ({deadline.level}{only}): {deadline.what} ({deadline.source}; {_trust(deadline)})"
    for hidden in policy.not_visible:
        yield f"not visible: {hidden.what} {hidden.why}"
    if policy.not_covered:
        yield f"no requirement here on: {', '.join(name.replace('_', ' ') for name in policy.not_covered)}"
    if policy.not_read is not None:
        yield f"not read in the original: {policy.not_read}"
    if policy.unsure is not None:
        yield f"unsure: {policy.unsure}"
    yield f"source: {policy.source} ({policy.certainty})"


def _trust(part: Requirement | Deadline) -> str:
    return part.certainty if part.unsure is None else f"{part.certainty}: {part.unsure}"


def _end(problems: list[RuleProblem], fine: str) -> None:
    for problem in sorted(problems, key=lambda p: (p.file, p.line)):
        click.echo(printable(str(problem)), err=True)
    if problems:
        sys.exit(ExitCode.FINDINGS)
    click.echo(fine)
