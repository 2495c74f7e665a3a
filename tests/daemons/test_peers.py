"""Daemons of tests leave nothing behind, and their tree is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import tree as tree_module
from tests.daemons.log import read_listed, read_sas
from tests.daemons.peers import Peers, wait_for
from tests.daemons.tree import CHARON, DaemonError, mirrors, tree

_HOLD = """import sys, time
from pathlib import Path
from tests.daemons.peers import Peers
peers = Peers(Path(sys.argv[1]))
with peers.record(Path(sys.argv[1]) / "capture.pcap"):
    print(peers.interface, peers.a.pid, peers.b.pid, peers.a.namespace_pid, peers.b.namespace_pid, flush=True)
    time.sleep(60)
"""

# As apt prints it; the last is an archive of somebody else, the third has no suite of Debian's.
_URIS = """'https://mirror.example/debian/dists/stable/InRelease' mirror.example_debian_dists_stable_InRelease 0
'https://mirror.example/debian/dists/stable-updates/InRelease' mirror.example_debian_dists_stable-updates_InRelease 0
'https://mirror.example/security/dists/stable-security/InRelease' mirror.example_security_dists_InRelease 0
'https://mirror.example/debian/dists/stable/main/binary-amd64/Packages.xz' mirror.example_Packages 0
'https://other.example/node/dists/nodistro/InRelease' other.example_node_dists_nodistro_InRelease 0
"""


def running(pid: int) -> bool:
    try:
        return " Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except FileNotFoundError:
        return False


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose tree is made by hand, without packages."""

    def make(scratch: Path) -> None:
        program = scratch / "root" / CHARON.lstrip("/")
        program.parent.mkdir(parents=True)
        program.touch()
        (scratch / "root" / "content").write_text(CHARON.lstrip("/") + "\n")

    monkeypatch.setenv("PQAUDIT_DAEMONS_CACHE", str(tmp_path))
    monkeypatch.setattr(tree_module, "_make", make)
    return tmp_path


@pytest.mark.parametrize("end", ["close", "kill"])
def test_nothing_is_left(end: str, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        interface, *pids = holder.stdout.readline().split()
        links = list(Path("/sys/class/net").glob(f"pqa{holder.pid}*"))
        assert all(running(int(pid)) for pid in pids)
        assert len(links) == 2
        assert interface in [link.name for link in links]
        holder.send_signal(signal.SIGKILL if end == "kill" else signal.SIGINT)
    wait_for(lambda: not any(running(int(pid)) for pid in pids), "an end of all processes")
    wait_for(lambda: not any(link.exists() for link in links), "an end of the links")


def test_two_pairs_at_once(peers: Peers, tmp_path: Path) -> None:
    with Peers(tmp_path) as others, others.record(tmp_path / "capture.pcap") as capture:
        assert others.interface != peers.interface
        one, other = peers.establish("aes256-sha256-x25519"), others.establish("aes256-sha256-x25519")
    seen = capture.read_bytes()
    assert bytes.fromhex(other.initiator_spi) in seen
    assert bytes.fromhex(one.initiator_spi) not in seen
    assert peers.a.listed() == [one]


def test_a_peer_that_is_killed_and_started_again(peers: Peers) -> None:
    old = peers.establish("aes256-sha256-x25519")
    peers.b.kill()
    peers.b.start()
    assert (peers.a.listed(), peers.b.listed()) == ([old], [])
    assert peers.establish("aes256-sha256-x25519") != old


def test_a_daemon_that_does_not_start_says_why(peers: Peers) -> None:
    peers.b.stop()
    try:
        with pytest.raises(DaemonError, match="did not start"):
            peers.b.start({"load": "no-such-plugin"})
    finally:
        peers.b.start()


def test_a_tree_that_was_cleared_in_parts_is_made_anew(fresh_cache: Path) -> None:
    (fresh_cache / "making-left").mkdir()
    made = tree()
    first = made.stat().st_ino
    assert tree() == made
    assert made.stat().st_ino == first
    assert not (fresh_cache / "making-left").exists()
    (made / CHARON.lstrip("/")).unlink()
    assert tree() == made
    assert (made / CHARON.lstrip("/")).exists()


def test_only_archives_of_debian_are_asked() -> None:
    assert mirrors(_URIS) == ["https://mirror.example/debian"]


def test_without_root_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DaemonError, match="need root"):
        Peers(tmp_path)


def test_what_is_no_ike_sa_is_not_read() -> None:
    assert read_sas("00[DMN] Starting IKE charon daemon\n14[CFG] <c|1> selected proposal: ESP:AES_GCM_16_256\n") == []
    assert read_listed("list-sas reply {}\n") == []
