"""Names, owners and sites that the user gives to addresses."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqaudit.policy.assess import Status
from pqaudit.report.assets import Assets, AssetsError, read_assets
from pqaudit.report.model import Asset
from tests.finding.made import sample_findings
from tests.report.make import as_json, chosen, lines, reported

CSV = """network,name,owner,site,criticality
10.0.0.0/8,,everyone,,
10.1.0.0/16,lab,lab team,"Berlin, cellar",low
10.1.0.2,gw-2,gateways,Berlin,high
::/0,,v6 people,,
fd00:1::1,gw-6,,,
::ffff:192.0.2.0/120,mapped,m,,
"""
YAML = """
- {network: 10.0.0.0/8, owner: everyone}
- network: 10.1.0.0/16
  name: lab
  owner: lab team
  site: Berlin, cellar
  criticality: low
- {address: 10.1.0.2, name: gw-2, owner: gateways, site: Berlin, criticality: high}
- {network: "::/0", owner: v6 people, site: null}
- {address: "fd00:1::1", name: gw-6}
- {network: "::ffff:192.0.2.0/120", name: mapped, owner: m}
"""


def read(text: str | bytes, tmp_path: Path, name: str = "assets.csv") -> Assets:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_assets(path.read_bytes(), path)


def problems(text: str | bytes, tmp_path: Path, name: str = "assets.csv") -> list[str]:
    with pytest.raises(AssetsError) as error:
        read(text, tmp_path, name)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in error.value.problems]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CSV, "a.csv"),
        ("\ufeff" + CSV.replace("\n", "\r\n"), "a.csv"),
        (CSV.replace(",", ";").replace('"Berlin; cellar"', "Berlin, cellar"), "a.txt"),
        (YAML, "a.yaml"),
        (YAML, "a.YML"),
    ],
    ids=["csv", "from a spreadsheet", "semicolons", "yaml", "yml"],
)
def test_the_longest_prefix_wins(text: str, name: str, tmp_path: Path) -> None:
    assets = read(text, tmp_path, name)
    assert len(assets) == 6
    found = {address: assets.peer(address).asset for address in ("10.9.9.9", "10.1.7.7", "10.1.0.2", "fd00:1::1")}
    assert found == {
        "10.9.9.9": Asset("10.0.0.0/8", None, "everyone", None, None),
        "10.1.7.7": Asset("10.1.0.0/16", "lab", "lab team", "Berlin, cellar", "low"),
        "10.1.0.2": Asset("10.1.0.2/32", "gw-2", "gateways", "Berlin", "high"),
        "fd00:1::1": Asset("fd00:1::1/128", "gw-6", None, None, None),
    }
    assert assets.peer("192.0.3.1").asset is None
    for address, owner in (("2001:db8::1", "v6 people"), ("192.0.2.77", "m")):
        asset = assets.peer(address).asset
        assert asset is not None
        assert asset.owner == owner


def test_errors_name_file_and_line(tmp_path: Path) -> None:
    text = (
        "network,owner\n192.0.2.0/24,us\nnonsense,x\n192.0.2.0/24,them\n,nobody\n10.0.0.1\n" + "10.0.0.1," + "x" * 300
    )
    assert problems(text, tmp_path) == [
        "assets.csv:3: 'nonsense' is no network; it looks like 192.0.2.0/24 or 2001:db8::/32",
        "assets.csv:4: 192.0.2.0/24 stands in line 2 already; keep one",
        "assets.csv:5: write one of network and address",
        "assets.csv:6: there are 1 cells where the first line has 2",
        "assets.csv:7: owner has more than 200 characters; shorten it",
    ]
    several = 'network,name,owner\n10.0.0.1,"two\nlines",us\nbad,,\n'
    assert problems(several, tmp_path)[0].startswith("assets.csv:4: 'bad'")
    yaml = (
        "- {network: 192.0.2.0/24, colour: red}\n- nonsense\n\n- {name: x}\n- {network: [1]}\n- {address: 10.0.0.0/8}\n"
    )
    assert problems(yaml, tmp_path, "a.yml") == [
        "a.yml:1: there is no field 'colour'; fields are network, address, name, owner, site, criticality",
        "a.yml:2: an entry must be fields with values",
        "a.yml:4: write one of network and address",
        "a.yml:5: fields and values must be plain text",
        "a.yml:6: '10.0.0.0/8' is a network; write it as network",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the first line must name the columns"),
        ("name,owner\nx,y\n", "1: one of the columns must be network or address"),
        ("network,colour\n", "1: there is no column 'colour'"),
        ("network,owner,owner\n", "1: two columns are named owner"),
        ("network,owner\n10.1.0.2/8,us\n", "2: '10.1.0.2/8' says two things; write 10.0.0.0/8 or 10.1.0.2/32"),
        ("network,owner\n2001:db8::1/32,us\n", "2: '2001:db8::1/32' says two things; write 2001:db8::/32 or"),
        (b"network,owner\n10.0.0.1,\xff\n", "2: this is no UTF-8 text"),
        ('network,owner\n10.0.0.1,"open\n', "this is not CSV"),
        ("network\x00,owner\n", "1: there is no column"),
    ],
)
def test_what_is_no_csv_of_assets(text: str | bytes, expected: str, tmp_path: Path) -> None:
    (found,) = problems(text, tmp_path)
    assert expected in found


@pytest.mark.parametrize(
    "text",
    ["a: b\n", "- &a {network: 10.0.0.1}\n- *a\n", "[" * 100, "- !!python/object:os.system {}\n", "\x00", "- [x]"],
)
def test_what_is_no_yaml_of_assets(text: str, tmp_path: Path) -> None:
    assert problems(text, tmp_path, "a.yaml")[0].startswith("a.yaml:")


@given(octets=st.binary(max_size=200), header=st.sampled_from([b"", b"network,name\n", b"address;owner\n"]))
def test_nothing_raises_but_what_it_says(octets: bytes, header: bytes) -> None:
    with suppress(AssetsError):
        read_assets(header + octets, Path("a.csv"))


def test_owners_in_a_report(tmp_path: Path) -> None:
    with reported(lines(sample_findings()), policies=chosen("uk-ncsc"), assets=read(CSV, tmp_path)) as report:
        owners = {owner.owner: owner for owner in report.owners}
        assert list(owners) == ["everyone", "gateways", "lab team", "v6 people", None]
        # 10.1.0.1 and .9 are the lab's, 10.1.0.2 is a gateway, 10.9.0.1 everyone's; fd00:1::1 has no owner.
        assert {owner: totals.peers for owner, totals in owners.items()} == {
            "everyone": 1,
            "gateways": 1,
            "lab team": 2,
            "v6 people": 1,
            None: 1,
        }
        tunnels = {owner: sum(totals.tunnels["uk-ncsc"].values()) for owner, totals in owners.items()}
        assert tunnels == {"everyone": 1, "gateways": 3, "lab team": 2, "v6 people": 1, None: 1}
        assert owners["gateways"].tunnels["uk-ncsc"][Status.MEETS] == 2
        peers = {peer["address"]: peer["asset"] for t in as_json(report)["tunnels"] for peer in t["peers"]}
        assert peers["10.1.0.2"] == {
            "network": "10.1.0.2/32",
            "name": "gw-2",
            "owner": "gateways",
            "site": "Berlin",
            "criticality": "high",
        }
    with reported(lines(sample_findings())) as report:
        assert report.owners == ()
