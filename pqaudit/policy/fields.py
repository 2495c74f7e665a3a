"""Values of a YAML mapping, read by name and type; what is wrong is noted with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from difflib import get_close_matches

import yaml

from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.untrusted import line_of

MOST_ENTRIES = 256
MOST_CHARACTERS = 2000
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[0-9]{1,5}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PART_OF_DATE = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])(-[0-3][0-9])?)?")
_NULL = "tag:yaml.org,2002:null"


class Fields:
    """One mapping. ``done`` at the end complains of fields that nobody asked for.

    Args:
        what: names the mapping in complaints, such as ``requirement aes-256``.
    """

    def __init__(self, node: yaml.Node | None, what: str, file: str, problems: list[RuleProblem]) -> None:
        self.what = what
        self.file = file
        self.problems = problems
        self._node = node
        self._values: dict[str, yaml.Node] = {}
        self._asked: set[str] = set()
        if not isinstance(node, yaml.MappingNode):
            self.complain(None, "must be fields with values")
            return
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.complain(key, "a name must be plain text")
                continue
            if key.value in self._values:
                self.complain(key, f"`{_shown(key.value)}` stands twice; keep one")
            if value.tag == _NULL:
                self.complain(value, f"`{_shown(key.value)}` has no value; leave it out or write one")
            self._values[key.value] = value

    def complain(self, at: yaml.Node | None, text: str) -> None:
        """Note that something is wrong."""
        self.problems.append(RuleProblem(self.file, line_of(at or self._node), f"{self.what}: {text}"))

    def has(self, name: str) -> bool:
        """Whether the field is there."""
        return self._get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Text; an error without it unless there is a default."""
        node = self._get(name)
        if node is None:
            if default is None:
                self.complain(None, f"there is no `{name}:`; write one")
            return default or ""
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.complain(node, f"`{name}` must be text")
            return default or ""
        text = " ".join(node.value.split())
        if len(text) > MOST_CHARACTERS:
            self.complain(node, f"`{name}` has more than {MOST_CHARACTERS:,} characters; shorten it")
        return text[:MOST_CHARACTERS]

    def optional_text(self, name: str) -> str | None:
        """Text, or None without it."""
        return self.text(name) if self.has(name) else None

    def identifier(self) -> str:
        """The field ``id``."""
        text = self.text("id")
        if text and not _IDENTIFIER.fullmatch(text):
            self.complain(self._get("id"), "an id is letters, digits, dots, dashes and underscores, at most 64")
        return text

    def number(self, name: str) -> int | None:
        """A whole number from 1 to 99999, or None without it."""
        node = self._get(name)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or not _NUMBER.fullmatch(node.value) or not int(node.value):
            self.complain(node, f"`{name}` must be a whole number from 1 to 99999")
            return None
        return int(node.value)

    def day(self, name: str) -> date | None:
        """A day such as 2030-12-31, or None without it."""
        node = self._get(name)
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode) and _DAY.fullmatch(node.value):
            try:
                day = date.fromisoformat(node.value)
            except ValueError:
                day = date.min
            if 1970 <= day.year <= 2999:  # leaves room for the days before and after
                return day
        self.complain(node, f"`{name}` must be a day such as 2030-12-31")
        return None

    def part_of_date(self, name: str) -> str:
        """A year, a month or a day, as text."""
        text = self.text(name)
        if text and not _PART_OF_DATE.fullmatch(text):
            self.complain(self._get(name), f"`{name}` must be a year, a month or a day, such as 2030-12-31")
        return text

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """One of a few words."""
        text = self.text(name, default)
        if text and text not in choices:
            self.complain(self._get(name), f"`{name}` is one of {', '.join(choices)}; {_shown(text)} is none of them")
            return default or choices[0]
        return text

    def names(self, name: str, known: Iterable[str], what: str) -> tuple[str, ...]:
        """A list of known names, empty without the field; a field with an empty list is an error."""
        nodes = self.nodes(name)
        if self.has(name) and not nodes:
            self.complain(self._get(name), f"`{name}` names nothing; leave it out or name something")
        names = sorted(known)
        found: list[str] = []
        for node in nodes:
            text = node.value if isinstance(node, yaml.ScalarNode) else ""
            if text in names:
                found.append(text)
                continue
            near = get_close_matches(text[:64], names, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self.complain(node, f"`{name}`: there is no {what} {_shown(text)}{hint}")
        return tuple(dict.fromkeys(found))

    def nodes(self, name: str) -> list[yaml.Node]:
        """The entries of a list, none without the field."""
        node = self._get(name)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.complain(node, f"write `{name}:` as a list")
            return []
        if len(node.value) > MOST_ENTRIES:
            self.complain(node, f"`{name}` has more than {MOST_ENTRIES} entries")
        return list(node.value[:MOST_ENTRIES])

    def below(self, name: str, what: str) -> Fields:
        """The mapping under a name."""
        return Fields(self._get(name), what, self.file, self.problems)

    def at(self, name: str) -> yaml.Node | None:
        """Where a field stands, for complaints."""
        return self._get(name)

    def done(self) -> None:
        """Complain of every field that nobody asked for."""
        for name, node in self._values.items():
            if name not in self._asked:
                near = get_close_matches(name[:64], sorted(self._asked), 1)
                hint = f"did you mean `{near[0]}`?" if near else f"fields are {', '.join(sorted(self._asked))}"
                self.complain(node, f"there is no field `{_shown(name)}`; {hint}")

    def _get(self, name: str) -> yaml.Node | None:
        self._asked.add(name)
        return self._values.get(name)


def _shown(text: str) -> str:
    return text if len(text) <= 64 else f"{text[:64]}…"
