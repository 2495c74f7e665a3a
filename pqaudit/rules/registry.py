"""Numbers to names and properties, from ``rules/registries``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pqaudit.rules.capability import Weakness
from pqaudit.rules.errors import RulesError
from pqaudit.rules.source import read_yaml


@dataclass(frozen=True, slots=True)
class Method:
    """A key exchange method (transform type 4 and additional key exchanges).

    ``kind`` is ``none``, ``classical``, ``ml-kem``, ``private-use`` or ``unassigned``. ``public_octets`` and
    ``ciphertext_octets`` are the lengths of the initiator's and the responder's KE data, None where unknown.
    ``security_bits`` is the classical strength, None where unknown. ``nist_category`` is NIST's category of security
    against quantum computers, None where it has none.
    """

    id: int
    name: str
    short: str
    kind: str
    public_octets: int | None
    ciphertext_octets: int | None
    security_bits: int | None = None
    nist_category: int | None = None


@dataclass(frozen=True, slots=True)
class PrivateMethod:
    """A private-use number as one vendor used it; only meaningful together with that vendor's fingerprint."""

    id: int
    name: str
    vendors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cipher:
    """An encryption or integrity transform with what its payload overhead depends on; None where unknown.

    ``security_bits`` stands only where the strength is less than the key is long.
    """

    id: int
    name: str
    key_bits: int | None
    iv_octets: int | None
    block_octets: int | None
    icv_octets: int | None
    security_bits: int | None = None


@dataclass(frozen=True, slots=True)
class VendorId:
    """A vendor ID payload that is known. ``vendor`` is None for a mere capability.

    ``version_encoding`` and ``version_offset`` say where in the payload a version stands, None where it has none.
    """

    octets: bytes
    prefix: bool
    name: str
    vendor: str | None
    version_encoding: str | None = None
    version_offset: int = 0

    def version(self, payload: bytes) -> str | None:
        """The version that the payload tells, or None. Text is cut to 64 characters; what is no ASCII is left out."""
        octets = payload[self.version_offset :]
        if self.version_encoding is None or not octets:
            return None
        if self.version_encoding == "ascii":
            text = "".join(chr(octet) for octet in octets[:64] if 0x20 <= octet < 0x7F)
            return text.strip(" -") or None
        size, count = _VERSION_NUMBERS[self.version_encoding]
        if len(octets) < size * count:
            return None
        return ".".join(str(int.from_bytes(octets[at : at + size], "big")) for at in range(0, size * count, size))


_VERSION_NUMBERS = {"u32be": (4, 1), "u16be-pair": (2, 2)}


@dataclass(frozen=True, slots=True)
class Product:
    """What is known of a product: its post-quantum key exchange, and how certain that is (``read`` to ``unsure``)."""

    name: str
    post_quantum: str
    source: str
    certainty: str


class Registry:
    """All registries."""

    def __init__(self, root: Traversable, override: Path | None = None) -> None:
        def load(name: str) -> dict[str, Any]:
            return read_yaml(root, f"registries/{name}.yaml", override)

        try:
            self._load(load)
        except (KeyError, TypeError, ValueError) as error:
            raise RulesError(f"a registry is damaged: {type(error).__name__} {error}") from error

    def _load(self, load: Any) -> None:
        methods = load("key_exchange_methods")
        self._methods = {
            entry["id"]: Method(
                entry["id"],
                entry["name"],
                entry.get("short", entry["name"]),
                "unassigned" if entry["class"] == "reserved" else entry["class"],
                entry.get("public_octets"),
                entry.get("ciphertext_octets"),
                entry.get("security_bits"),
                entry.get("nist_category"),
            )
            for entry in methods["methods"]
        }
        # Methods that should not stand in IKE_SA_INIT over UDP for their size.
        self.large_over_udp = frozenset(e["id"] for e in methods["methods"] if e.get("should_not_over_udp"))
        self._ranges = [(r["first"], r["last"], r["class"]) for r in methods["ranges"]]
        self.private_methods = tuple(
            PrivateMethod(e["id"], e["name"], tuple(e.get("vendor_fingerprints") or ())) for e in methods["private_use"]
        )
        transforms = load("transforms")
        self.transform_types: dict[int, str] = _names(transforms["transform_types"])
        self._encryption = _ciphers(transforms["encryption"])
        self._integrity = _ciphers(transforms["integrity"])
        self._prf = _names(transforms["prf"])
        # Requirement levels, by kind and number.
        self.statuses: dict[tuple[str, int], Weakness] = {
            (kind, e["id"]): Weakness(e["status"]["level"], e["status"].get("source", ""))
            for kind, entries in (
                ("key_exchange", methods["methods"]),
                ("encryption", transforms["encryption"]),
                ("prf", transforms["prf"]),
                ("integrity", transforms["integrity"]),
            )
            for e in entries
            if e.get("status")
        }
        self._assigned = {
            "key_exchange": frozenset(m.name for m in self._methods.values() if m.kind in ("classical", "ml-kem")),
            "encryption": frozenset(cipher.name for cipher in self._encryption.values()),
            "prf": frozenset(self._prf.values()),
            "integrity": frozenset(cipher.name for cipher in self._integrity.values()),
        }
        self._kinds = {method.name: method.kind for method in self._methods.values()}
        self._exchanges = _names(load("exchange_types")["exchange_types"])
        self._payloads = _names(load("payload_types")["payload_types"])
        self._notifies = _names(load("notifies")["notifies"])
        v1 = load("ikev1")
        self._v1_exchanges = _names(v1["exchange_types"])
        self._v1_encryption = _names(v1["encryption"])
        self._v1_hash = _names(v1["hash"])
        self._v1_encryption_as_v2 = {e["id"]: e["ikev2"] for e in v1["encryption"] if "ikev2" in e}
        self._v1_hash_as_v2 = {e["id"]: e["ikev2"] for e in v1["hash"] if "ikev2" in e}
        vendors = load("vendor_ids")
        self._products = tuple(
            Product(p["vendor"], p["post_quantum"], p["source"], p["certainty"]) for p in vendors["products"]
        )
        self._vendor_ids = sorted(
            (
                VendorId(
                    bytes.fromhex(e["hex"]),
                    e["match"] == "prefix",
                    e["name"],
                    e.get("vendor"),
                    e.get("version_from", {}).get("encoding"),
                    e.get("version_from", {}).get("offset", 0),
                )
                for e in vendors["vendor_ids"]
            ),
            key=lambda v: (-len(v.octets), v.prefix),
        )

    def method(self, number: int) -> Method:
        """The key exchange method with that number; one is made for numbers without an entry."""
        known = self._methods.get(number)
        if known is not None:
            return known
        kind = next((kind for first, last, kind in self._ranges if first <= number <= last), "unassigned")
        name = f"{kind}-{number}"
        return Method(number, name, name, kind, None, None)

    def method_number(self, name: str) -> int | None:
        """The number of the method that has a name or short name, in any case; None where none has."""
        wanted = name.casefold()
        for method in self._methods.values():
            if wanted in (method.name.casefold(), method.short.casefold()):
                return method.id
        # Names that are made for numbers without an entry, private-use-1081 for one.
        tail = wanted.rpartition("-")[2]
        number = int(tail) if tail.isascii() and tail.isdigit() and len(tail) <= 5 else None
        return number if number is not None and self.method(number).name == wanted else None

    def encryption(self, number: int) -> Cipher:
        """An encryption algorithm."""
        return self._encryption.get(number) or Cipher(number, f"unassigned-{number}", None, None, None, None)

    def integrity(self, number: int) -> Cipher:
        """An integrity algorithm."""
        return self._integrity.get(number) or Cipher(number, f"unassigned-{number}", None, None, None, None)

    def prf(self, number: int) -> str:
        """Name of a pseudorandom function."""
        return self._prf.get(number, f"unassigned-{number}")

    def exchange(self, number: int, version: int = 2) -> str:
        """Name of an exchange type."""
        names = self._v1_exchanges if version == 1 else self._exchanges
        return names.get(number, f"exchange-{number}")

    def payload(self, number: int) -> str:
        """Name of a payload type."""
        return self._payloads.get(number, f"payload-{number}")

    def notify(self, number: int) -> str:
        """Name of a notify type."""
        return self._notifies.get(number, f"notify-{number}")

    def v1_encryption(self, number: int) -> str:
        """Name of an IKEv1 encryption algorithm."""
        return self._v1_encryption.get(number, f"unassigned-{number}")

    def v1_hash(self, number: int) -> str:
        """Name of an IKEv1 hash algorithm."""
        return self._v1_hash.get(number, f"unassigned-{number}")

    def v1_encryption_as_v2(self, number: int) -> int | None:
        """The IKEv2 number of the same cipher, or None where IKEv2 has none."""
        return self._v1_encryption_as_v2.get(number)

    def v1_hash_as_v2(self, number: int) -> int | None:
        """The IKEv2 number of the pseudorandom function made of that hash, or None where IKEv2 has none."""
        return self._v1_hash_as_v2.get(number)

    def assigned(self, kind: str) -> frozenset[str]:
        """Names of all that is registered of ``key_exchange``, ``encryption``, ``prf`` or ``integrity``."""
        return self._assigned[kind]

    def kind_of(self, name: str) -> str | None:
        """The kind of the key exchange method with that name, None where there is none."""
        return self._kinds.get(name)

    def vendor_id(self, octets: bytes) -> VendorId | None:
        """The longest known vendor ID that matches, or None."""
        for known in self._vendor_ids:
            if octets.startswith(known.octets) if known.prefix else octets == known.octets:
                return known
        return None

    def vendor(self, name: str) -> str:
        """A vendor's name as findings carry it, from one in any case; what is unknown stays as it is."""
        known = {vendor_id.vendor.casefold(): vendor_id.vendor for vendor_id in self._vendor_ids if vendor_id.vendor}
        return known.get(name.casefold(), name)

    def products(self, vendor: str) -> tuple[Product, ...]:
        """Products of a vendor, by the vendor's word in front of their name."""
        return tuple(p for p in self._products if p.name == vendor or p.name.startswith(f"{vendor} "))

    def probable_names(self, number: int, vendors: frozenset[str]) -> tuple[str, ...]:
        """Names that these vendors gave a private-use number; without a vendor it means nothing."""
        found = (p.name for p in self.private_methods if p.id == number and not vendors.isdisjoint(p.vendors))
        return tuple(dict.fromkeys(found))


def _names(entries: list[dict[str, Any]]) -> dict[int, str]:
    return {entry["id"]: entry["name"] for entry in entries}


def _ciphers(entries: list[dict[str, Any]]) -> dict[int, Cipher]:
    found = {}
    for e in entries:
        bits = e.get("key_bits")
        found[e["id"]] = Cipher(
            e["id"],
            e["name"],
            bits if isinstance(bits, int) else None,
            e.get("iv_octets"),
            e.get("block_octets"),
            e.get("icv_octets"),
            e.get("security_bits"),
        )
    return found
