"""What strongSwan says of its own IKE_SAs: the expected values of tests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# IANA's numbers of the key exchange methods, by strongSwan's names for them.
METHODS = {
    "MODP_2048": 14, "MODP_3072": 15, "MODP_4096": 16, "ECP_256": 19, "ECP_384": 20, "ECP_521": 21,
    "CURVE_25519": 31, "CURVE_448": 32, "ML_KEM_512": 35, "ML_KEM_768": 36, "ML_KEM_1024": 37,
}  # fmt: skip

# The number in front is of the IKE_SA that the daemon works on, which is not always the one that the text names.
_LINE = re.compile(r"^\d+\[[A-Z]+\] <(?:[^|>]*\|)?(?P<number>\d+)> (?P<text>.*)$", re.MULTILINE)
_STATE = re.compile(r"IKE_SA \S+\[(?P<number>\d+)\] state change: (?P<before>\w+) => (?P<after>\w+)")
_SPIS = re.compile(r"checkin IKEv2 SA \S+\[(?P<number>\d+)\] with SPIs (?P<i>[0-9a-f]{16})_i (?P<r>[0-9a-f]{16})_r")
_REKEYED = re.compile(r"IKE_SA \S+\[(?P<number>\d+)\] rekeyed between")
_SELECTED = re.compile(r"selected proposal: IKE:(?P<proposal>\S+)")
_PPK = re.compile(r"using PPK for PPK_ID")

_LISTED = re.compile(r"\w+ \{uniqueid=(?P<number>\d+) version=2 state=(?P<state>\w+) (?P<rest>[^{}]*)")
_UNKNOWN_SPI = "0" * 16


@dataclass(frozen=True)
class Sa:
    """One IKE_SA. ``proposal`` is the selected one in strongSwan's words, empty where none was.

    A responder's SPI that the daemon did not learn is empty. ``replaces`` has the SPIs of the IKE_SA that this one
    replaced in a rekeying. Both sides and both sources, log and list, give equal objects.
    """

    initiator_spi: str
    responder_spi: str
    proposal: tuple[str, ...] = ()
    established: bool = True
    ppk: bool = False
    replaces: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def key_exchanges(self) -> list[int]:
        """Numbers of the selected methods: that of IKE_SA_INIT first, then the additional ones in slot order."""
        main = [name for slot, name in self._methods() if slot == 0]
        return [METHODS[name] for name in main] + list(self.additional.values())

    @property
    def additional(self) -> dict[int, int]:
        """Numbers of the selected additional methods by slot."""
        return {slot: METHODS[name] for slot, name in sorted(self._methods()) if slot}

    def _methods(self) -> Iterator[tuple[int, str]]:
        """Slots, 0 for the first exchange, and names. In strongSwan's order they stand last."""
        after_prf = False
        for part in self.proposal:
            if after_prf:
                found = re.fullmatch(r"KE(\d)_(.+)", part)
                yield (int(found[1]), found[2]) if found else (0, part)
            after_prf = after_prf or part.startswith("PRF_")


@dataclass
class _Seen:
    """What a log has said so far of one IKE_SA."""

    spis: tuple[str, str] | None = None
    proposal: tuple[str, ...] = ()
    established: bool = False
    ppk: bool = False
    origin: int | None = None  # number of the IKE_SA under which this one was made
    rekeyed: bool = False


def read_sas(log: str) -> list[Sa]:
    """The IKE_SAs of which a log tells, in the order in which they begin there. Those without SPIs are left out."""
    sas: dict[int, _Seen] = {}

    def of(number: str) -> _Seen:
        return sas.setdefault(int(number), _Seen())

    for line in _LINE.finditer(log):
        own, text = line["number"], line["text"]
        if found := _STATE.search(text):
            sa = of(found["number"])
            if found["before"] == "CREATED" and found["number"] != own:
                sa.origin = int(own)
            sa.established = sa.established or found["after"] == "ESTABLISHED"
        elif found := _SPIS.search(text):
            responder = "" if found["r"] == _UNKNOWN_SPI else found["r"]
            of(found["number"]).spis = (found["i"], responder)
        elif found := _REKEYED.search(text):
            of(found["number"]).rekeyed = True
        elif found := _SELECTED.search(text):
            # A responder tells of the new proposal under the number of the old IKE_SA.
            made_here = [each for each in sas.values() if each.origin == int(own) and not each.proposal]
            (made_here[-1] if made_here else of(own)).proposal = tuple(found["proposal"].split("/"))
        elif _PPK.search(text):
            of(own).ppk = True
    return [_made(sas, each) for each in sas.values() if each.spis is not None]


def _made(sas: dict[int, _Seen], seen: _Seen) -> Sa:
    assert seen.spis is not None
    old = sas.get(seen.origin) if seen.origin is not None and seen.rekeyed else None
    ppk, before = seen.ppk, old
    # The keys of a rekeyed IKE_SA come from those of the old one, and so from its PPK.
    while before is not None and not ppk:
        ppk, before = before.ppk, sas.get(before.origin) if before.origin is not None else None
    return Sa(*seen.spis, seen.proposal, seen.established, ppk, old.spis if old is not None else None)


def read_listed(raw: str) -> list[Sa]:
    """The established IKE_SAs in what ``swanctl --list-sas --raw`` printed."""
    found: list[Sa] = []
    for match in _LISTED.finditer(raw):
        values = dict(part.split("=", 1) for part in match["rest"].split() if "=" in part)
        if match["state"] == "ESTABLISHED":
            found.append(
                Sa(values["initiator-spi"], values["responder-spi"], _proposal(values), ppk=values.get("ppk") == "yes")
            )
    return found


def read_numbers(raw: str) -> list[str]:
    """Numbers of all IKE_SAs in what ``swanctl --list-sas --raw`` printed."""
    return [match["number"] for match in _LISTED.finditer(raw)]


def _proposal(values: dict[str, str]) -> tuple[str, ...]:
    """Algorithms of a list, named and ordered as in a log."""
    cipher = "_".join(values[name] for name in ("encr-alg", "encr-keysize") if name in values)
    rest = [values[name] for name in ("integ-alg", "prf-alg", "dh-group") if name in values]
    additional = [f"KE{slot}_{values[f'ake{slot}']}" for slot in range(1, 8) if f"ake{slot}" in values]
    return (cipher, *rest, *additional)
