"""Our sidecar, from the same bootstrap file: once with exactly Envoy's resources, once with Istio's telemetry on top."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

from bench.peers.peer import Peer


def command(bootstrap: Path) -> list[str]:
    return [sys.executable, "-m", "proxy", "-c", str(bootstrap)]


def _peer(name: str, title: str, *, vanilla: bool) -> Peer:
    return Peer(
        name=name,
        title=title,
        vanilla=vanilla,
        command=command,
        unavailable=lambda: "",
        version=lambda: f"{importlib.metadata.version('glassmesh')} on Python {platform.python_version()}",
    )


PEER = _peer("glassmesh", "Glassmesh", vanilla=True)
WITH_TELEMETRY = _peer("glassmesh_telemetry", "+ telemetry", vanilla=False)
