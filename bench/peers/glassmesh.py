"""Our sidecar, from the same bootstrap file: with exactly Envoy's resources, with Istio's telemetry on top, and from source where it is compiled."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import sys
from pathlib import Path

from bench.peers.peer import Peer
from proxy import compiled


def command(bootstrap: Path) -> list[str]:
    return [sys.executable, "-m", "proxy", "-c", str(bootstrap)]


def _version(state: str) -> str:
    return f"{importlib.metadata.version('glassmesh')} on Python {platform.python_version()}, {state}"


def _compiled_now() -> bool:
    """Whether a sidecar started now runs compiled. Asked by reading the manifest: this process may have been told otherwise."""
    try:
        compiled.load_manifest()
    except compiled.Unusable:
        return False
    return True


PEER = Peer(
    name="glassmesh",
    title="Glassmesh",
    vanilla=True,
    command=command,
    unavailable=lambda: "",
    version=lambda: _version("compiled" if _compiled_now() else "from source"),
)
WITH_TELEMETRY = dataclasses.replace(PEER, name="glassmesh_telemetry", title="+ telemetry", vanilla=False)
FROM_SOURCE = dataclasses.replace(
    PEER,
    name="glassmesh_source",
    title="from source",
    unavailable=lambda: (
        "" if _compiled_now() else "nothing is compiled (make compile), so Glassmesh runs from source"
    ),
    version=lambda: _version("from source"),
    environment={"GLASSMESH_COMPILED": "0"},
)
