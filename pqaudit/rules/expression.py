"""Conditions of users' rules in the Common Expression Language (CEL).

CEL has no loops, no input or output, and sees nothing but the value it is given. The interpreter is a library.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

MOST_CHARACTERS = 4096
SUBJECT = "sa"
_STRING = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_FIELD_PATH = re.compile(r"(?<![\w.])sa((?:\.[A-Za-z_]\w*(?!\w|\())+)")

Condition = Callable[[dict[str, Any]], bool]


class ExpressionError(Exception):
    """A condition that cannot be used; the text is one sentence."""


def compile_expression(text: str) -> Condition:
    """Compile a condition on ``sa``.

    The result raises ``ExpressionError`` when it cannot be evaluated for an SA or gives anything but true or false.

    Raises:
        ExpressionError: too long, or a syntax error.
    """
    import cel  # imported here: only audits with rules of the user need it

    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"a condition has at most {MOST_CHARACTERS:,} characters; this one has {len(text):,}")
    try:
        program = cel.compile(text)
    except ValueError as error:
        raise ExpressionError(_syntax(str(error))) from error

    def evaluate(sa: dict[str, Any]) -> bool:
        try:
            value = program.execute({SUBJECT: sa})
        except KeyError as error:
            raise ExpressionError(f"the SA has no field {error.args[0]}") from error
        except Exception as error:
            raise ExpressionError(" ".join(str(error).split())) from error
        if not isinstance(value, bool):
            raise ExpressionError(f"a condition must give true or false; this one gave {type(value).__name__}")
        return value

    return evaluate


def unknown_fields(text: str, example: dict[str, Any]) -> list[str]:
    """Fields that a condition reads from ``sa`` and that ``example``, which has all of them, lacks.

    Evaluating a condition does not find them all: what stands behind ``false &&`` is never looked at.
    """
    found: list[str] = []
    for path in _FIELD_PATH.findall(_STRING.sub("''", text)):
        value: Any = example
        for name in path.split(".")[1:]:
            if not isinstance(value, dict):
                break
            if name not in value:
                found.append(name)
                break
            value = value[name]
    return found


def _syntax(message: str) -> str:
    """The position and the fault out of the parser's report, on one line."""
    for line in message.splitlines():
        _, found, rest = line.partition("<input>:")
        if found:
            position, _, fault = rest.partition(": ")
            column = position.split(":")[-1]
            return f"column {column}: {fault}"
    return " ".join(message.split())
