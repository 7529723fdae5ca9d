"""The configuration that our control plane compiles for a pair of sidecars, moved to loopback ports.

The mesh is one service `app`, port 9080, with a client pod and a server pod, mutual TLS STRICT unless a case says otherwise, so that an
answer proves it; a case adds Istio manifests. What is moved, and nothing else: the client's listener for the service binds a port of its
own (no iptables hand it connections); `virtualInbound` binds the service's target port; the app is a fixed endpoint where Istio
sends to the original destination. Listeners for capture (15001, and the 15006 of the client) are left out. The resources are those for
vanilla Envoy, or those our sidecar gets in a mesh, with Istio's metrics and metadata exchange.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench import xds_shapes as x
from bench.pki import Authority, spiffe_id
from bench.xds_server import TYPE_URLS, Snapshot
from control.compile.compiler import compile_proxy
from control.mesh_config import MeshConfig
from control.push.context import PushContext
from control.push.manifests import context_of, read
from control.push.proxy import Proxy

HOST = "app.default.svc.cluster.local"
SERVICE_PORT = 9080
SERVICE_IP = "10.96.0.10"
OUTBOUND_LISTENER = f"0.0.0.0_{SERVICE_PORT}"
CLIENT_IP, SERVER_IP = "127.0.0.2", "127.0.0.1"
ENDPOINTS = 10
Json = dict[str, Any]


@dataclass(frozen=True)
class Mesh:
    """What a mesh is told beside its pods. `manifests` are Istio's, in YAML.

    `protocol` is the service port's name: `http`, or `tcp` for opaque bytes. Without `sidecar` the app's pod has none, and what the client
    sends is plaintext; `mtls` is the server's mode (STRICT, PERMISSIVE, DISABLE).
    """

    manifests: str = ""
    protocol: str = "http"
    sidecar: bool = True
    mtls: str = "STRICT"
    config: MeshConfig = field(default_factory=MeshConfig)
    resumption: bool = True
    """False: clients forget their TLS sessions, which Istio's API cannot say and Envoy's `max_session_keys` can."""
    others: int = 0
    """Further services of the mesh with ENDPOINTS pods each, which the client knows and does not call."""

    @property
    def listener(self) -> str:
        """The client's listener for the service: HTTP services share one by port, others have one at their address."""
        return OUTBOUND_LISTENER if self.protocol == "http" else f"{SERVICE_IP}_{SERVICE_PORT}"

    def context(self, target_port: int, copies_port: int = 0) -> PushContext:
        """The context of the mesh; `copies_port` is where a service `shadow`, which takes mirrored requests, has its app."""
        objects = [
            service("app", SERVICE_IP, self.protocol, target_port),
            pod("client", CLIENT_IP, True),
            pod("app", SERVER_IP, self.sidecar),
            {
                "kind": "PeerAuthentication",
                "metadata": {"name": "default", "namespace": "default"},
                "spec": {"mtls": {"mode": self.mtls}},
            },
        ]
        if copies_port:
            objects += [
                service("shadow", "10.96.0.11", "http", copies_port),
                pod("shadow", SERVER_IP, False),
            ]
        return context_of([*objects, *_others(self.others), *read(self.manifests)], self.config)


PLAIN = Mesh()


def _others(count: int) -> Iterator[Json]:
    for number in range(count):
        yield service(f"s{number}", f"10.97.{number // 250}.{number % 250 + 1}", "http", SERVICE_PORT)
        for each in range(ENDPOINTS):
            at = number * ENDPOINTS + each
            yield pod(f"s{number}", f"10.244.{at // 250}.{at % 250 + 1}", True, f"s{number}-{each}")


def service(name: str, address: str, protocol: str, target_port: int) -> Json:
    """Of the app of the same name."""
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "clusterIP": address,
            "selector": {"app": name},
            "ports": [{"name": protocol, "port": SERVICE_PORT, "targetPort": target_port}],
        },
    }


def pod(name: str, ip: str, sidecar: bool, own_name: str = "") -> Json:
    """One of the app `name`, ready; called so too, or by its `own_name`."""
    labels = {"app": name, "version": "v1"}
    if sidecar:
        labels["security.istio.io/tlsMode"] = "istio"
    return {
        "kind": "Pod",
        "metadata": {"name": own_name or name, "namespace": "default", "labels": labels},
        "spec": {"serviceAccountName": name, "containers": [{"name": name}]},
        "status": {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def compiled(
    context: PushContext, name: str, ip: str, vanilla: bool, authority: Authority, own_name: str = ""
) -> Snapshot:
    """What the sidecar of a pod gets (see `pod`), and its certificate."""
    node = f"sidecar~{ip}~{own_name or name}.default~default.svc.cluster.local"
    labels = {"app": name, "version": "v1"}
    proxy = Proxy(node, "sidecar", ip, own_name or name, "default", labels, name, vanilla, {})
    resources = compile_proxy(context, proxy)
    found: Snapshot = {
        kind: [json.loads(one.body) for one in resources.get(url, {}).values()]
        for kind, url in TYPE_URLS.items()
    }
    found["secrets"] = authority.secrets(spiffe_id("default", name))
    return found


def moved(listeners: list[Json], name: str, port: int, ip: str = "127.0.0.1") -> list[Json]:
    """The listener `name`, bound to a loopback port; no other."""
    (found,) = (listener for listener in listeners if listener["name"] == name)
    found.pop("bind_to_port", None)
    return [{**found, "address": x.address(ip, port)}]


def client_snapshot(
    port: int,
    server_port: int,
    vanilla: bool,
    authority: Authority,
    mesh: Mesh = PLAIN,
    copies_port: int = 0,
) -> Snapshot:
    """What the client sidecar gets; it listens on `port` and finds the app's pod on `server_port`."""
    found = compiled(mesh.context(server_port, copies_port), "client", CLIENT_IP, vanilla, authority)
    found["listeners"] = moved(found["listeners"], mesh.listener, port)
    if not mesh.resumption:
        _forget_sessions(found["clusters"])
    return _inlined(found) if mesh.others else found


def _forget_sessions(clusters: list[Json]) -> None:
    for cluster in clusters:
        for match in cluster.get("transport_socket_matches", ()):
            if match["transport_socket"]["name"] == "envoy.transport_sockets.tls":
                match["transport_socket"]["typed_config"]["max_session_keys"] = 0


def _inlined(snapshot: Snapshot) -> Snapshot:
    """Endpoints of services nobody calls, inside their clusters: an Envoy polls for those of each EDS cluster by itself, and a thousand polls
    are too much for the bench's xDS server."""
    assignments = {one["cluster_name"]: one for one in snapshot["endpoints"]}
    clusters = []
    for cluster in snapshot["clusters"]:
        if cluster.get("type") == "EDS" and HOST not in cluster["name"]:
            assignment = {key: value for key, value in assignments[cluster["name"]].items() if key != "@type"}
            left = {key: value for key, value in cluster.items() if key != "eds_cluster_config"}
            cluster = {**left, "type": "STATIC", "load_assignment": assignment}
        clusters.append(cluster)
    kept = [one for one in snapshot["endpoints"] if HOST in one["cluster_name"]]
    return {**snapshot, "clusters": clusters, "endpoints": kept}


def server_snapshot(
    port: int, app_port: int, vanilla: bool, authority: Authority, mesh: Mesh = PLAIN
) -> Snapshot:
    """What the server sidecar gets; it listens on `port`, and its app on `app_port`."""
    found = compiled(mesh.context(port), "app", SERVER_IP, vanilla, authority)
    found["listeners"] = moved(found["listeners"], "virtualInbound", port)
    inbound = f"inbound|{port}||"
    found["clusters"] = [
        towards_app(cluster, app_port) if cluster["name"] == inbound else cluster
        for cluster in found["clusters"]
    ]
    return _inlined(found) if mesh.others else found


def towards_app(cluster: Json, port: int) -> Json:
    """The cluster as compiled, connection pool and all, to a fixed endpoint."""
    left = {key: value for key, value in cluster.items() if key != "lb_policy"}
    fixed = x.inbound_cluster(cluster["name"], port)
    return {**left, "type": "STATIC", "load_assignment": fixed["load_assignment"]}
