"""What strongSwan says of its own IKE_SAs: the expected values of tests."""

from __future__ import annotations

import re
from dataclasses import dataclass

# IANA's numbers of the key exchange methods, by strongSwan's names for them.
METHODS = {
    "MODP_2048": 14, "ECP_256": 19, "ECP_384": 20, "CURVE_25519": 31,
    "ML_KEM_512": 35, "ML_KEM_768": 36, "ML_KEM_1024": 37,
}  # fmt: skip

_LINE = re.compile(r"^\d+\[(?P<group>[A-Z]+)\] <(?:[^|>]*\|)?(?P<number>\d+)> (?P<text>.*)$", re.MULTILINE)
_SPIS = re.compile(r"with SPIs ([0-9a-f]{16})_i ([0-9a-f]{16})_r")
_LISTED = re.compile(
    r"uniqueid=(?P<number>\d+) version=2 state=(?P<state>\S+).*?"
    r"initiator-spi=(?P<i>[0-9a-f]{16}) responder-spi=(?P<r>[0-9a-f]{16})"
)


@dataclass(frozen=True)
class Sa:
    """One IKE_SA. ``proposal`` is the selected one in strongSwan's words, empty where none was."""

    initiator_spi: str
    responder_spi: str
    proposal: tuple[str, ...] = ()
    established: bool = True
    ppk: bool = False

    @property
    def key_exchanges(self) -> list[int]:
        """Numbers of the selected methods: that of IKE_SA_INIT first."""
        return [METHODS[name.split("_", 1)[1] if name.startswith("KE") else name] for name in self.proposal
                if name in METHODS or name.startswith("KE")]  # fmt: skip


def read_sas(log: str) -> list[Sa]:
    """The IKE_SAs of which a log tells, in the order in which they begin there."""
    lines: dict[str, list[str]] = {}
    for match in _LINE.finditer(log):
        lines.setdefault(match["number"], []).append(match["text"])
    found = []
    for texts in lines.values():
        spis = [pair for text in texts for pair in _SPIS.findall(text) if pair[1] != "0" * 16]
        chosen = [text.split("IKE:", 1)[1] for text in texts if text.startswith("selected proposal: IKE:")]
        if not spis:
            continue
        found.append(
            Sa(
                *spis[-1],
                tuple(chosen[0].split("/")) if chosen else (),
                any("state change" in text and text.endswith("=> ESTABLISHED") for text in texts),
                any(text.startswith("using PPK") for text in texts),
            )
        )
    return found


def read_listed(raw: str) -> list[Sa]:
    """The established IKE_SAs in what ``swanctl --list-sas --raw`` printed."""
    return [Sa(m["i"], m["r"]) for m in _LISTED.finditer(raw) if m["state"] == "ESTABLISHED"]
