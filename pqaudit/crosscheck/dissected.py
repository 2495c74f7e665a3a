"""What tshark reads, taken out of the ``isakmp`` layers that pyshark hands over.

Values are the raw octets that tshark shows for a field (``value`` of its PDML), never its names for them, so that a
number it has no name for compares as well as any other. pyshark flattens the tree of fields; the nesting of payloads,
proposals and transforms is recovered from the octets each of them covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pqaudit.crosscheck.reading import Fields, Reading, Value
from pqaudit.ike.numbers import MAJOR_IKEV1, Payload, V1Payload

LAYER = "isakmp"
_PROPOSAL, _TRANSFORM = 2, 3  # as tshark numbers the substructures (RFC 2408 section 3.1)
# The marks that tshark puts after what it gave up.
_STATES = {"_ws.malformed": "malformed", "_ws.short": "short"}
_V1_ATTRIBUTES = (
    ("encryption", "encryption_algorithm"),
    ("hash", "hash_algorithm"),
    ("group", "group_description"),
    ("key_bits", "key_length"),
)


class Layer(Protocol):
    """The part of a pyshark layer that is used."""

    @property
    def layer_name(self) -> str:
        """Name of the protocol."""

    @property
    def field_names(self) -> list[str]:
        """Names of the fields without the protocol."""

    def get_field(self, name: str) -> Any:
        """All fields of a name, or None."""


@dataclass(slots=True)
class _Item:
    """One field of tshark: where it stands in the packet, and its octets."""

    start: int
    stop: int
    octets: bytes
    shown: str


@dataclass(slots=True)
class _Node:
    """A payload, proposal or transform, with what is nested in it."""

    type: int
    start: int
    stop: int
    inside: list[_Node] = field(default_factory=list)

    def holds(self, item: _Item) -> bool:
        # An empty field (data of a notify that has none) stands where the next payload begins.
        if item.start == item.stop:
            return self.start < item.start <= self.stop
        return self.start <= item.start < self.stop


class _Fields:
    """Look-up of the fields of one layer by name and place."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._known: dict[str, list[_Item]] = {}
        # Each kind of transform has a field of its own for its number; newer versions add some.
        self.transform_ids = [name for name in layer.field_names if name == "tf_id" or name.startswith("tf_id_")]

    def all(self, name: str) -> list[_Item]:
        if name not in self._known:
            found = self._layer.get_field(name if name in self.transform_ids else f"{LAYER}.{name}")
            self._known[name] = [] if found is None else [_item(each) for each in found.all_fields]
        return self._known[name]

    def within(self, names: str | Sequence[str], node: _Node) -> _Item | None:
        """The first field of one of these names inside a node, in no other node that is nested in it."""
        for name in (names,) if isinstance(names, str) else names:
            for item in self.all(name):
                if node.holds(item) and not any(deeper.holds(item) for deeper in node.inside):
                    return item
        return None

    def number(self, names: str | Sequence[str], node: _Node) -> int | None:
        item = self.within(names, node)
        return None if item is None or not item.octets else int.from_bytes(item.octets, "big")

    def text(self, names: str | Sequence[str], node: _Node) -> str:
        item = self.within(names, node)
        return "" if item is None else item.octets.hex()

    def header(self, name: str) -> int | None:
        items = self.all(name)
        return int.from_bytes(items[0].octets, "big") if items and items[0].octets else None

    def header_text(self, name: str) -> str | None:
        items = self.all(name)
        return items[0].octets.hex() if items else None

    def nodes(self) -> list[_Node]:
        """The payloads at the top, with proposals and transforms below."""
        top: list[_Node] = []
        open_nodes: list[_Node] = []
        for item in self.all("typepayload"):
            node = _Node(_shown_number(item), item.start, item.stop)
            while open_nodes and not open_nodes[-1].start <= node.start < open_nodes[-1].stop:
                open_nodes.pop()
            (open_nodes[-1].inside if open_nodes else top).append(node)
            open_nodes.append(node)
        return top


def dissected_readings(frame: int, layers: Iterable[Layer]) -> list[Reading]:
    """The IKE messages that tshark sees in one frame, in order."""
    readings: list[Reading] = []
    path: list[str] = []
    state = ""
    for layer in layers:
        name = layer.layer_name
        if name == LAYER:
            readings.append(_reading(frame, layer, {"inside": " ".join(path)}))
        state = _STATES.get(name, state)
        path.append(name)
    # tshark marks a fault at the end of the frame: it is that of the last message.
    if readings and state:
        readings[-1].about["state"] = state
    return readings


def _reading(frame: int, layer: Layer, about: dict[str, Value]) -> Reading:
    found = _Fields(layer)
    version = found.header("version")
    fields: Fields = {
        # Wireshark 1.6.5 still calls them cookies.
        "initiator_spi": found.header_text("ispi") or found.header_text("icookie"),
        "responder_spi": found.header_text("rspi") or found.header_text("rcookie"),
        "next_payload": found.header("nextpayload"),
        "version": version,
        "exchange_type": found.header("exchangetype"),
        "flags": found.header("flags"),
        "message_id": found.header("messageid"),
        "length": found.header("length"),
    }
    nodes = found.nodes()
    if version is not None and version >> 4 == MAJOR_IKEV1:
        _v1(found, nodes, fields)
        return Reading(frame, fields, about=about)
    for index, node in enumerate(nodes):
        _payload(found, node, f"payload[{index}]", fields)
    return Reading(frame, fields, tuple(node.type for node in nodes), about)


def _payload(found: _Fields, node: _Node, path: str, fields: Fields) -> None:
    match node.type:
        case Payload.SA:
            _proposals(found, node, path, fields)
            return
        case Payload.KE:
            fields[f"{path}.ke.method"] = found.number("key_exchange.dh_group", node)
        case Payload.NOTIFY:
            fields[f"{path}.notify.type"] = found.number("notify.msgtype", node)
            fields[f"{path}.notify.protocol"] = found.number("notify.protoid", node)
            fields[f"{path}.notify.spi"] = found.text("spi", node)
            fields[f"{path}.notify.data"] = found.text("notify.data", node)
            return
        case Payload.VENDOR_ID:
            fields[f"{path}.vendor_id"] = found.text(("vid_bytes", "vid_string"), node)
            return
        case Payload.DELETE:
            fields[f"{path}.delete.protocol"] = found.number("delete.protoid", node)
            return
        case Payload.SK | Payload.SKF:
            fields[f"{path}.inner_type"] = found.number("nextpayload", node)
            if node.type == Payload.SKF:
                fields[f"{path}.fragment.number"] = found.number("frag.number", node)
                fields[f"{path}.fragment.total"] = found.number("frag.total", node)
    fields[f"{path}.length"] = found.number("payloadlength", node)


def _proposals(found: _Fields, payload: _Node, path: str, fields: Fields) -> None:
    proposals = [node for node in payload.inside if node.type == _PROPOSAL]
    fields[f"{path}.proposals"] = len(proposals)
    for number, proposal in enumerate(proposals):
        own = f"{path}.proposal[{number}]"
        transforms = [node for node in proposal.inside if node.type == _TRANSFORM]
        fields[f"{own}.number"] = found.number("prop.number", proposal)
        fields[f"{own}.protocol"] = found.number("prop.protoid", proposal)
        fields[f"{own}.spi"] = found.text("spi", proposal)
        fields[f"{own}.transforms"] = len(transforms)
        for place, transform in enumerate(transforms):
            fields[f"{own}.transform[{place}].type"] = found.number("tf.type", transform)
            fields[f"{own}.transform[{place}].id"] = found.number(found.transform_ids, transform)
            fields[f"{own}.transform[{place}].key_length"] = found.number("ike2.attr.key_length", transform)


def _v1(found: _Fields, nodes: list[_Node], fields: Fields) -> None:
    transforms = [
        transform
        for payload in nodes
        if payload.type == V1Payload.SA
        for proposal in payload.inside
        for transform in proposal.inside
        if transform.type == _TRANSFORM
    ]
    fields["transforms"] = len(transforms)
    for place, transform in enumerate(transforms):
        for name, attribute in _V1_ATTRIBUTES:
            fields[f"transform[{place}].{name}"] = found.number(f"ike.attr.{attribute}", transform)
    vendor_ids = [node for node in nodes if node.type == V1Payload.VENDOR_ID]
    fields["vendor_ids"] = len(vendor_ids)
    for place, node in enumerate(vendor_ids):
        fields[f"vendor_id[{place}]"] = found.text(("vid_bytes", "vid_string"), node)


def _item(each: Any) -> _Item:
    start = int(each.pos or 0)
    value = each.raw_value or ""
    try:
        octets = bytes.fromhex(value if len(value) % 2 == 0 else f"0{value}")
    except ValueError:
        octets = b""
    return _Item(start, start + int(each.size or 0), octets, each.show or "")


def _shown_number(item: _Item) -> int:
    try:
        return int(item.shown, 0)
    except ValueError:
        return -1
