"""The panels of the Kibana dashboard: aggregation-based ones, whose form has been stable for years, text, and Vega."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from pqaudit.elastic.server import Json
from pqaudit.policy.model import Policy

_MOST_PEERS: Final = 100
_CLASSICAL: Final = 'pqaudit.verdict : "classical-only"'
_VEGA_LITE: Final = (
    "https://vega.github.io/schema/vega-lite/v5.json"  # Kibana tells the version by it and loads nothing
)

# Paragraphs in one line each: Kibana keeps line breaks.
_TEXT: Final = (
    "Each document is one IKE SA that passive captures showed. **Classical only** means that what is recorded today "
    "can be decrypted once the key exchange is broken. **Unknown** means that the captures do not show it, not that it "
    "is safe.\n\n"
    "The selected times are those of the first packets of SAs. Days to deadlines are counted until what is not done is "
    "late; they come from the policies that travel with pqaudit {version}, where each has its source and how well it "
    "was read. Which tunnel meets which policy is not shown here."
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        id: part of its identity, for ever.
        state: Kibana's ``visState``.
        place: x, y, width and height on a grid of 48 columns.
        query: KQL that restricts it.
        searches: whether it asks for findings at all.
    """

    id: str
    title: str
    state: Json
    place: tuple[int, int, int, int]
    query: str = ""
    searches: bool = True


def all_panels(policies: Iterable[Policy], version: str) -> tuple[Panel, ...]:
    """The panels of the dashboard.

    Args:
        policies: whose deadlines are shown.
        version: of pqaudit, for the text.
    """
    deadlines = json.dumps(deadline_chart(policies), indent=1)
    return (
        Panel(
            "about",
            "About",
            _state("markdown", {"markdown": _TEXT.format(version=version), "fontSize": 12}),
            (0, 0, 48, 8),
            "",
            False,
        ),
        Panel("verdicts", "Verdicts over time", _verdicts_over_time(), (0, 8, 32, 14)),
        Panel("protection", "Protection of traffic recorded today", _share("pqaudit.protection"), (32, 8, 16, 14)),
        Panel("classical", "Classical tunnels by peer", _by_peer(), (0, 22, 28, 18), _CLASSICAL),
        Panel("deadlines", "Days to deadlines", _state("vega", {"spec": deadlines}), (28, 22, 20, 18), "", False),
    )


def _state(kind: str, params: Json, aggs: Iterable[Json] = ()) -> Json:
    return {"type": kind, "aggs": list(aggs), "params": params}


def _agg(number: int, kind: str, schema: str, **params: Json) -> Json:
    return {"id": str(number), "enabled": True, "type": kind, "params": params, "schema": schema}


def _terms(number: int, field: str, schema: str, size: int, label: str) -> Json:
    params = {"field": field, "orderBy": "1", "order": "desc", "size": size, "customLabel": label}
    # No finding lacks the fields that are used here.
    rest = {"otherBucket": True, "otherBucketLabel": "other", "missingBucket": False}
    return _agg(number, "terms", schema, **params, **rest)


def _count(label: str = "IKE SAs") -> Json:
    return _agg(1, "count", "metric", customLabel=label)


def _verdicts_over_time() -> Json:
    time = _agg(
        2,
        "date_histogram",
        "segment",
        field="@timestamp",
        interval="auto",
        useNormalizedEsInterval=True,
        drop_partials=False,
        min_doc_count=1,
        extended_bounds={},
        customLabel="First packet",
    )
    linear = {"type": "linear"}
    params = {
        "type": "histogram",
        "grid": {"categoryLines": False},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "bottom",
                "show": True,
                "style": {},
                "scale": linear,
                "labels": {"show": True, "filter": True, "truncate": 100},
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "LeftAxis-1",
                "type": "value",
                "position": "left",
                "show": True,
                "style": {},
                "scale": {**linear, "mode": "normal"},
                "labels": {"show": True, "rotate": 0, "filter": False, "truncate": 100},
                "title": {"text": "IKE SAs"},
            }
        ],
        "seriesParams": [
            {
                "show": True,
                "type": "histogram",
                "mode": "stacked",
                "data": {"label": "IKE SAs", "id": "1"},
                "valueAxis": "ValueAxis-1",
            }
        ],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "times": [],
        "addTimeMarker": False,
    }
    return _state("histogram", params, [_count(), time, _terms(3, "pqaudit.verdict", "group", 10, "Verdict")])


def _share(field: str) -> Json:
    params = {
        "type": "pie",
        "addTooltip": True,
        "legendPosition": "right",
        "isDonut": True,
        "labels": {"show": True, "values": True, "last_level": True, "truncate": 100},
    }
    return _state("pie", params, [_count(), _terms(2, field, "segment", 10, "Protection")])


def _by_peer() -> Json:
    params = {
        "perPage": 20,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    }
    last = _agg(2, "max", "metric", field="@timestamp", customLabel="Last negotiated")
    buckets = (
        _terms(3, "source.ip", "bucket", _MOST_PEERS, "Initiator"),
        _terms(4, "destination.ip", "bucket", _MOST_PEERS, "Responder"),
        _terms(5, "pqaudit.reason", "bucket", 10, "Why"),
    )
    return _state("table", params, [_count(), last, *buckets])


def deadline_chart(policies: Iterable[Policy]) -> Json:
    """A Vega-Lite chart that counts days in the browser; servers are asked nothing and need no scripts for it."""
    rows = sorted(_deadlines(policies), key=lambda row: (row["late_from"], row["name"]))
    shown = {
        "field": "name",
        "type": "nominal",
        "sort": {"field": "late_from", "order": "ascending"},
        "axis": {"title": None, "labelLimit": 260},
    }
    tooltip = [
        {"field": name, "type": "nominal"} for name in ("policy", "late_from", "days", "what", "concerns", "certainty")
    ]
    days = {"field": "days", "type": "quantitative", "axis": {"title": "days until it is late"}}
    level = {
        "field": "level",
        "type": "nominal",
        "scale": {"domain": ["must", "should"], "range": ["#b9404f", "#d6a13d"]},
    }
    return {
        "$schema": _VEGA_LITE,
        "data": {"values": rows},
        "transform": [
            {
                "calculate": "ceil((datetime(datum.year, datum.month - 1, datum.day) - now()) / 86400000)",
                "as": "days",
            }
        ],
        "encoding": {"y": shown, "x": days, "tooltip": tooltip},
        "layer": [
            {"mark": "bar", "encoding": {"color": level}},
            {
                "mark": {"type": "text", "align": "left", "dx": 3},
                "encoding": {"text": {"field": "days", "type": "quantitative"}},
            },
        ],
    }


def _deadlines(policies: Iterable[Policy]) -> Iterator[Json]:
    """Deadlines that a requirement on SAs rests on; those for organisations show in no capture."""
    for policy in policies:
        found = {d.id: d for requirement in policy.requirements for d in requirement.deadlines if d.level != "plan"}
        for deadline in found.values():
            late: date = deadline.begins
            yield {
                "name": f"{policy.id}: {deadline.id}",
                "policy": f"{policy.issuer}: {policy.title}",
                "late_from": late.isoformat(),
                "year": late.year,
                "month": late.month,
                "day": late.day,
                "level": deadline.level,
                "what": deadline.what,
                "concerns": deadline.only or "all of its scope",
                "certainty": deadline.unsure or str(deadline.certainty),
            }
