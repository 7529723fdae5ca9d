"""HTTP/1.1 keep-alive through two sidecars with mutual TLS between them: the mesh's everyday request.

1 KiB answers, 32 connections, access log on. The open loop runs at 1000 requests/s, the rate of Istio's own
published measurements.
"""

from __future__ import annotations

from bench.compiled import HOST, client_snapshot, server_snapshot
from bench.pki import Authority
from bench.workloads.workload import Ports, Workload
from bench.xds_server import Snapshot


def snapshots(ports: Ports, authority: Authority, vanilla: bool) -> tuple[Snapshot, Snapshot]:
    return (
        client_snapshot(ports.client, ports.server, vanilla, authority),
        server_snapshot(ports.server, ports.upstream, vanilla, authority),
    )


WORKLOAD = Workload(
    name="http1_mtls",
    title="HTTP/1.1 keep-alive, mTLS, 1 KiB answers, 32 connections",
    host=HOST,
    connections=32,
    body_bytes=1024,
    rate=1000.0,
    snapshots=snapshots,
)
