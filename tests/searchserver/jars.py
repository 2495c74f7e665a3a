"""The jars of a search server, fetched once with Maven, and a JDK that can run them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.locking import locked

HERE = Path(__file__).resolve().parent
FETCH = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
VERSIONS = {"elasticsearch": "9.5.3", "opensearch": "3.9.0"}
HTTP_MODULE = "transport-netty4"


class ServerError(Exception):
    """No server could be made or started; the text says why."""


@dataclass(frozen=True)
class Installation:
    """What a server runs from: a JDK, and a folder with the server's jars and compiled launcher."""

    jdk: Path
    home: Path
    class_path: str


def install(engine: str, version: str) -> Installation:
    """Find a JDK, and fetch and compile what is not in the cache yet; other processes wait meanwhile."""
    java = java_needed(engine, version)
    jdk = find_jdk(java, f"{engine} {version}")
    pom = HERE / "pom.xml"
    sources = [HERE / "Lifeline.java", HERE / engine / "Launcher.java"]
    # Named after what they are made from, so that an older cache is never taken for a current one.
    home = cache_folder() / f"{engine}-{version}-{_digest(pom)}"
    classes = home / f"classes-{_digest(*sources)}"
    with locked(home.with_suffix(home.suffix + ".lock")):
        if not home.is_dir():
            with _made_whole(home) as part:
                _fetch(engine, version, part)
        if not classes.is_dir():
            with _made_whole(classes) as part:
                javac = [str(jdk / "bin" / "javac"), "-nowarn", "--release", str(java), "-cp", f"{home}/lib/*"]
                _run([*javac, "-d", str(part), *map(str, sources)], f"compile the launcher of {engine} {version}")
    return Installation(jdk, home, f"{classes}:{home}/lib/*")


def cache_folder() -> Path:
    """PQAUDIT_SEARCHSERVER_CACHE, or a folder in the user's cache."""
    if named := os.environ.get("PQAUDIT_SEARCHSERVER_CACHE"):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "pqaudit" / "searchserver"


def java_needed(engine: str, version: str) -> int:
    """The oldest Java that this server runs on."""
    return 17 if (engine, version.split(".")[0]) == ("elasticsearch", "8") else 21


def find_jdk(oldest: int, purpose: str) -> Path:
    """JAVA_HOME, the JDK on the path, or one installed beside either: the first that is new enough."""
    known: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        known.append(Path(home))
    if java := shutil.which("java"):
        known.append(Path(java).resolve().parents[1])
    beside = [each for home in known for each in sorted(home.resolve().parent.glob("*"))]
    seen: list[str] = []
    for jdk in dict.fromkeys(known + beside):
        found = _java_version(jdk)
        if found is not None and found >= oldest:
            return jdk
        if found is not None:
            seen.append(f"{jdk.name} ({found})")
    here = f"only {', '.join(dict.fromkeys(seen))} found" if seen else "none found"
    raise ServerError(
        f"{purpose} needs a JDK {oldest} or newer, {here}: install one (a JDK with javac, not a JRE) "
        "beside the one on the PATH, or let JAVA_HOME name it"
    )


def _java_version(jdk: Path) -> int | None:
    """Feature release of a JDK; None where there is no compiler, as in a JRE."""
    if not os.access(jdk / "bin" / "javac", os.X_OK):
        return None
    try:
        release = (jdk / "release").read_text()
    except OSError:
        return None
    found = re.search(r'^JAVA_VERSION="(\d+)', release, re.MULTILINE)
    return int(found[1]) if found else None


def _fetch(engine: str, version: str, into: Path) -> None:
    if shutil.which("mvn") is None:
        raise ServerError(f"{engine} {version} is fetched with Maven: install it (Debian package maven)")
    options = ["-B", "-q", "-f", str(HERE / "pom.xml"), f"-P{engine}", f"-Dengine.version={version}"]
    _run(["mvn", *options, f"-DoutputDirectory={into}/lib", FETCH], f"fetch {engine} {version}")
    if engine == "elasticsearch":
        _split_http_module(into)


def _split_http_module(home: Path) -> None:
    """Elasticsearch takes its HTTP module from a folder with a descriptor, and refuses a jar that is in lib as well."""
    module = home / "modules" / HTTP_MODULE
    module.mkdir(parents=True)
    for pattern in ("netty-*.jar", f"{HTTP_MODULE}-*.jar"):
        for jar in (home / "lib").glob(pattern):
            jar.rename(module / jar.name)
    (own,) = module.glob(f"{HTTP_MODULE}-*.jar")
    with zipfile.ZipFile(own) as archive:
        lines = archive.read(f"META-INF/es-plugins/{HTTP_MODULE}/plugin-descriptor.properties").decode().splitlines()
    # Without a Java module name: the server itself is on the class path, where the module would not see it.
    kept = [line for line in lines if not line.startswith("modulename")]
    (module / "plugin-descriptor.properties").write_text("\n".join(kept) + "\n")


def _run(command: list[str], purpose: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise ServerError(f"could not {purpose} (exit {done.returncode}):\n{done.stdout}{done.stderr}")


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"\0".join(each.read_bytes() for each in files)).hexdigest()[:12]


@contextlib.contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder to fill that gets its name only when it is complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as scratch:
        part = Path(scratch) / folder.name
        part.mkdir()
        yield part
        part.rename(folder)


def main() -> int:
    """Say which JDK is missing before the tests do."""
    try:
        find_jdk(21, "A search server of the tests")
    except ServerError as error:
        print(f"Tests of search servers fail: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
