"""Our sidecar, from the same bootstrap file."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys

from bench.peers.peer import Peer


def unavailable() -> str:
    return "" if importlib.util.find_spec("proxy.__main__") else "python -m proxy does not exist"


PEER = Peer(
    name="glassmesh",
    title="Glassmesh",
    user_agent_name="glassmesh",
    command=lambda bootstrap: [sys.executable, "-m", "proxy", "-c", str(bootstrap)],
    unavailable=unavailable,
    version=lambda: f"{importlib.metadata.version('glassmesh')} on Python {platform.python_version()}",
)
