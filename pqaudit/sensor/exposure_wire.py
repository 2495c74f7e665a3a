"""What the counting process is told, and how the traffic that it counted travels."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from pqaudit.capture.live import LiveOptions
from pqaudit.capture.privileges import Account
from pqaudit.decode.esp_filter import HEADER_OCTETS, check_sample, esp_filter
from pqaudit.exposure.table import Exposure, ExposureTable
from pqaudit.sensor.capture_wire import Kind, message

DEFAULT_SAMPLE = 64

# Octets of the kernel's buffer for each interface: some 15,000 headers, a second of a link with a million packets a
# second of which every 64th comes. What is lost here is noise in an estimate.
_BUFFER = 4 * 1024 * 1024

_ADDRESS_LENGTHS = (4, 16)


@dataclass(frozen=True, slots=True)
class ExposureOptions:
    """What the counting process is to do. Raises ValueError, a sentence, for what cannot be.

    Attributes:
        interfaces: names, each once.
        sample: of so many packets of an SA one is taken; a power of two.
        promiscuous: also frames that are not for this machine.
        account: whom to become once the interfaces are open, or None.
    """

    interfaces: tuple[str, ...]
    sample: int = DEFAULT_SAMPLE
    promiscuous: bool = True
    account: Account | None = None

    def __post_init__(self) -> None:
        check_sample(self.sample)

    def live(self) -> LiveOptions:
        """How each interface is captured from."""
        return LiveOptions(
            partial(esp_filter, sample=self.sample),
            buffer_octets=_BUFFER,
            promiscuous=self.promiscuous,
            snapshot_length=HEADER_OCTETS,
        )


def pack_exposure_options(options: ExposureOptions) -> bytes:
    """The options as octets."""
    return json.dumps(asdict(options)).encode()


def unpack_exposure_options(octets: bytes) -> ExposureOptions:
    """The options again."""
    fields: dict[str, Any] = json.loads(octets)
    account = fields["account"]
    if account is not None:
        account = Account(account["name"], account["user"], account["group"], tuple(account["groups"]))
    return ExposureOptions(tuple(fields["interfaces"]), fields["sample"], fields["promiscuous"], account)


def pack_exposure(table: ExposureTable) -> bytes:
    """A message with the packets that were counted, not multiplied."""
    pairs = [
        (one.hex(), other.hex(), seen.packets, seen.octets, seen.first, seen.last)
        for (one, other), seen in table.pairs.items()
    ]
    return message(Kind.EXPOSURE, json.dumps({"pairs": pairs, "counters": table.counters}).encode())


def unpack_exposure(octets: bytes) -> ExposureTable:
    """The table of a message. Raises ValueError, KeyError, TypeError or AttributeError for octets that are none."""
    fields: dict[str, Any] = json.loads(octets)
    table = ExposureTable(counters=Counter({str(name): int(count) for name, count in fields["counters"].items()}))
    for one, other, packets, length, first, last in fields["pairs"]:
        pair = bytes.fromhex(one), bytes.fromhex(other)
        if any(len(address) not in _ADDRESS_LENGTHS for address in pair):
            raise ValueError("an address has 4 or 16 octets")
        table.pairs[pair] = Exposure(int(packets), int(length), int(first), int(last))
    return table
