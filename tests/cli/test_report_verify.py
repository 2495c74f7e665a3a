"""``pqaudit report --sign-manifest`` and ``pqaudit report verify`` as their users call them, and beside OpenSSL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pqaudit.report.signature import SigningKey, VerifyingKey
from tests.cli.test_audit import run
from tests.cli.test_report import DAY, report
from tests.conftest import REPOSITORY, SAMPLES

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
CAPTURES = sorted(SAMPLES.glob("*.pcap"))[:3]


def openssl(*arguments: str | Path) -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def key_pair(folder: Path, *options: str) -> tuple[Path, Path]:
    private, public = folder / "key.pem", folder / "public.pem"
    openssl("genpkey", *(options or ("-algorithm", "ed25519")), "-out", private)
    password = ("-passin", "pass:open sesame") if "-pass" in options else ()
    openssl("pkey", "-in", private, *password, "-pubout", "-out", public)
    assert public.stat().st_size
    return private, public


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with captures, a run, a key pair and a signed report."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "captures").mkdir()
    for capture in CAPTURES:
        shutil.copy(capture, folder / "captures")
    assert run("audit", folder / "captures", "--format", "json", "-o", folder / "run.json").returncode == 0
    private, _ = key_pair(folder)
    forms = ("--format", "json", "--format", "markdown", "--format", "csv")
    done = report(folder / "run.json", *forms, "--as-of", DAY, "-o", folder / "report", "--signing-key", private)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return folder


@pytest.fixture
def signed(made: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    return Path(shutil.copytree(made, tmp_path / "signed"))


def verify(folder: Path, *options: str | Path) -> tuple[int, Any]:
    done = report("verify", folder / "report" / "manifest.json", "--format", "json", *options)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def everything(folder: Path) -> tuple[str | Path, ...]:
    return "--key", folder / "public.pem", "--captures", folder / "captures", "--inputs", folder


def outcomes(answer: Any) -> set[str]:
    return {check["outcome"] for check in answer["checks"]}


def not_right(answer: Any) -> list[tuple[str, str, str]]:
    return [(c["kind"], c["name"], c["outcome"]) for c in answer["checks"] if c["outcome"] != "ok"]


def test_everything_is_right(made: Path) -> None:
    code, answer = verify(made, *everything(made))
    assert (code, answer["result"], outcomes(answer)) == (0, "right", {"ok"})
    kinds = [check["kind"] for check in answer["checks"]]
    assert {kind: kinds.count(kind) for kind in kinds} == {"signature": 1, "report": 3, "findings": 1, "capture": 3}
    manifest = made / "report" / "manifest.json"
    assert answer["manifest"] == {"name": "manifest.json", "sha256": sha256(manifest.read_bytes()).hexdigest()}


def test_hashes_are_those_of_the_files(made: Path) -> None:
    found = json.loads((made / "report" / "manifest.json").read_text())
    for entry in found["reports"]:
        octets = (made / "report" / entry["name"]).read_bytes()
        assert (entry["octets"], entry["sha256"]) == (len(octets), sha256(octets).hexdigest())
    hashes = {Path(entry["name"]).name: entry["sha256"] for entry in found["captures"]}
    assert hashes == {path.name: sha256(path.read_bytes()).hexdigest() for path in CAPTURES}


def test_openssl_says_the_same_of_the_signature(signed: Path) -> None:
    manifest = signed / "report" / "manifest.json"
    check = ("pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", signed / "public.pem", "-in", manifest)
    assert "Signature Verified Successfully" in openssl(*check, "-sigfile", f"{manifest}.sig")
    # And the other way: what OpenSSL signs is right here.
    other = Path(f"{manifest}.sig")
    other.unlink()
    assert verify(signed, "--key", signed / "public.pem")[0] == 1
    openssl("pkeyutl", "-sign", "-rawin", "-inkey", signed / "key.pem", "-in", manifest, "-out", other)
    assert verify(signed, "--key", signed / "public.pem")[0] == 0
    manifest.write_bytes(manifest.read_bytes().replace(DAY.encode(), b"2026-11-26"))
    assert "Failure" in openssl(*check, "-sigfile", f"{manifest}.sig")
    code, answer = verify(signed, "--key", signed / "public.pem")
    assert (code, not_right(answer)[0]) == (1, ("signature", "manifest.json.sig", "changed"))


def test_the_same_report_has_the_same_manifest(made: Path, tmp_path: Path) -> None:
    forms = ("--format", "json", "--format", "markdown", "--format", "csv")
    done = report(
        made / "run.json", *forms, "--as-of", DAY, "-o", tmp_path / "again", "--sign-manifest", TZ="Asia/Tokyo"
    )
    assert done.returncode == 0
    assert (tmp_path / "again" / "manifest.json").read_bytes() == (made / "report" / "manifest.json").read_bytes()
    assert not (tmp_path / "again" / "manifest.json.sig").exists()


def test_what_was_not_looked_for_is_not_right(made: Path) -> None:
    code, answer = verify(made)
    assert (code, answer["result"]) == (0, "right")
    assert {c["outcome"] for c in answer["checks"] if c["kind"] != "report"} == {"not-checked"}
    done = report("verify", made / "report" / "manifest.json")
    assert done.returncode == 0
    assert "5 not checked, 3 ok" in done.stdout
    assert "nobody says who wrote" in done.stdout


def test_what_differs_is_told(signed: Path) -> None:
    capture = CAPTURES[0].name
    with (signed / "report" / "report.md").open("ab") as file:
        file.write(b"all is well\n")
    (signed / "report" / "tunnels.csv").unlink()
    (signed / "captures" / capture).unlink()
    run_file = signed / "run.json"
    run_file.write_bytes(run_file.read_bytes().replace(b"classical", b"hybrid---", 1))
    code, answer = verify(signed, *everything(signed))
    assert (code, answer["result"]) == (1, "wrong")
    found = {(kind, Path(name).name, outcome) for kind, name, outcome in not_right(answer)}
    assert found == {
        ("report", "report.md", "changed"),
        ("report", "tunnels.csv", "missing"),
        ("findings", "run.json", "changed"),
        ("capture", capture, "missing"),
    }
    done = report("verify", signed / "report" / "manifest.json")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].startswith("changed")


def test_what_cannot_be_read_is_neither_right_nor_wrong(signed: Path) -> None:
    path = signed / "report" / "report.md"
    path.rename(signed / "elsewhere.md")
    path.symlink_to(signed / "elsewhere.md")
    code, answer = verify(signed)
    assert (code, answer["result"]) == (3, "unreadable")


def test_another_key_and_keys_that_are_none(signed: Path, tmp_path: Path) -> None:
    _, other = key_pair(tmp_path)
    code, answer = verify(signed, "--key", other)
    assert (code, answer["checks"][0]["outcome"]) == (1, "changed")
    manifest = signed / "report" / "manifest.json"
    for key in (signed / "key.pem", manifest, tmp_path / "none.pem", "/dev/zero"):
        done = report("verify", manifest, "--key", key)
        assert (done.returncode, done.stdout) == (2, "")
        assert str(key) in done.stderr
    (tmp_path / "rsa").mkdir()
    private, public = key_pair(tmp_path / "rsa", "-algorithm", "RSA")
    assert "neither a key of Ed25519" in report("verify", manifest, "--key", public).stderr
    done = report(signed / "run.json", "-o", tmp_path / "x", "--signing-key", private)
    assert done.returncode == 2
    assert "neither a key of Ed25519" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_locked_key(made: Path, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "-algorithm", "ed25519", "-aes-256-cbc", "-pass", "pass:open sesame")
    arguments = (made / "run.json", "--as-of", DAY, "-o", tmp_path / "r.md", "--signing-key", private)
    for passphrase in (None, "wrong"):
        done = report(*arguments, **({} if passphrase is None else {"PQAUDIT_SIGNING_PASSPHRASE": passphrase}))
        assert done.returncode == 2
        assert "passphrase" in done.stderr
    assert report(*arguments, PQAUDIT_SIGNING_PASSPHRASE="open sesame").returncode == 0
    assert sorted(path.name for path in tmp_path.glob("r.md*")) == [
        "r.md",
        "r.md.manifest.json",
        "r.md.manifest.json.sig",
    ]
    assert report("verify", tmp_path / "r.md.manifest.json", "--key", public).returncode == 0


def test_a_key_that_stands_against_quantum_computers(made: Path, tmp_path: Path) -> None:
    private = mldsa.MLDSA65PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    public = private.public_key()
    (tmp_path / "public.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    done = report(made / "run.json", "--as-of", DAY, "-o", tmp_path / "r.md", "--signing-key", tmp_path / "key.pem")
    assert done.returncode == 0
    manifest = tmp_path / "r.md.manifest.json"
    signature = Path(f"{manifest}.sig").read_bytes()
    assert len(signature) == 3309  # FIPS 204, table 2
    public.verify(signature, manifest.read_bytes())  # raises where it is wrong
    done = report("verify", manifest, "--key", tmp_path / "public.pem")
    assert done.returncode == 0
    assert "(ML-DSA-65)" in done.stdout
    Path(f"{manifest}.sig").write_bytes(signature[:-1] + bytes([signature[-1] ^ 1]))
    assert report("verify", manifest, "--key", tmp_path / "public.pem").returncode == 1


@pytest.mark.parametrize(
    ("key", "scheme"),
    [
        (ed25519.Ed25519PrivateKey, "Ed25519"),
        (mldsa.MLDSA44PrivateKey, "ML-DSA-44"),
        (mldsa.MLDSA65PrivateKey, "ML-DSA-65"),
        (mldsa.MLDSA87PrivateKey, "ML-DSA-87"),
    ],
)
def test_the_kind_of_the_key_decides(key: Any, scheme: str) -> None:
    private = key.generate()
    signing = SigningKey(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), None)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    verifying = VerifyingKey(public)
    assert (signing.scheme, verifying.scheme) == (scheme, scheme)
    signature = signing.sign(b"report")
    assert verifying.verifies(signature, b"report")
    assert not verifying.verifies(signature, b"Report")
    for wrong in (b"", b"\0" * len(signature), signature + b"\0"):
        assert not verifying.verifies(wrong, b"report")


@pytest.mark.parametrize("octets", [b"", b"{}", b"[" * 100_000, b'{"kind":"pqaudit-manifest"}', b"\x1b[31m"])
def test_what_is_no_manifest(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "m.json"
    path.write_bytes(octets)
    for manifest in (path, tmp_path / "none.json"):
        done = report("verify", manifest)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1


def test_names_cannot_steer_a_terminal(signed: Path) -> None:
    path = signed / "report" / "manifest.json"
    found = json.loads(path.read_text())
    found["captures"][0]["name"] = "\x1b[31m\u202ered"
    found["as_of"] = "\x1b]0;x\x07"
    path.write_text(json.dumps(found))
    done = report("verify", path)
    assert done.returncode == 0
    assert "\\x1b[31m\\u202ered" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_manifest_needs_files_and_overwrites_none_that_is_read(made: Path, tmp_path: Path) -> None:
    done = report(made / "run.json", "--sign-manifest")
    assert done.returncode == 2
    assert "-o" in done.stderr
    findings = shutil.copy(made / "run.json", tmp_path / "r.md.manifest.json")
    assert report(findings, "-o", tmp_path / "r.md", "--sign-manifest").returncode == 2
    (tmp_path / "link.md").symlink_to(tmp_path / "elsewhere.md")
    assert report(made / "run.json", "-o", tmp_path / "link.md", "--sign-manifest").returncode == 2
    assert report("verify", made / "report" / "manifest.json", "--captures", tmp_path / "none").returncode == 2


def test_a_signature_of_before_does_not_stay(signed: Path) -> None:
    forms = ("--format", "json", "--format", "markdown")
    folder = signed / "report"
    assert report(signed / "run.json", *forms, "--as-of", DAY, "-o", folder, "--sign-manifest").returncode == 0
    assert not (folder / "manifest.json.sig").exists()


def test_findings_in_a_file_called_verify(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "run.json", tmp_path / "verify")

    done = subprocess.run(
        [sys.executable, "-m", "pqaudit", "report", "./verify", "--as-of", DAY],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.startswith("# ")
    for help_ in (report("--help"), report("verify", "--help")):
        assert help_.returncode == 0
        assert "verify" in help_.stdout
        assert "Exit codes" in help_.stdout


@pytest.mark.parametrize("form", ["table", "json"])
@pytest.mark.parametrize("out", [">&-", pytest.param("> /dev/full", marks=needs_full)])
def test_an_answer_that_cannot_be_written_is_no_answer(form: str, out: str, made: Path) -> None:
    arguments = [sys.executable, "-m", "pqaudit", "report", "verify", made / "report" / "manifest.json"]
    shell = ["sh", "-c", f'exec "$@" --format {form} {out}', "sh", *map(str, arguments)]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("Error: standard output could not be written to the end: ")
