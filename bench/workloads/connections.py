"""Connections: what a new one costs, with its TLS session resumed and without, and what an idle one holds."""

from __future__ import annotations

import resource

from bench.workloads.scenes import IDLE, NEW_CONNECTIONS, NEW_DOWNSTREAM, NEW_SESSIONS
from bench.workloads.workload import Scene, Workload

SECTION = "new connections, idle connections"
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


def _per_request(
    name: str, title: str, scene: Scene, connections: int, generator: str = "bench.load"
) -> Workload:
    """The client sidecar makes a connection for each request, so both sidecars are measured.

    It keeps one session (Envoy's default, `max_session_keys: 1`): of many connections made at the same time few are resumed, of those made one after
    the other all.
    """
    return Workload(
        name=name,
        title=title,
        section=SECTION,
        scene=scene,
        plan={"connections": connections},
        show=("requests_per_second", "cpu_us_per_request"),
        generator=generator,
    )


WORKLOADS = [
    _per_request(
        "new_connections", "between the sidecars, for each request, 16 at once", NEW_CONNECTIONS, 16
    ),
    _per_request("new_connections_resumed", "  one after the other, resumed", NEW_CONNECTIONS, 1),
    _per_request("new_sessions", "  one after the other, not resumed", NEW_SESSIONS, 1),
    _per_request(
        "new_plaintext",
        "from the client, plaintext, for each request",
        NEW_DOWNSTREAM,
        8,
        "bench.load_connections",
    ),
    _handshakes("handshakes", "to the server sidecar, full handshake", resume=False),
    _handshakes("handshakes_resumed", "to the server sidecar, resumed", resume=True),
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
