"""YAML of strangers: read into nodes with their lines, within bounds, and nothing of it is built or run."""

from __future__ import annotations

from pathlib import Path

import yaml

from pqaudit.rules.problem import RuleProblem

MOST_FILE_OCTETS = 4 * 1024 * 1024
MOST_LEVELS = 64


class UnreadableError(Exception):
    """A file cannot be used at all; ``problem`` says why."""

    def __init__(self, problem: RuleProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def read_node(path: Path) -> yaml.Node | None:
    """The document in a file as a node, None for an empty one.

    Raises:
        UnreadableError: too long, not text, not YAML, nested deeply, or with aliases.
    """
    name = str(path)
    try:
        if path.stat().st_size > MOST_FILE_OCTETS:
            raise _unreadable(name, 1, f"a rule file has at most {MOST_FILE_OCTETS:,} octets; split it")
        text = path.read_text(encoding="utf-8")
        _check_events(text, name)
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(name, 1, f"it cannot be read: {error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _unreadable(name, line, f"this is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise _unreadable(name, 1, f"this is not YAML: {' '.join(str(error).split())}") from error
    return node


def _check_events(text: str, name: str) -> None:
    """Refuse what costs more than its octets, before it is put together."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            # One that doubles what it names, some thirty times over, fills any memory; no rule needs one.
            raise _unreadable(name, line, f"write out what *{event.anchor} stands for; aliases are not read")
        # The time to read brackets grows with the square of their depth.
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_LEVELS:
            raise _unreadable(name, line, "it is nested too deeply to be a rule file")


def line_of(node: yaml.Node | None) -> int:
    """The line on which a node begins, counting from 1; 1 for none."""
    return 1 if node is None else int(node.start_mark.line) + 1


def _unreadable(file: str, line: int, text: str) -> UnreadableError:
    return UnreadableError(RuleProblem(file, line, text))
