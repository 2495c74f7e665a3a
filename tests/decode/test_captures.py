"""How many IKE messages real captures hold, against what another dissector counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pqaudit.capture.note import InputNote
from pqaudit.capture.reader import read_capture
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder
from tests.conftest import SHARED_CAPTURES, shared_folder


def read(path: Path, ports: tuple[int, ...] = ()) -> tuple[list[Datagram], Decoder]:
    decoder = Decoder(ports=ports)
    notes: list[InputNote] = []
    found: list[Datagram] = []
    for frame in read_capture(str(path), wanted=decoder.wanted, note=notes.append):
        found += decoder.feed(frame)
    return found + decoder.flush(), decoder


def manifest(folder: str) -> list[dict]:
    path = SHARED_CAPTURES / folder / "manifest.json"
    return json.loads(path.read_text())["files"] if path.is_file() else []


@pytest.mark.parametrize("entry", manifest("public"), ids=lambda entry: entry["file"])
def test_messages_of_public_captures(entry: dict) -> None:
    found, decoder = read(shared_folder("public") / entry["file"])
    assert len(found) == entry["isakmp_frames"] - len(entry["isakmp_inside_icmp_frames"])
    assert set(decoder.counters) <= {"fragments-reassembled"}


@pytest.mark.parametrize("entry", manifest("strongswan"), ids=lambda entry: entry["file"])
def test_messages_of_captures_from_daemons(entry: dict) -> None:
    folder = shared_folder("strongswan")
    found, decoder = read(folder / entry["file"], (5500, 5501) if "custom_ports" in entry["file"] else ())
    # Of an SA that a rekeying made, the manifest says in a sentence that it cannot be told from the rest.
    on_wire = [sa.get("on_wire") for sa in entry["sas"]]
    seen = sum(each["packets"] for each in on_wire if isinstance(each, dict))
    assert found
    assert len(found) >= seen
    assert set(decoder.counters) <= {"fragments-reassembled"}


def test_without_manifests_there_is_nothing_to_compare() -> None:
    shared_folder("public")
    shared_folder("strongswan")
