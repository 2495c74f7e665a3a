"""Findings on their way to a server beside the work that makes them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Event, Thread

from pqaudit.elastic.delivery import Delivery
from pqaudit.elastic.errors import ServerError
from pqaudit.elastic.spool import Spool
from pqaudit.finding.document import Document

_AT_ONCE = 500  # findings of one transaction, as many as one request sends
_LOOK_AGAIN = 0.5  # seconds between looks for findings that another process added
_ROOM = 0.8  # share of the spool's bound at which the maker of findings waits for the sender
_NAP = 0.02
_ASK_AGAIN = 60.0  # seconds after a refusal that waiting does not mend


class Shipment:
    """Delivers in a thread of its own while findings are added.

    Use as a context manager; leaving it does not wait for the server, ``finish`` does.

    Args:
        delivery: sends what waits in its spool.
        for_ever: go on after the spool is empty, as a sensor does, until ``stop``.
    """

    def __init__(self, delivery: Delivery, *, for_ever: bool = False) -> None:
        self._delivery = delivery
        self._spool: Spool = delivery.spool
        self._more = Event()
        self._last = Event()
        self._for_ever = for_ever
        self._thread = Thread(target=self._run, name="delivery", daemon=True)
        self.error: Exception | None = None
        self.dropped = 0

    def __enter__(self) -> Shipment:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def through(self, findings: Iterable[Document]) -> Iterator[Document]:
        """The findings again, each only after it is on disk.

        Raises:
            SpoolError: they cannot be put on disk.
        """
        source = iter(findings)
        while chunk := list(islice(source, _AT_ONCE)):
            self.add(chunk)
            yield from chunk

    def add(self, findings: list[Document]) -> None:
        """Put findings on disk; while the sender keeps up, a full spool makes this wait rather than drop any.

        Raises:
            SpoolError: they cannot be put on disk.
        """
        while not self._for_ever and self._spool.fullness() > _ROOM and self._moving():
            time.sleep(_NAP)
        self.dropped += self._spool.add(findings)
        self._more.set()

    def finish(self, patience: float) -> None:
        """Wait until everything is delivered; ``patience`` in seconds is how long to go on without any progress.

        Raises:
            ServerError: the server refused, or did not take findings for as long as patience lasts.
            SpoolError: the spool cannot be read any more.
            OSError: the dead-letter file cannot be written.
        """
        self._delivery.patient_for(patience)
        self._last.set()
        self._more.set()
        while self._thread.is_alive():
            self._thread.join(0.2)  # in slices, so that Ctrl-C is answered
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """End after the request that is under way; what is not confirmed stays in the spool."""
        self._delivery.stopping.set()
        self._last.set()
        self._more.set()
        if self._thread.is_alive():
            self._thread.join()

    def _moving(self) -> bool:
        return self._thread.is_alive() and self._delivery.trouble is None

    def _run(self) -> None:
        try:
            # Begins before there is anything to send, so that a wrong URL shows early.
            while not self._delivery.stopping.is_set():
                last = self._last.is_set()
                self._greet_and_drain()
                if last and not self._for_ever:
                    return
                self._more.wait(_LOOK_AGAIN)
                self._more.clear()
        except Exception as error:  # handed to the thread that waits
            self.error = error

    def _greet_and_drain(self) -> None:
        """Deliver what waits; for ever means that a server which refuses is asked again, as somebody may mend that."""
        while not self._delivery.stopping.is_set():
            try:
                self._delivery.greet()
                self._delivery.drain()
            except ServerError as error:
                if not self._for_ever:
                    raise
                self._delivery.troubled(error)
                self._delivery.stopping.wait(_ASK_AGAIN)
            else:
                return
