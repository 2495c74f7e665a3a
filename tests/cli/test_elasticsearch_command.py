"""``pqaudit elasticsearch`` against real servers, and without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pqaudit.elastic.templates import load_layout
from tests.searchserver.node import Node

SECRET = "c2VjcmV0OnZlcnktc2VjcmV0"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PQAUDIT_")}
    return subprocess.run(
        [sys.executable, "-m", "pqaudit", "elasticsearch", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean, **environment},
        check=False,
    )


def outcomes(output: str) -> list[str]:
    """What the lines say became of each thing, without what it is."""
    return [line.split(": ")[1].split(" (")[0] for line in output.splitlines()]


def test_setup_twice(search_server: Node) -> None:
    first = run("setup", "--url", search_server.url)
    assert (first.returncode, first.stderr) == (0, "")
    assert outcomes(first.stdout)[:4] == ["created"] * 4
    assert "findings: kept" in first.stdout
    search_server.request("PUT", "/pqaudit-sa-2026.11")
    second = run("setup", PQAUDIT_ELASTICSEARCH_URL=search_server.url)
    assert (second.returncode, second.stderr) == (0, "")
    assert outcomes(second.stdout)[:5] == ["already there"] * 5
    assert "mapping of index pqaudit-sa-2026.11: already there (revision" in second.stdout


def test_what_the_dry_run_prints_is_what_is_sent(search_server: Node) -> None:
    """Sent by hand, it is what setup finds there."""
    printed = run("setup", "--dry-run")
    assert (printed.returncode, printed.stderr) == (0, "")
    planned: list[dict[str, Any]] = json.loads(printed.stdout)
    assert [each["path"] for each in planned][-1] == "/{index}/_mapping"
    for each in planned[:-1]:
        status, answer = search_server.request(each["method"], each["path"], each["body"])
        assert status == 200, answer
    search_server.request("PUT", "/pqaudit-sa-2026.10")
    status, _ = search_server.request("PUT", "/pqaudit-sa-2026.10/_mapping", planned[-1]["body"])
    assert status == 200
    done = run("setup", "--url", search_server.url)
    assert done.returncode == 0
    assert outcomes(done.stdout)[:5] == ["already there"] * 5


def test_retention_where_the_server_cannot_do_it(search_server: Node) -> None:
    done = run("setup", "--url", search_server.url, "--retention", 90)
    assert done.returncode == 6
    assert outcomes(done.stdout) == ["created"] * 4
    assert "lifecycle policy pqaudit-sa: left out (this server has no lifecycle management" in done.stderr
    _, answer = search_server.request("GET", "/_index_template/pqaudit-sa")
    assert "settings" not in answer["index_templates"][0]["index_template"]["template"]


def test_retention_as_it_would_be_sent() -> None:
    planned = json.loads(run("setup", "--dry-run", "--retention", 90).stdout)
    bodies = {(each["method"], each["path"]): each["body"] for each in planned}
    phases = bodies["PUT", "/_ilm/policy/pqaudit-sa"]["policy"]["phases"]
    assert phases["delete"] == {"min_age": "121d", "actions": {"delete": {}}}
    states = {s["name"]: s for s in bodies["PUT", "/_plugins/_ism/policies/pqaudit-sa"]["policy"]["states"]}
    assert states["kept"]["transitions"] == [{"state_name": "deleted", "conditions": {"min_index_age": "121d"}}]
    template = bodies["PUT", "/_index_template/pqaudit-sa"]["template"]
    assert template["settings"] == {"index": {"lifecycle": {"name": "pqaudit-sa"}}}


def test_an_index_of_another_making_is_told(search_server: Node) -> None:
    search_server.request("PUT", "/pqaudit-sa-2026.09", {"mappings": {"properties": {"event": {"type": "keyword"}}}})
    done = run("setup", "--url", search_server.url)
    assert done.returncode == 6
    assert "mapping of index pqaudit-sa-2026.09: not updated" in done.stderr
    assert outcomes(done.stdout)[:4] == ["created"] * 4


def test_a_later_revision_is_left_alone(search_server: Node) -> None:
    run("setup", "--url", search_server.url)
    later = {**load_layout().index_template, "version": 99}
    search_server.request("PUT", "/_index_template/pqaudit-sa", later)
    done = run("setup", "--url", search_server.url)
    assert done.returncode == 0
    assert "index template pqaudit-sa: left alone (revision 99 is there" in done.stdout
    _, answer = search_server.request("GET", "/_index_template/pqaudit-sa")
    assert answer["index_templates"][0]["index_template"]["version"] == 99


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        ([], {}, 2, "give the server with --url"),
        (
            ["--elasticsearch-user", "u"],
            {},
            2,
            "--elasticsearch-user needs a server: give --url or PQAUDIT_ELASTICSEARCH_URL",
        ),
        (["--url", "http://127.0.0.1:9", "--elasticsearch-user", "u"], {}, 2, "needs a password"),
        (["--url", f"http://u:{SECRET}@127.0.0.1:9"], {}, 2, "the URL holds credentials"),
        (["--url", "http://127.0.0.1:9", "--retention", "0"], {}, 2, "--retention"),
        (["--url", "http://127.0.0.1:9"], {}, 5, "cannot be reached"),
        (["--url", "http://127.0.0.1:9", "--elasticsearch-user", "u"], {"PASSWORD": SECRET}, 5, "cannot be reached"),
        (["--url", "http://127.0.0.1:9"], {"API_KEY": SECRET, "USER": "u", "PASSWORD": SECRET}, 2, "not both"),
        (["--url", "http://127.0.0.1:9", "--elasticsearch-user", "u"], {"API_KEY": SECRET}, 2, "needs a password"),
        (["--url", "http://127.0.0.1:9", "--ca-file", "none.pem"], {}, 2, "needs a URL that begins with https"),
    ],
)
def test_wrong_settings(arguments: list[str], environment: dict[str, str], code: int, words: str) -> None:
    named = {f"PQAUDIT_ELASTICSEARCH_{name}": value for name, value in environment.items()}
    done = run("setup", *arguments, **named)
    assert done.returncode == code
    assert words in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_the_file_of_a_key_wins_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    names = ("API_KEY", "USER", "PASSWORD")
    environment = {f"PQAUDIT_ELASTICSEARCH_{name}": "other" for name in names}
    done = run("setup", "--url", "http://127.0.0.1:9", "--api-key-file", file, **environment)
    assert done.returncode == 5  # and not 2: nothing contradicts it
    file.write_text("\n")
    done = run("setup", "--url", "http://127.0.0.1:9", "--api-key-file", file, **environment)
    assert done.returncode == 2
    assert "holds no secret" in done.stderr
