"""The sidecars of one peer, started and ready: client sidecar → (mTLS) → server sidecar → app, or one between client and app."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.bootstrap import bootstrap
from bench.children import Child, Children, wait_until
from bench.machine import Pinning, memory_kib
from bench.peers.peer import Peer, Place
from bench.pki import Authority, spiffe_id
from bench.ports import free_ports
from bench.workloads.workload import Ports, Scene

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
CLIENT_NODE = "sidecar~127.0.0.2~client.default~default.svc.cluster.local"
SERVER_NODE = "sidecar~127.0.0.1~app.default~default.svc.cluster.local"


@dataclass
class Pair:
    """What answers on `port`; `sidecars` is empty when there is no proxy. Memory in KiB, time in s.

    `client_files` are a client's `certificate`, `key` and `root` for `server_port`, in PEM.
    """

    peer: Peer
    port: int
    server_port: int = 0
    app_port: int = 0
    client_files: dict[str, str] = field(default_factory=dict)
    sidecars: dict[str, Child] = field(default_factory=dict)
    idle: dict[str, dict[str, int]] = field(default_factory=dict)
    start_s: float = 0.0

    def memory(self) -> dict[str, dict[str, int]]:
        return {role: memory_kib(child.pid) for role, child in self.sidecars.items()}

    def authority(self, host: str) -> str:
        """Whom to ask for: a forward proxy is told the app's address, any other the service's name."""
        return f"127.0.0.1:{self.app_port}" if self.peer.forward else host

    def target(self, host: str) -> str:
        """The request target: a forward proxy wants it absolute (RFC 9112, 3.2.2)."""
        return f"http://{self.authority(host)}/" if self.peer.forward else "/"


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int, host: str, target: str = "/") -> bool:
    """Whether one request for `host` gets 200 now."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        return sock.recv(12) == b"HTTP/1.1 200"
    return False


def start_app(children: Children, scene: Scene, pins: Pinning) -> int:
    """Starts the app; returns its port."""
    (port,) = free_ports(1)
    module, *rest = scene.app
    argv = [sys.executable, "-m", module, str(port), *rest]
    app = children.start("upstream", argv, cpus=pins.upstream, env=ENVIRONMENT)
    wait_until("the app listens", lambda: listening(port), [app])
    return port


Files = dict[str, Path]
START_S = 60.0
"""How long a sidecar may take to be configured: one of a thousand services takes a second, on a machine with nothing else to do."""
NODES = {"client": CLIENT_NODE, "server": SERVER_NODE}


def _xds_files(
    children: Children, directory: Path, peer: Peer, scene: Scene, ports: Ports, pins: Pinning
) -> tuple[Files, list[Child]]:
    """An Envoy bootstrap for each role, and the xDS server they lead to."""
    xds_port, *admin_ports = free_ports(3)
    authority = Authority()
    _write_client(directory, peer, authority)
    snapshots = scene.snapshots(ports, authority, peer.vanilla)
    xds_file = directory / f"{peer.name}-xds.json"
    xds_file.write_text(json.dumps(dict(zip(NODES.values(), snapshots, strict=False))))
    xds = children.start(
        f"{peer.name}-xds",
        [sys.executable, "-m", "bench.xds_server", str(xds_file), str(xds_port)],
        cpus=pins.generator,
        env=ENVIRONMENT,
    )
    wait_until("the xDS server listens", lambda: listening(xds_port), [xds])
    files = {}
    for (role, node), admin, _ in zip(NODES.items(), admin_ports, snapshots, strict=False):
        files[role] = directory / f"{peer.name}-{role}.json"
        files[role].write_text(json.dumps({**bootstrap(node, admin, xds_port), **scene.bootstrap}))
    return files, [xds]


def _own_files(directory: Path, peer: Peer, scene: Scene, ports: Ports) -> Files:
    """The peer's own configuration for each role, with a certificate for each."""
    assert peer.configure is not None
    authority = Authority()
    root = Path(_write_client(directory, peer, authority)["root"])
    files = {}
    for role, port, target in _roles(scene, ports):
        chain, key = directory / f"{peer.name}-{role}.crt", directory / f"{peer.name}-{role}.key"
        for file, text in zip((chain, key), authority.issue(spiffe_id("default", role)), strict=True):
            file.write_text(text)
        files[role] = peer.configure(Place(role, directory, port, target, chain, key, root, scene.host))
    return files


def client_files(directory: Path, peer: Peer) -> dict[str, str]:
    """Where a client's certificate, key and root are."""
    names = {"certificate": "generator.crt", "key": "generator.key", "root": "root.pem"}
    return {name: str(directory / f"{peer.name}-{file}") for name, file in names.items()}


def _write_client(directory: Path, peer: Peer, authority: Authority) -> dict[str, str]:
    files = client_files(directory, peer)
    texts = (*authority.issue(spiffe_id("default", "client")), authority.root_pem)
    for file, text in zip(files.values(), texts, strict=True):
        Path(file).write_text(text)
    return files


def _roles(scene: Scene, ports: Ports) -> list[tuple[str, int, int]]:
    """Each sidecar's role, its port, and the port it sends to."""
    if scene.hops == 1:
        return [("client", ports.client, ports.upstream)]
    return [("client", ports.client, ports.server), ("server", ports.server, ports.upstream)]


def start_pair(
    children: Children, directory: Path, peer: Peer, scene: Scene, app_port: int, pins: Pinning
) -> Pair:
    """Starts the sidecars of `peer` and waits until a request passes; raises with their output otherwise."""
    if peer.command is None:
        return Pair(peer, app_port, app_port, app_port)
    client, server = free_ports(2)
    ports = Ports(client, server, app_port)
    needed: list[Child] = []
    if peer.configure:
        files = _own_files(directory, peer, scene, ports)
    else:
        files, needed = _xds_files(children, directory, peer, scene, ports, pins)
    pair = Pair(peer, client, server, app_port, client_files(directory, peer))
    before = time.monotonic()
    for role, file in files.items():
        cpus = pins.client if role == "client" else pins.server
        argv = peer.command(file)
        environment = {**ENVIRONMENT, **peer.environment}
        pair.sidecars[role] = children.start(f"{peer.name}-{role}", argv, cpus=cpus, env=environment)
    needed += pair.sidecars.values()
    entries = [port for _, port, _ in _roles(scene, ports)]
    wait_until(f"{peer.title} listens", lambda: all(map(listening, entries)), needed, START_S)
    pair.start_s = time.monotonic() - before
    pair.idle = pair.memory()
    target = pair.target(scene.host)
    wait_until(f"{peer.title} answers", lambda: answers(client, scene.host, target), needed, START_S)
    return pair


def empty_log(child: Child) -> None:
    """Forgets the access log written so far: a run writes some 100 MB of it."""
    os.truncate(child.output, 0)
