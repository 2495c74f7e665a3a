"""Reading Wireshark's ``ikev2_decryption_table``: one SA and stage a line, comma-separated.

``SPIi,SPIr,SK_ei,SK_er,"encryption algorithm",SK_ai,SK_ar,"integrity algorithm"``
"""

from __future__ import annotations

import csv
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

from pqaudit.ike.numbers import SPI_OCTETS, ZERO_SPI
from pqaudit.keys.algorithms import (
    ENCRYPTIONS,
    INTEGRITIES,
    NO_INTEGRITY,
    Encryption,
    Integrity,
    encryption_named,
    integrity_named,
)
from pqaudit.keys.table import KeySource, KeyTable, SaKeys

COLUMNS: Final = ("SPIi", "SPIr", "SK_ei", "SK_er", "encryption algorithm", "SK_ai", "SK_ar", "integrity algorithm")
MOST_FAULTS: Final = 100
MOST_LINE_CHARACTERS: Final = 4096
MOST_LINES_OF_SA: Final = 64  # RFC 9370 has at most 8 stages of one IKE SA

_FORM = 'SPIi,SPIr,SK_ei,SK_er,"encryption algorithm",SK_ai,SK_ar,"integrity algorithm"'
_HEX = re.compile(r"(?:0[xX])?([0-9a-fA-F]*)")
_UNCHECKED = re.compile(r"ANY\s+\d+[- ]bits", re.IGNORECASE)
# A column too many or too few puts a key where a name belongs: what may be one is not repeated in a message.
_MAY_BE_SECRET = re.compile(r"[0-9a-fA-F]{8}")
_MOST_COMPARED_CHARACTERS = 60
_MOST_SHOWN_CHARACTERS = 16  # of what resembles no name; a key of 128 bits takes more in any notation


class KeyFileFault(NamedTuple):
    """Something wrong in a file of keys, with what to write instead. Line 0 is the file as a whole."""

    file: str
    line: int
    slug: str
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.text}"


def read_decryption_table(path: str | Path) -> tuple[KeyTable, list[KeyFileFault]]:
    """Read a decryption table and check every line of it.

    Comments (``#``) and empty lines are skipped. No key is ever part of a fault.

    Returns:
        The keys of all lines without a fault, and all faults; nothing is raised.
    """
    reader = _Reader(str(path))
    try:
        with open(path, encoding="utf-8-sig", errors="replace", newline=None) as stream:
            while line := stream.readline(MOST_LINE_CHARACTERS + 1):
                if not reader.take(line):
                    break
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a file name"
        reader.line = 0
        reader.fault(
            "unreadable", f"Cannot be read: {why}. Give a file in the form of Wireshark's ikev2_decryption_table."
        )
    if not reader.keys and not reader.faults:
        reader.line = 0
        reader.fault("no-keys", f"Holds no keys. Write one line for each IKE SA: {_FORM}")
    return KeyTable(reader.keys), reader.faults


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.line = 0
        self.keys: list[SaKeys] = []
        self.faults: list[KeyFileFault] = []
        self._lines: dict[tuple[bytes, bytes], int] = {}

    def fault(self, slug: str, text: str) -> None:
        self.faults.append(KeyFileFault(self.file, self.line, slug, text))

    def take(self, text: str) -> bool:
        """Read a line; False to stop."""
        self.line += 1
        if len(self.faults) >= MOST_FAULTS:
            self.fault("too-many-faults", f"Not read from here on: {len(self.faults)} faults stand before this line.")
            return False
        if len(text) > MOST_LINE_CHARACTERS:
            self.fault("line-length", f"Longer than {MOST_LINE_CHARACTERS} characters; not read from here on.")
            return False
        text = text.strip()
        if text and not text.startswith("#"):
            self._entry(text)
        return True

    def _entry(self, text: str) -> None:
        try:
            fields = next(csv.reader([text], skipinitialspace=True)) if text.count('"') % 2 == 0 else None
        except (csv.Error, StopIteration):
            fields = None
        if fields is None:
            self.fault("quotes", f"The quotes do not fit together. Write {_FORM}")
            return
        if len(fields) != len(COLUMNS):
            needed = f"{len(COLUMNS)} values are needed, with commas between them; here are {len(fields)}"
            self.fault(
                "columns", f"{needed}. Write {_FORM}, and nothing between two commas for a key that is not used."
            )
            return
        values = [field.strip() for field in fields]
        before = len(self.faults)
        initiator_spi, responder_spi = self._spi(0, values), self._spi(1, values)
        encryption = self._encryption(values[4])
        integrity = self._integrity(values[7])
        if encryption is not None and integrity is not None:
            self._fit(encryption, integrity)
        sk_ei = self._key(2, values, encryption, encryption.material_octets if encryption else None)
        sk_er = self._key(3, values, encryption, encryption.material_octets if encryption else None)
        sk_ai = self._key(5, values, integrity, integrity.key_octets if integrity else None)
        sk_ar = self._key(6, values, integrity, integrity.key_octets if integrity else None)
        if encryption is None or integrity is None or len(self.faults) > before:
            return
        pair = (initiator_spi, responder_spi)
        count = self._lines[pair] = self._lines.get(pair, 0) + 1
        if count > MOST_LINES_OF_SA:
            self.fault(
                "lines-of-one-sa", f"More than {MOST_LINES_OF_SA} lines for one pair of SPIs. Remove those of others."
            )
            return
        source = KeySource(self.file, self.line)
        self.keys.append(SaKeys(*pair, encryption, integrity, sk_ei, sk_er, sk_ai, sk_ar, source))

    def _octets(self, column: int, values: list[str]) -> bytes | None:
        name = COLUMNS[column]
        match = _HEX.fullmatch(values[column])
        if match is None:
            self.fault("hex", f"{name} has characters that are no hexadecimal digits. Write 0-9 and a-f only.")
            return None
        digits = match[1]
        if len(digits) % 2:
            self.fault("hex", f"{name} has {len(digits)} hexadecimal digits. Write two for each octet; is it cut off?")
            return None
        return bytes.fromhex(digits)

    def _spi(self, column: int, values: list[str]) -> bytes:
        octets = self._octets(column, values)
        if octets is None:
            return b""
        name = COLUMNS[column]
        if len(octets) != SPI_OCTETS:
            self.fault("spi-length", f"{name} has {len(octets)} octets. Write {SPI_OCTETS} (16 hexadecimal digits).")
        elif octets == ZERO_SPI:
            self.fault("spi-zero", f"{name} is zero, and no encrypted message has that. Write the SPI of the SA.")
        return octets

    def _key(
        self, column: int, values: list[str], algorithm: Encryption | Integrity | None, needed: int | None
    ) -> bytes:
        octets = self._octets(column, values)
        if octets is None or algorithm is None or needed is None or len(octets) == needed:
            return octets or b""
        name = COLUMNS[column]
        if needed == 0:
            self.fault("key-length", f"{name} has a key, but {algorithm.name} takes none. Leave it empty.")
            return octets
        parts = ""
        if isinstance(algorithm, Encryption) and algorithm.salt_octets:
            parts = f": the key of {algorithm.key_octets}, then the salt of {algorithm.salt_octets}"
        text = f"{name} has {len(octets)} octets, but {algorithm.name} takes {needed} ({2 * needed} hexadecimal digits)"
        self.fault("key-length", f"{text}{parts}.")
        return octets

    def _encryption(self, name: str) -> Encryption | None:
        found = encryption_named(name)
        if found is None:
            self._unknown("encryption", name, [each.name for each in ENCRYPTIONS])
        return found

    def _integrity(self, name: str) -> Integrity | None:
        found = integrity_named(name)
        if found is None and _UNCHECKED.match(name):
            self.fault(
                "unchecked-integrity",
                "Integrity without a check is not enough to call what is read a fact. "
                f"Write the algorithm that was negotiated, one of {_listed([each.name for each in INTEGRITIES])}.",
            )
        elif found is None:
            self._unknown("integrity", name, [each.name for each in INTEGRITIES])
        return found

    def _unknown(self, what: str, name: str, names: list[str]) -> None:
        close = get_close_matches(name[:_MOST_COMPARED_CHARACTERS], names, n=1)
        is_name = (close or len(name) <= _MOST_SHOWN_CHARACTERS) and not _MAY_BE_SECRET.search(name)
        shown = f" {name[:_MOST_COMPARED_CHARACTERS]!r}" if is_name else ""
        hint = f'Did you mean "{close[0]}"? ' if close else ""
        self.fault(f"unknown-{what}", f"Unknown {what} algorithm{shown}. {hint}Write one of {_listed(names)}.")

    def _fit(self, encryption: Encryption, integrity: Integrity) -> None:
        if encryption.authenticates and integrity is not NO_INTEGRITY:
            text = f'{encryption.name} checks integrity itself. Write "{NO_INTEGRITY.name}" and no SK_ai and SK_ar.'
            self.fault("integrity-not-needed", text)
        elif not encryption.authenticates and integrity is NO_INTEGRITY:
            names = _listed([each.name for each in INTEGRITIES if each is not NO_INTEGRITY])
            text = f"{encryption.name} needs an integrity algorithm with SK_ai and SK_ar. Write one of {names}."
            self.fault("integrity-needed", text)


def _listed(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
