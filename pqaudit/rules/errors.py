"""What can be wrong with a rule file."""

from __future__ import annotations


class RulesError(Exception):
    """A rule file cannot be used. The text names the file and says what to write instead."""
