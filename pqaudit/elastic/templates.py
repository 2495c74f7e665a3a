"""The layout of indices as data: component templates, the index template, and the type of every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml

from pqaudit import __version__
from pqaudit.elastic.indices import PATTERN
from pqaudit.elastic.server import Json

TEMPLATE: Final = "pqaudit-sa"
SETTINGS_COMPONENT: Final = "pqaudit-settings-1"

# Above the templates that Elasticsearch brings along (100) and below what a user puts on top.
_PRIORITY = 200


@dataclass(frozen=True, slots=True)
class Layout:
    """All that a server must know to store findings.

    Attributes:
        revision: rises with every change.
        settings: of indices, in the component template ``pqaudit-settings-1``.
        fields: type by full name, for each component template that has mappings.
        types: definition of each type.
    """

    revision: int
    settings: Mapping[str, Json]
    fields: Mapping[str, Mapping[str, str]]
    types: Mapping[str, Json]

    @property
    def components(self) -> dict[str, Json]:
        """Body of each component template by name."""
        bodies = {name: {"mappings": self._mapping(fields)} for name, fields in self.fields.items()}
        bodies[SETTINGS_COMPONENT] = {"settings": {"index": dict(self.settings)}}
        return {name: {"version": self.revision, "_meta": self._meta, "template": bodies[name]} for name in bodies}

    @property
    def index_template(self) -> dict[str, Json]:
        """Body of the index template ``pqaudit-sa``."""
        return {
            "version": self.revision,
            "_meta": self._meta,
            "index_patterns": [PATTERN],
            "priority": _PRIORITY,
            "composed_of": list(self.components),
            "template": {},
        }

    @property
    def mapping(self) -> dict[str, Json]:
        """The mapping of an index: what the templates give together."""
        every = {name: kind for fields in self.fields.values() for name, kind in fields.items()}
        return self._mapping(every)

    @property
    def _meta(self) -> dict[str, Json]:
        return {"managed_by": "pqaudit", "pqaudit": __version__, "revision": self.revision}

    def _mapping(self, fields: Mapping[str, str]) -> dict[str, Json]:
        # Each part names the revision: a user's own index template may be composed of them too.
        whole: dict[str, Json] = {"dynamic": False, "_meta": self._meta, "properties": {}}
        for name, kind in fields.items():
            *parents, last = name.split(".")
            inside = whole
            for parent in parents:
                inside = inside["properties"].setdefault(parent, {})
                inside.setdefault("properties", {})
            inside["properties"][last] = dict(self.types[kind])
        return whole


@cache
def load_layout() -> Layout:
    """The layout that belongs to this version of pqaudit."""
    text = (files("pqaudit.elastic") / "layout.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return Layout(data["revision"], data["settings"], data["components"], data["types"])
