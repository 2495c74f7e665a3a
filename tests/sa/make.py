"""Messages put into tables by hand, with the time, file and ends that a test wants."""

from __future__ import annotations

from pqaudit.decode.datagram import Datagram
from pqaudit.pipeline import read_message
from pqaudit.sa.association import SecurityAssociation
from pqaudit.sa.table import SaTable
from tests import build as b

PLAIN: tuple[b.Transform, ...] = (*b.SUITE, (b.KE, 31))
HYBRID: tuple[b.Transform, ...] = (*PLAIN, b.addke(1, 36))
I_END, R_END = b"\xc0\x00\x02\x01", b"\xc0\x00\x02\x02"
OTHER_I, OTHER_R = b"\xc6\x33\x64\x01", b"\xc6\x33\x64\x02"
COOKIE, INVALID_KE, NO_PROPOSAL = 16390, 17, 14  # RFC 7296 section 3.10.1
X, Y, Z = b"\xa1" * 8, b"\xb2" * 8, b"\xc3" * 8


def sent(
    octets: bytes,
    time: int,
    *,
    source: bytes = I_END,
    destination: bytes = R_END,
    file: str = "f",
    port: int = 500,
    kept: int | None = None,
) -> Datagram:
    """From ``source``; ``kept`` octets of it were captured."""
    data = octets if kept is None else octets[:kept]
    cut = len(data) < len(octets)
    return Datagram(time, 6, source, port, destination, port, "udp", data, cut, port == 4500, None, file, (time + 1,))


def answered(
    octets: bytes,
    time: int,
    *,
    source: bytes = R_END,
    destination: bytes = I_END,
    file: str = "f",
    port: int = 500,
    kept: int | None = None,
) -> Datagram:
    """From the responder."""
    return sent(octets, time, source=source, destination=destination, file=file, port=port, kept=kept)


def table_of(*datagrams: Datagram, most_groups: int | None = None) -> SaTable:
    table = SaTable() if most_groups is None else SaTable(most_groups=most_groups)
    for datagram in datagrams:
        table.add(datagram, read_message(datagram))
    return table


def associations(*datagrams: Datagram) -> list[SecurityAssociation]:
    return list(table_of(*datagrams).associations())


def request(fill: int = 7, method: int = 31, *, spi_i: bytes = b.SPI_I) -> bytes:
    return b.message(b.INIT, [b.sa(PLAIN), b.ke(method, 32), b.nonce(fill=fill)], spi_i=spi_i)


def refusal(kind: int, data: bytes = b"", *, spi_r: bytes = bytes(8), spi_i: bytes = b.SPI_I) -> bytes:
    return b.message(b.INIT, [b.notify(kind, data)], spi_i=spi_i, spi_r=spi_r, flags=b.RESPONSE)


def response(spi_r: bytes = X, *, fill: int = 9, spi_i: bytes = b.SPI_I, method: int = 31) -> bytes:
    payloads = [b.sa((*b.SUITE, (b.KE, method))), b.ke(method, 32), b.nonce(fill=fill)]
    return b.message(b.INIT, payloads, spi_i=spi_i, spi_r=spi_r, flags=b.RESPONSE)


def packets(sa: SecurityAssociation) -> int:
    return sum(count.packets for count in sa.file_counts.values())
