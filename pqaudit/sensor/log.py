"""What the sensor does as lines of JSON, for journals and log collectors; the keys are listed in docs/sensor.md."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from pqaudit import __version__
from pqaudit.finding.document import Document
from pqaudit.sensor.status import ExposureStatus, Status


class Log:
    """Writes one line for each event. A reader that went away never stops the sensor.

    Args:
        stream: where to.
        quiet: no line for each finding.
    """

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._before = (time.monotonic(), 0, 0)

    def started(self, status: Status) -> None:
        """The sensor begins."""
        self._write("info", "started", version=__version__, sensor=status.observer, server=status.server)

    def stopped(self, status: Status) -> None:
        """The sensor ends."""
        self._exposure(status.exposure)
        self._write("info", "stopped", **_totals(status))

    def note(self, text: str, level: str = "warning") -> None:
        """A sentence for a person."""
        self._write(level, "note", message=text)

    def finding(self, finding: Document) -> None:
        """A finding went out."""
        if self._quiet:
            return
        own = finding["pqaudit"]
        self._write(
            "info",
            "finding",
            id=finding["event"]["id"],
            verdict=own["verdict"],
            reason=own["reason"],
            assurance=own["assurance"],
            source=finding["source"]["ip"],
            destination=finding["destination"]["ip"],
        )

    def summary(self, status: Status) -> None:
        """How much there was since the last summary, and in all."""
        now = time.monotonic()
        seconds = max(now - self._before[0], 1e-9)
        frames, messages = status.frames - self._before[1], status.messages - self._before[2]
        self._before = (now, status.frames, status.messages)
        rates = {"frames_per_second": round(frames / seconds, 1), "messages_per_second": round(messages / seconds, 1)}
        self._write("info", "summary", **rates, **_totals(status))
        self._exposure(status.exposure)

    def _exposure(self, status: ExposureStatus | None) -> None:
        if status is None:
            return
        self._write(
            "info",
            "exposure",
            sampled=status.sampled,
            running=status.running,
            pairs=status.pairs,
            esp_packets=dict(status.packets),
            esp_octets=dict(status.octets),
            events=dict(status.counters),
            interfaces=[
                {"name": each.name, "received": each.statistics.received, "dropped": each.statistics.dropped}
                for each in status.interfaces
            ],
        )

    def _write(self, level: str, event: str, **fields: Any) -> None:
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # All but ASCII is escaped, control characters too: nothing from the wire breaks a line or a terminal.
        line = json.dumps({"time": moment, "level": level, "event": event, **fields})
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def _totals(status: Status) -> dict[str, Any]:
    capture = status.capture
    return {
        "frames": status.frames,
        "messages": status.messages,
        "sas": status.sas,
        "half_open": status.half_open,
        "findings": dict(status.findings),
        "events": dict(status.counters),
        "spooled": status.spooled,
        "delivered": status.delivered,
        "dropped": status.dropped,
        "refused": status.refused,
        "trouble": status.trouble,
        "interfaces": []
        if capture is None
        else [
            {
                "name": each.name,
                "state": each.state.value,
                "received": each.statistics.received,
                "dropped": each.statistics.dropped,
                "interface_dropped": each.statistics.interface_dropped,
                "not_analysed": each.not_analysed,
            }
            for each in capture.interfaces
        ],
    }
