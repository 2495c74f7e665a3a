"""The manifest that ``pqaudit report --sign-manifest`` writes, and its signature."""

from __future__ import annotations

import os
import sys
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pqaudit.cli.exit_codes import ExitCode
from pqaudit.cli.reading import opened_output
from pqaudit.outputs.escape import printable

if TYPE_CHECKING:
    from pqaudit.report.model import Report
    from pqaudit.report.signature import SigningKey

PASSPHRASE_VARIABLE = "PQAUDIT_SIGNING_PASSPHRASE"


class ManifestOutput:
    """Where the manifest of a report goes.

    Args:
        targets: the file of each form.
        output: what the user named, the folder of them or the only file.
        key_file: of the private key; None for no signature.

    Attributes:
        path: of the manifest, in the folder, or beside the only file under its name with ``.manifest.json``.
        signature: where a signature of it belongs.

    Raises:
        click.UsageError: there is no file to list, or the key cannot be used.
    """

    def __init__(self, targets: dict[str, str], output: str, key_file: str | None) -> None:
        from pqaudit.report.manifest import FILE
        from pqaudit.report.signature import SUFFIX

        if "-" in targets.values():
            raise click.UsageError("a manifest lists files, so give -o FILE or -o DIR")
        for target in map(Path, targets.values()):
            if target.is_symlink() or (target.exists() and not target.is_file()):
                raise click.UsageError(f"{target} is a link or no plain file, which a manifest does not list")
        self._targets = [Path(target) for target in targets.values()]
        in_folder = output not in targets.values()
        self.path = str(Path(output) / FILE) if in_folder else f"{output}.{FILE}"
        self.signature = self.path + SUFFIX
        self._key = None if key_file is None else signing_key_or_exit(key_file)

    def write(self, report: Report) -> None:
        """Write it, once all forms are written; a signature that an earlier manifest has there goes."""
        from pqaudit.report.manifest import ListedFile, ManifestError, manifest_of

        listed = []
        try:
            for target in self._targets:
                with target.open("rb") as file:
                    digest = file_digest(file, "sha256").hexdigest()
                    listed.append(ListedFile("report", target.name, file.tell(), digest))
            octets = manifest_of(report, listed)
            Path(self.signature).unlink(missing_ok=True)
        except OSError as error:
            raise _ManifestFailed(f"the manifest could not be made: {error.filename}: {error.strerror}") from error
        except ManifestError as error:
            raise _ManifestFailed(str(error)) from error
        with opened_output(self.path) as out:
            out.buffer.write(octets)
        if self._key is not None:
            with opened_output(self.signature) as out:
                out.buffer.write(self._key.sign(octets))


class _ManifestFailed(click.ClickException):
    exit_code = ExitCode.OUTPUT_FAILED


def signing_key_or_exit(path: str) -> SigningKey:
    """The private key in a file, unlocked with the variable or what a person types, or wrong usage."""
    from pqaudit.report.signature import LockedKeyError, SigningKey, SigningKeyError

    pem = key_octets_or_exit(path)
    passphrase = os.environ.get(PASSPHRASE_VARIABLE)
    try:
        try:
            return SigningKey(pem, None)
        except LockedKeyError:
            if passphrase is None and sys.stdin.isatty() and sys.stderr.isatty():
                passphrase = click.prompt(f"Passphrase of {printable(path)}", hide_input=True, err=True)
            if passphrase is None:
                raise SigningKeyError(f"it is locked; give its passphrase in {PASSPHRASE_VARIABLE}") from None
            return SigningKey(pem, passphrase)
    except SigningKeyError as error:
        raise click.UsageError(f"{printable(path)} cannot sign: {error}") from error


def key_octets_or_exit(path: str) -> bytes:
    """What is in the file of a key, or wrong usage."""
    from pqaudit.report.signature import MOST_OCTETS

    try:
        with open(path, "rb") as file:
            octets = file.read(MOST_OCTETS + 1)
    except OSError as error:
        raise click.UsageError(f"{printable(path)} cannot be read: {error.strerror or error}") from error
    if len(octets) > MOST_OCTETS:
        raise click.UsageError(f"{printable(path)} has more than {MOST_OCTETS:,} octets, which no key has")
    return octets
