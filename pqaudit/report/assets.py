"""What the user says of addresses: a name, an owner, a site, a criticality, from CSV or YAML."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import lru_cache
from io import StringIO
from ipaddress import ip_address, ip_interface
from pathlib import Path

import yaml

from pqaudit.finding.query import Network, peer_network
from pqaudit.report.model import Asset, Peer
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.untrusted import UnreadableError, line_of, read_node

MOST_OCTETS = 64 * 1024 * 1024
MOST_CHARACTERS = 200
_MOST_TOLD = 10
_WHERE = ("network", "address")
_SAID = ("name", "owner", "site", "criticality")
_COLUMNS = (*_WHERE, *_SAID)
_YAML = (".yaml", ".yml")
_DELIMITERS = ",;\t"
_NULL = "tag:yaml.org,2002:null"

_Entry = tuple[int, dict[str, str]]


class AssetsError(Exception):
    """A file of assets that cannot be used, with all that is wrong in it."""

    def __init__(self, problems: list[RuleProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = problems

    def told(self) -> str:
        """The first of them, and how many more there are."""
        shown = "; ".join(str(problem) for problem in self.problems[:_MOST_TOLD])
        more = len(self.problems) - _MOST_TOLD
        return f"{shown}; and {more:,} more" if more > 0 else shown


class Assets:
    """Finds the asset of an address: that of the smallest network that holds it."""

    def __init__(self, assets: dict[Network, Asset]) -> None:
        self._found: dict[tuple[int, int], dict[int, Asset]] = {}
        for network, asset in assets.items():
            of_length = self._found.setdefault((network.version, network.prefixlen), {})
            of_length[int(network.network_address)] = asset
        self._lengths = sorted(self._found, key=lambda key: -key[1])
        # The same peers come again and again.
        self.peer = lru_cache(maxsize=65_536)(self._peer)

    def __len__(self) -> int:
        return sum(map(len, self._found.values()))

    def _peer(self, address: str) -> Peer:
        number = ip_address(address)
        bits, value = number.max_prefixlen, int(number)
        for version, length in self._lengths:
            if version == number.version:
                hidden = bits - length
                asset = self._found[version, length].get(value >> hidden << hidden)
                if asset is not None:
                    return Peer(address, asset)
        return Peer(address, None)


def read_assets(octets: bytes, path: Path) -> Assets:
    """The assets in a file that holds these octets.

    Raises:
        AssetsError: something is wrong with it.
    """
    name = str(path)
    problems: list[RuleProblem] = []
    entries = _yaml_entries(path, problems) if path.suffix.lower() in _YAML else _csv_entries(octets, name, problems)
    assets: dict[Network, Asset] = {}
    lines: dict[Network, int] = {}
    for line, entry in entries:
        try:
            network, asset = _asset(entry)
        except ValueError as error:
            problems.append(RuleProblem(name, line, str(error)))
            continue
        if network in assets:
            problems.append(RuleProblem(name, line, f"{network} stands in line {lines[network]} already; keep one"))
            continue
        assets[network], lines[network] = asset, line
    if problems:
        raise AssetsError(sorted(problems, key=lambda problem: problem.line))
    return Assets(assets)


def _asset(entry: dict[str, str]) -> tuple[Network, Asset]:
    unknown = [name for name in entry if name not in _COLUMNS]
    if unknown:
        raise ValueError(f"there is no field {_shown(unknown[0])}; fields are {', '.join(_COLUMNS)}")
    said = {name: " ".join(text.split()) for name, text in entry.items()}
    where = [said[name] for name in _WHERE if said.get(name)]
    if len(where) != 1:
        raise ValueError("write one of network and address")
    for name, text in said.items():
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"{name} has more than {MOST_CHARACTERS} characters; shorten it")
    network = peer_network(where[0])
    written = ip_interface(where[0])
    if written.ip != written.network.network_address:  # an address with its interface's length, or a slip
        whole = ip_interface(written.ip).network
        raise ValueError(f"{_shown(where[0])} says two things; write {written.network} or {whole}")
    if said.get("address") and network.num_addresses != 1:
        raise ValueError(f"{_shown(where[0])} is a network; write it as network")
    return network, Asset(str(network), *(said.get(name) or None for name in _SAID))


def _csv_entries(octets: bytes, file: str, problems: list[RuleProblem]) -> Iterator[_Entry]:
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        problems.append(RuleProblem(file, line, "this is no UTF-8 text"))
        return
    header = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: list[str] | None = None
    line = 1
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                pass
            elif columns is None:
                columns = [cell.strip().lower() for cell in row]
                if not _fitting(columns, line, file, problems):
                    return
            elif len(row) != len(columns):
                text = f"there are {len(row)} cells where the first line has {len(columns)}"
                problems.append(RuleProblem(file, line, text))
            else:
                yield line, dict(zip(columns, row, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        problems.append(RuleProblem(file, reader.line_num or 1, f"this is not CSV: {error}"))
    if columns is None and not problems:
        problems.append(RuleProblem(file, 1, f"the first line must name the columns: {', '.join(_COLUMNS)}"))


def _fitting(columns: list[str], line: int, file: str, problems: list[RuleProblem]) -> bool:
    unknown = [name for name in columns if name not in _COLUMNS]
    twice = [name for name in columns if columns.count(name) > 1]
    if unknown:
        text = f"there is no column {_shown(unknown[0])}; the first line names {', '.join(_COLUMNS)}"
    elif twice:
        text = f"two columns are named {twice[0]}"
    elif not set(columns) & set(_WHERE):
        text = "one of the columns must be network or address"
    else:
        return True
    problems.append(RuleProblem(file, line, text))
    return False


def _yaml_entries(path: Path, problems: list[RuleProblem]) -> Iterator[_Entry]:
    try:
        node = read_node(path)
    except UnreadableError as error:
        problems.append(error.problem)
        return
    if not isinstance(node, yaml.SequenceNode):
        text = "this must be a list; an entry looks like `- {network: 192.0.2.0/24, owner: us}`"
        problems.append(RuleProblem(str(path), line_of(node), text))
        return
    for entry in node.value:
        fields: dict[str, str] = {}
        wrong = None if isinstance(entry, yaml.MappingNode) else "an entry must be fields with values"
        for key, value in entry.value if wrong is None else ():
            if not isinstance(key, yaml.ScalarNode) or not isinstance(value, yaml.ScalarNode):
                wrong = "fields and values must be plain text"
            elif key.value in fields:
                wrong = f"{_shown(key.value)} stands twice; keep one"
            else:
                fields[key.value] = "" if value.tag == _NULL else value.value
        if wrong is None:
            yield line_of(entry), fields
        else:
            problems.append(RuleProblem(str(path), line_of(entry), wrong))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 64 else f"{text[:64]}…")
