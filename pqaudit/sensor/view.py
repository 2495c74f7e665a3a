"""The sensor on a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pqaudit.finding.document import Document
from pqaudit.outputs.escape import printable
from pqaudit.outputs.terminal import verdict_text
from pqaudit.outputs.wording import exchanges_text
from pqaudit.rules.registry import Registry
from pqaudit.sensor.status import Status

_FIXED_LINES = 12  # of everything but the latest findings
_RATE_SECONDS = 2.0


def can_show() -> bool:
    """Standard error is a terminal that can be drawn on."""
    return sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal


class LiveView:
    """Redraws itself at each ``update``; a context manager that leaves the terminal as it was.

    A terminal that went away never stops the sensor.
    """

    def __init__(self, status: Status, registry: Registry, console: Console | None = None) -> None:
        self._status = status
        self._registry = registry
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._before = (time.monotonic(), 0, 0)
        self._rates = (0.0, 0.0)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._live.__exit__(kind, error, trace)
            self._console.print(self._totals())

    def update(self) -> None:
        """Draw the status as it is now."""
        self._measure()
        above: list[RenderableType] = [self._heading(), self._interfaces(), self._totals()]
        with suppress(OSError):
            self._live.update(Group(*above, *self._troubles(), *self._exposure(), self._latest()), refresh=True)

    def _measure(self) -> None:
        now = time.monotonic()
        moment, frames, messages = self._before
        if now - moment >= _RATE_SECONDS:
            status = self._status
            self._rates = ((status.frames - frames) / (now - moment), (status.messages - messages) / (now - moment))
            self._before = (now, status.frames, status.messages)

    def _heading(self) -> Text:
        status = self._status
        hours, seconds = divmod(int(time.time() - status.started), 3600)
        text = Text(f"pqaudit sensor {printable(status.observer)}", style="bold")
        text.append(f"   {hours}:{seconds // 60:02}:{seconds % 60:02}", style="")
        text.append(f"   {self._rates[0]:,.0f} frames/s, {self._rates[1]:,.0f} IKE messages/s", style="")
        text.append(f"   {status.sas:,} SAs, {status.half_open:,} half open", style="")
        return text

    def _interfaces(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("Interface", "State"):
            table.add_column(heading)
        for heading in ("Packets", "Dropped by kernel", "by interface", "not analysed"):
            table.add_column(heading, justify="right")
        for each in self._status.capture.interfaces if self._status.capture is not None else ():
            counts = each.statistics
            lost = counts.dropped or counts.interface_dropped or each.not_analysed
            table.add_row(
                printable(each.name),
                each.state.value,
                f"{counts.received:,}",
                f"{counts.dropped:,}",
                f"{counts.interface_dropped:,}",
                f"{each.not_analysed:,}",
                style="red" if lost or each.problem else "",
            )
        return table

    def _totals(self) -> Text:
        status = self._status
        totals = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(status.findings.items()))
        text = f"Findings: {totals or 'none yet'}"
        if status.server is not None:
            text += f"   delivered {status.delivered:,}, waiting {status.spooled:,}"
            if status.dropped or status.refused:
                text += f", dropped {status.dropped:,}, refused {status.refused:,}"
        return Text(text)

    def _troubles(self) -> list[Text]:
        status = self._status
        lines = []
        if status.trouble is not None:
            lines.append(Text(printable(status.trouble), style="red"))
        events = {name: count for name, count in status.counters.items() if count}
        if events:
            shown = sorted(events.items(), key=lambda item: (-item[1], item[0]))[:6]
            lines.append(Text("Events: " + ", ".join(f"{count:,} {name}" for name, count in shown), style="yellow"))
        lines += [
            Text(time.strftime("%H:%M:%S ", time.gmtime(moment)) + printable(text), style="yellow")
            for moment, text in list(status.notes)[-2:]
        ]
        return lines

    def _exposure(self) -> list[RenderableType]:
        status = self._status.exposure
        if status is None:
            return []
        taken = sum(each.statistics.received for each in status.interfaces)
        dropped = sum(each.statistics.dropped for each in status.interfaces)
        text = f"ESP: {status.octets.total():,} octets in {status.packets.total():,} packets, {status.pairs:,} pairs"
        if status.sampled > 1:
            text += f", estimated from 1 packet in {status.sampled:,}"
        text += f"   {taken:,} taken, {dropped:,} of them dropped by kernel"
        heading = Text(text if status.running else f"{text}   NOT COUNTED NOW", style="" if status.running else "red")
        if not status.top:
            return [heading]
        table = Table(box=None, pad_edge=False)
        for title in ("Tunnel", "Verdict"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for title in ("ESP octets", "packets"):
            table.add_column(title, justify="right")
        for ends, verdict, octets, packets in status.top:
            table.add_row(printable(" - ".join(ends)), verdict_text(verdict), f"{octets:,}", f"{packets:,}")
        return [heading, table]

    def _exposure_lines(self) -> int:
        """Lines that the traffic takes: its heading, and titles and tunnels when there are any."""
        status = self._status.exposure
        return 0 if status is None else 1 + (len(status.top) and 1 + len(status.top))

    def _latest(self) -> Table:
        table = Table(box=None, pad_edge=False)
        for heading in ("Time (UTC)", "Verdict", "Selected", "Initiator", "Responder"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        room = max(3, self._console.size.height - _FIXED_LINES - self._exposure_lines())
        for finding in list(self._status.latest)[:room]:
            table.add_row(*(printable(cell) for cell in self._cells(finding)))
        return table

    def _cells(self, finding: Document) -> tuple[str, ...]:
        own = finding["pqaudit"]
        return (
            finding["event"]["end"][11:19],
            own["verdict"],
            exchanges_text(own["selected"], self._registry),
            finding["source"]["ip"],
            finding["destination"]["ip"],
        )
