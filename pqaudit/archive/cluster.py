"""Reading on the machines of a Dask cluster."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, TypeVar

from pqaudit.archive.cluster_errors import ClusterAwayError, ClusterSetupError
from pqaudit.archive.partial import unpacked
from pqaudit.parallel import Listings, Progress
from pqaudit.pipeline import AuditRun, ReadOptions

CONNECT_SECONDS: Final = 15.0
WORKERS_SECONDS: Final = 30.0
"""So long the first worker is waited for."""
_REACH_SECONDS: Final = 5.0
_MOST_NAMED: Final = 5

T = TypeVar("T")
Tell = Callable[[str], None]


def read_on_cluster(
    sources: Sequence[str],
    run: AuditRun,
    options: ReadOptions,
    address: str,
    *,
    tell: Tell,
    progress: Progress | None = None,
) -> None:
    """Read captures into ``run`` on the workers of a cluster; the result is that of ``read_side_by_side``.

    A capture that kills workers three times is set aside with a fatal note. An interrupt keeps what was read.

    Args:
        address: of the scheduler, ``tcp://…`` or ``tls://…``, or a file written by ``dask scheduler --scheduler-file``.
        tell: called with a sentence about what is going on.

    Raises:
        ClusterAwayError: scheduler or workers cannot be reached.
        ClusterSetupError: something must be installed or changed first.
    """
    listings = Listings(run)

    def taken(first: int, count: int, partials: list[bytes]) -> None:
        for octets in partials:
            listings.add(first, count, unpacked(octets, options))

    run.interrupted = _read(sources, options, address, None, taken, tell, progress)
    listings.finish()


def read_apart_on_cluster(
    sources: Sequence[str],
    options: ReadOptions,
    address: str,
    *,
    pack: Callable[[AuditRun], T],
    take: Callable[[int, T], None],
    tell: Tell,
    progress: Progress | None = None,
) -> bool:
    """As ``read_apart``, on the workers of a cluster, where ``pack`` runs too; raises as ``read_on_cluster``."""

    def taken(first: int, count: int, partials: list[bytes]) -> None:
        for index, octets in enumerate(partials, first):
            take(index, pickle.loads(octets))

    return _read(sources, options, address, pack, taken, tell, progress)


def _read(
    sources: Sequence[str],
    options: ReadOptions,
    address: str,
    pack: Callable[[AuditRun], object] | None,
    taken: Callable[[int, int, list[bytes]], None],
    tell: Tell,
    progress: Progress | None,
) -> bool:
    options = replace(options, folder=os.getcwd())  # the workers are elsewhere
    with _connected(address) as client:
        from pqaudit.archive.cluster_reading import ClusterReading

        try:
            threads = _workers(client, tell)
            _check_editions(client)
            reached = client.sync(_reaches_workers, client)
        except (OSError, TimeoutError) as error:
            raise ClusterAwayError("The scheduler of the cluster went away; run it again when it is back.") from error
        if not reached:
            client.direct_to_workers = False
            tell("the workers cannot be reached from here; what they find comes through the scheduler, which is slower")
        reading = ClusterReading(client, options, pack=pack, taken=taken, tell=tell, progress=progress)
        return reading.read(sources, threads)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterSetupError(f"--cluster needs Dask: pip install 'pqaudit[cluster]' ({error})") from error
    place = _address(address)
    # What goes wrong is said by us, once. Dask has set levels for loggers one by one.
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="distributed")
    # The command line dies of a broken pipe as other filters do; a connection that breaks is no such pipe.
    before = signal.signal(signal.SIGPIPE, signal.SIG_IGN) if _owns_signals() else None
    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            place,
            timeout=CONNECT_SECONDS,
            name="pqaudit",
            direct_to_workers=True,
            set_as_default=False,
        )
    except (OSError, TimeoutError) as error:
        raise ClusterAwayError(
            f"No scheduler can be reached at {place} ({_first_line(error)}); is it running, and is the address right?"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=5)
        if before is not None:
            signal.signal(signal.SIGPIPE, before)


def _owns_signals() -> bool:
    return hasattr(signal, "SIGPIPE") and threading.current_thread() is threading.main_thread()


def _address(given: str) -> str:
    """The address of a scheduler, which may stand in a file; checked, for Dask hangs on some that are wrong."""
    address = _from_file(given) if given.endswith(".json") and "://" not in given else given
    scheme, separator, place = address.partition("://")
    if not separator:
        scheme, place = "tcp", address
    host, _, port = place.rpartition(":")
    if scheme not in ("tcp", "tls") or not host or not port.isdecimal():
        raise ClusterSetupError(f"{address} is no address of a scheduler; give tcp://host:8786 or tls://host:8786")
    _check_security(scheme)
    return f"{scheme}://{place}"


def _from_file(name: str) -> str:
    try:
        return str(json.loads(Path(name).read_text(encoding="utf-8"))["address"])
    except OSError as error:
        raise ClusterSetupError(f"{name} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ClusterSetupError(f"{name} is not what dask scheduler --scheduler-file writes") from error


def _check_security(scheme: str) -> None:
    from distributed import Security

    try:
        security: Any = Security()  # type: ignore[no-untyped-call]
        settings = security.get_connection_args("client")
    except (OSError, ValueError, TypeError) as error:
        raise ClusterSetupError(f"Dask's settings for TLS cannot be used: {_first_line(error)}") from error
    if scheme == "tls" and settings.get("ssl_context") is None:
        raise ClusterSetupError(
            "tls:// needs certificates in Dask's settings: distributed.comm.tls.ca-file, client.cert and client.key"
        )
    if scheme == "tcp" and security.require_encryption:
        raise ClusterSetupError("Dask's settings require encryption; give tls://host:8786, or change them")


def _workers(client: Any, tell: Tell) -> int:
    """The threads of all workers, once there are some."""
    until = monotonic() + WORKERS_SECONDS
    told = False
    while True:
        threads: int = sum(client.nthreads().values())
        if threads:
            return threads
        if monotonic() >= until:
            raise ClusterAwayError(
                f"The cluster has no workers, and none came in {WORKERS_SECONDS:.0f} seconds; start some."
            )
        if not told:
            told = True
            tell(f"the cluster has no workers; waiting up to {WORKERS_SECONDS:.0f} seconds for the first")
        sleep(0.2)


def _check_editions(client: Any) -> None:
    from pqaudit.archive.cluster_tasks import Edition, edition

    own = edition()
    wrong: list[str] = []
    for worker, found in sorted(client.run(edition, on_error="return").items()):
        if isinstance(found, OSError):
            continue  # it went away just now
        if not isinstance(found, Edition):
            wrong.append(f"{worker} (without pqaudit, or with one that knows no clusters)")
        elif found != own:
            wrong.append(f"{worker} ({found.pqaudit})")
    if wrong:
        named = ", ".join(wrong[:_MOST_NAMED]) + (
            f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
        )
        raise ClusterSetupError(
            f"Workers do not have pqaudit {own.pqaudit}, as this machine does: {named}; install it there."
        )


async def _reaches_workers(client: Any) -> bool:
    from asyncio import wait_for

    addresses = list(await client.scheduler.ncores(workers=None))
    try:
        for address in addresses[:2]:
            await wait_for(client.rpc(address).identity(), _REACH_SECONDS)
    except (OSError, TimeoutError):
        return False
    return True


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
