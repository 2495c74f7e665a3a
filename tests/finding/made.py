"""Findings made from those of the samples, with every value that questions ask for varied."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from random import Random
from typing import Any

from hypothesis import strategies as st

from pqaudit.cli.audit import VERDICTS
from pqaudit.finding.answers import BY, By
from pqaudit.finding.document import Document
from pqaudit.finding.query import Query, peer_address, peer_network
from tests.conftest import SAMPLES, audit

# The same addresses in several notations, networks within each other, and IPv4 inside IPv6.
ADDRESSES = (
    "192.0.2.1",
    "192.0.2.2",
    "::ffff:192.0.2.1",
    "198.51.100.7",
    "2001:db8::1",
    "2001:DB8:0:0::1",
    "fe80::2",
    "::",
)
NETWORKS = (
    "192.0.2.0/24",
    "192.0.2.1/32",
    "2001:db8::/32",
    "::/0",
    "::/64",
    "::ffff:192.0.2.0/120",
    "0.0.0.0/0",
    "fe80::/10",
)
# Around the ends of a millisecond, a day, a month and a year, with all numbers of digits.
TIMES = (
    "2025-12-31T23:59:59.999999999Z",
    "2026-01-01T00:00:00Z",
    "2026-01-31T23:59:59.9Z",
    "2026-02-01T00:00:00.000Z",
    "2026-02-01T00:00:00.000001Z",
    "2026-02-01T00:00:00.000999Z",
    "2026-02-01T00:00:00.001Z",
    "1969-12-31T23:59:59.9999Z",
    "9999-12-31T23:59:59.999Z",
)
SPAN_ENDS = (
    "2026-01-01T00:00:00.000Z",
    "2026-02-01T00:00:00.000Z",
    "2026-02-01T00:00:00.001Z",
    "1970-01-01T00:00:00.000Z",
)
METHODS = (14, 19, 31, 36, 1081)
VENDORS = ("strongSwan", "Cisco", "Ünicode", "a b\x1b[31m")
SENSORS = ("site-1", "site-2", "Ω", "")
REASONS = ("not-offered", "draft-compliant", "ikev1")
PROTECTIONS = ("ml-kem", "none", "unknown")
DEVIATIONS = ("reversed-order", "one", "two")


@cache
def sample_findings() -> tuple[Document, ...]:
    """The findings of all samples together."""
    return tuple(audit(*sorted(SAMPLES.glob("*.pcap")))[0])


def made_findings(count: int, seed: int = 1) -> list[Document]:
    """Findings with values at random; each another SA."""
    random = Random(seed)
    return [_made(random, f"{seed}-{number}") for number in range(count)]


def _made(random: Random, name: str) -> Document:
    finding: Document = json.loads(json.dumps(random.choice(sample_findings())))
    finding["event"]["id"] = sha256(name.encode()).hexdigest()[:40]
    finding["@timestamp"] = finding["event"]["start"] = random.choice(TIMES)
    for end in ("source", "destination"):
        finding[end]["ip"] = random.choice(ADDRESSES)
    finding["observer"]["name"] = random.choice(SENSORS)
    own = finding["pqaudit"]
    own["verdict"] = random.choice(VERDICTS)
    own["reason"] = random.choice(REASONS)
    own["protection"] = random.choice(PROTECTIONS)
    own["deviations"] = [_about(slug) for slug in random.sample(DEVIATIONS, random.randrange(3))]
    own["selected"]["key_exchange"] = random.choice((None, _method(random)))
    additional = [{"slot": slot, **_method(random)} for slot in range(1, random.randrange(1, 5))]
    own["selected"]["additional_key_exchanges"] = additional
    for side in ("initiator", "responder"):
        own["fingerprint"][side] = [_vendor_id(random) for _ in range(random.randrange(3))]
    return finding


def _method(random: Random) -> Document:
    number = random.choice(METHODS)
    return {"id": number, "name": f"method-{number}"}


def _vendor_id(random: Random) -> Document:
    return {"vendor_id": "00", "name": None, "vendor": random.choice((None, *VENDORS)), "version": None}


def _about(slug: str) -> Document:
    return {"id": slug, "requirement": "what it says", "source": "a document"}


def _some(values: Any) -> st.SearchStrategy[frozenset[Any]]:
    return st.just(frozenset()) | st.frozensets(st.sampled_from(values), min_size=1, max_size=3)


QUERIES: st.SearchStrategy[Query] = st.builds(
    Query,
    peers=_some([*map(peer_address, ADDRESSES), "203.0.113.9"]),
    networks=_some([*map(peer_network, NETWORKS)]),
    verdicts=_some(VERDICTS),
    protections=_some([*PROTECTIONS, "ppk"]),
    reasons=_some([*REASONS, "nothing-has-it"]),
    methods=_some([*METHODS, 37]),
    vendors=_some(VENDORS),
    deviations=_some(DEVIATIONS),
    sensors=_some(SENSORS),
    since=st.none() | st.sampled_from(SPAN_ENDS),
    until=st.none() | st.sampled_from(SPAN_ENDS),
)
BYS: st.SearchStrategy[By | None] = st.sampled_from((None, *BY))
