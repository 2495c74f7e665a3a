"""An S3 server (moto) as a process of its own, for pqaudit as a command and for tests in this process alike."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Any

import botocore.session
from botocore.config import Config

READY_SECONDS = 60
_KEY = "test-key"
_SECRET = "test-secret"  # the server of the tests takes any
_REGION = "us-east-1"


class ObjectStore:
    """Holds buckets in memory until it is closed."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._said: list[str] = []
        self._ready = threading.Event()
        self.url = ""
        # The server tells its port, and then a line for each request, which must not fill the pipe.
        threading.Thread(target=self._listen, daemon=True).start()
        if not self._ready.wait(READY_SECONDS) or not self.url:
            self.close()
            raise RuntimeError(f"the S3 server did not start: {''.join(self._said)}")
        self.client: Any = botocore.session.Session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name=_REGION,
            aws_access_key_id=_KEY,
            aws_secret_access_key=_SECRET,
            config=Config(max_pool_connections=16),
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment so that ``s3://`` means this server."""
        return {
            "FSSPEC_S3_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def in_this_process(self) -> Iterator[None]:
        """``s3://`` means this server here and in processes started meanwhile."""
        import fsspec
        from fsspec.config import conf, set_conf_env

        before = {name: os.environ.get(name) for name in self.environment}
        configured = deepcopy(dict(conf))
        os.environ.update(self.environment)
        set_conf_env(conf)
        filesystem = fsspec.get_filesystem_class("s3")
        filesystem.clear_instance_cache()
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            conf.clear()
            conf.update(configured)
            filesystem.clear_instance_cache()

    def bucket(self, name: str) -> str:
        """Make a bucket; gives its name."""
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, octets: bytes) -> None:
        """Store one object."""
        self.client.put_object(Bucket=bucket, Key=key, Body=octets)

    def upload(self, folder: Path, bucket: str, prefix: str = "") -> list[str]:
        """Store every file in a folder and below it under ``prefix`` and its path; gives the keys in order."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        keys = [prefix + path.relative_to(folder).as_posix() for path in files]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key, path: self.put(bucket, key, path.read_bytes()), keys, files))
        return keys

    def close(self) -> None:
        """End the server; everything in it is gone."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> ObjectStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not self._ready.is_set():
                self._said.append(line)
                if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                    self.url = found[1]
                    self._ready.set()
        self._ready.set()
