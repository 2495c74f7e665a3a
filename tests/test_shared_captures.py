"""Every SA of the captures beside the repository, against what the daemons logged or another dissector saw.

Expected values are the manifests' alone: ``strongswan/`` states what each daemon logged as selected, ``public/`` what
an independent dissector read.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from pqaudit.finding.document import Document
from tests.conftest import SHARED_CAPTURES, audit, shared_folder

CUSTOM_PORTS = {"custom_ports_5500_5501.pcap": (5500, 5501)}

# Reasoned from the daemons' logged selection and the table of docs/finding.md.
CLASSICAL = frozenset(range(1, 35))
ML_KEM = frozenset((35, 36, 37))


def _manifest(folder: str) -> list[dict[str, Any]]:
    path = SHARED_CAPTURES / folder / "manifest.json"
    if not path.is_file():
        return []
    files: list[dict[str, Any]] = json.loads(path.read_text())["files"]
    return files


def _entries(folder: str) -> list[Any]:
    entries = _manifest(folder)
    if not entries:
        return [
            pytest.param({"file": "absent"}, marks=pytest.mark.skip(reason=f"optional: captures/{folder} is not here"))
        ]
    return [pytest.param(entry, id=entry["file"]) for entry in entries]


def _expected_verdict(sa: dict[str, Any]) -> str:
    """From the selection that the daemon logged."""
    if sa["created_by"] == "IKEv1":
        return "classical-only"
    main, additional = sa["ke_id"], list(sa["additional_ke_ids"].values())
    if main is None:
        return "undetermined"
    methods = {main, *additional}
    if methods - CLASSICAL - ML_KEM:
        return "rfc9370-non-standard"
    if main in ML_KEM:
        return "rfc9370-non-standard" if set(additional) & CLASSICAL else "ml-kem-only"
    return "hybrid-ml-kem" if set(additional) & ML_KEM else "classical-only"


def _on_the_wire(path: Path, sa: dict[str, Any]) -> bool:
    """True when the SPI pair stands next to each other anywhere in the file: an own look at the octets."""
    return bytes.fromhex(sa["initiator_spi"] + (sa["responder_spi"] or "00" * 8)) in path.read_bytes()


def _response_on_the_wire(path: Path, sa: dict[str, Any]) -> bool:
    """True when an IKE_SA_INIT response header with both SPIs is in the file."""
    if not sa["responder_spi"]:
        return False
    pair = bytes.fromhex(sa["initiator_spi"] + sa["responder_spi"])
    octets = path.read_bytes()
    at = octets.find(pair)
    while at >= 0:
        _, version, exchange, flags = struct.unpack_from("!BBBB", octets, at + 16)
        if version == 0x20 and exchange == 34 and flags & 0x20:
            return True
        at = octets.find(pair, at + 1)
    return False


def _key(finding: Document) -> tuple[str, str | None]:
    ike = finding["pqaudit"]["ike"]
    return ike["initiator_spi"], ike["responder_spi"]


@pytest.mark.parametrize("entry", _entries("strongswan"))
def test_daemons_own_selection(entry: dict[str, Any]) -> None:
    path = shared_folder("strongswan") / entry["file"]
    findings, run = audit(path, ports=CUSTOM_PORTS.get(entry["file"], ()))
    assert run.notes == []
    by_key = {_key(f): f for f in findings}
    assert len(by_key) == len(findings)
    expected = [sa for sa in entry["sas"] if _on_the_wire(path, sa)]
    assert set(by_key) == {(sa["initiator_spi"], sa["responder_spi"]) for sa in expected}
    for sa in expected:
        own = by_key[(sa["initiator_spi"], sa["responder_spi"])]["pqaudit"]
        assert own["ike"]["version"] == f"{sa['ike_version']}.0"
        negotiated_here = sa["created_by"] == "IKEv1" or _response_on_the_wire(path, sa)
        if not negotiated_here:
            assert own["verdict"] == "undetermined"
            assert own["selected"]["key_exchange"] is None
            continue
        assert own["verdict"] == _expected_verdict(sa)
        assert own["selected"]["key_exchange"]["id"] == sa["ke_id"]
        additional = {f"ADDKE{e['slot']}": e["id"] for e in own["selected"]["additional_key_exchanges"]}
        assert additional == sa["additional_ke_ids"]
        if sa["ike_version"] == 2:
            assert own["observed"]["exchanges"]["IKE_INTERMEDIATE"] == sa["ike_intermediate_exchanges"]
        assert own["assurance"] != "contradicted"
        if sa["established"] and sa["ike_version"] == 2:
            assert own["assurance"] == "executed"
        assert (own["ppk"] == "negotiated") == sa["ppk_used"]


@pytest.mark.parametrize("entry", _entries("public"))
def test_independent_dissector(entry: dict[str, Any]) -> None:
    path = shared_folder("public") / entry["file"]
    findings, run = audit(path)
    assert [note for note in run.notes if note.fatal] == []
    by_spi = {f["pqaudit"]["ike"]["initiator_spi"]: f for f in findings}
    assert len(by_spi) == len(findings)
    assert set(by_spi) == {sa["initiator_spi"] for sa in entry["sas"]}
    for sa in entry["sas"]:
        finding = by_spi[sa["initiator_spi"]]
        own = finding["pqaudit"]
        assert [own["ike"]["responder_spi"]] == (sa["responder_spis"] or [None])
        assert own["ike"]["version"] == sa["ike_version"]
        assert own["verdict"] == sa["expected_verdict"].split()[0]
        if "ikev1" in sa["expected_verdict"]:
            assert own["reason"] == "ikev1"
        if sa.get("selected_type4") is not None:
            assert own["selected"]["key_exchange"]["id"] == sa["selected_type4"][0]
        if sa.get("offered_type4") is not None and sa.get("proposals_in_first_request") and not sa["sa_init_retries"]:
            assert [e["id"] for e in own["offered"]["key_exchanges"]] == sa["offered_type4"] or {
                e["id"] for e in own["offered"]["key_exchanges"]
            } == set(sa["offered_type4"])
        if sa["ike_version"] == "2.0":
            for name, count in sa["distinct_exchanges_by_message_id"].items():
                assert own["observed"]["exchanges"][name] == count
        assert own["capture"]["files"][0]["first_frame"] == sa["first_frame"]
        # A message in IP fragments is one message of the dissector and of ours; its last frame completes it.
        assert own["capture"]["files"][0]["last_frame"] == sa["last_frame"]
        assert own["capture"]["packets"] == sa["isakmp_frames"]


def test_one_sa_over_four_files() -> None:
    folder = shared_folder("public")
    parts = sorted(folder.glob("openswan__*.pcap"))
    assert len(parts) == 4
    forward, _ = audit(*parts)
    backward, _ = audit(*reversed(parts))
    assert forward == backward
    assert len(forward) == 1
    own = forward[0]["pqaudit"]
    assert own["verdict"] == "classical-only"
    assert own["selected"]["key_exchange"]["id"] == 14  # the dissector's selected_type4 of part 2
    assert own["observed"]["exchanges"]["IKE_AUTH"] == 1
    assert own["capture"]["packets"] == 4


def test_both_sides_of_a_nat_are_one_sa() -> None:
    folder = shared_folder("strongswan")
    findings, _ = audit(
        folder / "nat_hybrid_x25519_mlkem768_inside.pcap", folder / "nat_hybrid_x25519_mlkem768_outside.pcap"
    )
    assert len(findings) == 1
    assert findings[0]["pqaudit"]["observed"]["exchanges"]["IKE_INTERMEDIATE"] == 1
    assert findings[0]["pqaudit"]["capture"]["packets"] == 18  # 9 on each side, by the manifest
