"""Findings that were gathered put in order: of each SA the last one, those that were asked for, by tunnel and time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from pqaudit.finding.query import Query
from pqaudit.policy.tunnel import HANDOVER_SECONDS, counts_while_in_use
from pqaudit.report.case_key import facts_of_case
from pqaudit.report.store import Cursor, Store, one
from pqaudit.rules.registry import Registry

# Times are compared without their Z, so that those of different resolution compare as text.
_BEGAN = "rtrim(begun, 'Z')"
_ENDED = "coalesce(rtrim(ended, 'Z'), '')"

# The narrow columns are sorted and joined with the rest: sorting evidence along would take several times as long.
_PLACES = f"""
    CREATE TABLE places AS SELECT findings.number,
        row_number() OVER (ORDER BY {{a}}, {{b}}, {_BEGAN}, id) - 1 AS position,
        dense_rank() OVER (ORDER BY {{a}}, {{b}}) - 1 AS tunnel
    FROM findings JOIN addresses AS s ON s.number = source JOIN addresses AS d ON d.number = destination
""".format(a="least(s.meaning, d.meaning)", b="greatest(s.meaning, d.meaning)")
_SAS = """
    CREATE TABLE sas AS SELECT position, tunnel, id, begun, ended, s.meaning AS source, source_port,
        d.meaning AS destination, destination_port, kinds.number AS kind, m.meaning AS maker, evidence
    FROM findings JOIN places USING (number)
        JOIN addresses AS s ON s.number = source JOIN addresses AS d ON d.number = destination
        JOIN cases ON cases.number = case_ JOIN kinds ON kinds.meaning = cases.meaning
        JOIN makers AS m ON m.number = maker
    ORDER BY position
"""
_KINDS = """
    CREATE TABLE kinds AS SELECT row_number() OVER (ORDER BY meaning) - 1 AS number, meaning, sas
    FROM (SELECT meaning, count(*) AS sas FROM findings JOIN cases ON cases.number = case_ GROUP BY meaning)
"""
_TUNNELS = """
    CREATE TABLE tunnels AS SELECT tunnel, least(source, destination) AS a, greatest(source, destination) AS b, sas,
        makers
    FROM (SELECT tunnel, count(*) AS sas, min(position) AS position,
            list_sort(list(DISTINCT (source > destination)::INTEGER || maker)) AS makers FROM sas GROUP BY tunnel)
        JOIN sas USING (tunnel, position)
    ORDER BY tunnel
"""
# Of each tunnel the SAs that can decide; pqaudit.policy.tunnel tells which cannot. Times in whole seconds, as there.
_GATHERED = f"""
    CREATE TABLE gathered AS
    WITH last_of_kind AS (
        SELECT tunnel, kind, max(position) AS position, max({_BEGAN}) AS began, max({_ENDED}) AS ended,
            arg_max(position, ({_ENDED}, position)) AS longest
        FROM sas GROUP BY tunnel, kind
    ), flagged AS (
        SELECT last_of_kind.*, negotiated, unseen, counts FROM last_of_kind JOIN flags ON number = kind
    ), latest AS (
        SELECT tunnel, max(began) FILTER (WHERE negotiated) AS latest FROM flagged GROUP BY tunnel
    )
    SELECT tunnel, kind, position FROM flagged JOIN latest USING (tunnel)
    WHERE latest IS NULL OR negotiated AND began = latest OR unseen AND began >= latest
    UNION
    SELECT tunnel, kind, longest AS position FROM flagged JOIN latest USING (tunnel)
    WHERE counts AND epoch(try_cast(ended[:19] AS TIMESTAMP)) > epoch(try_cast(latest[:19] AS TIMESTAMP))
        + {HANDOVER_SECONDS}
    ORDER BY tunnel, kind, position
"""
_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Arranged:
    """What there is after all.

    Attributes:
        superseded: findings that others of the same SA came after.
        found_by: versions of pqaudit and its rules that made the findings, sorted.
        captures: name to how many SAs have packets in it, sorted.
        vendors: that vendor IDs hint at, sorted.
        first, last: when the first and the last SA began.
    """

    superseded: int
    sas: int
    tunnels: int
    peers: int
    kinds: int
    found_by: tuple[tuple[str, str], ...]
    captures: dict[str, int]
    vendors: tuple[str, ...]
    first: str | None
    last: str | None


def arrange(store: Store, query: Query) -> Arranged:
    """Make the tables ``kinds``, ``sas``, ``tunnels`` and ``gathered`` of a store; nothing may be added after it."""
    with store.cursor() as cursor:
        superseded = _drop_superseded(cursor)
        _drop_unwanted(cursor, query)
        found_by = _found_by(cursor)
        captures = _captures(cursor)
        vendors = _vendors(cursor)
        for create in (_PLACES, _KINDS, _SAS):
            cursor.execute(create)
        for table in ("places", "findings"):
            cursor.execute(f"DROP TABLE {table}")
        cursor.execute(_TUNNELS)
        _flag(cursor, store.registry)
        cursor.execute(_GATHERED)
        return Arranged(
            superseded,
            one(cursor, "SELECT count(*) FROM sas"),
            one(cursor, "SELECT count(*) FROM tunnels"),
            one(cursor, "SELECT count(*) FROM (SELECT a FROM tunnels UNION SELECT b FROM tunnels)"),
            one(cursor, "SELECT count(*) FROM kinds"),
            found_by,
            captures,
            vendors,
            one(cursor, f"SELECT arg_min(begun, {_BEGAN}) FROM sas"),
            one(cursor, f"SELECT arg_max(begun, {_BEGAN}) FROM sas"),
        )


def _flag(cursor: Cursor, registry: Registry) -> None:
    """Make table ``flags``, of each kind: shows what was negotiated; is in use and does not; counts while in use."""
    cursor.execute("CREATE TABLE flags (number BIGINT, negotiated BOOLEAN, unseen BOOLEAN, counts BOOLEAN)")
    first = 0
    of_page = "SELECT number, meaning FROM kinds WHERE number >= ? AND number < ?"
    while kinds := cursor.execute(of_page, [first, first + _AT_ONCE]).fetchall():
        facts = [facts_of_case(json.loads(meaning), registry) for _, meaning in kinds]
        values = [
            [number for number, _ in kinds],
            [fact.negotiated for fact in facts],
            [fact.in_use and not fact.negotiated for fact in facts],
            [counts_while_in_use(fact) for fact in facts],
        ]
        columns = "SELECT unnest(?::BIGINT[]), unnest(?::BOOLEAN[]), unnest(?::BOOLEAN[]), unnest(?::BOOLEAN[])"
        cursor.execute(f"INSERT INTO flags {columns}", values)
        first += _AT_ONCE


def _drop_superseded(cursor: Cursor) -> int:
    several = one(cursor, "SELECT count(*) - count(DISTINCT id) FROM findings")
    if several:
        cursor.execute("DELETE FROM findings WHERE number NOT IN (SELECT max(number) FROM findings GROUP BY id)")
    return int(several)


def _drop_unwanted(cursor: Cursor, query: Query) -> None:
    """Keep what the query matches, of which the filters are used that say nothing of the negotiation."""
    moment = "begun[:19] || '.' || rpad(left(begun[21:-2], 3), 3, '0') || 'Z'"  # as facets.in_milliseconds has it
    if query.since is not None:
        cursor.execute(f"DELETE FROM findings WHERE {moment} < ?", [query.since])
    if query.until is not None:
        cursor.execute(f"DELETE FROM findings WHERE {moment} >= ?", [query.until])
    if query.sensors:
        rests = cursor.execute("SELECT number, meaning FROM rests WHERE meaning IS NOT NULL").fetchall()
        wanted = [number for number, meaning in rests if json.loads(meaning)[0] in query.sensors]
        cursor.execute("DELETE FROM findings WHERE rest NOT IN (SELECT unnest(?::INTEGER[]))", [wanted])
    if query.peers:
        _drop_others(cursor, lambda address: address in query.peers)
    if query.networks:
        _drop_others(cursor, lambda address: any(ip_address(address) in network for network in query.networks))


def _drop_others(cursor: Cursor, test: Callable[[str], bool]) -> None:
    known = cursor.execute("SELECT number, meaning FROM addresses WHERE meaning IS NOT NULL").fetchall()
    wanted = [number for number, meaning in known if test(meaning)]
    neither = " AND ".join(f"{end} NOT IN (SELECT unnest($1::INTEGER[]))" for end in ("source", "destination"))
    cursor.execute(f"DELETE FROM findings WHERE {neither}", [wanted])


def _found_by(cursor: Cursor) -> tuple[tuple[str, str], ...]:
    query = "SELECT DISTINCT meaning FROM rests WHERE number IN (SELECT rest FROM findings)"
    rests = [json.loads(meaning) for (meaning,) in cursor.execute(query).fetchall()]
    return tuple(sorted({(version or "", rules) for _, version, rules in rests}))


def _vendors(cursor: Cursor) -> tuple[str, ...]:
    query = "SELECT DISTINCT meaning FROM makers WHERE number IN (SELECT maker FROM findings)"
    makers = (json.loads(meaning) for (meaning,) in cursor.execute(query).fetchall())
    return tuple(sorted({vendor for sides in makers for vendors in sides for vendor in vendors}))


def _captures(cursor: Cursor) -> dict[str, int]:
    query = "SELECT name, count(*) FROM (SELECT unnest(captures) AS name FROM findings) GROUP BY name"
    found: dict[str, int] = {}
    for text, number in cursor.execute(query).fetchall():
        # The same name may have been written in two ways.
        name = json.loads(text)
        found[name] = found.get(name, 0) + number
    return dict(sorted(found.items()))
