"""A root tree with strongSwan, unpacked from packages of the mirror that apt is set up with; nothing is installed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.locking import locked

# The first suite whose strongSwan has ML-KEM. apt finds what these packages depend on.
SUITE = "forky"
PACKAGES = ("base-files", "libcharon-extra-plugins", "strongswan-charon", "strongswan-swanctl")
CHARON = "/usr/lib/ipsec/charon"
SWANCTL = "/usr/sbin/swanctl"
# To be raised whenever this file makes another tree than before.
EDITION = 2

_CONTENT = "content"
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASE = re.compile(r"^'(\S+)/dists/([^/']+)/InRelease'", re.MULTILINE)


class DaemonError(Exception):
    """No daemon could be made, started or used; the text says why."""


def tree() -> Path:
    """The tree, made when it is not in the cache yet; other processes wait meanwhile."""
    machine = f"{SUITE}-{EDITION}-{platform.machine()}"
    made = cache_folder() / machine
    with locked(made.with_name(f"{machine}.lock")):
        if not _is_complete(made):
            began = time.monotonic()
            # The lock is ours: what else lies here was left half-made.
            for left in (made, *made.parent.glob("making-*")):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=made.parent, prefix="making-") as scratch:
                _make(Path(scratch))
                (Path(scratch) / "root").rename(made)
            print(f"tests.daemons: {made} made in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return made


def cache_folder() -> Path:
    """PQAUDIT_DAEMONS_CACHE, or a folder in the user's cache."""
    if named := os.environ.get("PQAUDIT_DAEMONS_CACHE"):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pqaudit" / "daemons"


def run(*command: str, timeout: float = 60) -> str:
    """What a command printed; DaemonError with all of it when it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError:
        raise DaemonError(f"{command[0]} is not here; `make tools` installs it") from None
    except subprocess.TimeoutExpired:
        raise DaemonError(f"{' '.join(command)}: no end after {timeout:.0f} s") from None
    if done.returncode:
        raise DaemonError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _is_complete(made: Path) -> bool:
    """Whether all is still there that was unpacked: caches get cleared in parts."""
    try:
        return all(os.path.lexists(made / name) for name in (made / _CONTENT).read_text().splitlines())
    except OSError:
        return False


def mirrors(uris: str) -> list[str]:
    """Archives that apt knows this Debian's own suite from, out of ``apt-get update --print-uris``, each once."""
    try:
        own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        own = ""
    suites = {own, "oldstable", "stable", "testing", "unstable", "sid"}
    return list(dict.fromkeys(uri for uri, suite in _RELEASE.findall(uris) if suite in suites))


def _make(scratch: Path) -> None:
    try:
        listed = run("apt-get", "--print-uris", "update", "-o", f"Dir::State::Lists={scratch}/none")
    except DaemonError as error:
        raise DaemonError(f"the daemons of the tests come from Debian's packages: {error}") from None
    failures: list[str] = []
    for mirror in mirrors(listed):
        try:
            packages = _fetch(scratch, mirror)
            break
        except DaemonError as error:
            failures.append(str(error))
    else:
        raise DaemonError("\n".join(["apt is set up with no mirror that has Debian's suite " + SUITE, *failures]))
    root = scratch / "root"
    root.mkdir()
    # In the order of their names, in which base-files with its links comes first.
    for package in packages:
        run("dpkg-deb", "-x", str(package), str(root))
    # A script of base-files would do that; each daemon has a /run of its own.
    shutil.rmtree(root / "var/run", ignore_errors=True)
    (root / "var/run").unlink(missing_ok=True)
    (root / "var/run").symlink_to("/run")
    for program in (CHARON, SWANCTL):
        if not (root / program.lstrip("/")).is_file():
            raise DaemonError(f"{SUITE}'s packages have no {program}: {[each.name for each in packages]}")
    content = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    (root / _CONTENT).write_text("\n".join(content) + "\n")


def _fetch(scratch: Path, mirror: str) -> list[Path]:
    """Packages with all that they depend on, by an apt that takes nothing for installed; it checks the signatures."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    (scratch / "status").touch()
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    (scratch / "sources.list").write_text(f"deb {signed}{mirror} {SUITE} main\n")
    settings = {
        "Dir::State": f"{scratch}/state",
        "Dir::State::status": f"{scratch}/status",
        "Dir::Cache": f"{scratch}/cache",
        "Dir::Etc::SourceList": f"{scratch}/sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
    }
    apt = ["apt-get", "-q", "-y", *(part for name, value in settings.items() for part in ("-o", f"{name}={value}"))]
    run(*apt, "update", timeout=300)
    run(*apt, "--download-only", "install", *PACKAGES, timeout=300)
    found = (scratch / "cache/archives").glob("*.deb")
    return sorted(found, key=lambda path: path.name.partition("_")[0] != "base-files")
