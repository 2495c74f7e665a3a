"""The forms of a report, by name. A form is a module with a function that writes; it is loaded only when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import BinaryIO, Protocol

from pqaudit.report.model import Report


class Writer(Protocol):
    """Writes a whole report.

    It takes nothing but the report into account, no clock, no zone and no name of a machine, so that the same report
    gives the same octets.

    Raises:
        UnavailableError: a library that it needs is not installed; nothing was written.
    """

    def __call__(self, report: Report, out: BinaryIO) -> None:
        """Write it; ``out`` stays open."""


class UnavailableError(Exception):
    """A form cannot be written here; says in one sentence what to install."""


@dataclass(frozen=True, slots=True)
class Format:
    """A form of the report.

    Attributes:
        name: for ``--format``.
        file: name of the file when several forms go into a folder.
        binary: not for a terminal.
        writer: module and function.
    """

    name: str
    file: str
    writer: str
    binary: bool = False

    def load(self) -> Writer:
        """The function that writes it."""
        module, name = self.writer.split(":")
        found: Writer = getattr(import_module(module), name)
        return found


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("markdown", "report.md", "pqaudit.report.markdown:write"),
        Format("json", "report.json", "pqaudit.report.json_form:write"),
        Format("csv", "tunnels.csv", "pqaudit.report.csv_form:write_tunnels"),
        Format("csv-sas", "sas.csv", "pqaudit.report.csv_form:write_sas"),
        Format("cyclonedx", "cbom.cdx.json", "pqaudit.report.cyclonedx:write"),
        Format("sarif", "report.sarif", "pqaudit.report.sarif:write"),
        Format("html", "report.html", "pqaudit.report.html_form:write"),
        Format("pdf", "report.pdf", "pqaudit.report.pdf_form:write", binary=True),
    )
}
