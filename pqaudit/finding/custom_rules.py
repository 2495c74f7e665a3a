"""Users' rules applied to findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pqaudit.finding.document import Document
from pqaudit.rules.custom import CustomRule
from pqaudit.rules.expression import ExpressionError
from pqaudit.rules.subject import subject_of


@dataclass(slots=True)
class CustomRules:
    """Rules of the user, and which of them failed on how many SAs, with the first reason."""

    rules: Sequence[CustomRule]
    failures: dict[str, tuple[int, str]] = field(default_factory=dict)

    def apply(self, findings: Iterable[Document]) -> Iterator[Document]:
        """Add to each finding the rules that match it, by identifier. One that fails is counted and left out there."""
        rules = sorted(self.rules, key=lambda rule: rule.id)
        for finding in findings:
            sa = subject_of(finding)
            finding["pqaudit"]["rules"] = [
                {"id": rule.id, "title": rule.title, "severity": rule.severity, "source": rule.source}
                for rule in rules
                if self._matches(rule, sa)
            ]
            yield finding

    def _matches(self, rule: CustomRule, sa: Document) -> bool:
        try:
            return rule.condition(sa)
        except ExpressionError as error:
            count, reason = self.failures.get(rule.id, (0, str(error)))
            self.failures[rule.id] = (count + 1, reason)
            return False
