"""The tunnels of an earlier report, from its JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from pqaudit.finding.facets import canonical_address
from pqaudit.finding.json_text import DamagedJsonError, JsonText, Octets
from pqaudit.policy.assess import Status
from pqaudit.report.case_key import dump
from pqaudit.report.model import KIND, SCHEMA_VERSION
from pqaudit.report.store import Store, one

_LONGEST = 16 * 1024 * 1024
_LONGEST_OTHER = 256 * 1024 * 1024
_AT_ONCE = 5000


class BaselineError(Exception):
    """A file that is no earlier report, in one sentence."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """An earlier report, of which the tunnels are in table ``earlier`` of the store.

    Attributes:
        as_of: its day.
        policies: ids, sorted.
        groups, filters: what it took SAs to belong to, and which it was asked for.
        complete: all of its input could be read.
    """

    as_of: date
    policies: tuple[str, ...]
    groups: tuple[str, ...]
    filters: tuple[str, ...]
    complete: bool

    def notes(self, as_of: date, groups: tuple[str, ...], filters: tuple[str, ...]) -> Iterator[str]:
        """Why changes may not be changes of the tunnels, for a report of that day, on those groups and filters."""
        if self.as_of > as_of:
            yield f"The earlier report is of {self.as_of}, a later day than this one: changes are told backwards."
        if self.groups != groups:
            yield "The earlier report was made with other options --group: a status may differ for that alone."
        if self.filters != filters:
            yield "The earlier report was limited to other SAs: tunnels may be new or gone for that alone."
        if not self.complete:
            yield "The earlier report is not complete: tunnels may be new for that alone."


def read_baseline(file: Octets, store: Store) -> Baseline:
    """Read an earlier report; what follows its tunnels, the SAs, is not looked at.

    Raises:
        BaselineError: it is none.
    """
    head: dict[str, Any] = {}
    with store.cursor() as cursor:
        cursor.execute("CREATE TABLE earlier (a VARCHAR, b VARCHAR, states VARCHAR)")
        rows: list[tuple[str, str, str]] = []

        def flush() -> None:
            if rows:
                columns = [list(column) for column in zip(*rows, strict=True)]
                values = ", ".join(["unnest(?::VARCHAR[])"] * 3)
                cursor.execute(f"INSERT INTO earlier SELECT {values}", columns)
                rows.clear()

        try:
            for row in _tunnels(JsonText(b"", file), head):
                rows.append(row)
                if len(rows) >= _AT_ONCE:
                    flush()
            flush()
            if one(cursor, "SELECT count(*) - count(DISTINCT a || ' ' || b) FROM earlier"):
                raise ValueError
            policies = {part["id"]: part for part in head["policies"]}
            groups, filters = _texts(head["groups"]), _texts(head["filters"])
            complete = head["complete"] is True
            return Baseline(date.fromisoformat(head["as_of"]), tuple(sorted(policies)), groups, filters, complete)
        except (DamagedJsonError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f": the document {error}" if isinstance(error, DamagedJsonError) else ""
            raise BaselineError(f"it is no report that pqaudit wrote as JSON{reason}") from error


def _tunnels(text: JsonText, head: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in text.names(_LONGEST):
        text.take(":")
        if name != "tunnels":
            head[name] = text.value(_LONGEST_OTHER)
            continue
        if head["kind"] == KIND and head["schema_version"] != SCHEMA_VERSION:
            only = f"of schema version {SCHEMA_VERSION}, the only one that this pqaudit reads"
            raise BaselineError(f"it is no report that pqaudit wrote as JSON {only}")
        if head["kind"] != KIND or not isinstance(head["policies"], list):
            raise ValueError
        for _, tunnel in text.items(_LONGEST):
            a, b = sorted(canonical_address(peer["address"]) for peer in tunnel["peers"])
            states = {state["policy"]: Status(state["status"]) for state in tunnel["states"]}
            yield a, b, dump(states)
        return
    raise KeyError("tunnels")


def _texts(value: list[Any]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError
    return tuple(value)


def statuses(states: str | None) -> dict[str, Status]:
    """Status by policy, of a row of ``earlier``; empty where there is none."""
    return {} if states is None else {policy: Status(status) for policy, status in json.loads(states).items()}
