"""The scenes: which meshes are measured. Each is Istio's YAML, compiled by our control plane for both sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.compiled import HOST, PLAIN, Mesh, client_snapshot, server_snapshot
from bench.pki import Authority
from bench.workloads.workload import Ports, Scene
from bench.xds_server import Snapshot

SMALL = ("bench.upstream", "1024")
BODIES = ("bench.body_app",)


def pair(
    name: str,
    mesh: Mesh = PLAIN,
    *,
    app: tuple[str, ...] = SMALL,
    own: bool = False,
    bootstrap: Mapping[str, Any] | None = None,
    copies: bool = False,
) -> Scene:
    """Client sidecar and server sidecar. With `copies` the mesh has a service `shadow`, which is the app itself in plaintext."""

    def snapshots(ports: Ports, authority: Authority, vanilla: bool) -> tuple[Snapshot, ...]:
        shadow = ports.upstream if copies else 0
        return (
            client_snapshot(ports.client, ports.server, vanilla, authority, mesh, shadow),
            server_snapshot(ports.server, ports.upstream, vanilla, authority, mesh),
        )

    return Scene(name, HOST, snapshots, app, own=own, bootstrap=bootstrap or {})


def _one_hop(ports: Ports, authority: Authority, vanilla: bool) -> tuple[Snapshot, ...]:
    mesh = Mesh(sidecar=False, mtls="PERMISSIVE")
    return (client_snapshot(ports.client, ports.upstream, vanilla, authority, mesh),)


HTTP = pair("http", own=True)
HTTP_BODIES = pair("http bodies", app=BODIES)
_ONE_REQUEST_EACH = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec:
  host: app
  trafficPolicy:
    connectionPool: {http: {maxRequestsPerConnection: 1}}
"""
NEW_CONNECTIONS = pair("a connection per request", Mesh(manifests=_ONE_REQUEST_EACH))
NEW_SESSIONS = pair(
    "a connection and session per request", Mesh(manifests=_ONE_REQUEST_EACH, resumption=False)
)
NEW_DOWNSTREAM = pair("a client's connection per request", app=BODIES)
IDLE = pair("idle connections")
TCP_MTLS = pair("tcp, mTLS", Mesh(protocol="tcp"), app=BODIES)
TCP_PLAINTEXT = pair(
    "tcp, plaintext",
    Mesh(
        protocol="tcp",
        mtls="PERMISSIVE",
        manifests="""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec:
  host: app
  trafficPolicy:
    tls: {mode: DISABLE}
""",
    ),
    app=BODIES,
)
ONE_HOP = Scene("one plaintext hop", HOST, _one_hop, hops=1, own=True)
