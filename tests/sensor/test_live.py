"""A sensor beside two real IKE daemons, with a real server behind it; the daemons' own logs are what is right."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import audit
from tests.daemons.log import Sa
from tests.daemons.peers import Peers
from tests.searchserver.fixtures import wipe
from tests.searchserver.node import Node
from tests.sensor.running import RunningSensor

CASES = [
    ("aes256-sha256-x25519", "", "classical-only", "none"),
    ("aes256-sha256-x25519-ke1_mlkem768", "", "hybrid-ml-kem", "ml-kem"),
    ("aes256-sha384-ecp384-ke1_mlkem1024", "", "hybrid-ml-kem", "ml-kem"),
    ("aes256-sha256-x25519", "ab", "classical-only", "ppk"),
]


def selected(finding: dict[str, Any]) -> list[int]:
    own = finding["pqaudit"]["selected"]
    return [own["key_exchange"]["id"], *(each["id"] for each in own["additional_key_exchanges"])]


def document(node: Node, finding: dict[str, Any]) -> dict[str, Any]:
    """The finding as the server has it, once it is there."""
    index = f"pqaudit-sa-{finding['@timestamp'][:7].replace('-', '.')}"
    deadline = time.monotonic() + 20
    while True:
        status, answer = node.request("GET", f"/{index}/_doc/{finding['event']['id']}")
        if status == 200 and answer["_source"] == finding:
            return dict(answer["_source"])
        assert time.monotonic() < deadline, (status, answer)
        time.sleep(0.1)


def test_what_the_daemons_logged_is_on_the_server(peers: Peers, elasticsearch9: Node, tmp_path: Path) -> None:
    wipe(elasticsearch9)
    options = ("--elasticsearch", elasticsearch9.url, "--sensor", "span")
    with RunningSensor(tmp_path, peers.interface, options=options) as sensor:
        made: list[Sa] = []
        for proposal, ppk, verdict, protection in CASES:
            sa = peers.establish(proposal, ppk=ppk)
            made.append(sa)
            found = document(elasticsearch9, sensor.finding(sa.initiator_spi, verdict=verdict, assurance="executed"))
            own = found["pqaudit"]
            assert selected(found) == sa.key_exchanges
            assert own["ike"]["responder_spi"] == sa.responder_spi
            assert own["protection"] == protection
            assert own["ppk"] == ("negotiated" if sa.ppk else "not-offered")
            assert found["source"]["ip"] == peers.a.address
            assert found["observer"]["name"] == "span"
        old = peers.establish(CASES[1][0])
        sensor.finding(old.initiator_spi, assurance="executed")
        new = peers.rekey_ike()
        peers.rekey_child()  # traffic under the new SPIs, which a rekey of an IKE SA never shows
        found = document(elasticsearch9, sensor.finding(new.initiator_spi))
        origin = found["pqaudit"]["related"]["probably_rekeyed_from"]
        assert (origin["initiator_spi"], origin["responder_spi"]) == (old.initiator_spi, old.responder_spi)
        assert found["pqaudit"]["verdict"] == "undetermined"
        sensor.stop()
    everything = {sa.initiator_spi for sa in (*made, old, new)}
    assert {f["pqaudit"]["ike"]["initiator_spi"] for f in sensor.findings} == everything
    elasticsearch9.request("POST", "/pqaudit-sa-*/_refresh")
    assert elasticsearch9.request("GET", "/pqaudit-sa-*/_count")[1]["count"] == len(everything)


def of(sa: Sa, sensor: RunningSensor) -> list[dict[str, Any]]:
    return [found for found in sensor.findings if found["pqaudit"]["ike"]["initiator_spi"] == sa.initiator_spi]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_sa_is_followed_over_a_restart(end: str, peers: Peers, tmp_path: Path) -> None:
    with RunningSensor(tmp_path, peers.interface) as sensor:
        sa = peers.establish("aes256-sha256-x25519-ke1_mlkem768")
        sensor.finding(sa.initiator_spi, assurance="executed")
        time.sleep(2.5)  # the checkpoint is written every two seconds
        getattr(sensor, end)()
        told = of(sa, sensor)
    with RunningSensor(tmp_path, peers.interface) as sensor:
        other = peers.establish("aes256-sha256-x25519")
        sensor.finding(other.initiator_spi, assurance="executed")
        sensor.stop()
    # The first one was told before, nothing material has come since, and it is not told again.
    assert of(sa, sensor) == told


def test_evidence_points_into_the_ring(peers: Peers, tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    with RunningSensor(tmp_path, peers.interface, options=("--write-ring", ring)) as sensor:
        sa = peers.establish("aes256-sha256-x25519-ke1_mlkem768")
        found = sensor.finding(sa.initiator_spi, assurance="executed")
        sensor.stop()
    files = {each["file"] for each in found["pqaudit"]["evidence"]}
    assert files == {str(path) for path in ring.iterdir() if path.suffix == ".pcapng"}
    # What was kept, audited as a file, gives the same SA with the same frames.
    (again,) = (each for each in audit(*files)[0] if each["event"]["id"] == found["event"]["id"])
    assert again["pqaudit"]["evidence"] == found["pqaudit"]["evidence"]
