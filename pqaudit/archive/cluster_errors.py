"""What ends a run on a cluster; each says in one sentence what to do."""

from __future__ import annotations


class ClusterError(Exception):
    """A run on a cluster cannot be done."""


class ClusterAwayError(ClusterError):
    """The scheduler or all workers cannot be reached; the same call may do later."""


class ClusterSetupError(ClusterError):
    """The address, the installation here or on the workers must be changed first."""
