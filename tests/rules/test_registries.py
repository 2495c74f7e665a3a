"""The registries of numbers: shape, uniqueness, and values against the documents that define them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pqaudit.rules.registry import Registry

REPOSITORY = Path(__file__).resolve().parents[2]
RULES = REPOSITORY / "rules"
REGISTRIES = RULES / "registries"
FACTS = REPOSITORY.parent / "shared" / "facts"
FILES = (
    "exchange_types",
    "ikev1",
    "key_exchange_methods",
    "notifies",
    "payload_types",
    "transforms",
    "vendor_ids",
)
CERTAINTIES = {"read", "known", "unsure", "second-hand"}
TRANSFORM_LEVELS = {"must", "should", "may", "ok", "should-not", "must-not", "deprecated", "other"}
METHOD_LEVELS = TRANSFORM_LEVELS | {"registered"}

Entry = dict[str, Any]


def registry(name: str) -> Entry:
    data = yaml.safe_load((REGISTRIES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(data, dict)
    return data


def lists_of(name: str) -> Iterator[tuple[str, list[Entry]]]:
    for key, value in registry(name).items():
        if isinstance(value, list):
            yield key, value


def by_id(entries: list[Entry]) -> dict[int, Entry]:
    return {entry["id"]: entry for entry in entries}


METHODS = by_id(registry("key_exchange_methods")["methods"])
NOTIFIES = by_id(registry("notifies")["notifies"])
ENCRYPTION = by_id(registry("transforms")["encryption"])
INTEGRITY = by_id(registry("transforms")["integrity"])
PRF = by_id(registry("transforms")["prf"])


class TestShape:
    def test_no_registry_is_missing_or_untested(self) -> None:
        assert sorted(path.stem for path in REGISTRIES.iterdir()) == sorted(FILES)

    @pytest.mark.parametrize("name", FILES)
    def test_file_says_schema_title_and_source(self, name: str) -> None:
        data = registry(name)
        assert data["schema"] == 1
        assert data["title"]
        assert data["source"]

    @pytest.mark.parametrize("name", FILES)
    def test_every_entry_has_source_and_certainty(self, name: str) -> None:
        for key, entries in lists_of(name):
            assert entries, key
            for entry in entries:
                assert isinstance(entry["source"], str), entry
                assert entry["source"].strip(), entry
                assert entry["certainty"] in CERTAINTIES, entry
                assert entry.get("sizes_certainty", "known") in CERTAINTIES, entry

    @pytest.mark.parametrize("name", FILES)
    def test_ids_are_unique_outside_private_use(self, name: str) -> None:
        for key, entries in lists_of(name):
            ids = [entry["id"] for entry in entries if "id" in entry]
            if key != "private_use":
                assert len(ids) == len(set(ids)), key

    @pytest.mark.parametrize("name", FILES)
    def test_ids_ascend(self, name: str) -> None:
        for key, entries in lists_of(name):
            ids = [entry["id"] for entry in entries if "id" in entry]
            assert ids == sorted(ids), key

    @pytest.mark.parametrize("name", FILES)
    def test_names_are_unique_within_a_list(self, name: str) -> None:
        for key, entries in lists_of(name):
            names = [entry["name"] for entry in entries if "name" in entry]
            if key != "private_use":
                assert len(names) == len(set(names)), key

    @pytest.mark.parametrize("name", FILES)
    def test_no_key_stands_twice_in_a_mapping(self, name: str) -> None:
        # YAML readers keep the last of two equal keys without a word.
        def check(node: yaml.Node) -> None:
            if isinstance(node, yaml.MappingNode):
                keys = [key.value for key, _ in node.value]
                assert len(keys) == len(set(keys)), keys
                for _, value in node.value:
                    check(value)
            elif isinstance(node, yaml.SequenceNode):
                for value in node.value:
                    check(value)

        root = yaml.compose((REGISTRIES / f"{name}.yaml").read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        assert root is not None
        check(root)

    @pytest.mark.parametrize("name", FILES)
    def test_ranges_are_ordered_and_do_not_overlap(self, name: str) -> None:
        end = -1
        for entry in registry(name).get("ranges", []):
            assert end < entry["first"] <= entry["last"]
            end = entry["last"]

    def test_product_loads_them(self) -> None:
        loaded = Registry(RULES)
        assert loaded.method(31).short == "x25519"
        assert loaded.method(32).short == "x448"
        assert loaded.method(36).kind == "ml-kem"
        assert loaded.method(6).kind == "unassigned"
        assert loaded.method(38).kind == "unassigned"
        assert loaded.method(1023).kind == "unassigned"
        assert loaded.method(1024).kind == "private-use"
        assert loaded.method(65535).kind == "private-use"


class TestKeyExchangeMethods:
    def test_numbers_and_ranges_cover_all_16_bits_once(self) -> None:
        covered = sorted(METHODS)
        assert covered == list(range(38))
        position = 38
        for entry in registry("key_exchange_methods")["ranges"]:
            assert entry["first"] == position
            assert entry["class"] in {"unassigned", "private-use"}
            position = entry["last"] + 1
        assert position == 65536

    @pytest.mark.parametrize("entry", METHODS.values(), ids=lambda entry: entry["name"])
    def test_class_goes_with_sizes_and_status(self, entry: Entry) -> None:
        assert entry["class"] in {"none", "classical", "ml-kem", "reserved"}
        assert re.fullmatch(r"[a-z0-9-]+", entry["name"])
        assert entry["status"]["level"] in METHOD_LEVELS
        assert entry["status"].get("certainty", "known") in CERTAINTIES
        sized = entry["class"] in {"classical", "ml-kem"}
        assert (entry["public_octets"] is not None) is sized
        assert (entry["ciphertext_octets"] is not None) is sized
        if entry["class"] == "classical":
            assert entry["public_octets"] == entry["ciphertext_octets"]

    def test_a_requirement_names_its_document(self) -> None:
        for entry in METHODS.values():
            if entry["status"]["level"] not in {"ok", "other"}:
                assert entry["status"]["source"], entry
                assert entry["status"]["certainty"], entry

    @pytest.mark.parametrize(
        ("number", "name", "key", "ciphertext", "category"),
        [
            (35, "ml-kem-512", 800, 768, 1),
            (36, "ml-kem-768", 1184, 1088, 3),
            (37, "ml-kem-1024", 1568, 1568, 5),
        ],
    )
    def test_ml_kem_as_in_fips_203_table_3(
        self, number: int, name: str, key: int, ciphertext: int, category: int
    ) -> None:
        method = METHODS[number]
        assert (method["name"], method["class"], method["nist_category"]) == (name, "ml-kem", category)
        assert (method["public_octets"], method["ciphertext_octets"]) == (key, ciphertext)

    def test_ml_kem_sizes_follow_from_fips_203_parameters(self) -> None:
        # Key: 384 k + 32 octets. Ciphertext: 32 (du k + dv) octets.
        for number, k, du, dv in ((35, 2, 10, 4), (36, 3, 10, 4), (37, 4, 11, 5)):
            assert METHODS[number]["public_octets"] == 384 * k + 32
            assert METHODS[number]["ciphertext_octets"] == 32 * (du * k + dv)

    @pytest.mark.parametrize(
        ("number", "bits"),
        [(1, 768), (2, 1024), (5, 1536), (14, 2048), (15, 3072), (16, 4096), (17, 6144), (18, 8192)],
    )
    def test_modp_as_in_rfc_7296_and_rfc_3526(self, number: int, bits: int) -> None:
        assert METHODS[number]["name"] == f"modp{bits}"
        assert METHODS[number]["public_octets"] * 8 == bits

    @pytest.mark.parametrize(("number", "bits", "octets"), [(19, 256, 64), (20, 384, 96), (21, 521, 132)])
    def test_ecp_as_in_rfc_5903(self, number: int, bits: int, octets: int) -> None:
        assert METHODS[number]["name"] == f"ecp{bits}"
        assert METHODS[number]["public_octets"] == octets == 2 * -(-bits // 8)

    @pytest.mark.parametrize(("number", "octets"), [(22, 128), (23, 256), (24, 256), (25, 48), (26, 56)])
    def test_groups_of_rfc_5114(self, number: int, octets: int) -> None:
        assert METHODS[number]["public_octets"] == octets

    @pytest.mark.parametrize(("number", "bits"), [(27, 224), (28, 256), (29, 384), (30, 512)])
    def test_brainpool_as_in_rfc_6954(self, number: int, bits: int) -> None:
        assert METHODS[number]["iana"] == f"brainpoolP{bits}r1"
        assert METHODS[number]["public_octets"] == 2 * bits // 8

    @pytest.mark.parametrize(("number", "name", "octets"), [(31, "curve25519", 32), (32, "curve448", 56)])
    def test_curves_as_in_rfc_8031(self, number: int, name: str, octets: int) -> None:
        assert (METHODS[number]["name"], METHODS[number]["public_octets"]) == (name, octets)

    @pytest.mark.parametrize(("number", "octets"), [(33, 64), (34, 128)])
    def test_gost_as_in_rfc_9385(self, number: int, octets: int) -> None:
        assert (METHODS[number]["family"], METHODS[number]["public_octets"]) == ("gost", octets)

    @pytest.mark.parametrize(
        ("number", "level"),
        [
            (14, "must"),
            (19, "should"),
            (5, "should-not"),
            (2, "should-not"),
            (1, "must-not"),
            (22, "must-not"),
            (23, "should-not"),
            (24, "should-not"),
        ],
    )
    def test_levels_as_in_rfc_8247_section_2_4(self, number: int, level: str) -> None:
        status = METHODS[number]["status"]
        assert (status["level"], status["source"]) == (level, "RFC 8247")

    def test_private_numbers_lie_in_the_private_range(self) -> None:
        assert all(1024 <= entry["id"] <= 65535 for entry in registry("key_exchange_methods")["private_use"])

    def test_private_numbers_name_a_vendor_that_a_vendor_id_can_show(self) -> None:
        words = {entry["vendor"] for entry in registry("vendor_ids")["vendor_ids"]}
        for entry in registry("key_exchange_methods")["private_use"]:
            assert entry["vendors"], entry
            assert entry["vendor_fingerprints"], entry
            assert set(entry["vendor_fingerprints"]) <= words, entry

    def test_a_private_number_has_one_name_for_a_vendor(self) -> None:
        seen = set()
        for entry in registry("key_exchange_methods")["private_use"]:
            for vendor in entry["vendor_fingerprints"]:
                assert (entry["id"], vendor) not in seen
                seen.add((entry["id"], vendor))


class TestTransforms:
    def test_types_as_in_rfc_7296_and_rfc_9370(self) -> None:
        types = by_id(registry("transforms")["transform_types"])
        assert [types[number]["name"] for number in range(1, 6)] == ["ENCR", "PRF", "INTEG", "KE", "SN"]
        assert [types[number]["name"] for number in range(6, 13)] == [f"ADDKE{slot}" for slot in range(1, 8)]

    @pytest.mark.parametrize("kind", ["encryption", "prf", "integrity"])
    def test_status_is_a_known_level_with_its_own_certainty(self, kind: str) -> None:
        for entry in registry("transforms")[kind]:
            status = entry["status"]
            assert status["level"] in TRANSFORM_LEVELS, entry
            assert status["certainty"] in CERTAINTIES, entry
            if status["level"] not in {"ok", "other"}:
                assert re.fullmatch(r"RFC \d+", status["source"]), entry

    def test_key_bits_are_fixed_or_from_the_attribute(self) -> None:
        for entry in ENCRYPTION.values():
            bits = entry["key_bits"]
            assert bits is None or bits == "from-attribute" or (isinstance(bits, int) and bits >= 0), entry

    def test_overhead_is_known_for_all_ciphers_or_for_none_of_its_parts(self) -> None:
        for entry in ENCRYPTION.values():
            assert (entry["iv_octets"] is None) is (entry["block_octets"] is None), entry

    @pytest.mark.parametrize(
        ("number", "name", "iv", "block", "icv"),
        [
            (3, "ENCR_3DES", 8, 8, None),  # RFC 2451
            (12, "ENCR_AES_CBC", 16, 16, None),  # RFC 3602
            (13, "ENCR_AES_CTR", 8, 1, None),  # RFC 5930
            (14, "ENCR_AES_CCM_8", 8, 1, 8),  # RFC 5282
            (16, "ENCR_AES_CCM_16", 8, 1, 16),
            (18, "ENCR_AES_GCM_8", 8, 1, 8),
            (19, "ENCR_AES_GCM_12", 8, 1, 12),
            (20, "ENCR_AES_GCM_16", 8, 1, 16),
            (28, "ENCR_CHACHA20_POLY1305", 8, 1, 16),  # RFC 7634
        ],
    )
    def test_overhead_of_ciphers(self, number: int, name: str, iv: int, block: int, icv: int | None) -> None:
        entry = ENCRYPTION[number]
        assert entry["name"] == name
        assert (entry["iv_octets"], entry["block_octets"], entry["icv_octets"]) == (iv, block, icv)

    def test_3des_has_a_key_of_168_bits_as_in_rfc_2451(self) -> None:
        assert (ENCRYPTION[3]["key_bits"], ENCRYPTION[3]["security_bits"]) == (168, 112)

    @pytest.mark.parametrize("number", [29, 30, 31])
    def test_implicit_iv_is_for_esp_only_by_rfc_8750(self, number: int) -> None:
        assert ENCRYPTION[number]["status"]["note"] == "ESP only"

    def test_icv_octets_are_in_the_name(self) -> None:
        for entry in INTEGRITY.values():
            bits = re.search(r"_(96|128|160|192|256)$", entry["name"])
            if bits:
                assert entry["icv_octets"] * 8 == int(bits[1]), entry

    @pytest.mark.parametrize(
        ("entries", "number", "level"),
        [
            (ENCRYPTION, 12, "must"),
            (ENCRYPTION, 20, "should"),
            (ENCRYPTION, 28, "should"),
            (ENCRYPTION, 3, "may"),
            (ENCRYPTION, 2, "must-not"),
            (PRF, 5, "must"),
            (PRF, 1, "must-not"),
            (INTEGRITY, 12, "must"),
            (INTEGRITY, 14, "should"),
            (INTEGRITY, 1, "must-not"),
        ],
    )
    def test_levels_as_in_rfc_8247(self, entries: dict[int, Entry], number: int, level: str) -> None:
        assert entries[number]["status"]["level"] == level
        assert entries[number]["status"]["source"] == "RFC 8247"

    def test_overhead_of_encrypted_payloads(self) -> None:
        overhead = registry("transforms")["encrypted_payload"]
        assert overhead["generic_header_octets"] == 4  # RFC 7296 section 3.14
        assert overhead["fragment_header_octets"] == 8  # RFC 7383 section 2.5
        assert overhead["least_padding_octets"] == 1
        assert overhead["ke_header_octets"] == 8  # RFC 7296 section 3.4
        sources = {entry["of"] for entry in overhead["sources"]}
        assert sources == {key for key in overhead if key.endswith("_octets")}


class TestExchangesAndPayloads:
    @pytest.mark.parametrize(
        ("number", "name", "source"),
        [
            (34, "IKE_SA_INIT", "RFC 7296"),
            (35, "IKE_AUTH", "RFC 7296"),
            (36, "CREATE_CHILD_SA", "RFC 7296"),
            (37, "INFORMATIONAL", "RFC 7296"),
            (38, "IKE_SESSION_RESUME", "RFC 5723"),
            (43, "IKE_INTERMEDIATE", "RFC 9242"),
            (44, "IKE_FOLLOWUP_KE", "RFC 9370"),
        ],
    )
    def test_exchange_types(self, number: int, name: str, source: str) -> None:
        entry = by_id(registry("exchange_types")["exchange_types"])[number]
        assert (entry["name"], entry["source"]) == (name, source)

    @pytest.mark.parametrize(
        ("number", "name"),
        [(33, "SA"), (34, "KE"), (40, "Nonce"), (41, "N"), (43, "V"), (46, "SK"), (53, "SKF")],
    )
    def test_payload_types_as_in_rfc_7296_and_rfc_7383(self, number: int, name: str) -> None:
        assert by_id(registry("payload_types")["payload_types"])[number]["name"] == name

    @pytest.mark.parametrize(
        ("part", "number", "name"),
        [
            ("exchange_types", 2, "IDENTITY_PROTECTION"),
            ("exchange_types", 4, "AGGRESSIVE"),
            ("exchange_types", 32, "QUICK_MODE"),
            ("payload_types", 1, "SA"),
            ("payload_types", 13, "VID"),
            ("payload_types", 20, "NAT-D"),
            ("attributes", 4, "Group Description"),
            ("attributes", 14, "Key Length"),
            ("encryption", 5, "3DES-CBC"),
            ("encryption", 7, "AES-CBC"),
            ("hash", 4, "SHA2-256"),
            ("authentication_methods", 1, "pre-shared key"),
        ],
    )
    def test_ikev1_as_in_rfc_2408_and_rfc_2409(self, part: str, number: int, name: str) -> None:
        assert by_id(registry("ikev1")[part])[number]["name"] == name

    def test_groups_of_ikev1_alone_are_reserved_in_ikev2(self) -> None:
        assert all(METHODS[entry["id"]]["class"] == "reserved" for entry in registry("ikev1")["groups"])


class TestNotifies:
    @pytest.mark.parametrize(
        ("number", "name", "source"),
        [
            (14, "NO_PROPOSAL_CHOSEN", "RFC 7296"),
            (17, "INVALID_KE_PAYLOAD", "RFC 7296"),
            (47, "STATE_NOT_FOUND", "RFC 9370"),
            (16390, "COOKIE", "RFC 7296"),
            (16430, "IKEV2_FRAGMENTATION_SUPPORTED", "RFC 7383"),
            (16431, "SIGNATURE_HASH_ALGORITHMS", "RFC 7427"),
            (16435, "USE_PPK", "RFC 8784"),
            (16438, "INTERMEDIATE_EXCHANGE_SUPPORTED", "RFC 9242"),
            (16441, "ADDITIONAL_KEY_EXCHANGE", "RFC 9370"),
            (16443, "SUPPORTED_AUTH_METHODS", "RFC 9593"),
            (16445, "USE_PPK_INT", "RFC 9867"),
        ],
    )
    def test_numbers(self, number: int, name: str, source: str) -> None:
        assert (NOTIFIES[number]["name"], NOTIFIES[number]["source"]) == (name, source)

    def test_kind_follows_from_the_range_of_rfc_7296_section_3_10_1(self) -> None:
        ranges = registry("notifies")["ranges"]
        assert (ranges[0]["first"], ranges[-1]["last"]) == (0, 65535)
        for entry in [*NOTIFIES.values(), *registry("notifies")["private_use"]]:
            range_ = next(r for r in ranges if r["first"] <= entry["id"] <= r["last"])
            private = "private-" if range_["class"] == "private-use" else ""
            assert entry["kind"] == private + range_["kind"], entry

    def test_where_is_one_of_the_known_places(self) -> None:
        assert {entry["where"] for entry in NOTIFIES.values()} <= {
            "any",
            "encrypted",
            "ike-sa-init",
            "ike-sa-init-response",
            "ike-sa-init-response-or-encrypted",
            "ike-session-resume",
        }

    def test_private_numbers_are_unique_for_a_vendor(self) -> None:
        pairs = [(e["id"], vendor) for e in registry("notifies")["private_use"] for vendor in e["vendors"]]
        assert len(pairs) == len(set(pairs))

    def test_hash_identity_as_in_rfc_8420(self) -> None:
        identity = by_id(registry("notifies")["signature_hash_algorithms"])[5]
        assert (identity["name"], identity["source"]) == ("Identity", "RFC 8420")


class TestVendorIds:
    @pytest.mark.parametrize("entry", registry("vendor_ids")["vendor_ids"], ids=lambda entry: entry["name"])
    def test_entry(self, entry: Entry) -> None:
        assert bytes.fromhex(entry["hex"]).hex() == entry["hex"]
        assert entry["match"] in {"exact", "prefix"}
        assert entry["in_ikev2"] in {"yes", "no", "rare", "unsure"}
        assert entry["vendor"] is None or entry["vendor"].strip()
        if "version_from" in entry:
            assert entry["match"] == "prefix"
            assert entry["version_from"]["encoding"] in {"ascii", "u32be", "u16be-pair"}
            assert entry["version_from"]["offset"] == len(entry["hex"]) // 2

    def test_octets_are_unique(self) -> None:
        octets = [entry["hex"] for entry in registry("vendor_ids")["vendor_ids"]]
        assert len(octets) == len(set(octets))

    def test_strongswan_is_the_md5_of_its_name(self) -> None:
        found = Registry(RULES).vendor_id(hashlib.md5(b"strongSwan", usedforsecurity=False).digest())
        assert found is not None
        assert found.vendor == "strongSwan"

    @pytest.mark.parametrize(
        ("octets", "vendor"),
        [
            (b"OpenIKED-7.4", "OpenBSD iked"),
            (b"OE-Libreswan-5.4", "Libreswan"),
            (b"OEabcdefghij", "Openswan"),
            (b"CISCO-DELETE-REASON", "Cisco"),
            (b"FLEXVPN-SUPPORTED", "Cisco"),
        ],
    )
    def test_longest_match_decides(self, octets: bytes, vendor: str) -> None:
        assert registry("vendor_ids")["match_order"] == "longest-first"
        found = Registry(RULES).vendor_id(octets)
        assert found is not None
        assert found.vendor == vendor

    def test_a_capability_names_no_vendor(self) -> None:
        loaded = Registry(RULES)
        for octets in ("4048b7d56ebce88525e7de7f00d6c2d3c0000000", "12f5f28c457168a9702d9fe274cc0100"):
            found = loaded.vendor_id(bytes.fromhex(octets))
            assert found is not None
            assert found.vendor is None


@pytest.mark.skipif(not FACTS.is_dir(), reason="optional: the collected facts are not beside this repository")
class TestAgainstCollectedFacts:
    def facts(self, name: str) -> Entry:
        data = yaml.safe_load((FACTS / f"{name}.yaml").read_text(encoding="utf-8"))
        assert isinstance(data, dict)
        return data

    def test_methods(self) -> None:
        facts = self.facts("ke_methods")
        assert {e["id"]: (e["name"].lower(), e["pub"], e["ct"], e["bits"]) for e in facts["methods"]} == {
            e["id"]: (e["name"], e["public_octets"], e["ciphertext_octets"], e["security_bits"])
            for e in METHODS.values()
        }
        assert {number for number, e in METHODS.items() if e["class"] == "classical"} == set(
            facts["quantum_vulnerable_ids"]
        )
        assert {number for number, e in METHODS.items() if e["class"] == "ml-kem"} == set(facts["ml_kem_ids"])

    def test_private_methods(self) -> None:
        expected = [(e["id"], e["name"], e["pub"], e["ct"]) for e in self.facts("ke_methods")["private_use"]]
        private = registry("key_exchange_methods")["private_use"]
        assert [(e["id"], e["name"], e["public_octets"], e["ciphertext_octets"]) for e in private] == expected

    @pytest.mark.parametrize(
        ("fact", "name", "part"),
        [
            ("transform_types", "transforms", "transform_types"),
            ("encr", "transforms", "encryption"),
            ("prf", "transforms", "prf"),
            ("integ", "transforms", "integrity"),
            ("exchange_types", "exchange_types", "exchange_types"),
            ("payload_types", "payload_types", "payload_types"),
        ],
    )
    def test_names_of_numbers(self, fact: str, name: str, part: str) -> None:
        mine = {e["id"]: e["name"] for e in registry(name)[part]}
        assert {e["id"]: e["name"] for e in self.facts("transforms")[fact]}.items() <= mine.items()

    def test_overhead_of_transforms(self) -> None:
        facts = self.facts("transforms")
        assert {e["id"]: (e.get("iv"), e.get("block"), e.get("icv")) for e in facts["encr"]} == {
            e["id"]: (e["iv_octets"], e["block_octets"], e["icv_octets"]) for e in ENCRYPTION.values()
        }
        assert {e["id"]: e["icv"] for e in facts["integ"]} == {e["id"]: e["icv_octets"] for e in INTEGRITY.values()}

    def test_notifies(self) -> None:
        facts = self.facts("notify")
        assert {e["id"]: (e["name"], e["kind"], e["ref"]) for e in facts["error"] + facts["status"]} == {
            e["id"]: (e["name"], e["kind"], e["source"]) for e in NOTIFIES.values()
        }

    def test_vendor_ids(self) -> None:
        expected = [(e["hex"], e["match"]) for e in self.facts("vendor_ids")["vendor_ids"]]
        assert [(e["hex"], e["match"]) for e in registry("vendor_ids")["vendor_ids"]] == expected
