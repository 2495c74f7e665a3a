"""The Markdown form as GitHub reads it: parsed by a parser of its own, and looked at for what GitHub looks for."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pqaudit.finding.query import peer_network
from pqaudit.report import markdown
from pqaudit.report.assets import Assets
from pqaudit.report.markdown import MOST_OCTETS, escaped
from pqaudit.report.model import Asset
from tests.finding.made import made_findings, sample_findings
from tests.report.make import as_json, chosen, lines, reported, written
from tests.report.test_forms import HOSTILE, hostile, hostile_findings

STEP_SUMMARY = 1024 * 1024  # GitHub, "Workflow commands", limit of a step summary
# What GFM (autolinks, extension) and GitHub (mentions, references) make links of, in text as it is shown.
LINKS = re.compile(
    r"(?:https?|ftp)://|www\.|[\w.+-]+@[\w-]+\.|(?:mailto|xmpp):[^\s]*@|(?<![\w`])@\w|#\d|\bGH-\d", re.IGNORECASE
)
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
POLICIES = ("cnsa-2.0", "uk-ncsc", "ietf-classical-baseline", "bsi-tr-02102", "asd-ism")
STATUSES = ("fails-now", "will-fail", "not-assessable", "meets")


def inline(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield from token.children or ()


def tables(tokens: list[Token]) -> list[list[list[str]]]:
    """Rows of cells of every table, as they are shown."""
    found: list[list[list[str]]] = []
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("th_open", "td_open"):
            children = tokens[place + 1].children or []
            found[-1][-1].append("".join("\n" if child.type == "html_inline" else child.content for child in children))
    return found


def parsed(octets: bytes) -> list[Token]:
    """The report, once nothing in it is but text, in tables and lists that are whole."""
    text = octets.decode()
    assert len(octets) < STEP_SUMMARY
    tokens = PARSER.parse(text)
    assert {token.type for token in tokens} <= {
        *(
            f"{block}_{end}"
            for end in ("open", "close")
            for block in ("heading", "paragraph", "bullet_list", "list_item")
        ),
        *(f"{part}_{end}" for end in ("open", "close") for part in ("table", "thead", "tbody", "tr", "th", "td")),
        "inline",
    }
    kinds = {token.type for token in inline(tokens)}
    assert kinds <= {"text", "strong_open", "strong_close", "softbreak", "html_inline", "text_special"}
    assert {token.content for token in inline(tokens) if token.type == "html_inline"} <= {"<br>"}
    for token in tokens:
        if token.type == "inline":
            shown = "".join(child.content for child in token.children or () if child.type != "html_inline")
            assert not LINKS.search(shown), shown
    for line in text.splitlines():
        # GFM fills up rows that are too short and cuts those that are too long: what is written must have all cells.
        assert not line.startswith("|") or (line.endswith(" |") or set(line) <= set("|- "))
    for table in tables(tokens):
        assert len({len(row) for row in table}) == 1
    for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    return tokens


def headings(tokens: list[Token]) -> list[str]:
    return [tokens[place + 1].content for place, token in enumerate(tokens) if token.type == "heading_open"]


def first_line(octets: bytes) -> list[int]:
    """The numbers of the first line after the title."""
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", octets.decode().splitlines()[2])]


def by_worst(answer: Any) -> Counter[str]:
    return Counter(min((s["status"] for s in tunnel["states"]), key=STATUSES.index) for tunnel in answer["tunnels"])


def test_tables_and_numbers_are_those_of_the_json() -> None:
    with reported(lines(sample_findings())) as report:
        answer, octets = as_json(report), written(report, "markdown")
    tokens = parsed(octets)
    assert headings(tokens)[1] == "Readiness"
    readiness, tunnels, deadlines, inputs = tables(tokens)
    assert [row[0] for row in readiness[1:]] == [policy["id"] for policy in answer["policies"]]
    for row, policy in zip(readiness[1:], answer["policies"], strict=True):
        assert [int(cell) for cell in row[2:6]] == [policy["tunnels"][status] for status in STATUSES]
    failing = [t for t in answer["tunnels"] if any(s["status"] != "meets" for s in t["states"])]
    assert sorted(row[0] for row in tunnels[1:]) == sorted(
        " and ".join(peer["address"] for peer in tunnel["peers"]) for tunnel in failing
    )
    assert len(deadlines) - 1 == sum(len(policy["deadlines"]) for policy in answer["policies"])
    assert len(inputs) - 1 == len(answer["inputs"]) + len(answer["captures"])
    counts = by_worst(answer)
    fails, total, *others = first_line(octets)
    assert [fails, *others] == [counts[status] for status in STATUSES]
    assert total == len(answer["tunnels"])


def test_the_worst_stand_first() -> None:
    with reported(lines(made_findings(150))) as report:
        answer, octets = as_json(report), written(report, "markdown")
    rank = {
        " and ".join(peer["address"] for peer in tunnel["peers"]): min(
            STATUSES.index(s["status"]) for s in tunnel["states"]
        )
        for tunnel in answer["tunnels"]
    }
    shown = [rank[row[0]] for row in tables(parsed(octets))[1][1:]]
    assert shown == sorted(rank.values())[: len(shown)]
    assert len(shown) == min(50, sum(worst < STATUSES.index("meets") for worst in rank.values()))


def test_nothing_hostile_is_markup() -> None:
    tokens = parsed(hostile("markdown"))
    (owners,) = (table for table in tables(tokens) if table[0][0] == "owner")
    assert len(owners) - 1 == len(HOSTILE)
    seen = {row[0].replace("\u200b", "") for row in owners}
    assert {"<script>alert(1)</script>", "[link](javascript:alert(1))", "a | b ` c \\ d", "&lt;b&gt; &#60;"} <= seen


def test_what_would_be_a_link_shows_as_it_was() -> None:
    for text in (
        "a@x.example",
        "@all",
        "#12",
        "GH-7",
        "gh-7",
        "http://x.example/",
        "ftp://x",
        "www.x.example",
        "WWW.x",
        "a/b#1",
    ):
        shown = html.unescape(escaped(text))
        assert not LINKS.search(shown)
        assert shown.replace("\u200b", "") == text
        (paragraph,) = (token for token in PARSER.parse(f"x {escaped(text)} y") if token.type == "inline")
        assert "".join(child.content for child in paragraph.children or ()).replace("\u200b", "") == f"x {text} y"


def test_it_stays_below_the_limit_whatever_the_findings() -> None:
    names = [f"{text}{number}" for number in range(2) for text in ("\U000e0001" * 5000, "|" * 5000, "\x00" * 5000)]
    findings = []
    for name in names:
        for finding in hostile_findings():
            own = finding["pqaudit"]
            place = len(findings)
            finding["source"]["ip"], finding["event"]["id"] = f"10.{place // 250}.{place % 250}.1", str(place)
            finding["observer"]["version"] = finding["rule"]["version"] = name
            own["selected"]["key_exchange"]["name"] = own["selected"]["encryption"]["name"] = name
            own["evidence"][0]["file"] = own["capture"]["files"][0]["name"] = name
            findings.append(finding)
    networks = [peer_network(f"10.{number // 250}.{number % 250}.0/24") for number in range(len(findings))]
    assets = Assets(
        {
            n: Asset(str(n), f"{names[i % len(names)]}{i}", f"{names[i % len(names)]}{i}", None, None)
            for i, n in enumerate(networks)
        }
    )
    with reported(lines(findings), assets=assets, policies=chosen(*POLICIES)) as report:
        octets = written(report, "markdown")
    parsed(octets)
    assert len(octets) <= MOST_OCTETS
    assert b"more are not shown" in octets


def test_what_is_too_long_ends_between_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    with reported(lines(sample_findings())) as report:
        whole = len(written(report, "markdown"))
        for most in (*range(1000, whole, 997), whole + 1000):
            monkeypatch.setattr(markdown, "MOST_OCTETS", most)
            octets = written(report, "markdown")
            parsed(octets)
            assert len(octets) <= most
            assert (b"The rest is left out" in octets) == (len(octets) < whole)
    assert len(octets) == whole


def test_nothing_was_seen() -> None:
    with reported(b"") as report:
        octets = written(report, "markdown")
    parsed(octets)
    assert octets.decode().splitlines()[2] == "**No tunnel was seen.**"
