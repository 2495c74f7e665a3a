"""What a finding carries of the evidence it rests on, so that it can be merged with other findings of the same SA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from pqaudit.ike.numbers import SPI_OCTETS
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.lineage import Origin
from pqaudit.sa.record import LaterRecordError, RecordError, from_record, to_record
from pqaudit.sa.reference import Reference

VERSION: Final = 1
MOST_ORIGINS: Final = 16
MOST_OBSERVERS: Final = 64

_MOST_NAME_CHARACTERS = 65_536
_MOST_FRAMES = (1 << 63) - 1
_SPI = re.compile(f"[0-9a-f]{{{2 * SPI_OCTETS}}}")
_TIME = re.compile(r"-?[0-9]{1,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Carried:
    """Evidence of one SA with what else its finding is made from.

    Attributes:
        sa: the evidence.
        observers: names of those who looked, sorted, each once.
        origins: SAs that it may have been rekeyed from, each the choice of one run.
    """

    sa: SecurityAssociation
    observers: tuple[str, ...]
    origins: tuple[Origin, ...]


def carried_record(carried: Carried) -> dict[str, Any]:
    """The ``pqaudit.record`` of a finding."""
    return {
        "version": VERSION,
        "sa": to_record(carried.sa),
        "origins": [origin_record(origin) for origin in carried.origins],
        "observers": list(carried.observers),
    }


def origin_record(origin: Origin) -> list[Any]:
    """An origin as JSON."""
    return [origin.initiator_spi.hex(), origin.responder_spi.hex(), str(origin.exchange.time), *origin.exchange[1:]]


def read_carried(document: object) -> Carried:
    """What a finding carries; nothing in it is believed before it is checked.

    Raises:
        LaterRecordError: it was written by a later version of pqaudit.
        RecordError: it carries none that can be read.
    """
    own = document.get("pqaudit") if isinstance(document, dict) else None
    record = own.get("record") if isinstance(own, dict) else None
    if not isinstance(record, dict):
        raise RecordError("The finding carries no record.")
    version = record.get("version")
    if type(version) is not int or version < 1:
        raise RecordError("The record of the finding is damaged: its version cannot be.")
    if version > VERSION:
        raise LaterRecordError(f"The record of the finding is of a later version than {VERSION}.")
    sa = from_record(record.get("sa"))
    return Carried(sa, _observers(record.get("observers")), _origins(record.get("origins")))


def _observers(value: object) -> tuple[str, ...]:
    if type(value) is not list or not 1 <= len(value) <= MOST_OBSERVERS:
        raise RecordError("The record of the finding is damaged: its observers cannot be.")
    for name in value:
        if type(name) is not str or len(name) > _MOST_NAME_CHARACTERS:
            raise RecordError("The record of the finding is damaged: the name of an observer cannot be.")
    return tuple(sorted(set(value)))


def _origins(value: object) -> tuple[Origin, ...]:
    if type(value) is not list or len(value) > MOST_ORIGINS:
        raise RecordError("The record of the finding is damaged: its origins cannot be.")
    return tuple(map(read_origin, value))


def read_origin(value: object) -> Origin:
    """What ``origin_record`` gave. Raises RecordError."""
    fault = RecordError("The record of the finding is damaged: an origin cannot be.")
    if type(value) is not list or len(value) != 6:
        raise fault
    initiator, responder, time, file, frame, digits = value
    for text, shape in ((initiator, _SPI), (responder, _SPI), (time, _TIME)):
        if type(text) is not str or not shape.fullmatch(text):
            raise fault
    if type(file) is not str or len(file) > _MOST_NAME_CHARACTERS:
        raise fault
    for number, most in ((frame, _MOST_FRAMES), (digits, 9)):
        if type(number) is not int or not 0 <= number <= most:
            raise fault
    return Origin(bytes.fromhex(initiator), bytes.fromhex(responder), Reference(int(time), file, frame, digits))
