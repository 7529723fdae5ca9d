"""Connections: what a new one costs, with its TLS session resumed and without, and what an idle one holds."""

from __future__ import annotations

import resource

from bench.workloads.scenes import IDLE, NEW_CONNECTIONS
from bench.workloads.workload import Workload

SECTION = "connections"
_SPARE_FILES = 500
_MOST = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _SPARE_FILES
IDLE_COUNT = min(10_000, _MOST)
"""As many as wanted, or as the machine lets one process have."""


def _handshakes(name: str, title: str, *, resume: bool) -> Workload:
    """The generator is the client, so the server sidecar alone is measured."""
    return Workload(
        name=name,
        title=title,
        section=SECTION,
        scene=IDLE,
        plan={"resume": resume},
        show=("requests_per_second", "cpu_us_per_request", "resumed_share"),
        generator="bench.load_tls",
        target="server",
    )


WORKLOADS = [
    Workload(
        name="new_connections",
        title="a new one between the sidecars for each request",
        section=SECTION,
        scene=NEW_CONNECTIONS,
        plan={"connections": 16},
        show=("requests_per_second", "cpu_us_per_request", "p50_us"),
    ),
    _handshakes("handshakes", "a new one to the server sidecar, full handshake", resume=False),
    _handshakes("handshakes_resumed", "a new one to the server sidecar, resumed", resume=True),
    Workload(
        name="idle_connections",
        title=f"{IDLE_COUNT:,} idle at the server sidecar",
        section=SECTION,
        scene=IDLE,
        plan={"hold": IDLE_COUNT, "connections": 32, "resume": True},
        show=("kib_per_connection", "rss_kib", "vcpu"),
        generator="bench.load_tls",
        target="server",
        rounds=1,
    ),
]
