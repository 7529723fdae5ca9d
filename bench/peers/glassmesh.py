"""Our sidecar, from the same bootstrap file."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

from bench.peers.peer import Peer

PEER = Peer(
    name="glassmesh",
    title="Glassmesh",
    user_agent_name="glassmesh",
    command=lambda bootstrap: [sys.executable, "-m", "proxy", "-c", str(bootstrap)],
    unavailable=lambda: "",
    version=lambda: f"{importlib.metadata.version('glassmesh')} on Python {platform.python_version()}",
)
