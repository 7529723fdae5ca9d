"""The configuration that our control plane compiles for a pair of sidecars, moved to loopback ports.

The mesh is one service `app`, port 9080 named http, with a client pod and a server pod, mutual TLS STRICT, so that an answer
proves it. What is moved, and nothing else:
the client's `0.0.0.0_9080` listener binds a port of its own (no iptables hand it connections); `virtualInbound` binds the
service's target port; the app is a fixed endpoint where Istio sends to the original destination. Listeners for
capture (15001, and the 15006 of the client) are left out. The resources are those for vanilla Envoy, or those our sidecar
gets in a mesh, with Istio's metrics and metadata exchange.
"""

from __future__ import annotations

import json
from typing import Any

from bench import xds_shapes as x
from bench.pki import Authority, spiffe_id
from bench.xds_server import TYPE_URLS, Snapshot
from control.compile.compiler import compile_proxy
from control.mesh_config import MeshConfig
from control.push.config import peer_authentication
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.service import service_from
from control.registry.workload import workload_from

HOST = "app.default.svc.cluster.local"
SERVICE_PORT = 9080
OUTBOUND_LISTENER = f"0.0.0.0_{SERVICE_PORT}"
CLIENT_IP, SERVER_IP = "127.0.0.2", "127.0.0.1"
Json = dict[str, Any]


def _pod(name: str, ip: str) -> Json:
    labels = {"app": name, "version": "v1", "security.istio.io/tlsMode": "istio"}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"serviceAccountName": name, "containers": [{"name": name}]},
        "status": {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _context(target_port: int) -> PushContext:
    service = {
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {
            "clusterIP": "10.96.0.10",
            "selector": {"app": "app"},
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": target_port}],
        },
    }
    strict = {
        "metadata": {"name": "default", "namespace": "default"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    mesh = MeshConfig()
    found = service_from(service, mesh.clusterDomain)
    pods = [workload_from(_pod("client", CLIENT_IP)), workload_from(_pod("app", SERVER_IP))]
    return PushContext(
        mesh,
        [found] if found else [],
        [pod for pod in pods if pod],
        peer_authentications=[peer_authentication(strict)],
    )


def _compiled(context: PushContext, name: str, ip: str, vanilla: bool, authority: Authority) -> Snapshot:
    node = f"sidecar~{ip}~{name}.default~default.svc.cluster.local"
    proxy = Proxy(node, "sidecar", ip, name, "default", {"app": name, "version": "v1"}, name, vanilla, {})
    resources = compile_proxy(context, proxy)
    found: Snapshot = {
        kind: [json.loads(one.body) for one in resources.get(url, {}).values()]
        for kind, url in TYPE_URLS.items()
    }
    found["secrets"] = authority.secrets(spiffe_id("default", name))
    return found


def _moved(listeners: list[Json], name: str, port: int) -> list[Json]:
    """The listener `name`, bound to a loopback port; no other."""
    (found,) = (listener for listener in listeners if listener["name"] == name)
    found.pop("bind_to_port", None)
    return [{**found, "address": x.address("127.0.0.1", port)}]


def client_snapshot(port: int, server_port: int, vanilla: bool, authority: Authority) -> Snapshot:
    """What the client sidecar gets; it listens on `port` and finds the app's sidecar on `server_port`."""
    found = _compiled(_context(server_port), "client", CLIENT_IP, vanilla, authority)
    found["listeners"] = _moved(found["listeners"], OUTBOUND_LISTENER, port)
    return found


def server_snapshot(port: int, app_port: int, vanilla: bool, authority: Authority) -> Snapshot:
    """What the server sidecar gets; it listens on `port`, and its app on `app_port`."""
    found = _compiled(_context(port), "app", SERVER_IP, vanilla, authority)
    found["listeners"] = _moved(found["listeners"], "virtualInbound", port)
    inbound = f"inbound|{port}||"
    found["clusters"] = [
        x.inbound_cluster(inbound, app_port) if cluster["name"] == inbound else cluster
        for cluster in found["clusters"]
    ]
    return found
