"""The reader of decryption tables: every fault with its line and what to write instead, and never a key."""

from __future__ import annotations

import pickle
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.keys.algorithms import ENCRYPTIONS, INTEGRITIES, encryption_named, integrity_named
from pqaudit.keys.table import KeyTable
from pqaudit.keys.table_file import MOST_FAULTS, MOST_LINES_OF_SA, KeyFileFault, read_decryption_table
from tests.keys.seal import CBC, GCM, NONE, SUITES, Keys, Suite

DATA = Path(__file__).parent / "data"
GOOD = Keys(CBC)


def read(tmp_path: Path, text: str | bytes) -> tuple[KeyTable, list[KeyFileFault]]:
    path = tmp_path / "table"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_decryption_table(path)


def changed(column: int, value: str, keys: Keys = GOOD) -> str:
    columns = keys.columns
    columns[column] = value
    return ",".join(columns)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.ikev2_decryption_table")), ids=lambda path: path.stem)
def test_tables_written_for_wireshark(path: Path) -> None:
    table, faults = read_decryption_table(path)
    assert not faults
    assert len(table) == 1


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: f"{suite.encryption} {suite.integrity}")
def test_names_of_wireshark(tmp_path: Path, suite: Suite) -> None:
    keys = Keys(suite)
    table, faults = read(tmp_path, keys.line + "\n")
    assert not faults
    (entry,) = table
    assert (entry.sk_ei, entry.sk_ar) == (keys.secret("ei"), keys.secret("ar"))
    assert (entry.encryption.name, entry.integrity.name) == (keys.suite.encryption, keys.suite.integrity)


def test_spelling_of_names() -> None:
    assert encryption_named("aes_cbc_256") is encryption_named("AES-CBC-256 [RFC3602]") is not None
    assert encryption_named("AES-GCM-256 with 16 octet ICV") is not None
    assert encryption_named("ChaCha20/Poly1305") is not None
    assert integrity_named("hmac-sha2-256-128") is integrity_named("HMAC_SHA2_256_128 [RFC4868]") is not None
    assert encryption_named("AES-CBC-512") is None


def test_forms_that_are_read(tmp_path: Path) -> None:
    columns = GOOD.columns
    prefixed = ",".join("0x" + c if c.isalnum() else c for c in columns)
    spaced = " , ".join(columns)
    shouted = GOOD.line.replace(columns[2], columns[2].upper())
    other = Keys(GCM, spi_r=b"otherspi").line
    text = f"\ufeff# made for Wireshark\r\n\r\n  # another\r\n{prefixed}\r\n{spaced}\n{shouted}\n{other}"
    table, faults = read(tmp_path, text)
    assert not faults
    # The same keys written three times are one set.
    assert [(entry.source.line, entry.sk_ei) for entry in table] == [
        (4, GOOD.secret("ei")),
        (7, Keys(GCM).secret("ei")),
    ]
    assert (GOOD.spi_i, GOOD.spi_r) in table


FAULTS = [
    (changed(0, "11"), "spi-length", "SPIi has 1 octets. Write 8 (16 hexadecimal digits)."),
    (changed(1, "0" * 16), "spi-zero", "SPIr is zero"),
    (changed(2, "zz" * 32), "hex", "SK_ei has characters that are no hexadecimal digits"),
    (changed(3, "a" * 63), "hex", "SK_er has 63 hexadecimal digits"),
    (changed(3, "ab" * 16), "key-length", "SK_er has 16 octets, but AES-CBC-256 [RFC3602] takes 32 (64 hex"),
    (changed(5, ""), "key-length", "SK_ai has 0 octets, but HMAC_SHA2_256_128 [RFC4868] takes 32"),
    (changed(2, "ab" * 32, Keys(GCM)), "key-length", "takes 36 (72 hexadecimal digits): the key of 32, then the salt"),
    (changed(5, "ab", Keys(GCM)), "key-length", "SK_ai has a key, but NONE [RFC4306] takes none. Leave it empty."),
    (changed(4, '"AES-CBC-265"'), "unknown-encryption", 'Did you mean "AES-CBC-256 [RFC3602]"?'),
    (changed(7, '"SHA256"'), "unknown-integrity", "Unknown integrity algorithm 'SHA256'."),
    (changed(7, '"ANY 96-bits of Authentication [No Checking]"'), "unchecked-integrity", "not enough"),
    (changed(7, f'"{NONE}"', GOOD), "integrity-needed", "needs an integrity algorithm with SK_ai and SK_ar"),
    (changed(7, '"HMAC_SHA1_96"', Keys(GCM)), "integrity-not-needed", 'Write "NONE [RFC4306]"'),
    (GOOD.line.rsplit(",", 1)[0], "columns", "8 values are needed, with commas between them; here are 7"),
    (GOOD.line + ",1", "columns", "here are 9"),
    (GOOD.line[:-1], "quotes", "quotes"),
    ("not a table", "columns", "here are 1"),
]


@pytest.mark.parametrize(("line", "slug", "text"), FAULTS, ids=[f"{slug}-{i}" for i, (_, slug, _) in enumerate(FAULTS)])
def test_faults(tmp_path: Path, line: str, slug: str, text: str) -> None:
    table, faults = read(tmp_path, f"# head\n{line}\n{Keys(CBC, spi_i=b'othersas').line}\n")
    assert len(table) == 1
    fault = next(fault for fault in faults if fault.slug == slug)
    assert text in fault.text
    assert fault.line == 2
    assert str(fault) == f"{tmp_path / 'table'}:2: {fault.text}"


def test_unknown_names_come_with_all_that_are_known(tmp_path: Path) -> None:
    _, faults = read(tmp_path, changed(4, '"ROT13"') + "\n" + changed(7, '"CRC"'))
    assert all(f'"{each.name}"' in faults[0].text for each in ENCRYPTIONS)
    assert all(f'"{each.name}"' in faults[1].text for each in INTEGRITIES)


def test_all_faults_at_once(tmp_path: Path) -> None:
    columns = GOOD.columns
    columns[0], columns[3], columns[4] = "11", "zz", '"ROT13"'
    _, faults = read(tmp_path, ",".join(columns) + "\n" + changed(2, "0"))
    assert [(fault.line, fault.slug) for fault in faults] == [
        (1, "spi-length"),
        (1, "unknown-encryption"),
        (1, "hex"),
        (2, "hex"),
    ]


def test_no_key_is_ever_shown(tmp_path: Path) -> None:
    columns = GOOD.columns
    base64 = b64encode(GOOD.secret("ei")).decode()
    lines = [
        changed(4, base64),
        changed(3, base64),
        ",".join(columns[1:]),
        ",".join([*columns[1:], "x"]),  # keys where names belong
        ",".join(["x", *columns[:-1]]),
        changed(4, f'"{columns[2]}"'),
        changed(7, columns[5][:20]),
        changed(2, columns[2] + "g"),
        changed(0, columns[2]),
        columns[2],
    ]
    table, faults = read(tmp_path, "\n".join([*lines, GOOD.line]))
    (entry,) = table
    assert len(faults) >= len(lines)
    for shown in (*map(str, faults), repr(faults), repr(table), repr(entry), str(entry)):
        for column in (2, 3, 5, 6):
            secret = columns[column]
            assert not any(secret[at : at + 8] in shown for at in range(len(secret) - 8))
        assert repr(GOOD.secret("ei")[:4])[2:-1] not in shown
        assert base64 not in shown


def test_file_as_a_whole(tmp_path: Path) -> None:
    _, faults = read_decryption_table(tmp_path / "none")
    assert [(fault.line, fault.slug) for fault in faults] == [(0, "unreadable")]
    assert str(faults[0]).startswith(f"{tmp_path / 'none'}: Cannot be read: No such file")
    _, faults = read_decryption_table(tmp_path)
    assert [fault.slug for fault in faults] == ["unreadable"]
    _, faults = read_decryption_table("a\0b")
    assert [fault.slug for fault in faults] == ["unreadable"]
    _, faults = read(tmp_path, "# nothing\n")
    assert [(fault.line, fault.slug) for fault in faults] == [(0, "no-keys")]


def test_bounds(tmp_path: Path) -> None:
    _, faults = read(tmp_path, "x\n" * 10_000)
    assert len(faults) == MOST_FAULTS + 1
    _, faults = read(tmp_path, GOOD.line + "\n" + "a" * 10_000_000)
    assert [(fault.line, fault.slug) for fault in faults] == [(2, "line-length")]
    lines = [Keys(CBC, seed=str(n).encode()).line for n in range(MOST_LINES_OF_SA + 1)]
    table, faults = read(tmp_path, "\n".join(lines))
    assert len(table) == MOST_LINES_OF_SA
    assert [fault.slug for fault in faults] == ["lines-of-one-sa"]


def test_tables_join_and_travel_to_other_processes(tmp_path: Path) -> None:
    one, _ = read(tmp_path, GOOD.line)
    two, _ = read(tmp_path, Keys(CBC, seed=b"2").line)
    both = one.joined(two)
    assert [entry.sk_ei for entry in both] == [GOOD.secret("ei"), Keys(CBC, seed=b"2").secret("ei")]
    assert list(pickle.loads(pickle.dumps(both))) == list(both)


@given(st.binary(max_size=400))
def test_any_octets(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    read(tmp_path_factory.getbasetemp(), octets)


@given(st.lists(st.sampled_from([*GOOD.columns, "", '"', "0x", "#", "a"]), max_size=10))
def test_any_columns(tmp_path_factory: pytest.TempPathFactory, columns: list[str]) -> None:
    table, faults = read(tmp_path_factory.getbasetemp(), ",".join(columns))
    assert bool(faults) != bool(len(table))
