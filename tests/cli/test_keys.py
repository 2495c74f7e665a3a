"""``--keys``: what keys of the user open becomes part of the finding and changes no verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_audit import run
from tests.conftest import shared_folder


def tables(name: str) -> list[str]:
    folder = shared_folder("strongswan") / "keys"
    files = sorted(folder.glob(f"{name}.stage*.ikev2_decryption_table"))
    assert files
    return [part for file in files for part in ("--keys", str(file))]


# The methods are those of the daemons' logs for these scenarios.
@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("keys_classical_x25519", []),
        ("keys_hybrid_x25519_mlkem768", ["ml-kem-768"]),
        ("keys_hybrid_ecp384_mlkem1024_gcm_skf", ["ml-kem-1024"]),
    ],
)
def test_what_is_inside(name: str, methods: list[str]) -> None:
    capture = shared_folder("strongswan") / f"{name}.pcap"
    plain = json.loads(run("audit", capture, "--format", "jsonl").stdout)
    result = run("audit", capture, "--format", "jsonl", *tables(name))
    assert result.returncode == 0
    finding = json.loads(result.stdout)
    opened = finding["pqaudit"].pop("opened")
    assert finding == plain
    assert opened["messages_not_opened"] == 0
    assert [e["key_exchange"]["name"] for e in opened["intermediate_key_exchanges"]] == methods
    assert opened["confirms_selection"] is (True if methods else None)
    assert [n["purpose"] for n in opened["negotiations"]] == ["child-sa-of-ike-auth"]
    for line in (file for file in tables(name) if file != "--keys"):
        # No key in what is printed.
        for field in Path(line).read_text().split(","):
            assert len(field) < 32 or field.strip('"') not in result.stdout + result.stderr


def test_the_story_tells_it() -> None:
    name = "keys_hybrid_x25519_mlkem768"
    story = run("explain", shared_folder("strongswan") / f"{name}.pcap", *tables(name)).stdout
    assert "IKE_INTERMEDIATE 1: ml-kem-768" in story
    assert "Additional key exchanges: as selected" in story


def test_keys_of_another_sa_are_told_and_change_nothing() -> None:
    capture = shared_folder("strongswan") / "keys_classical_x25519.pcap"
    result = run("audit", capture, "--format", "jsonl", *tables("keys_hybrid_x25519_mlkem768"))
    assert result.returncode == 0
    assert "no encrypted message of it is in the captures" in result.stderr
    assert json.loads(result.stdout)["pqaudit"]["verdict"] == "classical-only"


def test_wrong_keys_are_told_and_change_nothing(tmp_path: Path) -> None:
    name = "keys_hybrid_x25519_mlkem768"
    wrong = tmp_path / "wrong"
    lines = [Path(file).read_text() for file in tables(name) if file != "--keys"]
    # Every key with its digits turned round; SPIs and algorithms stay.
    turned = []
    for line in "".join(lines).splitlines():
        fields = line.split(",")
        turned.append(",".join(f[::-1] if len(f) >= 32 else f for f in fields))
    wrong.write_text("\n".join(turned) + "\n")
    capture = shared_folder("strongswan") / f"{name}.pcap"
    result = run("audit", capture, "--format", "jsonl", "--keys", wrong)
    assert result.returncode == 0
    own = json.loads(result.stdout)["pqaudit"]
    assert (own["verdict"], own["assurance"]) == ("hybrid-ml-kem", "executed")
    assert own["opened"]["messages"] == 0
    assert own["opened"]["confirms_selection"] is None
    assert "keys:" in result.stderr


def test_a_file_without_keys_is_wrong_usage(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    assert run("audit", tmp_path, "--keys", empty).returncode == 2
    assert run("audit", tmp_path, "--keys", tmp_path / "missing").returncode == 2
