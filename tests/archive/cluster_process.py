"""A Dask cluster on this machine, as a process of its own: prints its address, and ends with its standard input."""

from __future__ import annotations

import sys

import dask
from distributed import LocalCluster, Security


def main() -> None:
    with LocalCluster(
        n_workers=int(sys.argv[1]),
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        host="127.0.0.1",
        scheduler_port=0,
        memory_limit=0,
        protocol="tls" if dask.config.get("distributed.comm.require-encryption") else "tcp",
        security=Security(),
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
