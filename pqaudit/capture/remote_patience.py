"""How long servers of remote inputs are waited for, whatever the protocol."""

from __future__ import annotations

CONNECT_SECONDS = 30
SILENT_SECONDS = 60
"""A server that says nothing for so long is given up."""
