"""A real search server in a process of its own, bound to loopback."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from tests.searchserver.jars import VERSIONS, Installation, ServerError, install, java_needed

START_SECONDS = 180.0  # some five are needed; a machine that is busy with other tests takes its time
STOP_SECONDS = 30.0
READY = re.compile(rb"^listening on (\d+)$", re.MULTILINE)


class Node:
    """One server with its data folder. It ends with the process that started it, however that ends."""

    def __init__(
        self,
        engine: str = "elasticsearch",
        version: str | None = None,
        *,
        data: Path,
        settings: Mapping[str, str] | None = None,
        port: int = 0,
        heap: str = "512m",
    ) -> None:
        """Port 0 takes a free one at the first start, and keeps it."""
        self.engine = engine
        self.version = version or VERSIONS[engine]
        self.data = data.absolute()
        self.settings = dict(settings or {})
        self.port = port
        self.heap = heap
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the server answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The server's process while it runs."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> Path:
        """What the server printed, over all its starts."""
        return self.data / "output.log"

    def start(self) -> Self:
        """Start, and return once the server answers; ServerError with what it printed when it does not."""
        if self._process is not None:
            raise ServerError(f"{self} runs already")
        installation = install(self.engine, self.version)
        self._configure(installation)
        with self.log.open("ab") as output:
            before = output.tell()
            self._process = subprocess.Popen(
                self._command(installation),
                stdin=subprocess.PIPE,  # its end is what ends the server: Lifeline.java
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.data,
            )
        try:
            self.port = self._await_port(before)
            # It listens before it has found the shards of an earlier run.
            status, health = self.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=60s")
            if status != 200:
                raise ServerError(f"{self} is not well after its start: {health}\n{self._printed(before)}")
        except BaseException:
            self.kill()
            raise
        return self

    def terminate(self) -> None:
        """Shut down in an orderly way; nothing when the server does not run."""
        if (process := self._process) is None:
            return
        _let_go(process.stdin)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"{self} did not end in {STOP_SECONDS:.0f} s:\n{self._printed()}") from None
        self._process = None

    def kill(self) -> None:
        """End at once (SIGKILL), as in a power cut; nothing when the server does not run."""
        if (process := self._process) is None:
            return
        process.kill()
        process.wait()
        _let_go(process.stdin)
        self._process = None

    def restart(self) -> Self:
        """Start again on the same port and data folder, after an orderly end if the server still runs."""
        self.terminate()
        return self.start()

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and answer of one request; a body that is not text is sent as JSON."""
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)) as connection:
            kind = "application/x-ndjson" if "/_bulk" in path else "application/json"
            connection.request(method, path, text and text.encode(), {"Content-Type": kind} if text else {})
            answer = connection.getresponse()
            content = answer.read()
        if not answer.headers.get("content-type", "").startswith("application/json"):
            return answer.status, content.decode(errors="replace")
        return answer.status, json.loads(content or "null")

    def __enter__(self) -> Self:
        return self if self._process else self.start()

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def __repr__(self) -> str:
        return f"{self.engine} {self.version} in {self.data}"

    def _configure(self, installation: Installation) -> None:
        settings = {
            "cluster.name": "pqaudit",
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "transport.port": "0",
            "http.port": str(self.port),
            # Else no shard is allocated on a disk that is nearly full, which says nothing about what is tested.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "path.home": str(installation.home),
            "path.data": str(self.data / "data"),
            "path.logs": str(self.data / "logs"),
            **({"http.type": "netty4", "transport.type": "netty4"} if self.engine == "opensearch" else {}),
            **self.settings,
        }
        config = self.data / "config"
        config.mkdir(parents=True, exist_ok=True)
        (config / f"{self.engine}.yml").write_text(json.dumps(settings))  # JSON is YAML too

    def _command(self, installation: Installation) -> list[str]:
        # Quick to start rather than quick in the long run.
        options = [f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        if java_needed(self.engine, self.version) >= 21:
            options.append("--enable-native-access=ALL-UNNAMED")
        java = str(installation.jdk / "bin" / "java")
        return [java, *options, "-cp", installation.class_path, "Launcher", str(self.data / "config")]

    def _await_port(self, before: int) -> int:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            ended = self._process.poll()
            if found := READY.search(self.log.read_bytes(), before):
                return int(found[1])
            if ended is not None:
                raise ServerError(f"{self} ended with {ended} at its start:\n{self._printed(before)}")
            time.sleep(0.05)
        raise ServerError(f"{self} did not start in {START_SECONDS:.0f} s:\n{self._printed(before)}")

    def _printed(self, since: int = 0) -> str:
        return self.log.read_bytes()[since:].decode(errors="replace")


def _let_go(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
