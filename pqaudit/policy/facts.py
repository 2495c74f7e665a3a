"""What a finding says of an SA, as far as policies ask. One that is damaged says less, and never something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pqaudit.finding.document import SCHEMA_VERSION
from pqaudit.rules.registry import Method, Registry

IKEV1 = "1.0"
_UNDETERMINED = "undetermined"
_SEEN_TO_BE_SELECTED = ("selected", "executed")
# Exchanges that run only under an SA that both sides have.
_UNDER_AN_SA = {
    IKEV1: ("QUICK_MODE", "TRANSACTION"),
    "2.0": ("IKE_AUTH", "CREATE_CHILD_SA", "INFORMATIONAL", "IKE_FOLLOWUP_KE"),
}
_WEAK = "weak-"
_DAMAGED = "damaged-finding"


@dataclass(frozen=True, slots=True)
class Choice:
    """A selected algorithm.

    Attributes:
        shown: as a report shows it.
        name: as the registry names it for IKEv2; None where the number is not registered.
        key_bits: length of the key, or the strength where that is less; None where unknown.
        aead: it protects integrity too.
    """

    shown: str
    name: str | None
    key_bits: int | None = None
    aead: bool = False


@dataclass(frozen=True, slots=True)
class SaFacts:
    """One SA.

    Attributes:
        main, additional: the selected key exchanges, None where they are not known.
        in_use: exchanges were seen that run only under an established SA.
        rekeyed: it is taken for the rekey of an earlier SA.
        assurance: of the finding.
        undetermined: the verdict is ``undetermined``, or missing.
        why: reason of the verdict.
        deviations: None where they are not known.
        weak: field and name of each weak choice, None where they are not known.
        responsibility: who has to act, as the finding has it.
    """

    version: str | None
    main: Method | None
    additional: tuple[Method, ...] | None
    encryption: Choice | None
    prf: Choice | None
    integrity: Choice | None
    in_use: bool
    rekeyed: bool
    assurance: str
    undetermined: bool
    why: str
    deviations: tuple[str, ...] | None
    weak: tuple[tuple[str, str], ...] | None
    responsibility: str | None

    @property
    def certain(self) -> bool:
        """What is selected is known, so that it can fail."""
        return self.assurance in (*_SEEN_TO_BE_SELECTED, "contradicted")

    @property
    def passable(self) -> bool:
        """What is selected may be said to meet something."""
        whole = self.version in _UNDER_AN_SA and self.weak is not None and self.deviations is not None
        return whole and self.assurance in _SEEN_TO_BE_SELECTED and not self.undetermined

    @property
    def negotiated(self) -> bool:
        """The SA shows what was negotiated, so that it can stand for the state of a tunnel."""
        return self.certain and not self.undetermined


def read_facts(finding: Any, registry: Registry) -> SaFacts:
    """The facts in a finding; whatever it holds, this does not raise."""
    own = _below(finding, "pqaudit")
    if own.get("schema_version") != SCHEMA_VERSION:
        own = {}  # the fields of another version may mean something else
    selected = _below(own, "selected")
    version = _text(_below(own, "ike").get("version"))
    v1 = version == IKEV1
    observed = _below(_below(own, "observed"), "exchanges")
    encryption = _below(selected, "encryption")
    cipher = _number(encryption.get("id"))
    prf = _number(_below(selected, "prf").get("id"))
    integrity = _number(_below(selected, "integrity").get("id"))
    return SaFacts(
        version,
        _method(selected.get("key_exchange"), registry),
        _methods(selected.get("additional_key_exchanges"), registry),
        None if cipher is None else _cipher(cipher, _number(encryption.get("key_bits")), v1, registry),
        None if prf is None else _prf(prf, v1, registry),
        None if integrity is None or v1 else _registered(registry.integrity(integrity).name, "integrity", registry),
        any((_number(observed.get(name)) or 0) > 0 for name in _UNDER_AN_SA.get(version, ())),
        isinstance(_below(own, "related").get("probably_rekeyed_from"), dict),
        _text(own.get("assurance")),
        _text(own.get("verdict")) in ("", _UNDETERMINED),
        _text(own.get("reason")) or _DAMAGED,
        _identifiers(own.get("deviations")),
        _weak_choices(own.get("weaknesses")),
        _text(own.get("responsibility")) or None,
    )


def _method(value: Any, registry: Registry) -> Method | None:
    number = _number(value.get("id")) if isinstance(value, dict) else None
    return None if number is None else registry.method(number)


def _methods(value: Any, registry: Registry) -> tuple[Method, ...] | None:
    if not isinstance(value, list):
        return None
    found = [_method(entry, registry) for entry in value]
    known = tuple(method for method in found if method is not None)
    return known if len(known) == len(found) else None


def _cipher(number: int, key_bits: int | None, v1: bool, registry: Registry) -> Choice:
    same = registry.v1_encryption_as_v2(number) if v1 else number
    name = registry.v1_encryption(number) if v1 else registry.encryption(number).name
    if same is None:
        return Choice(name, None, key_bits)
    cipher = registry.encryption(same)
    bits = cipher.key_bits if key_bits is None else key_bits
    if bits is not None and cipher.security_bits is not None:
        bits = min(bits, cipher.security_bits)
    registered = cipher.name if cipher.name in registry.assigned("encryption") else None
    shown = name if key_bits is None else f"{name} with {key_bits} bits"
    return Choice(shown, registered, bits, cipher.icv_octets is not None)


def _prf(number: int, v1: bool, registry: Registry) -> Choice:
    if not v1:
        return _registered(registry.prf(number), "prf", registry)
    same = registry.v1_hash_as_v2(number)
    name = registry.v1_hash(number)
    return Choice(name, None) if same is None else Choice(name, _registered(registry.prf(same), "prf", registry).name)


def _registered(name: str, kind: str, registry: Registry) -> Choice:
    return Choice(name, name if name in registry.assigned(kind) else None)


def _identifiers(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    found = tuple(_text(entry.get("id")) for entry in value if isinstance(entry, dict))
    return found if len(found) == len(value) else None


def _weak_choices(value: Any) -> tuple[tuple[str, str], ...] | None:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return None
    return tuple(
        (_text(entry.get("id")).removeprefix(_WEAK).replace("-", "_"), _text(entry.get("what"))) for entry in value
    )


def _below(value: Any, name: str) -> dict[str, Any]:
    below = value.get(name) if isinstance(value, dict) else None
    return below if isinstance(below, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFF else None
