"""Facts of opened SAs: the captures with keys against what the daemons logged, rekeys, fragments, merging, notes."""

from __future__ import annotations

import itertools
import pickle
import random
from dataclasses import replace
from pathlib import Path

import pytest

from pqaudit.decode.datagram import Datagram
from pqaudit.ike.header import parse_header
from pqaudit.ike.message import Message
from pqaudit.ike.payloads import Proposal, Transform
from pqaudit.keys.facts import OPENED, OpenedFacts, Purpose
from pqaudit.keys.opened import OpenedTable
from pqaudit.keys.table import Closed, KeyTable
from pqaudit.keys.table_file import read_decryption_table
from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs
from pqaudit.sa.bounds import MOST_PROTECTED_MESSAGES
from tests import build as b
from tests.keys.seal import CBC, GCM, Keys, Suite, fragments, sealed, table_of

DATA = Path(__file__).parent / "data"

IDI, IDR, AUTH, SA, KE, NONCE, NOTIFY, DELETE, TSI, TSR = 35, 36, 39, 33, 34, 40, 41, 42, 44, 45
ML_KEM_768, ML_KEM_1024, X25519 = 36, 37, 31  # registry of IANA
ESP = 3


def tables(*names: str) -> KeyTable:
    found = KeyTable()
    for name in names:
        table, faults = read_decryption_table(DATA / f"{name}.ikev2_decryption_table")
        assert not faults
        found = found.joined(table)
    return found


def open_capture(name: str, keys: KeyTable) -> OpenedTable:
    table = OpenedTable()

    def look(datagram: Datagram, message: object) -> None:
        assert isinstance(message, Message)
        table.add(datagram, message.header, keys)

    run = AuditRun()
    read_inputs([str(DATA / f"{name}.pcap")], run, ReadOptions(), on_message=look)
    assert not run.unreadable
    return table


def only_facts(table: OpenedTable, keys: KeyTable) -> OpenedFacts:
    ((pair, _),) = keys.pairs()
    facts = table.facts(*pair)
    assert facts is not None
    return facts


# [ IDi N(INIT_CONTACT) IDr AUTH SA TSi TSr N(MULT_AUTH) N(EAP_ONLY) N(MSG_ID_SYN_SUP) ] and [ IDr AUTH SA TSi TSr ]
AUTH_REQUEST = (IDI, NOTIFY, IDR, AUTH, SA, TSI, TSR, NOTIFY, NOTIFY, NOTIFY)
AUTH_REQUEST_NOTIFIES = [16384, 16404, 16417, 16420]
AUTH_RESPONSE = (IDR, AUTH, SA, TSI, TSR)
# ESP:AES_GCM_16_128/NO_EXT_SEQ
CHILD = (Transform(1, 20, 128), Transform(5, 0, None))


@pytest.mark.parametrize(
    ("name", "stages", "method", "octets", "in_fragments", "child_spis"),
    [
        ("keys_classical_x25519", 1, None, (), (), ("5025ae9e", "99219a1a")),
        ("keys_hybrid_x25519_mlkem768", 2, ML_KEM_768, (1184, 1088), (2, 0), ("be6e2c67", "fd0019a0")),
        ("keys_hybrid_ecp384_mlkem1024_gcm_skf", 2, ML_KEM_1024, (1568, 1568), (2, 2), ("5ec2e962", "3ddb506d")),
    ],
)
def test_captures_against_the_logs_of_their_daemons(
    name: str,
    stages: int,
    method: int | None,
    octets: tuple[int, ...],
    in_fragments: tuple[int, ...],
    child_spis: tuple[str, str],
) -> None:
    """Payloads, methods, proposals and SPIs as charon logged them; lengths of ML-KEM from FIPS 203 table 3."""
    keys = tables(*(f"{name}.stage{stage}" for stage in range(stages)))
    table = open_capture(name, keys)
    facts = only_facts(table, keys)
    assert facts.count() == facts.count(OPENED)
    assert not facts.fragments_missing
    assert not table.notes(keys)
    assert len(facts.sources) == stages

    *intermediates, auth, delete = facts.exchanges()
    assert [e.exchange_type for e in intermediates] == [b.INTERMEDIATE] * (stages - 1)
    assert tuple(intermediates) == facts.intermediates()
    for exchange in intermediates:
        assert exchange.purpose is Purpose.INTERMEDIATE
        assert exchange.done
        assert exchange.ke_method == method
        assert exchange.request is not None
        assert exchange.response is not None
        sides = (exchange.request, exchange.response)
        assert tuple(side.payload_types for side in sides) == ((KE,), (KE,))
        assert tuple(side.ke_octets for side in sides) == octets
        assert tuple(side.fragments for side in sides) == in_fragments
        assert exchange.request.first.frame == 3
        assert exchange.message_id == 1

    assert (auth.exchange_type, auth.message_id, auth.by_initiator) == (b.AUTH, stages, True)
    assert auth.purpose is Purpose.CHILD_SA_OF_IKE_AUTH
    assert auth.request is not None
    assert auth.response is not None
    assert auth.request.payload_types == AUTH_REQUEST
    assert [notify.type for notify in auth.request.notifies] == AUTH_REQUEST_NOTIFIES
    assert auth.response.payload_types == AUTH_RESPONSE
    assert auth.request.proposals == (Proposal(1, ESP, bytes.fromhex(child_spis[0]), CHILD),)
    assert auth.selected == Proposal(1, ESP, bytes.fromhex(child_spis[1]), CHILD)
    assert auth.ke_method is None
    assert [n.exchange for n in facts.negotiations()] == [auth]

    assert delete.exchange_type == b.INFO
    assert delete.request is not None
    assert delete.request.payload_types == (DELETE,)
    assert delete.response is None  # it is empty, so only counted


def test_a_stage_alone_opens_its_part() -> None:
    keys = tables("keys_hybrid_x25519_mlkem768.stage0")
    table = open_capture("keys_hybrid_x25519_mlkem768", keys)
    facts = only_facts(table, keys)
    assert [e.exchange_type for e in facts.exchanges()] == [b.INTERMEDIATE]
    assert (facts.count(OPENED), facts.count(Closed.INTEGRITY)) == (3, 4)
    (note,) = table.notes(keys)
    assert note.slug == "keys-incomplete"
    assert "3 packets were opened, 4 do not pass the integrity check (IKE_AUTH: 2, INFORMATIONAL: 2)" in note.text


def test_keys_of_another_sa_say_so_and_open_nothing() -> None:
    keys = tables("keys_classical_x25519.stage0")
    table = open_capture("keys_hybrid_x25519_mlkem768", keys)
    assert len(table) == 0
    assert table.counters["messages-without-keys"] == 7
    assert [note.slug for note in table.notes(keys)] == ["keys-of-unseen-sa"]


def rewritten(name: str, tmp_path: Path, change: dict[int, int | str]) -> KeyTable:
    """The table of ``name`` with columns taken from other columns, or replaced."""
    columns = (DATA / f"{name}.ikev2_decryption_table").read_text().strip().split(",")
    changed = [columns[c] if isinstance(c := change.get(i, i), int) else c for i in range(8)]
    path = tmp_path / "changed"
    path.write_text(",".join(changed))
    table, faults = read_decryption_table(path)
    assert not faults
    return table


@pytest.mark.parametrize(
    ("name", "change", "slug"),
    [
        ("keys_classical_x25519", {2: 3, 3: 2, 5: 6, 6: 5}, "keys-reversed"),
        ("keys_classical_x25519", {0: 1, 1: 0}, "spis-reversed"),
        ("keys_classical_x25519", {2: 3, 3: 2}, "encryption-keys-wrong"),
        ("keys_classical_x25519", {5: "00" * 32, 6: "00" * 32}, "keys-wrong"),
        ("keys_classical_x25519", {7: '"HMAC_SHA2_256_96"'}, "keys-wrong"),
        (
            "keys_classical_x25519",
            {4: '"ChaCha20-Poly1305"', 2: "00" * 36, 3: "00" * 36, 5: "", 6: "", 7: '"NONE"'},
            "keys-wrong",
        ),
        ("keys_hybrid_ecp384_mlkem1024_gcm_skf", {2: 3, 3: 2}, "keys-wrong"),
        ("keys_hybrid_ecp384_mlkem1024_gcm_skf", {4: '"AES-GCM-256 with 12 octet ICV"'}, "keys-wrong"),
    ],
)
def test_wrong_keys_are_told_and_give_no_fact(
    tmp_path: Path, name: str, change: dict[int, int | str], slug: str
) -> None:
    keys = rewritten(f"{name}.stage0", tmp_path, change)
    table = open_capture(name, keys)
    notes = table.notes(keys)
    assert slug in [note.slug for note in notes]
    ((pair, _),) = keys.pairs()
    facts = table.facts(*pair)
    assert facts is None or not facts.exchanges()
    assert facts is None or facts.count(OPENED) == 0
    secrets = [entry.sk_ei.hex()[:8] for entry in keys]
    assert not any(secret in str(note) for note in notes for secret in secrets)
    assert str(notes[0]).startswith(f"{tmp_path / 'changed'}:1: IKE SA ")


class Wire:
    """Messages handed to tables as datagrams of rising frame numbers."""

    def __init__(self, *keys: Keys) -> None:
        self.keys = table_of(*keys)
        self.frame = 0

    def datagram(self, message: bytes, file: str = "a.pcap") -> Datagram:
        self.frame += 1
        end = (b"\x0a\x00\x00\x01", 500)
        return Datagram(self.frame, 9, *end, *end, "udp", message, False, False, None, file, (self.frame,))

    def facts(self, *messages: bytes) -> OpenedFacts:
        return facts_of(self.keys, [self.datagram(message) for message in messages])


def opened_of(keys: KeyTable, datagrams: list[Datagram]) -> OpenedTable:
    table = OpenedTable()
    for datagram in datagrams:
        table.add(datagram, parse_header(datagram.payload, truncated=True), keys)
    return table


def facts_of(keys: KeyTable, datagrams: list[Datagram]) -> OpenedFacts:
    return only_facts(opened_of(keys, datagrams), keys)


def proposal(protocol: int, spi: bytes, *transforms: b.Transform) -> b.Payload:
    kind, body = b.sa(list(transforms))
    header = body[:2] + (len(body) + len(spi)).to_bytes(2, "big") + bytes((1, protocol, len(spi), len(transforms)))
    return (kind, header + spi + body[8:])


def test_rekey_of_an_ike_sa_with_followup_key_exchanges() -> None:
    """RFC 9370 section 2.2.4: every response that announces one more exchange is repeated in the next request."""
    k = Keys(CBC)
    hybrid: list[b.Transform] = [(1, 20), (2, 5), (4, X25519), b.addke(1, ML_KEM_768), b.addke(2, ML_KEM_1024)]
    offer = [proposal(1, b"new-spiI", *hybrid), b.nonce(), b.ke(X25519, 32)]
    choice = [proposal(1, b"new-spiR", *hybrid), b.nonce(), b.ke(X25519, 32), b.notify(16441, b"link1")]
    # The responder of the IKE SA rekeys it.
    request = {"from_initiator": False, "response": False}
    response = {"from_initiator": True, "response": True}
    messages = [
        sealed(k, b.CHILD, offer, message_id=0, **request),
        sealed(k, b.CHILD, choice, message_id=0, **response),
        sealed(k, b.FOLLOWUP, [b.ke(ML_KEM_768, 1184), b.notify(16441, b"link1")], message_id=1, **request),
        sealed(k, b.FOLLOWUP, [b.ke(ML_KEM_768, 1088), b.notify(16441, b"link2")], message_id=1, **response),
        sealed(k, b.FOLLOWUP, [b.ke(ML_KEM_1024, 1568), b.notify(16441, b"link2")], message_id=2, **request),
        sealed(k, b.FOLLOWUP, [b.ke(ML_KEM_1024, 1568)], message_id=2, **response),
    ]
    facts = Wire(k).facts(*messages)
    (negotiation,) = facts.negotiations()
    exchange = negotiation.exchange
    assert exchange.purpose is Purpose.REKEY_IKE_SA
    assert not exchange.by_initiator
    assert exchange.ke_method == X25519
    assert exchange.selected is not None
    assert [(t.type, t.id) for t in exchange.selected.transforms] == hybrid
    assert exchange.successor == (b"new-spiI", b"new-spiR")
    assert [followup.ke_method for followup in negotiation.followups] == [ML_KEM_768, ML_KEM_1024]
    assert negotiation.finished
    (cut,) = Wire(k).facts(*messages[:4]).negotiations()
    assert [followup.ke_method for followup in cut.followups] == [ML_KEM_768]
    assert not cut.finished


def test_child_sas() -> None:
    k = Keys(GCM)
    child = [(1, 20), (5, 0)]
    rekey = [
        b.notify(16393),
        proposal(ESP, b"spi1", *child, (4, 31)),
        b.nonce(),
        b.ke(X25519, 32),
        (TSI, b"ts"),
        (TSR, b"ts"),
    ]
    new = [proposal(ESP, b"spi3", *child), b.nonce()]
    facts = Wire(k).facts(
        sealed(k, b.CHILD, rekey, message_id=5),
        sealed(k, b.CHILD, [b.notify(17, b"\x00\x25")], message_id=5, from_initiator=False, response=True),
        sealed(k, b.CHILD, new, message_id=6),
        sealed(k, b.CHILD, new, message_id=6, from_initiator=False, response=True),
        sealed(k, b.CHILD, [b.notify(14)], message_id=7, from_initiator=False, response=True),
    )
    first, second, third = (negotiation.exchange for negotiation in facts.negotiations())
    assert (first.purpose, first.ke_method, first.selected) == (Purpose.REKEY_CHILD_SA, None, None)
    assert first.response is not None
    assert [(notify.type, notify.data) for notify in first.response.errors] == [(17, b"\x00\x25")]
    assert not first.done
    assert (second.purpose, second.successor) == (Purpose.NEW_CHILD_SA, None)
    assert second.selected == Proposal(1, ESP, b"spi3", (Transform(1, 20, None), Transform(5, 0, None)))
    assert (third.purpose, third.request, third.selected) == (Purpose.OTHER, None, None)


BIG = [b.ke(ML_KEM_768, 1184)]


@pytest.mark.parametrize("suite", [CBC, GCM], ids=["cbc", "gcm"])
def test_fragments_in_any_order_doubled_and_anew(suite: Suite) -> None:
    k = Keys(suite)
    wire = Wire(k)
    pieces = fragments(k, b.INTERMEDIATE, BIG, size=400)
    smaller = fragments(k, b.INTERMEDIATE, BIG, size=200)
    assert (len(pieces), len(smaller)) == (3, 6)
    for order in itertools.permutations(range(3)):
        facts = wire.facts(*(pieces[i] for i in order), pieces[0])
        (exchange,) = facts.intermediates()
        assert (exchange.ke_method, facts.fragments_missing) == (ML_KEM_768, ())
        assert facts.count(OPENED) == 4
    missing = wire.facts(pieces[0], pieces[2], pieces[2])
    assert not missing.exchanges()
    assert len(missing.fragments_missing) == 1
    # Sent anew in smaller fragments: numbers of the two sets are not mixed.
    mixed = wire.facts(pieces[0], smaller[1], pieces[2], *smaller[2:], smaller[0])
    (exchange,) = mixed.intermediates()
    assert exchange.request is not None
    assert (exchange.request.ke_octets, exchange.request.fragments) == (1184, 6)
    assert exchange.request.first.frame == wire.frame - 7


def test_fragments_under_wrong_encryption_keys() -> None:
    """The check passes, the plaintext is noise: no facts of it."""
    k = Keys(CBC)
    (entry,) = Wire(k).keys
    seen = 0
    for number in range(100):
        keys = KeyTable([replace(entry, sk_ei=bytes([number]) * 32)])
        wire = Wire(k)
        table = opened_of(
            keys, [wire.datagram(piece) for piece in fragments(k, b.INTERMEDIATE, BIG, message_id=number)]
        )
        facts = only_facts(table, keys)
        assert not facts.exchanges()
        seen += len(facts.unreadable)
        assert {"encryption-keys-wrong", "fragments-missing"} & {note.slug for note in table.notes(keys)}
    assert seen  # padding happens to fit in some of them


def everything() -> tuple[Keys, list[bytes]]:
    k = Keys(GCM)
    messages = [
        *fragments(k, b.INTERMEDIATE, BIG),
        *fragments(k, b.INTERMEDIATE, BIG, size=300),
        *fragments(k, b.INTERMEDIATE, BIG, message_id=2)[1:],
        *(sealed(k, b.INTERMEDIATE, BIG, message_id=1, from_initiator=False, response=True) for _ in range(2)),
        sealed(k, b.AUTH, [(IDI, b"a"), b.notify(16404)], message_id=3),
        sealed(k, b.INFO, [], message_id=4),
        sealed(Keys(GCM, b"wrong"), b.AUTH, [(IDI, b"a")], message_id=9),
        sealed(k, b.AUTH, [(IDI, b"a")], message_id=8)[:-3],
    ]
    return k, messages


def state(table: OpenedTable, keys: KeyTable) -> object:
    facts = only_facts(table, keys)
    parts = (facts.messages, facts.unreadable, facts.packets, facts.sources, facts.overflow, facts.fragments_missing)
    return pickle.loads(pickle.dumps((parts, sorted(table.counters.items()), table.notes(keys))))


def test_merging_in_any_order_gives_the_same() -> None:
    k, messages = everything()
    wire = Wire(k)
    datagrams = [wire.datagram(message, f"{index % 3}.pcap") for index, message in enumerate(messages)]
    whole = state(opened_of(wire.keys, datagrams), wire.keys)
    chooser = random.Random(9370)
    for _ in range(60):
        parts = [[d for d in datagrams if d.file == f"{n}.pcap"] for n in range(3)]
        for part in parts:
            chooser.shuffle(part)
        read = [pickle.loads(pickle.dumps(opened_of(wire.keys, part))) for part in parts]
        chooser.shuffle(read)
        if chooser.random() < 0.5:
            read[1].merge(read[2])
            read[0].merge(read[1])
        else:
            read[0].merge(read[1])
            read[0].merge(read[2])
        assert state(read[0], wire.keys) == whole


def test_merging_twice_changes_nothing() -> None:
    k, messages = everything()
    wire = Wire(k)
    facts = wire.facts(*messages)
    again = facts.copy()
    again.merge(facts)
    assert again == facts


def test_many_messages_are_bounded() -> None:
    k = Keys(GCM)
    wire = Wire(k)
    messages = [sealed(k, b.CHILD, [b.nonce()], message_id=n) for n in range(MOST_PROTECTED_MESSAGES + 5)]
    facts = wire.facts(*reversed(messages))
    assert [e.message_id for e in facts.exchanges()] == list(range(MOST_PROTECTED_MESSAGES))
    assert facts.overflow
    pending = wire.facts(*(fragments(k, b.CHILD, BIG, message_id=n)[0] for n in range(100)))
    assert len(pending.fragments_missing) == 16
    assert pending.overflow
    signs_of_life = wire.facts(*(sealed(k, b.INFO, [], message_id=n) for n in range(100)))
    assert (signs_of_life.count(OPENED), signs_of_life.exchanges(), signs_of_life.overflow) == (100, (), False)


def test_notes_of_unused_lines_and_cut_packets() -> None:
    k = Keys(GCM)
    wire = Wire(k, Keys(GCM, b"of something else"))
    message = sealed(k, b.AUTH, [(IDI, b"a")])
    datagrams = [wire.datagram(message), wire.datagram(message[:-3])]
    notes = opened_of(wire.keys, datagrams).notes(wire.keys)
    assert [(note.slug, note.source.line) for note in notes] == [("packets-cut-off", 1), ("keys-unused", 2)]
