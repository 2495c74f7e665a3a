"""Saved objects for Kibana, in the form of its own exports: a data view, panels and a dashboard.

Their form is that of Kibana 8.9, which later versions migrate when they import it. They were not opened in a Kibana;
the tests check that they are consistent, that every field is in our mapping, and that servers answer what panels ask.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from pqaudit import __version__
from pqaudit.elastic.indices import PATTERN
from pqaudit.elastic.panels import Panel, all_panels
from pqaudit.elastic.server import Json
from pqaudit.policy.model import Policy

DATA_VIEW: Final = "pqaudit-sa"
DASHBOARD: Final = "pqaudit-overview"

_CORE: Final = "8.8.0"  # the last change of what all kinds of objects share
_VERSIONS: Final = {"index-pattern": "8.0.0", "visualization": "8.5.0", "dashboard": "8.9.0"}
_INDEX_REFERENCE: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"


def export_lines(policies: Iterable[Policy]) -> Iterator[str]:
    """The objects, one JSON text a line without its end, and the summary that ends an export.

    Args:
        policies: whose deadlines the dashboard shows.
    """
    count = 0
    for saved in saved_objects(policies):
        count += 1
        yield json.dumps(saved, separators=(",", ":"), sort_keys=True)
    summary = {"excludedObjects": [], "excludedObjectsCount": 0, "exportedCount": count}
    yield json.dumps({**summary, "missingRefCount": 0, "missingReferences": []}, separators=(",", ":"))


def saved_objects(policies: Iterable[Policy]) -> Iterator[Json]:
    """The saved objects; what others refer to comes first."""
    panels = all_panels(policies, __version__)
    yield _data_view()
    for panel in panels:
        yield _visualization(panel)
    yield _dashboard(panels)


def _saved(kind: str, id_: str, attributes: Json, references: list[Json]) -> Json:
    return {
        "type": kind,
        "id": id_,
        "attributes": attributes,
        "references": references,
        "managed": False,
        "coreMigrationVersion": _CORE,
        "typeMigrationVersion": _VERSIONS[kind],
    }


def _reference(name: str, kind: str, id_: str) -> Json:
    return {"name": name, "type": kind, "id": id_}


def _data_view() -> Json:
    attributes = {
        "title": PATTERN,
        "name": "pqaudit IKE SAs",
        "timeFieldName": "@timestamp",
        "fields": "[]",  # Kibana reads them from the mapping
        "fieldAttrs": "{}",
        "fieldFormatMap": "{}",
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
    }
    return _saved("index-pattern", DATA_VIEW, attributes, [])


def _visualization(panel: Panel) -> Json:
    source: Json = {"query": {"query": panel.query, "language": "kuery"}, "filter": []}
    references = []
    if panel.searches:
        source["indexRefName"] = _INDEX_REFERENCE
        references.append(_reference(_INDEX_REFERENCE, "index-pattern", DATA_VIEW))
    title = f"pqaudit: {panel.title}"
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "visState": json.dumps({"title": title, **panel.state}),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    return _saved("visualization", _panel_id(panel), attributes, references)


def _dashboard(panels: Iterable[Panel]) -> Json:
    placed, references = [], []
    for panel in panels:
        x, y, width, height = panel.place
        placed.append(
            {
                "type": "visualization",
                "title": panel.title,
                "panelIndex": panel.id,
                "panelRefName": f"panel_{panel.id}",
                "gridData": {"x": x, "y": y, "w": width, "h": height, "i": panel.id},
                "embeddableConfig": {"enhancements": {}},
            }
        )
        references.append(_reference(f"{panel.id}:panel_{panel.id}", "visualization", _panel_id(panel)))
    attributes = {
        "title": "pqaudit: post-quantum state of IPsec tunnels",
        "description": "What passive captures show of IKE SAs, as pqaudit judged them.",
        "version": 1,
        "panelsJSON": json.dumps(placed),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": "now-1y",
        "timeTo": "now",
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
    }
    return _saved("dashboard", DASHBOARD, attributes, references)


def _panel_id(panel: Panel) -> str:
    return f"pqaudit-{panel.id}"
