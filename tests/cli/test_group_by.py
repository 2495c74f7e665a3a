"""``--group-by``: the current state of peers and tunnels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests import build as b
from tests.cli.test_audit import CLASSICAL, HYBRID, run


def negotiation(kind: tuple[b.Transform, ...], spi: bytes, source: str, destination: str) -> list[bytes]:
    request = b.message(b.INIT, [b.sa(kind), b.ke(31, 32), b.nonce(), *b.SUPPORTED], spi_i=spi)
    payloads = [b.sa(kind), b.ke(31, 32), b.nonce(), *b.SUPPORTED]
    response = b.message(b.INIT, payloads, spi_i=spi, spi_r=b"\x99" * 8, flags=b.RESPONSE)
    return [b.udp_frame(request, source, destination), b.udp_frame(response, destination, source)]


def grouped(by: str, path: Path) -> dict[Any, dict[str, Any]]:
    result = run("audit", path, "--group-by", by, "--format", "jsonl")
    assert result.returncode == 0
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    return {tuple(d[by]) if by == "tunnel" else d[by]: d for d in documents}


def capture(tmp_path: Path) -> Path:
    frames = negotiation(CLASSICAL, b"\x01" * 8, "192.0.2.1", "192.0.2.2")
    frames += negotiation(HYBRID, b"\x02" * 8, "192.0.2.2", "192.0.2.1")  # the other side initiates later
    frames += negotiation(CLASSICAL, b"\x03" * 8, "192.0.2.3", "192.0.2.2")
    # A rekeyed SA shows nothing and must not hide the state.
    frames.append(b.udp_frame(b.encrypted(b.INFO, 0, spi_i=b"\x04" * 8), "192.0.2.3", "192.0.2.2"))
    return b.pcap(frames, tmp_path / "made.pcap")


def test_tunnels(tmp_path: Path) -> None:
    tunnels = grouped("tunnel", capture(tmp_path))
    assert set(tunnels) == {("192.0.2.1", "192.0.2.2"), ("192.0.2.2", "192.0.2.3")}
    changed = tunnels[("192.0.2.1", "192.0.2.2")]
    assert (changed["verdict"], changed["changed"], changed["first_verdict"]) == (
        "hybrid-ml-kem",
        True,
        "classical-only",
    )
    steady = tunnels[("192.0.2.2", "192.0.2.3")]
    assert (steady["verdict"], steady["changed"], steady["sas"]) == ("classical-only", False, 2)
    assert steady["responsibility"] == "initiator"
    assert steady["last_negotiation"] == "2023-11-14T22:13:20.004000Z"


def test_peers(tmp_path: Path) -> None:
    peers = grouped("peer", capture(tmp_path))
    assert {peer: d["sas"] for peer, d in peers.items()} == {"192.0.2.1": 2, "192.0.2.2": 4, "192.0.2.3": 2}


def test_table_and_json(tmp_path: Path) -> None:
    path = capture(tmp_path)
    table = run("audit", path, "--group-by", "tunnel").stdout
    assert table.splitlines()[0] == "2 tunnels"
    assert "192.0.2.1 - 192.0.2.2" in table
    assert len(json.loads(run("audit", path, "--group-by", "peer", "--format", "json").stdout)) == 3
