"""The report as PDF, read by poppler: the numbers of the JSON, no page cut or empty, nothing fetched."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from PIL import Image

from pqaudit.finding.query import peer_network
from pqaudit.report.assets import Assets
from pqaudit.report.html_form import Limits
from pqaudit.report.model import Asset
from pqaudit.report.pdf_form import LIMITS, write
from tests.conftest import REPOSITORY
from tests.finding.made import sample_findings
from tests.report.make import as_json, chosen, lines, reported
from tests.report.page_findings import AS_OF, POLICIES, Made, moved
from tests.report.test_forms import HOSTILE, hostile_assets, hostile_findings

PICTURES = REPOSITORY / "build" / "screenshots"
WORDS = {"fails-now": "fails now", "will-fail": "will fail", "not-assessable": "cannot be assessed", "meets": "meets"}
WORST_FIRST = tuple(WORDS)
DPI = 60
EDGE = 11  # mm at the left and the right, where nothing may be
ABOVE, BELOW = 16, 14  # mm of running titles


def squeezed(text: str) -> str:
    """Without blanks: where a line ends in a cell says nothing."""
    return re.sub(r"\s+", "", text)


class Pdf:
    """A PDF, as poppler's programs read it."""

    def __init__(self, octets: bytes, path: Path) -> None:
        path.write_bytes(octets)
        self.octets = octets
        self._path = path

    def run(self, program: str, *arguments: str) -> str:
        found = shutil.which(program)
        assert found, f"install {program}: apt install poppler-utils"
        done = subprocess.run([found, *arguments], capture_output=True, check=True)
        assert not done.stderr, done.stderr
        return done.stdout.decode()

    @cached_property
    def info(self) -> dict[str, str]:
        told = self.run("pdfinfo", str(self._path)).splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in told)}

    @cached_property
    def text(self) -> str:
        """All pages, as they are laid out."""
        return self.run("pdftotext", "-layout", str(self._path), "-")

    @cached_property
    def read(self) -> str:
        """All pages cell by cell, without blanks."""
        return squeezed(self.run("pdftotext", "-raw", str(self._path), "-"))

    @cached_property
    def rows(self) -> list[list[str]]:
        """Cells of all rows of tables, as programs that read aloud find them, without blanks."""
        rows: list[list[str]] = []
        cell = 0  # how far it is indented, and what is in it further
        for line in self.run("pdfinfo", "-struct-text", str(self._path)).splitlines():
            depth = len(line) - len(line.lstrip())
            if re.fullmatch(r"\s*TR\b.*", line):
                rows.append([])
            elif re.fullmatch(r"\s*T[DH]\b.*", line):
                rows[-1].append("")
                cell = depth
            elif rows and rows[-1] and depth > cell and (said := re.fullmatch(r'\s*"(.*)"', line)):
                rows[-1][-1] += squeezed(said[1])
            elif depth <= cell:
                cell = sys.maxsize
        return rows

    def pictures(self, name: str) -> list[Image.Image]:
        """Every page, kept for people to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        for old in PICTURES.glob(f"{name}-*.png"):
            old.unlink()
        self.run("pdftoppm", "-r", str(DPI), "-png", str(self._path), str(PICTURES / name))
        return [Image.open(path).convert("L") for path in sorted(PICTURES.glob(f"{name}-*.png"))]


def darkest(picture: Image.Image) -> int:
    """The level of the darkest point, from 0 to 255."""
    return next(level for level, points in enumerate(picture.histogram()) if points)


def check_pages(pdf: Pdf, name: str) -> None:
    """Each page shows something, and nothing reaches into its edges."""
    pictures = pdf.pictures(name)
    assert len(pictures) == int(pdf.info["Pages"])
    for number, picture in enumerate(pictures, 1):
        edge, above, below = (round(length / 25.4 * DPI) for length in (EDGE, ABOVE, BELOW))
        inner = picture.crop((edge, above, picture.width - edge, picture.height - below))
        assert darkest(inner) < 128, f"page {number} is empty"
        for left in (0, picture.width - edge):
            strip = picture.crop((left, 0, left + edge, picture.height))
            assert darkest(strip) > 250, f"page {number} is cut"


def commanded(made: Made, folder: Path, zone: str, language: str, seed: str, cwd: Path) -> Pdf:
    """The report of which ``made`` has the JSON, in a process of its own."""
    findings = made.page.parents[1] / "findings.jsonl"
    everything = made.page.parents[2]
    command = [sys.executable, "-m", "pqaudit", "report", str(findings), "--as-of", AS_OF, "--format", "pdf"]
    command += [word for policy in POLICIES for word in ("--policy", policy)]
    command += ["--assets", str(everything / "assets.csv")]
    command += ["--baseline", str(everything / "earlier" / "report" / "report.json")]
    around = {"TZ": zone, "LC_ALL": language, "LANG": language, "PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, capture_output=True, cwd=cwd, env={**os.environ, **around}, timeout=120, check=True)
    assert not done.stderr
    return Pdf(done.stdout, folder / "report.pdf")


@pytest.fixture(scope="module")
def pdf(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Pdf:
    return commanded(made, tmp_path_factory.mktemp("pdf"), "UTC", "C", "1", REPOSITORY)


def peer_cell(peer: dict[str, Any]) -> str:
    """How a peer of the JSON stands in a cell."""
    asset = peer["asset"] or {}
    named = f"{asset['name']} ({peer['address']})" if asset.get("name") else peer["address"]
    return named + ", ".join(filter(None, (asset.get("owner"), asset.get("site"), asset.get("criticality"))))


def test_tunnels_are_those_of_the_json(pdf: Pdf, made: Made) -> None:
    assert len(made.json["tunnels"]) >= 8
    for tunnel in made.json["tunnels"]:
        assert all(peer["address"] in pdf.text for peer in tunnel["peers"])
        start = squeezed("".join(map(peer_cell, tunnel["peers"])) + str(tunnel["sas"]))
        (row,) = re.findall(rf"(?<![\d.:]){re.escape(start)}(?!\d)(.*?)frame\d", pdf.read)
        worst = min((state["status"] for state in tunnel["states"]), key=WORST_FIRST.index)
        first = min(row.find(squeezed(word)) % len(row) for word in WORDS.values() if squeezed(word) in row)
        assert row[first:].startswith(squeezed(WORDS[worst]))
        for state in tunnel["states"]:
            assert re.search(rf"{squeezed(WORDS[state['status']])}[^:]*:[^:]*{state['policy']}", row)


def test_totals_are_those_of_the_json(pdf: Pdf, made: Made) -> None:
    counts = made.json["counts"]
    for what in ("tunnel", "peer", "SA"):
        assert re.search(rf"\b{counts[what.lower() + 's']:,} {what}s?\b", pdf.text)
    for policy in made.json["policies"]:
        assert totals_row(policy) in pdf.read
        for deadline in policy["deadlines"]:
            assert squeezed(deadline["what"]) in pdf.read
    for verdict, count in counts["verdicts"].items():
        assert re.search(rf"{verdict}{count:,}(?![\d,])", pdf.read)
    for sa in made.json["sas"]:
        assert sa["id"] in pdf.read
    for gone in made.json["comparison"]["gone"]:
        assert "".join(gone["peers"]) in pdf.read


def totals_row(policy: dict[str, Any]) -> str:
    """What the PDF has of the totals of a policy of the JSON, without blanks."""
    counts = (policy[what][status] for what in ("tunnels", "sas") for status in WORST_FIRST)
    return f"{policy['id']}{policy['ready_percent']:.1f}%" + "".join(f"{count:,}" for count in counts)


def test_it_is_a_document(pdf: Pdf) -> None:
    assert pdf.info["Tagged"] == "yes"
    assert "A4" in pdf.info["Page size"]
    assert pdf.info["JavaScript"] == "no"
    assert 8 <= int(pdf.info["Pages"]) <= 30
    pages = pdf.text.split("\f")[:-1]
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page
        assert f"As of {AS_OF}" in page
        assert squeezed(pdf.info["Title"]) in squeezed(page)  # as heading on the first, then above the text
    check_pages(pdf, "report-pdf")


def test_heads_come_again_on_every_page(pdf: Pdf) -> None:
    pages = pdf.text.split("\f")
    first, last = (
        next(number for number, page in found if "Pairs of peers, worst first" in page or "SAs by verdict" in page)
        for found in (list(enumerate(pages)), list(reversed(list(enumerate(pages)))))
    )
    assert last - first > 1
    for page in pages[first:last]:
        assert re.search(r"\bpeer +other peer +SAs\b", page) or re.search(r"peer\s+other peer", page)


def test_the_same_octets_whatever_surrounds_them(pdf: Pdf, made: Made, tmp_path: Path) -> None:
    assert commanded(made, tmp_path, "Pacific/Kiritimati", "C.UTF-8", "2", Path("/")).octets == pdf.octets


def written(findings: bytes, path: Path, limits: Limits = LIMITS, **about: Any) -> Pdf:
    out = io.BytesIO()
    with reported(findings, **about) as report:
        write(report, out, limits)
    return Pdf(out.getvalue(), path)


def test_hostile_text_is_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        pdf = written(
            lines(hostile_findings()), tmp_path / "hostile.pdf", assets=hostile_assets(), policies=chosen("uk-ncsc")
        )
    told = [record.getMessage() for record in caplog.records if record.name.startswith("weasyprint")]
    assert not [message for message in told if "unsupported by fonts" not in message]
    for text in ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt; &#60;", "[link](javascript:"):
        assert any(text in hostile for hostile in HOSTILE)
        assert squeezed(text) in pdf.read
    assert "\\x1b[31m" in pdf.read
    assert "\\u202e" in pdf.read
    assert "\u202e" not in pdf.text
    pages = pdf.text.split("\f")[:-1]
    for number, page in enumerate(pages, 1):  # also on those that a row fills, which is longer than a page
        assert f"Page {number} of {len(pages)}" in page
    check_pages(pdf, "report-pdf-hostile")


class _Noting(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server that nothing may ask, and what it was asked."""
    asked: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), type("Noting", (_Noting,), {"asked": asked}))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_no_name_makes_it_fetch(tmp_path: Path, listening: tuple[str, list[str]]) -> None:
    address, asked = listening
    secret = tmp_path / "secret.txt"
    secret.write_text("what a file holds")
    names = [
        f"<img src={address}/a.png>",
        f"<img src=file://{secret}>",
        f"</td><style>@import url({address}/b.css)</style>",
        f"<link rel=attachment href=file://{secret}>",
        f'" style="background:url({address}/c.png)',
        f"url({address}/d.png)",
    ]
    (finding,) = sample_findings()[:1]
    findings = [moved(finding, n, f"192.0.2.{n}", f"192.0.2.{n + 100}", "2026-11-20T10:00:00Z") for n in range(6)]
    networks = [peer_network(f"192.0.2.{number}") for number in range(6)]
    known = Assets({net: Asset(str(net), name, name, name, None) for net, name in zip(networks, names, strict=True)})
    pdf = written(lines(findings), tmp_path / "names.pdf", assets=known, policies=chosen("uk-ncsc"))
    for name in names:
        assert squeezed(name) in pdf.read
    assert asked == []
    assert "what a file holds" not in pdf.text
    assert len(pdf.run("pdfimages", "-list", str(tmp_path / "names.pdf")).splitlines()) == 2  # the heading
    assert "0 embedded files" in pdf.run("pdfdetach", "-list", str(tmp_path / "names.pdf"))


def test_what_would_be_fetched_is_refused(tmp_path: Path, listening: tuple[str, list[str]]) -> None:
    from weasyprint import HTML

    from pqaudit.report.closed_fetcher import ClosedFetcher

    address, asked = listening
    secret = tmp_path / "secret.txt"
    secret.write_text("what a file holds")
    markup = (
        f"<link rel=stylesheet href={address}/a.css><style>@import '{address}/b.css';</style><img src={address}/c.png>"
        f"<link rel=attachment href=file://{secret}><object data=file://{secret}></object>"
        f"<p style='background: url({address}/d.png)'>text</p><svg><image href='{address}/e.png'/></svg>"
        "<img src='data:image/png;base64,iVBORw0KGgo='>"
    )
    path = tmp_path / "markup.pdf"
    pdf = Pdf(HTML(string=markup, url_fetcher=ClosedFetcher()).write_pdf(), path)
    assert "text" in pdf.text
    assert asked == []
    assert "0 embedded files" in pdf.run("pdfdetach", "-list", str(path))
    for url in (f"{address}/x", f"file://{secret}", "data:text/plain,x", "ftp://127.0.0.1/x"):
        with pytest.raises(ValueError, match="fetches nothing"):
            ClosedFetcher().fetch(url)
    assert asked == []


def test_what_is_left_out_is_told_and_tables_are_tagged(tmp_path: Path) -> None:
    limits = Limits(2, 3, 4)
    out = io.BytesIO()
    with reported(lines(sample_findings()), policies=chosen("uk-ncsc")) as report:
        write(report, out, limits)
        answer = as_json(report)
    pdf = Pdf(out.getvalue(), tmp_path / "few.pdf")
    said = " ".join(pdf.text.split())
    assert "This page shows the 2 worst tunnels. All 4 stand in the forms json and csv of this report." in said
    whole = len(sample_findings())
    assert f"This page shows the 3 worst SAs. All {whole} stand in the forms json and csv-sas of this report." in said
    (totals,) = answer["policies"]
    assert totals_row(totals) in ["".join(row[:10]) for row in pdf.rows]
    tunnels = [row for row in pdf.rows if len(row) == 10 and row[4] in map(squeezed, WORDS.values())]
    assert len(tunnels) == limits.tunnels
    ends = {tuple(peer["address"] for peer in tunnel["peers"]): tunnel["sas"] for tunnel in answer["tunnels"]}
    assert all(row[2] == str(ends[row[0], row[1]]) for row in tunnels)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("sys.modules['weasyprint'] = None", "pip install 'pqaudit[pdf]'"),
        # As WeasyPrint finds it where Pango is not installed.
        (
            "import cffi; real = cffi.FFI.dlopen\n"
            "def dlopen(self, name, *flags):\n"
            "    if 'pango' in name: raise OSError(f'cannot load library {name!r}')\n"
            "    return real(self, name, *flags)\n"
            "cffi.FFI.dlopen = dlopen",
            "apt install libpangoft2-1.0-0",
        ),
    ],
)
def test_what_is_missing_is_said_in_a_sentence(broken: str, said: str, made: Made, tmp_path: Path) -> None:
    findings = str(made.page.parents[1] / "findings.jsonl")
    out = tmp_path / "report.pdf"
    program = f"import sys\n{broken}\nfrom pqaudit.cli.main import entry\nentry()"
    command = [sys.executable, "-c", program, "report", findings, "--format", "pdf", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, cwd=REPOSITORY, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    (sentence,) = (line for line in done.stderr.decode().splitlines() if line.startswith("Error:"))
    assert "pdf cannot be written: it needs " in sentence
    assert said in sentence
    assert not out.exists()
