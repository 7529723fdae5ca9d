"""What the control plane compiles for the soak's client and server sidecar from `mesh.yaml`, moved to loopback addresses.

Three pods of `app` stand behind one server sidecar, each with a listener at its own address; a fourth has an address where nobody
listens. `shadow` is the app itself, reached in plaintext at an address of its own. Moved is only what `bench/compiled.py` moves, for the same reasons.
"""

from __future__ import annotations

from pathlib import Path

from bench.compiled import (
    CLIENT_IP,
    HOST,
    OUTBOUND_LISTENER,
    SERVER_IP,
    compiled,
    moved,
    pod,
    service,
    towards_app,
)
from bench.pki import Authority
from bench.soak.upstream import SHADOW
from bench.workloads.workload import Ports, Scene
from bench.xds_server import Snapshot
from control.push.context import PushContext
from control.push.manifests import context_of, read

APPS = (SERVER_IP, "127.0.0.11", "127.0.0.12")
DEAD = "127.0.0.13"


def context(ports: Ports) -> PushContext:
    manifests = read((Path(__file__).parent / "mesh.yaml").read_text())
    services = [
        service("app", "10.96.0.10", "http", ports.server),
        service("shadow", "10.96.0.11", "http", ports.upstream),
    ]
    pods = [pod("app", ip, True, f"app-{number}") for number, ip in enumerate((*APPS, DEAD))]
    pods += [pod("shadow", SHADOW, False), pod("client", CLIENT_IP, True)]
    return context_of([*services, *pods, *manifests])


def client_snapshot(found: PushContext, ports: Ports, authority: Authority) -> Snapshot:
    snapshot = compiled(found, "client", CLIENT_IP, False, authority)
    snapshot["listeners"] = moved(snapshot["listeners"], OUTBOUND_LISTENER, ports.client)
    return snapshot


def server_snapshot(found: PushContext, ports: Ports, authority: Authority) -> Snapshot:
    snapshot = compiled(found, "app", SERVER_IP, False, authority, "app-0")
    snapshot["listeners"] = [
        {**listener, "name": f"virtualInbound {ip}"}
        for ip in APPS
        for listener in moved(snapshot["listeners"], "virtualInbound", ports.server, ip)
    ]
    inbound = f"inbound|{ports.server}||"
    snapshot["clusters"] = [
        towards_app(one, ports.upstream) if one["name"] == inbound else one for one in snapshot["clusters"]
    ]
    return snapshot


def snapshots(ports: Ports, authority: Authority, _vanilla: bool) -> tuple[Snapshot, Snapshot]:
    """With Istio's telemetry, always: it counts too, and could leak as well."""
    found = context(ports)
    return client_snapshot(found, ports, authority), server_snapshot(found, ports, authority)


SCENE = Scene("soak", HOST, snapshots, app=("bench.soak.upstream",))
CONNECTIONS = 32
