"""A decoder for each interface, so that what two of them carry is never put together as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pqaudit.capture.frame import Frame
from pqaudit.decode.datagram import Datagram
from pqaudit.decode.decoder import Decoder

MOST_DECODERS = 255
"""As many interfaces as one batch of frames can name; frames of further ones share the first."""


class Decoders:
    """Finds IKE messages in the frames of several interfaces.

    Networks behind two interfaces may use the same addresses, so that fragments of both agree in all by which those of
    a datagram are recognised. A connection of which each direction comes by an interface of its own, as from a tap, is
    found all the same.

    Args:
        ports: as for ``Decoder``.
        tunnels: as for ``Decoder``.
    """

    def __init__(self, *, ports: Iterable[int] = (), tunnels: bool = False) -> None:
        self._ports = frozenset(ports)
        self._tunnels = tunnels
        self._decoders: dict[str, Decoder] = {}

    def feed(self, frame: Frame) -> list[Datagram]:
        """Decode one frame: the IKE messages that it completes. Never raises, whatever the octets."""
        decoder = self._decoders.get(frame.source)
        if decoder is None:
            decoder = self._of_new_source(frame.source)
        return decoder.feed(frame)

    def flush(self) -> list[Datagram]:
        """End of input; as for ``Decoder``."""
        return [datagram for decoder in self._decoders.values() for datagram in decoder.flush()]

    @property
    def counters(self) -> Counter[str]:
        """How often each thing out of order happened, by slug, on all interfaces."""
        total: Counter[str] = Counter()
        for decoder in self._decoders.values():
            total.update(decoder.counters)
        return total

    def _of_new_source(self, source: str) -> Decoder:
        if len(self._decoders) >= MOST_DECODERS:
            return next(iter(self._decoders.values()))
        decoder = self._decoders[source] = Decoder(ports=self._ports, tunnels=self._tunnels)
        return decoder
