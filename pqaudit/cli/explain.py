"""``pqaudit explain``."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click

from pqaudit.cli.reading import (
    InputsGiven,
    exit_code,
    inputs_options,
    keys_option,
    keys_or_exit,
    opened_output,
    opened_table,
    port_option,
    progress_bar,
    report_keys,
    report_notes,
    rulebook_or_exit,
    rules_option,
    tunnels_option,
)

MOST_SIGHTINGS = 10_000


@click.command("explain")
@inputs_options
@click.option("--spi", metavar="HEX", help="Initiator or responder SPI of the SA, or the beginning of one.")
@port_option
@tunnels_option
@rules_option
@keys_option
def command(
    inputs: InputsGiven,
    spi: str | None,
    ports: tuple[int, ...],
    tunnels: bool,
    rules_folder: Path | None,
    key_files: tuple[Path, ...],
) -> None:
    """Tell one IKE SA as a story: who offered what, what was selected, what was seen to run, and the rule that decided.

    PATH is as for audit. With several SAs in it, --spi names the one that is meant.

    \b
      pqaudit explain site.pcapng --spi fb5d2d19
    """
    inputs.check()
    wanted = _spi(spi)
    rulebook = rulebook_or_exit(rules_folder)
    keys = keys_or_exit(key_files)
    from rich.console import Console

    from pqaudit.capture.discover import find_captures
    from pqaudit.decode.datagram import Datagram
    from pqaudit.finding.document import Observer
    from pqaudit.finding.stream import drain_findings
    from pqaudit.ike.ikev1 import V1Message
    from pqaudit.ike.message import Message
    from pqaudit.outputs.story import Sighting, write_story
    from pqaudit.outputs.wording import exchanges_text
    from pqaudit.pipeline import AuditRun, ReadOptions, read_inputs

    run = AuditRun()
    sightings: list[Sighting] = []
    opened = None if keys is None else opened_table()

    def keep(datagram: Datagram, message: Message | V1Message) -> None:
        header = message.header
        if keys is not None and opened is not None:
            opened.add(datagram, header, keys)
        matches = wanted is None or any(
            value.hex().startswith(wanted) for value in (header.initiator_spi, header.responder_spi)
        )
        # A request names no responder SPI, so it is kept for every choice of one and sorted out below.
        if (matches or not any(header.responder_spi)) and len(sightings) < MOST_SIGHTINGS:
            sightings.append(Sighting(datagram, message))

    sources = find_captures(inputs.named(run.notes.append), run.notes.append)
    with progress_bar(sources) as progress:
        read_inputs(sources, run, ReadOptions(ports, tunnels), progress=progress, on_message=keep)
    observer = Observer(socket.gethostname())
    findings = list(drain_findings(run.table, rulebook, observer, opened))
    found = [
        f
        for f in findings
        if wanted is None
        or any((f["pqaudit"]["ike"][side] or "").startswith(wanted) for side in ("initiator_spi", "responder_spi"))
    ]
    report_notes(run)
    report_keys(opened, keys)
    if not found:
        code = exit_code(run, False)
        if code:
            sys.exit(code)
        raise click.UsageError("no IKE SA was found" if wanted is None else f"no IKE SA has an SPI beginning {wanted}")
    if len(found) > 1:
        lines = [
            f"  {f['pqaudit']['ike']['initiator_spi']} {f['pqaudit']['ike']['responder_spi'] or '-':<16}"
            f"  IKEv{f['pqaudit']['ike']['version']}  {f['pqaudit']['verdict']:<21}"
            f" {exchanges_text(f['pqaudit']['selected'], rulebook.registry)}"
            for f in found[:50]
        ]
        more = "" if len(found) <= 50 else f"\n  and {len(found) - 50:,} more"
        raise click.UsageError(
            f"{len(found):,} IKE SAs match; choose one with --spi, by either SPI:\n" + "\n".join(lines) + more
        )
    ike = found[0]["pqaudit"]["ike"]
    own = [
        s
        for s in sightings
        if s.message.header.initiator_spi.hex() == ike["initiator_spi"]
        and (
            ike["responder_spi"] is None
            or not any(s.message.header.responder_spi)
            or s.message.header.responder_spi.hex() == ike["responder_spi"]
        )
    ]
    with opened_output("-") as out:
        write_story(
            found[0], own, rulebook, Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=True)
        )
    sys.exit(exit_code(run, False))


def _spi(text: str | None) -> str | None:
    if text is None:
        return None
    cleaned = text.lower().removeprefix("0x").replace(":", "")
    if not cleaned or len(cleaned) > 16 or any(c not in "0123456789abcdef" for c in cleaned):
        raise click.BadParameter("an SPI is up to 16 hexadecimal digits", param_hint="--spi")
    return cleaned
