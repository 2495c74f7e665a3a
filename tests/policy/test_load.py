"""Policies of the user: how they are read, what is wrong with them, and files that mean harm."""

from __future__ import annotations

import functools
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pqaudit.policy.assess import assess
from pqaudit.policy.load import check_policies, load_policies, vocabulary
from pqaudit.policy.model import Policy
from pqaudit.policy.parse import Vocabulary, parse_policy
from pqaudit.rules.custom import load_custom_rules
from pqaudit.rules.errors import RulesError
from pqaudit.rules.problem import RuleProblem
from pqaudit.rules.source import built_in
from pqaudit.rules.untrusted import UnreadableError, read_node
from tests.conftest import REPOSITORY
from tests.policy.make import TODAY, finding, policies, registry

OWN = """\
schema: 1
id: our-policy
issuer: our company
title: Tunnels between sites
date: 2026
scope: every site
requirement: Hybrid with ML-KEM-768 or more by the end of June 2027.
source: handbook, section 4
deadlines:
  - {id: sites, by: 2027-06-30, level: must, what: all sites}
  - {id: new-sites, from: 2027-01-01, level: must, only: new, what: new sites}
requirements:
  - id: hybrid
    what: A hybrid.
    key_exchange: {hybrid: required, any_of: [ml-kem-768, ml-kem-1024]}
    deadlines: [sites, new-sites]
  - id: cipher
    what: AES of 256 bits.
    encryption: {allowed: [ENCR_AES_GCM_16], min_key_bits: 256}
not_visible:
  - {id: signatures, what: our certificates}
  - {id: logs, what: that somebody reads the logs, why: packets do not tell}
"""


def write(folder: Path, text: str = OWN, name: str = "ours.yaml") -> Path:
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / name).write_text(text, encoding="utf-8")
    return folder


def test_a_policy_of_the_user_is_added_and_used(tmp_path: Path) -> None:
    found = load_policies(write(tmp_path), registry())
    assert set(found) == {*policies(), "our-policy"}
    policy = found["our-policy"]
    assert (policy.certainty, policy.not_read, policy.read_in_original) == ("read", None, True)
    assert policy.not_covered == ("prf", "integrity")
    assert [(d.day, d.begins) for d in policy.deadlines] == [
        (date(2027, 6, 30), date(2027, 7, 1)),
        (date(2027, 1, 1), date(2027, 1, 1)),
    ]
    assert {item.id: item.what for item in policy.not_visible}["signatures"] == "our certificates"
    assert [item.id for item in policy.not_visible][-1] == "logs"

    def status(exchange: str, as_of: date = TODAY, *groups: str, bits: int = 256) -> str:
        document = finding(exchange, cipher=(20, bits))
        return assess(document, policy, as_of, registry(), frozenset(groups)).status.value

    assert status("x25519+768") == "meets"
    assert status("x25519+768", bits=128) == "fails-now"
    assert status("x25519") == status("768") == status("x25519+512") == "will-fail"
    assert status("x25519", date(2027, 6, 30)) == "will-fail"
    assert status("x25519", date(2027, 7, 1)) == "fails-now"
    assert status("x25519", date(2026, 12, 31), "new") == "will-fail"
    assert status("x25519", date(2027, 1, 1), "new") == "fails-now"


TESTS = [
    ("key_exchange: {hybrid: forbidden}", "768", "p256+768", "fails-now"),
    ("key_exchange: {hybrid: beside-ml-kem}", "p256", "768", "fails-now"),
    ("key_exchange: {allowed: [ecp256, ml-kem-768]}", "p256+768", "p256+768+1024", "fails-now"),
    ("key_exchange: {classical_allowed: [ecp256]}", "p256+1024", "p384+1024", "fails-now"),
    ("key_exchange: {forbidden: [ecp384]}", "p256", "p256+20", "fails-now"),
    ("key_exchange: {min_bits: 192}", "p256+768", "p256+512", "fails-now"),
    ("key_exchange: {min_bits: 192}", "p384", "p256+1081", "not-assessable"),
    ("key_exchange: {forbidden: [ecp384]}", "p256", "p256+1081", "not-assessable"),
    ("key_exchange: {hybrid: forbidden}", "p256", "1081+768", "not-assessable"),
    ("key_exchange: {hybrid: required}", "p256+768+1081", "p256+1081", "not-assessable"),
    ("key_exchange: {any_of: [ml-kem-768]}\n    level: should", "768", "1024", "not-assessable"),
    ("key_exchange: {any_of: [ml-kem-768]}\n    certainty: unsure\n    unsure: why", "768", "1024", "not-assessable"),
    ("prf: {forbidden: [PRF_HMAC_SHA2_256]}", "768", "768", "meets"),
    ('ike_version: {allowed: ["1.0"]}', None, "768", "fails-now"),
]


@pytest.mark.parametrize(("test", "good", "bad", "expected"), TESTS)
def test_tests_of_requirements(test: str, good: str | None, bad: str, expected: str, tmp_path: Path) -> None:
    text = OWN[: OWN.index("deadlines:")] + f"requirements:\n  - id: a\n    what: b\n    {test}\n"
    policy = load_policies(write(tmp_path, text), registry())["our-policy"]
    if good is not None:
        assert assess(finding(good), policy, TODAY, registry()).status.value == "meets"
    assert assess(finding(bad), policy, TODAY, registry()).status.value == expected


def test_a_preference_is_noted_and_changes_nothing(tmp_path: Path) -> None:
    text = OWN.replace("    what: AES of 256 bits.\n", "    what: AES of 256 bits.\n    level: prefer\n")
    policy = load_policies(write(tmp_path, text), registry())["our-policy"]
    found = assess(finding(cipher=(20, 128)), policy, TODAY, registry())
    assert found.status.value == "meets"
    assert [(r.effect, r.slug) for r in found.reasons][-1] == (None, "key-too-short")


def test_a_file_of_the_same_name_replaces_a_policy_whole(tmp_path: Path) -> None:
    found = load_policies(write(tmp_path, OWN, "cnsa-2.0.yaml"), registry())
    assert "cnsa-2.0" not in found
    assert "our-policy" in found


def test_policies_are_no_rules_in_cel(tmp_path: Path) -> None:
    assert load_custom_rules(write(tmp_path)) == ([], [])


WRONG = [
    ("schema: 1\n", "", 1, "write `schema: 1`"),
    ("title: Tunnels", "titel: Tunnels", 4, "did you mean `title`?"),
    ("title: Tunnels between sites\n", "", 1, "there is no `title:`"),
    ("title: Tunnels between sites\n", "title:\n", 4, "`title` has no value"),
    ("title: Tunnels between sites\n", "title: [a]\n", 4, "`title` must be text"),
    ("scope: every", "issuer: every", 6, "stands twice"),
    ("date: 2026\n", "date: today\n", 5, "a year, a month or a day"),
    ("id: our-policy", 'id: "our policy"', 2, "an id is letters"),
    ("id: our-policy", "id: cnsa-2.0", 1, "is taken by"),
    ("by: 2027-06-30", "by: 2027-06-31", 10, "deadline sites: `by` must be a day"),
    ("by: 2027-06-30", "by: June", 10, "must be a day"),
    ("by: 2027-06-30", "by: 9999-12-31", 10, "must be a day"),
    ("by: 2027-06-30, ", "", 10, "either `by:`"),
    ("by: 2027-06-30", "by: 2027-06-30, from: 2027-01-01", 10, "either `by:`"),
    ("level: must, what: all", "level: shall, what: all", 10, "is one of must, should, plan"),
    ("level: must, what: all", "level: should, what: all", 16, "needs one deadline of level `must`"),
    ("level: must, what: all", "level: must, only: new, what: all", 16, "needs one deadline of level `must`"),
    ("only: new", "only: few", 11, "is one of high-priority, new"),
    ("deadlines: [sites, ", "deadlines: [sights, ", 16, "did you mean sites?"),
    ("deadlines: [sites, new-sites]", "deadlines: []", 16, "names nothing"),
    ("{id: new-sites,", "{id: sites,", 1, "two deadlines have the id sites"),
    ("  - id: cipher", "  - id: hybrid", 1, "two requirements have the id hybrid"),
    ("ml-kem-768,", "ml-kem-786,", 15, "requirement hybrid, key_exchange: `any_of`"),
    ("ml-kem-768,", "none,", 15, "there is no key exchange method none"),
    ("any_of: [ml-kem-768, ml-kem-1024]", "any_of: []", 15, "names nothing"),
    ("any_of: [ml-kem-768, ml-kem-1024]", "any_of: ml-kem-768", 15, "write `any_of:` as a list"),
    ("any_of: [ml-kem-768, ml-kem-1024]", "anyof: [ml-kem-768]", 15, "did you mean `any_of`?"),
    ("any_of: [ml-kem-768, ml-kem-1024]", "forbidden:", 15, "`forbidden` has no value"),
    ("{hybrid: required, any_of: [ml-kem-768, ml-kem-1024]}", "{hybrid: allowed}", 15, "asks for nothing"),
    ("{hybrid: required, any_of: [ml-kem-768, ml-kem-1024]}", "{}", 15, "asks for nothing"),
    ("hybrid: required", "hybrid: perhaps", 15, "is one of required, beside-ml-kem"),
    ("    encryption:", "    cipher:", 19, "there is no field `cipher`"),
    ("    encryption:", "    prf: {allowed: [PRF_HMAC_SHA2_384]}\n    encryption:", 17, "it tests one of"),
    ("min_key_bits: 256", "min_key_bits: many", 19, "a whole number"),
    ("min_key_bits: 256", "min_key_bits: 0", 19, "a whole number"),
    ("min_key_bits: 256", "min_key_bits: " + "9" * 5000, 19, "a whole number"),
    ("source: handbook, section 4", "source: handbook\ncertainty: known", 1, "not_read"),
    ("source: handbook, section 4", "source: handbook\ncertainty: unsure\nnot_read: x", 9, "say in `unsure:`"),
    ("source: handbook, section 4", "source: handbook\nunsure: x", 9, "is `certainty: unsure`"),
    (", why: packets do not tell", "", 22, "there is no `why:`"),
    (OWN, "", 1, "must be fields with values"),
    (OWN, "- a\n", 1, "must be fields with values"),
    (OWN, "a: [b\n", 2, "this is not YAML"),
    (OWN, "a: &x [1]\nb: *x\n", 2, "aliases are not read"),
    (OWN, "[" * 4000 + "]" * 4000, 1, "nested too deeply"),
    (OWN, "a\x07: 1", 1, "this is not YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "part"), WRONG, ids=[part for *_, part in WRONG])
def test_what_is_wrong_is_told_with_file_line_and_field(
    old: str, new: str, line: int, part: str, tmp_path: Path
) -> None:
    assert old in OWN
    found, problems = check_policies(write(tmp_path, OWN.replace(old, new, 1)), registry())
    assert any((p.line, part in p.text) == (line, True) for p in problems), [str(p) for p in problems]
    assert all(p.file.endswith("ours.yaml") for p in problems)
    assert set(found) == set(policies())


def test_loading_ends_with_the_first_thing_that_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"ours\.yaml:4: the policy: `title` has no value"):
        load_policies(write(tmp_path, OWN.replace("Tunnels between sites", "")), registry())


def test_a_file_without_end_is_not_read(tmp_path: Path) -> None:
    _, problems = check_policies(write(tmp_path, "#" * (4 * 1024 * 1024 + 1)), registry())
    assert "at most" in problems[0].text


def test_a_list_without_end_is_cut(tmp_path: Path) -> None:
    many = "any_of: [" + ", ".join(["ml-kem-768"] * 300) + "]"
    _, problems = check_policies(write(tmp_path, OWN.replace("any_of: [ml-kem-768, ml-kem-1024]", many)), registry())
    assert ["more than 256 entries" in p.text for p in problems] == [True]


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "run"
    text = OWN.replace("title: Tunnels between sites", f"title: !!python/object/apply:pathlib.Path.touch [{marker}]")
    assert check_policies(write(tmp_path, text), registry())[1]
    assert not marker.exists()


def read_alone(folder: Path, text: str) -> tuple[Policy | None, list[RuleProblem]]:
    """A file as the loader reads it, without the built-in policies beside it."""
    problems: list[RuleProblem] = []
    path = write(folder, text) / "policies" / "ours.yaml"
    try:
        return parse_policy(read_node(path), str(path), words(), problems), problems
    except UnreadableError as error:
        return None, [error.problem]


@functools.cache
def words() -> Vocabulary:
    return vocabulary(None, registry())


# Pieces of policies, put together at random, find more than random octets do.
PIECES = st.sampled_from(
    [*OWN.splitlines(), "- ", "  - a: b", "&a *a", "!!int x", "? [a]: {b: c}", "'", "{", "\t", "é"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, max_size=30).map("\n".join) | st.text(max_size=60))
def test_any_file_ends_in_a_policy_or_in_problems(text: str, tmp_path: Path) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        text = repr(text)
    found, problems = read_alone(tmp_path, text)
    assert (found is None) == bool(problems)
    assert len(problems) < 500


SCALARS = st.sampled_from(
    ["x", "", "2030-12-31", "must", "-1", "256", "ml-kem-768", "ENCR_AES_GCM_16", "~", "é" * 3000]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_policy_with_any_value_changed(data: st.DataObject, tmp_path: Path) -> None:
    tree = yaml.load(OWN, Loader=yaml.BaseLoader)
    at = tree
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = data.draw(
        st.recursive(SCALARS, lambda b: st.lists(b, max_size=2) | st.dictionaries(SCALARS, b, max_size=2))
    )
    found, problems = read_alone(tmp_path, yaml.safe_dump(tree))
    assert (found is None) == bool(problems)
    if found is not None:
        for exchange in ("p256", "p256+768", "768"):
            assess(finding(exchange), found, TODAY, registry())


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pqaudit", "rules", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=60, check=False)


def test_commands(tmp_path: Path) -> None:
    assert run("check", write(tmp_path)).stdout == "0 rules and 1 policy are fine.\n"
    assert "our-policy" in run("list", "--rules", tmp_path).stdout
    shown = run("show", "cnsa-2.0").stdout
    assert "by 2030-12-31 (must): " in shown
    assert "not read in the original: " in shown
    assert "packets do not tell" in run("show", "our-policy", "--rules", tmp_path).stdout
    write(tmp_path, OWN.replace("by: 2027-06-30", "by: never"))
    wrong = run("check", tmp_path)
    assert (wrong.returncode, "ours.yaml:10: deadline sites: `by`" in wrong.stderr) == (1, True)


def test_policies_lie_beside_the_rules_that_travel_with_the_package() -> None:
    assert (built_in() / "policies" / "cnsa-2.0.yaml").is_file()
    assert '"rules" = "pqaudit/rules_data"' in (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
