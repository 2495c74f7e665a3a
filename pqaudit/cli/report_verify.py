"""``pqaudit report verify``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import opened_output, progress_bar
from pqaudit.cli.report_manifest import key_octets_or_exit
from pqaudit.outputs.escape import printable
from pqaudit.outputs.wording import plural

if TYPE_CHECKING:
    from pqaudit.report.manifest import Manifest
    from pqaudit.report.signature import VerifyingKey
    from pqaudit.report.verifying import Check

_MOST_SHOWN = 100
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    "verify",
    epilog="Exit codes: 0 all that was asked for is right, 1 something differs or is missing, the signature included, "
    "2 usage, 3 the manifest or a file cannot be read, 4 the answer could not be written, 130 interrupted. "
    "1 counts before 3.",
)
@click.argument("manifest", type=click.Path(dir_okay=False))
@click.option("--key", "key_file", metavar="FILE", help="Public key in PEM; the manifest must have its signature.")
@click.option("--captures", multiple=True, type=_FOLDER, metavar="DIR", help="All captures must be in such a folder.")
@click.option("--inputs", multiple=True, type=_FOLDER, metavar="DIR", help="All other inputs must be in such a folder.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True, help="How to tell."
)
def command(
    manifest: str, key_file: str | None, captures: tuple[Path, ...], inputs: tuple[Path, ...], form: str
) -> None:
    """Check a report against the MANIFEST that --sign-manifest wrote.

    The files of the report must stand beside it. What is not looked for is told as not checked and never as right.
    No link is followed.

    \b
      pqaudit report verify report/manifest.json --key public.pem --inputs . --captures captures/

    OpenSSL checks the signature too:

    \b
      openssl pkeyutl -verify -rawin -pubin -inkey public.pem \\
        -sigfile report/manifest.json.sig -in report/manifest.json
    """
    from pqaudit.report.manifest import ManifestError, read_manifest
    from pqaudit.report.verifying import Outcome

    key = None if key_file is None else _key_or_exit(key_file)
    octets = _manifest_octets(manifest)
    try:
        read = read_manifest(octets)
    except ManifestError as error:
        raise _Unreadable(f"{printable(manifest)} cannot be used: {error}") from error
    with progress_bar([]) as progress:
        checks = [_signature(Path(manifest), octets, key), *_files(read, Path(manifest), captures, inputs, progress)]
    counts = Counter(check.outcome for check in checks)
    wrong = counts[Outcome.CHANGED] + counts[Outcome.MISSING]
    with opened_output("-") as out:
        if form == "json":
            _tell_json(manifest, octets, read, checks, "wrong" if wrong else _result(counts[Outcome.UNREADABLE]), out)
        else:
            _tell(read, checks, out)
    if wrong:
        sys.exit(ExitCode.FINDINGS)
    sys.exit(ExitCode.UNREADABLE if counts[Outcome.UNREADABLE] else ExitCode.DONE)


class _Unreadable(click.ClickException):
    exit_code = ExitCode.UNREADABLE


def _result(unreadable: int) -> str:
    return "unreadable" if unreadable else "right"


def _key_or_exit(path: str) -> VerifyingKey:
    from pqaudit.report.signature import SigningKeyError, VerifyingKey

    try:
        return VerifyingKey(key_octets_or_exit(path))
    except SigningKeyError as error:
        raise click.UsageError(f"{printable(path)} cannot check a signature: {error}") from error


def _manifest_octets(path: str) -> bytes:
    from pqaudit.report.manifest import MOST_OCTETS

    try:
        with open(path, "rb") as file:
            return file.read(MOST_OCTETS + 1)
    except OSError as error:
        raise _Unreadable(f"{printable(path)} cannot be read: {error.strerror or error}") from error


def _signature(manifest: Path, octets: bytes, key: VerifyingKey | None) -> Check:
    from pqaudit.report.signature import MOST_OCTETS, SUFFIX
    from pqaudit.report.verifying import Check, Outcome, read_beside

    name = manifest.name + SUFFIX
    if key is None:
        return Check("signature", name, Outcome.NOT_CHECKED, "no public key was given with --key")
    try:
        signature = read_beside(manifest.parent, name, MOST_OCTETS)
    except FileNotFoundError:
        return Check("signature", name, Outcome.MISSING, "it is not beside the manifest")
    except OSError as error:
        return Check("signature", name, Outcome.UNREADABLE, error.strerror or str(error))
    if key.verifies(signature, octets):
        return Check("signature", name, Outcome.OK, key.scheme)
    return Check("signature", name, Outcome.CHANGED, f"it is not one of this manifest with this {key.scheme} key")


def _files(
    manifest: Manifest,
    path: Path,
    captures: tuple[Path, ...],
    inputs: tuple[Path, ...],
    progress: Callable[[int], None] | None,
) -> Iterator[Check]:
    from pqaudit.report.verifying import check_elsewhere, check_report

    for file in manifest.reports:
        yield check_report(file, path.parent, progress)
    for file in manifest.inputs:
        yield check_elsewhere(file, inputs, "--inputs", progress)
    for file in manifest.captures:
        yield check_elsewhere(file, captures, "--captures", progress)


def _tell_json(path: str, octets: bytes, manifest: Manifest, checks: list[Check], result: str, out: TextIO) -> None:
    answer = {
        "kind": "pqaudit-verification",
        "schema_version": 1,
        "manifest": {"name": Path(path).name, "sha256": sha256(octets).hexdigest()},
        "made_by": manifest.tool,
        "as_of": manifest.as_of,
        "result": result,
        "checks": [{"kind": c.kind, "name": c.name, "outcome": c.outcome, "detail": c.detail} for c in checks],
    }
    click.echo(json.dumps(answer, ensure_ascii=True, indent=2), file=out)


def _tell(manifest: Manifest, checks: list[Check], out: TextIO) -> None:
    from pqaudit.report.verifying import Outcome

    click.echo(f"Report as of {printable(manifest.as_of)}, made by {printable(manifest.tool)}.", file=out)
    width = max(len(printable(check.kind)) for check in checks)
    # What is wrong comes first: it is never what is left out.
    order = [Outcome.CHANGED, Outcome.MISSING, Outcome.UNREADABLE, Outcome.NOT_CHECKED, Outcome.OK]
    for outcome in order:
        found = [check for check in checks if check.outcome is outcome]
        for check in found[:_MOST_SHOWN]:
            why = f" ({printable(check.detail)})" if check.detail else ""
            click.echo(f"{outcome:<11}  {printable(check.kind):<{width}}  {printable(check.name)}{why}", file=out)
        if len(found) > _MOST_SHOWN:
            click.echo(f"{outcome:<11}  {len(found) - _MOST_SHOWN:,} more; --format json lists all", file=out)
    counts = Counter(check.outcome for check in checks)
    said = ", ".join(f"{counts[outcome]:,} {outcome.replace('-', ' ')}" for outcome in order if counts[outcome])
    click.echo(f"Of {plural(len(checks), 'check')}: {said}.", file=out)
    if not any(check.kind == "signature" and check.outcome is Outcome.OK for check in checks):
        click.echo("Without a signature that is right, nobody says who wrote the manifest.", file=out)
