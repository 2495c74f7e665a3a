"""Two strongSwan daemons, each in a network namespace of its own, that talk over the host. Needs root.

Everything here belongs to processes that end with the one that started them, however that ends; the kernel then removes
their namespaces and with them the links. Start peers in a thread that lives as long as they shall.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self, TypedDict, Unpack

from tests.daemons.config import (
    ADDRESSES,
    CHILD_PROPOSAL,
    CONNECTION,
    PROTECTED,
    PSK,
    Section,
    Settings,
    strongswan_conf,
    swanctl_conf,
)
from tests.daemons.log import Sa, read_listed, read_numbers, read_sas
from tests.daemons.tree import CHARON, SWANCTL, DaemonError, run, tree

START_SECONDS = 30.0  # some 0.2 are needed; a machine that is busy with other tests takes its time
STOP_SECONDS = 10.0
EXCHANGE_SECONDS = 20
ANSWER_SECONDS = 2

MAC = {"a": "02:00:00:00:78:0a", "b": "02:00:00:00:78:0b"}
LINK = "ike0"  # a peer's own end; the other one is in the host's namespace
OTHER = {"a": "b", "b": "a"}

_TOGETHER = ("setpriv", "--pdeathsig", "KILL")  # ends with us
_MADE = itertools.count()

# In a namespace. The kernel shall send nothing on its own: no IPv6, and no address has to be asked for.
_NAMESPACE = f"""set -e
[ ! -e /proc/sys/net/ipv6 ] || echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6 >/dev/null
ip link set lo up
ip address add "$protected"/32 dev lo
ip link set {LINK} address "$mac" mtu 1500 up
ip address add "$address"/24 dev {LINK}
ip neighbour add "$other" lladdr "$other_mac" dev {LINK} nud permanent
ethtool -K {LINK} tx off >/dev/null
"""

# On the host: what comes in at one end goes out at the other. No address, no bridge, no firewall in between.
_HOST = """set -e
for link in "$a" "$b"; do
    [ ! -e "/proc/sys/net/ipv6/conf/$link" ] || echo 1 >"/proc/sys/net/ipv6/conf/$link/disable_ipv6"
    ip link set "$link" up
    tc qdisc add dev "$link" clsact
done
join() { tc filter add dev "$1" ingress protocol all u32 match u32 0 0 action mirred egress redirect dev "$2"; }
join "$a" "$b"
join "$b" "$a"
"""

_DAEMON = f"""set -e
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount -t tmpfs tmpfs "$tree/run"
mkdir "$tree/run/peer"
mount --bind "$folder" "$tree/run/peer"
exec env -i PATH="$PATH" STRONGSWAN_CONF=/run/peer/strongswan.conf chroot "$tree" {CHARON}
"""

_SEND = """import socket, sys
address, port, payload = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(bytes.fromhex(payload), (address, int(port)))
"""


def wait_for(happened: Callable[[], bool], what: str) -> None:
    """Return once that has happened; DaemonError when it does not."""
    deadline = time.monotonic() + EXCHANGE_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise DaemonError(f"in {EXCHANGE_SECONDS} s there was not {what}")
        time.sleep(0.02)


class Daemon:
    """One peer: its namespace, and charon while it runs."""

    def __init__(self, side: str, folder: Path) -> None:
        self.side = side
        self.address = ADDRESSES[side]
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tree = tree()
        self._charon: subprocess.Popen[bytes] | None = None
        self._since = 0
        self._namespace = subprocess.Popen(
            [*_TOGETHER, "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._namespace.stdout is not None
        if not self._namespace.stdout.readline():
            _, said = self._namespace.communicate()
            raise DaemonError(f"no network namespace could be made: {said.decode()}")

    @property
    def namespace_pid(self) -> int:
        """A process in the network namespace, which lives as long as that."""
        return self._namespace.pid

    @property
    def pid(self) -> int | None:
        """Charon's process while it runs."""
        return self._charon.pid if self._charon else None

    def inside(self, *command: str) -> list[str]:
        """A command so that it runs in this peer's network namespace."""
        return [*_TOGETHER, "nsenter", f"--net=/proc/{self.namespace_pid}/ns/net", *command]

    def start(self, charon: Section | None = None) -> Self:
        """Start charon, with more settings of its section; returns once it takes commands."""
        if self._charon is not None:
            raise DaemonError(f"{self} runs already")
        (self.folder / "strongswan.conf").write_text(strongswan_conf(charon or {}))
        where = (f"tree={self._tree}", f"folder={self.folder}")
        with (self.folder / "output").open("ab") as output:
            self._charon = subprocess.Popen(
                self.inside("unshare", "--mount", "env", *where, "sh", "-c", _DAEMON),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        socket = Path(f"/proc/{self._charon.pid}/root/run/charon.vici")
        deadline = time.monotonic() + START_SECONDS
        while not socket.exists():
            ended = self._charon.poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                raise DaemonError(f"{self} did not start ({ended}):\n{self._printed()}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End charon in an orderly way: it deletes its SAs, which the other side sees."""
        if (process := self._charon) is None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonError(f"{self} did not end in {STOP_SECONDS:.0f} s:\n{self._printed()}") from None
        self._charon = None

    def kill(self) -> None:
        """End charon at once; the other side learns nothing of it."""
        if (process := self._charon) is None:
            return
        process.kill()
        process.wait()
        self._charon = None

    def close(self) -> None:
        """End charon and remove the namespace."""
        self.kill()
        self._namespace.kill()
        self._namespace.communicate()

    def load(self, settings: Settings) -> None:
        """Set the peer up anew. SAs that exist stay."""
        (self.folder / "swanctl.conf").write_text(swanctl_conf(settings, self.side, OTHER[self.side]))
        self.swanctl("--load-all", "--clear", "--file", "/run/peer/swanctl.conf")

    def swanctl(self, *arguments: str) -> str:
        """What strongSwan's own tool printed; DaemonError when it fails."""
        if self._charon is None:
            raise DaemonError(f"{self} does not run")
        target = f"/proc/{self._charon.pid}"
        return run("nsenter", f"--mount={target}/ns/mnt", f"--root={target}/root", SWANCTL, *arguments)

    def send(self, payload: bytes, address: str, port: int) -> None:
        """A UDP datagram from this peer's namespace, with any source port."""
        run(*self.inside(sys.executable, "-I", "-S", "-c", _SEND, address, str(port), payload.hex()))

    def mark(self) -> None:
        """Let ``log`` begin here."""
        self._since = len(self._whole_log())

    @property
    def log(self) -> str:
        """What the daemon logged since ``mark``."""
        return self._whole_log()[self._since :].decode(errors="replace")

    def sas(self) -> list[Sa]:
        """IKE_SAs negotiated since ``mark``, in their order, as the log tells."""
        return read_sas(self.log)

    def listed(self) -> list[Sa]:
        """Established IKE_SAs that exist now, as ``swanctl --list-sas`` tells."""
        return read_listed(self.swanctl("--list-sas", "--raw"))

    def __repr__(self) -> str:
        return f"peer {self.side} in {self.folder}"

    def _whole_log(self) -> bytes:
        try:
            return (self.folder / "log").read_bytes()
        except FileNotFoundError:
            return b""

    def _printed(self) -> str:
        return (self.folder / "output").read_text(errors="replace") + self.log


class Options(TypedDict, total=False):
    """What else an IKE_SA is negotiated with."""

    answer: str | Sequence[str]  # proposals of the responder, when not those of the initiator
    child: str  # proposal for the CHILD_SA
    childless: bool  # IKE_AUTH makes no CHILD_SA
    ppk: str  # the sides that have the preshared key: "ab", "a", "b"
    ppk_required: bool
    psk_of_b: str  # another secret than that of a, so that authentication fails
    connection: Section  # more settings of a connection in swanctl.conf, for both


class Peers:
    """Two daemons: ``a`` begins, ``b`` answers.

    ``interface`` is a link in the host's namespace that all packets between the two pass, in both directions. A sensor
    can listen on it without entering a namespace, and reach servers on the host's loopback. Of the host's own traffic
    nothing passes there.
    """

    def __init__(self, folder: Path) -> None:
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            raise DaemonError("tests with IKE daemons need root, for network namespaces")
        number = next(_MADE)
        links = {side: f"pqa{os.getpid()}{side}{number}" for side in "ab"}
        if len(max(links.values(), key=len)) > 15:
            raise DaemonError(f"too many peers: {number}")
        self.interface = links["a"]
        self._open = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.a = Daemon("a", folder / "a")
            undo.callback(self.a.close)
            self.b = Daemon("b", folder / "b")
            undo.callback(self.b.close)
            for daemon in (self.a, self.b):
                self._connect(daemon, links[daemon.side])
                # With its namespace it would go too, but some time later.
                undo.callback(run, "ip", "link", "delete", links[daemon.side])
            run("env", *(f"{side}={link}" for side, link in links.items()), "sh", "-c", _HOST)
            for daemon in (self.a, self.b):
                daemon.start()
            self._open = undo.pop_all()

    @staticmethod
    def _connect(daemon: Daemon, link: str) -> None:
        peer = ("peer", "name", LINK, "netns", str(daemon.namespace_pid))
        run("ip", "link", "add", link, "type", "veth", *peer)
        side, other = daemon.side, OTHER[daemon.side]
        values = {
            "address": ADDRESSES[side],
            "mac": MAC[side],
            "other": ADDRESSES[other],
            "other_mac": MAC[other],
            "protected": PROTECTED[side],
        }
        run(*daemon.inside("env", *(f"{name}={value}" for name, value in values.items()), "sh", "-c", _NAMESPACE))

    def close(self) -> None:
        """End the daemons and remove the links and namespaces."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def log_a(self) -> str:
        """The initiator's log since the last ``establish`` or ``attempt`` began."""
        return self.a.log

    @property
    def log_b(self) -> str:
        """The responder's log since the last ``establish`` or ``attempt`` began."""
        return self.b.log

    def establish(self, proposal: str | Sequence[str], **options: Unpack[Options]) -> Sa:
        """A new IKE_SA, and no other; what ``a`` logged of it, once ``b`` has logged and both list the same."""
        said = self.attempt(proposal, **options)
        wait_for(lambda: self._only_or_none() is not None, f"one IKE_SA: {said}")
        return self._as_logged(self._only())

    def attempt(self, proposal: str | Sequence[str], **options: Unpack[Options]) -> str:
        """Like ``establish``, for an IKE_SA that may fail; what swanctl said. The logs have the rest: ``a.sas()``."""
        self.terminate()
        self.set_up(proposal, **options)
        return self.initiate(childless=options.get("childless", False))

    def initiate(self, *, childless: bool = False) -> str:
        """Let ``a`` begin an IKE_SA as both are set up, whatever else there is; what swanctl said."""
        for daemon in (self.a, self.b):
            daemon.mark()
        what = "--ike" if childless else "--child"
        try:
            return self.a.swanctl("--initiate", what, CONNECTION, "--timeout", str(EXCHANGE_SECONDS))
        except DaemonError as error:
            return str(error)

    def set_up(self, proposal: str | Sequence[str], **options: Unpack[Options]) -> None:
        """Let this hold for IKE_SAs and rekeyings to come; an IKE_SA that exists stays."""
        childless: Section = {"childless": "force"} if options.get("childless") else {}
        for daemon, proposals in ((self.a, proposal), (self.b, options.get("answer", proposal))):
            daemon.load(
                Settings(
                    proposals=(proposals,) if isinstance(proposals, str) else tuple(proposals),
                    child_proposals=(options.get("child", CHILD_PROPOSAL),),
                    ppk=daemon.side in options.get("ppk", ""),
                    ppk_required=options.get("ppk_required", False),
                    psk=options.get("psk_of_b", PSK) if daemon is self.b else PSK,
                    connection={**childless, **options.get("connection", {})},
                )
            )

    def rekey_ike(self, side: str = "a") -> Sa:
        """Replace the IKE_SA; the new one."""
        old = self._only()
        self._daemon(side).swanctl("--rekey", "--ike", CONNECTION)
        wait_for(lambda: self._only_or_none() not in (None, old), "a rekeyed IKE_SA")
        return self._as_logged(self._only())

    def rekey_child(self, side: str = "a") -> None:
        """Replace the CHILD_SA."""
        rekeyed = "rekeyed CHILD_SA"
        before = [daemon.log.count(rekeyed) for daemon in (self.a, self.b)]
        self._daemon(side).swanctl("--rekey", "--child", CONNECTION)
        wait_for(
            lambda: all(daemon.log.count(rekeyed) > n for daemon, n in zip((self.a, self.b), before, strict=True)),
            "a rekeyed CHILD_SA",
        )

    def terminate(self) -> None:
        """Delete all SAs, so that both sides know; with a side that does not answer, at least on the other."""
        for daemon in (self.a, self.b):
            for number in read_numbers(daemon.swanctl("--list-sas", "--raw")) if daemon.pid is not None else ():
                with contextlib.suppress(DaemonError):  # it may have gone meanwhile
                    daemon.swanctl("--terminate", "--ike-id", number, "--force", "--timeout", str(ANSWER_SECONDS))

    @contextlib.contextmanager
    def record(self, path: Path) -> Iterator[Path]:
        """Packets between the peers into a capture file, which is complete at the end."""
        command = ["tcpdump", "-i", self.interface, "--immediate-mode", "-U", "-s", "0", "-Z", "root", "-w", str(path)]
        with subprocess.Popen([*_TOGETHER, *command], stderr=subprocess.PIPE) as tool:
            assert tool.stderr is not None
            try:
                for line in tool.stderr:
                    if b"listening on" in line:
                        break
                else:
                    raise DaemonError(f"tcpdump does not record: {tool.wait()}")
                yield path
                self._await_recorded(path)
                tool.send_signal(signal.SIGINT)
                tool.wait(STOP_SECONDS)
            finally:
                tool.kill()

    def _await_recorded(self, path: Path) -> None:
        """Send a datagram, and wait until it is in the file: then all before it is."""
        marker = b"end of recording" + secrets.token_bytes(8)
        self.a.send(marker, self.b.address, 9)
        wait_for(lambda: marker in path.read_bytes(), "the last packet in the file")

    def _as_logged(self, listed: Sa) -> Sa:
        """An IKE_SA as ``a`` logged it; both logs and the list have to say the same."""
        a, b = self.a.sas(), self.b.sas()
        if listed not in a or listed not in b:
            raise DaemonError(f"the daemons differ: {listed}, {a}, {b}")
        return a[a.index(listed)]

    def _daemon(self, side: str) -> Daemon:
        return {"a": self.a, "b": self.b}[side]

    def _only(self) -> Sa:
        (found,) = self.a.listed()
        return found

    def _only_or_none(self) -> Sa | None:
        a, b = self.a.listed(), self.b.listed()
        return a[0] if len(a) == 1 and a == b else None
