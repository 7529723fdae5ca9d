"""What the control plane compiles for the soak's client and server sidecar from `mesh.yaml`, moved to loopback addresses.

Three pods of `app` stand behind one server sidecar, each with a listener at its own address; a fourth has an address where nobody
listens. `shadow` is the app itself, reached in plaintext at an address of its own. Moved is only what `bench/compiled.py` moves, for the same reasons.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import xds_shapes as x
from bench.compiled import CLIENT_IP, HOST, OUTBOUND_LISTENER, SERVER_IP, SERVICE_PORT
from bench.pki import Authority, spiffe_id
from bench.soak.upstream import SHADOW
from bench.workloads.workload import Ports, Scene
from bench.xds_server import TYPE_URLS, Snapshot
from control.compile.compiler import compile_proxy
from control.push.context import PushContext
from control.push.manifests import context_of, read
from control.push.proxy import Proxy

Json = dict[str, Any]
APPS = (SERVER_IP, "127.0.0.11", "127.0.0.12")
DEAD = "127.0.0.13"


def context(ports: Ports) -> PushContext:
    manifests = read((Path(__file__).parent / "mesh.yaml").read_text())
    services = [_service("app", "10.96.0.10", ports.server), _service("shadow", "10.96.0.11", ports.upstream)]
    pods = [_pod(f"app-{number}", "app", ip, True) for number, ip in enumerate((*APPS, DEAD))]
    pods += [_pod("shadow", "shadow", SHADOW, False), _pod("client", "client", CLIENT_IP, True)]
    return context_of([*services, *pods, *manifests])


def _service(name: str, address: str, target: int) -> Json:
    ports = [{"name": "http", "port": SERVICE_PORT, "targetPort": target}]
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "selector": {"app": name}, "ports": ports},
    }


def _pod(name: str, app: str, ip: str, sidecar: bool) -> Json:
    labels = {"app": app, "version": "v1"}
    if sidecar:
        labels["security.istio.io/tlsMode"] = "istio"
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"serviceAccountName": app, "containers": [{"name": app}]},
        "status": {"podIP": ip, "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def _compiled(found: PushContext, name: str, app: str, ip: str, authority: Authority) -> Snapshot:
    node = f"sidecar~{ip}~{name}.default~default.svc.cluster.local"
    labels = {"app": app, "version": "v1"}
    resources = compile_proxy(found, Proxy(node, "sidecar", ip, name, "default", labels, app, False, {}))
    snapshot: Snapshot = {
        kind: [json.loads(one.body) for one in resources.get(url, {}).values()]
        for kind, url in TYPE_URLS.items()
    }
    snapshot["secrets"] = authority.secrets(spiffe_id("default", app))
    return snapshot


def client_snapshot(found: PushContext, ports: Ports, authority: Authority) -> Snapshot:
    snapshot = _compiled(found, "client", "client", CLIENT_IP, authority)
    (listener,) = (one for one in snapshot["listeners"] if one["name"] == OUTBOUND_LISTENER)
    listener.pop("bind_to_port", None)
    snapshot["listeners"] = [{**listener, "address": x.address("127.0.0.1", ports.client)}]
    return snapshot


def server_snapshot(found: PushContext, ports: Ports, authority: Authority) -> Snapshot:
    snapshot = _compiled(found, "app-0", "app", SERVER_IP, authority)
    (listener,) = (one for one in snapshot["listeners"] if one["name"] == "virtualInbound")
    listener.pop("bind_to_port", None)
    snapshot["listeners"] = [
        {**listener, "name": f"virtualInbound {ip}", "address": x.address(ip, ports.server)} for ip in APPS
    ]
    inbound = f"inbound|{ports.server}||"
    snapshot["clusters"] = [
        _towards_app(one, ports.upstream) if one["name"] == inbound else one for one in snapshot["clusters"]
    ]
    return snapshot


def _towards_app(cluster: Json, port: int) -> Json:
    """The cluster as compiled, connection pool and all, to a fixed endpoint."""
    left = {key: value for key, value in cluster.items() if key != "lb_policy"}
    moved = x.inbound_cluster(cluster["name"], port)
    return {**left, "type": "STATIC", "load_assignment": moved["load_assignment"]}


def snapshots(ports: Ports, authority: Authority, _vanilla: bool) -> tuple[Snapshot, Snapshot]:
    """With Istio's telemetry, always: it counts too, and could leak as well."""
    found = context(ports)
    return client_snapshot(found, ports, authority), server_snapshot(found, ports, authority)


SCENE = Scene("soak", HOST, snapshots, app=("bench.soak.upstream",))
CONNECTIONS = 32
