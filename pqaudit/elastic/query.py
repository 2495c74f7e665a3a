"""The filter of ``pqaudit.finding.query`` as a server takes it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from pqaudit.elastic.server import Json
from pqaudit.finding.query import Network, Query

ENDS = ("source.ip", "destination.ip")
METHODS = ("pqaudit.selected.key_exchange.id", "pqaudit.selected.additional_key_exchanges.id")
VENDORS = ("pqaudit.fingerprint.initiator.vendor", "pqaudit.fingerprint.responder.vendor")
VERDICT = "pqaudit.verdict"
PROTECTION = "pqaudit.protection"
REASON = "pqaudit.reason"
SENSOR = "observer.name"
DEVIATION = "pqaudit.deviations.id"
TIME = "@timestamp"
ID = "event.id"

# To a server an IPv4 address is one of IPv6, within these.
_MAPPED = IPv6Network("::ffff:0:0/96")
_ALL_IPV4 = "0.0.0.0/0"


def server_query(query: Query) -> Json:
    """The query of a search that finds what ``query.matches`` says yes to."""
    filters: list[Json] = []
    for values, fields in (
        (query.verdicts, (VERDICT,)),
        (query.protections, (PROTECTION,)),
        (query.reasons, (REASON,)),
        (query.sensors, (SENSOR,)),
        (query.peers, ENDS),
        (query.methods, METHODS),
        (query.vendors, VENDORS),
        (query.deviations, (DEVIATION,)),
    ):
        if values:
            filters.append(any_of({"terms": {field: sorted(values)}} for field in fields))
    if query.networks:
        filters.append(any_of(_within(field, network) for field in ENDS for network in sorted(query.networks, key=str)))
    span = {name: time for name, time in (("gte", query.since), ("lt", query.until)) if time is not None}
    if span:
        filters.append({"range": {TIME: {**span, "format": "strict_date_optional_time"}}})
    return {"bool": {"filter": filters}}


def any_of(queries: Iterable[Json]) -> Json:
    """What holds when one of the queries does."""
    return {"bool": {"should": list(queries), "minimum_should_match": 1}}


def _within(field: str, network: Network) -> Json:
    inside: Json = {"term": {field: str(network)}}
    if isinstance(network, IPv4Network) or not _MAPPED.subnet_of(network):
        return inside
    return {"bool": {"filter": [inside], "must_not": [{"term": {field: _ALL_IPV4}}]}}
