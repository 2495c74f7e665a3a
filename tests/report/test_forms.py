"""The forms of a report say the same as its JSON, and show hostile text as what it is."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections import Counter
from typing import Any

import pytest
import yaml

from pqaudit.finding.document import Document
from pqaudit.report.assets import Assets
from pqaudit.report.csv_form import cell
from pqaudit.report.formats import FORMATS
from pqaudit.report.markdown import escaped
from pqaudit.report.model import Asset
from tests.conftest import REPOSITORY
from tests.finding.made import made_findings, sample_findings
from tests.policy.make import policies
from tests.report.make import as_json, chosen, lines, reported, written

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    ' "=1',
    "'=1",
    '"=1',
    "\u3000\uff1d1",
    '"; =1+1; "',
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a | b ` c \\ d",
    "[link](javascript:alert(1))",
    "![x](http://x.example/)",
    "http://x.example www.x.example a@x.example @all #1",
    "# title\n- item\n\n```\n",
    "&lt;b&gt; &#60;",
    "\x1b[31m\x9b31m\u202e\u200b\u2028\x00",
    "\udcff\ud800",
    "$x$ ~~y~~ *z* __w__ _v_",
    "../../etc/passwd",
    "é Ω 漢",
    "x" * 300,
)


def hostile_findings() -> list[Document]:
    found = made_findings(len(HOSTILE))
    for number, (finding, text) in enumerate(zip(found, HOSTILE, strict=True)):
        finding["source"]["ip"] = f"192.0.2.{number}"
        finding["event"]["id"] = f"{number}{text}"
        finding["observer"].update(name=text, version=text)
        finding["rule"]["version"] = text
        own = finding["pqaudit"]
        own.update(verdict=text, reason=text, protection=text, assurance="executed", ppk=text, responsibility=text)
        own["selected"] = {
            "key_exchange": {"id": 31, "name": text},
            "additional_key_exchanges": [{"slot": 1, "id": 1081, "name": text, "probable_name": text}],
            "encryption": {"id": 20, "name": text, "key_bits": 256},
            "prf": {"id": 7, "name": text},
            "integrity": {"id": 0, "name": text},
        }
        own["deviations"] = [{"id": text, "requirement": text, "source": text}]
        own["weaknesses"] = [{"id": text, "what": text, "level": text}]
        own["evidence"] = [{"file": text, "frame": 1, "time": text, "what": text}]
        own["capture"]["files"] = [{"name": text}]
        for side in ("initiator", "responder"):
            own["fingerprint"][side] = [{"vendor_id": text, "name": text, "vendor": text, "version": text}]
    return found


def hostile_assets() -> Assets:
    from pqaudit.finding.query import peer_network

    networks = [peer_network(f"192.0.2.{number}") for number in range(len(HOSTILE))]
    return Assets({n: Asset(str(n), t, t, t, t) for n, t in zip(networks, HOSTILE, strict=True)})


def hostile(form: str) -> bytes:
    with reported(lines(hostile_findings()), assets=hostile_assets()) as report:
        before = written(report)
    with reported(lines(hostile_findings()[:-1]), assets=hostile_assets(), baseline=before) as report:
        return written(report, form)


def rows(octets: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(octets.decode(), newline="")))


def test_hostile_text_in_json_is_text() -> None:
    octets = hostile("json")
    assert octets.isascii()
    answer = json.loads(octets)
    assert {case["verdict"] for case in answer["cases"]} == set(HOSTILE[:-1])
    assert {sa["evidence"][0]["file"] for sa in answer["sas"]} == set(HOSTILE[:-1])
    assert {capture["name"] for capture in answer["captures"]} == set(HOSTILE[:-1])
    assert {vendor for t in answer["tunnels"] for names in t["vendors"].values() for vendor in names} >= set(
        HOSTILE[:-1]
    )


@pytest.mark.parametrize("form", ["csv", "csv-sas"])
def test_no_cell_is_a_formula(form: str) -> None:
    octets = hostile(form)
    text = octets.decode()
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202e\u2028\ud800-\udfff]", text)
    assert text.count("\r") == text.count("\r\n") == text.count("\n")
    width = {len(row) for row in csv.reader(io.StringIO(text, newline=""))}
    assert len(width) == 1
    for row in csv.reader(io.StringIO(text, newline="")):
        for found in row:
            # As it stands, and after what some programs drop.
            assert not found.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))
            stripped = found.lstrip(' "\u3000')
            assert not stripped.startswith(("=", "+", "-", "@", "\uff1d"))
    # Every cell is quoted, so that no other separator can cut one.
    assert all(re.fullmatch(r'"(?:[^"]|"")*"(?:,"(?:[^"]|"")*")*', line) for line in text.split("\r\n")[:-1])


def test_cells() -> None:
    assert cell("plain") == '"plain"'
    assert cell('say "x"') == '"say ""x"""'
    assert cell("=1") == '"\'=1"'
    assert cell("\t1") == '"\'\\x091"'
    assert cell("-") == '"\'-"'
    assert cell("a=1") == '"a=1"'


def test_hostile_text_in_markdown_is_text() -> None:
    text = hostile("markdown").decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\u2028\ud800-\udfff]", text)
    assert "<" not in text.replace("<br>", "")
    assert "](" not in text
    assert "://" not in text
    assert "www." not in text
    assert "x.example @" not in text
    assert "`" not in text
    titles = [line for line in text.splitlines() if line.startswith("#")]
    assert not [title for title in titles if "title" in title]
    # A row has as many cells as its table.
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_is_escaped_shows_as_it_was() -> None:
    for text in HOSTILE:
        assert html.unescape(escaped(text)).replace("\u3000", "").replace("\u200b", "").isprintable()
    assert html.unescape(escaped("a|b_c_ <&lt;> `x` #")).rstrip("\u200b") == "a|b_c_ <&lt;> `x` #"
    assert escaped("AUTH_HMAC_SHA2_256_128") == "AUTH_HMAC_SHA2_256_128"


def numbers(text: str) -> list[int]:
    return [int(found.replace(",", "")) for found in re.findall(r"\d[\d,]*", text)]


def test_markdown_and_csv_have_the_numbers_of_the_json() -> None:
    with reported(lines(sample_findings()), policies=chosen("cnsa-2.0", "uk-ncsc", "ietf-ml-kem")) as report:
        answer = as_json(report)
        markdown = written(report, "markdown").decode()
        tunnels = rows(written(report, "csv"))
        sas = rows(written(report, "csv-sas"))
    for policy in answer["policies"]:
        (row,) = (line for line in markdown.splitlines() if re.match(rf"\| {policy['id']} \| [\d.]+ % ", line))
        cells = [text.strip() for text in row.strip("|").split("|")]
        assert cells[1] == f"{policy['ready_percent']:.1f} %"
        assert [int(text) for text in cells[2:6]] == list(policy["tunnels"].values())
        of_tunnels = Counter(row["status"] for row in tunnels if row["policy"] == policy["id"])
        assert {status: of_tunnels[status] for status in policy["tunnels"]} == policy["tunnels"]
        of_sas = Counter(row[f"status: {policy['id']}"] for row in sas)
        assert {status: of_sas[status] for status in policy["sas"]} == policy["sas"]
        assert sum(policy["acts"].values()) == sum(policy["tunnels"].values()) - policy["tunnels"]["meets"]
    assert [row["id"] for row in sas] == [sa["id"] for sa in answer["sas"]]
    for row, sa in zip(sas, answer["sas"], strict=True):
        case = answer["cases"][sa["case"]]
        assert (row["verdict"], row["reason"], row["initiator_address"]) == (
            case["verdict"],
            case["reason"],
            sa["initiator"]["address"],
        )
        assert row["evidence"].count(", frame ") == len(sa["evidence"])
    states = [(tunnel, state) for tunnel in answer["tunnels"] for state in tunnel["states"]]
    for row, (tunnel, state) in zip(tunnels, states, strict=True):
        assert [row["address_1"], row["address_2"]] == [peer["address"] for peer in tunnel["peers"]]
        wanted = (state["policy"], state["status"], state["fails_on"] or "", state["decided_by"])
        assert (row["policy"], row["status"], row["fails_on"], row["decided_by"]) == wanted
        assert int(row["sas"]) == tunnel["sas"]


def test_what_was_not_read_and_what_does_not_show_is_said() -> None:
    with reported(lines(sample_findings())) as report:
        answer = as_json(report)
        markdown = html.unescape(written(report, "markdown").decode())
    for policy in answer["policies"]:
        for text in (policy["not_read"], policy["unsure"], policy["requirement"]):
            assert text is None or text in markdown
        for item in policy["not_visible"]:
            assert item["what"] in markdown
        for deadline in policy["deadlines"]:
            assert deadline["what"] in markdown
            assert f"{deadline['day']}, in {deadline['days_left']:,} days" in markdown


def test_days_and_percent_are_right() -> None:
    with reported(lines(sample_findings()), policies=chosen("uk-ncsc")) as report:
        (policy,) = as_json(report)["policies"]
    days = {deadline["day"]: deadline["days_left"] for deadline in policy["deadlines"]}
    assert days == {"2028-12-31": 767, "2031-12-31": 1862, "2035-12-31": 3323}  # from 2026-11-25
    assert policy["tunnels"] == {"fails-now": 0, "will-fail": 0, "not-assessable": 1, "meets": 3}
    assert policy["ready_percent"] == 75.0


def test_every_form_can_be_loaded() -> None:
    files: dict[str, Any] = {}
    for form in FORMATS.values():
        assert callable(form.load())
        assert files.setdefault(form.file, form) is form


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_people_read_for_whom_a_policy_is_and_what_of_it_is_unsure(form: str) -> None:
    with reported(lines(sample_findings()), policies=tuple(policies().values())) as report:
        shown = " ".join(html.unescape(written(report, form).decode()).replace("\u200b", "").split())
    for file in (REPOSITORY / "rules" / "policies").glob("*.yaml"):
        policy = yaml.safe_load(file.read_text())
        wanted = [f"For: {policy['scope']}", f"Source: {policy['source']}"]
        wanted += [f"Status of the document: {policy[name]}" for name in ("status",) if name in policy]
        wanted += [asked["unsure"] for asked in policy.get("requirements", ()) if "unsure" in asked]
        assert [text for text in wanted if " ".join(text.split()) not in shown] == [], file.name


def test_what_limits_the_report_stands_before_what_is_left_out() -> None:
    findings = made_findings(3)
    many = []
    for number in range(600):
        finding = json.loads(json.dumps(findings[0]))
        finding["event"]["id"], finding["observer"]["version"] = str(number), f"9.{number}"
        many.append(finding)
    with reported(lines(many), groups=("new",)) as report:
        page = written(report, "html").decode()
    assert "All SAs are taken to be: new." in page
    assert "pqaudit 9.0 with" in page
    assert "pqaudit 9.599 with" not in page


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_every_word_for_a_status_is_explained(form: str) -> None:
    with reported(lines(sample_findings())) as report:
        shown = html.unescape(written(report, form).decode())
    for word in ("fails now", "will fail", "cannot be assessed", "meets", "ready", "unsure", "second-hand"):
        assert f"{word}: " in " ".join(shown.split()), word
    assert "decides for its tunnel" in shown
