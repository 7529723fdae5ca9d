"""A pair of sidecars of one peer, started and ready: client sidecar → (mTLS) → server sidecar → app."""

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
from bench.workloads.workload import Ports, Workload

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
CLIENT_NODE = "sidecar~127.0.0.2~client.default~default.svc.cluster.local"
SERVER_NODE = "sidecar~127.0.0.1~app.default~default.svc.cluster.local"


@dataclass
class Pair:
    """What answers on `port`; `sidecars` is empty when there is no proxy. Memory in KiB, time in s."""

    peer: Peer
    port: int
    sidecars: dict[str, Child] = field(default_factory=dict)
    idle: dict[str, dict[str, int]] = field(default_factory=dict)
    start_s: float = 0.0

    def memory(self) -> dict[str, dict[str, int]]:
        return {role: memory_kib(child.pid) for role, child in self.sidecars.items()}


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def answers(port: int, host: str) -> bool:
    """Whether one request for `host` gets 200 now."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        return sock.recv(12) == b"HTTP/1.1 200"
    return False


def start_app(children: Children, workload: Workload, pins: Pinning) -> int:
    """Starts the app; returns its port."""
    (port,) = free_ports(1)
    argv = [sys.executable, "-m", "bench.upstream", str(port), str(workload.body_bytes)]
    app = children.start("upstream", argv, cpus=pins.upstream, env=ENVIRONMENT)
    wait_until("the app listens", lambda: listening(port), [app])
    return port


Files = dict[str, Path]


def _xds_files(
    children: Children, directory: Path, peer: Peer, workload: Workload, ports: Ports, pins: Pinning
) -> tuple[Files, list[Child]]:
    """An Envoy bootstrap for each role, and the xDS server they lead to."""
    client_admin, server_admin, xds_port = free_ports(3)
    snapshots = workload.snapshots(ports, Authority(), peer.vanilla)
    xds_file = directory / f"{peer.name}-xds.json"
    xds_file.write_text(json.dumps(dict(zip((CLIENT_NODE, SERVER_NODE), snapshots, strict=True))))
    xds = children.start(
        f"{peer.name}-xds",
        [sys.executable, "-m", "bench.xds_server", str(xds_file), str(xds_port)],
        cpus=pins.generator,
        env=ENVIRONMENT,
    )
    wait_until("the xDS server listens", lambda: listening(xds_port), [xds])
    files = {}
    for role, node, admin in (
        ("client", CLIENT_NODE, client_admin),
        ("server", SERVER_NODE, server_admin),
    ):
        files[role] = directory / f"{peer.name}-{role}.json"
        files[role].write_text(json.dumps(bootstrap(node, admin, xds_port)))
    return files, [xds]


def _own_files(
    _: Children, directory: Path, peer: Peer, workload: Workload, ports: Ports, __: Pinning
) -> tuple[Files, list[Child]]:
    """The peer's own configuration for each role, with a certificate for each."""
    assert peer.configure is not None
    authority = Authority()
    root = directory / f"{peer.name}-root.pem"
    root.write_text(authority.root_pem)
    files = {}
    for role, port, target in (
        ("client", ports.client, ports.server),
        ("server", ports.server, ports.upstream),
    ):
        chain, key = directory / f"{peer.name}-{role}.crt", directory / f"{peer.name}-{role}.key"
        for file, text in zip((chain, key), authority.issue(spiffe_id("default", role)), strict=True):
            file.write_text(text)
        place = Place(role, directory, port, target, chain, key, root, workload.host)
        files[role] = peer.configure(place)
    return files, []


def start_pair(
    children: Children, directory: Path, peer: Peer, workload: Workload, app_port: int, pins: Pinning
) -> Pair:
    """Starts both sidecars of `peer` and waits until a request passes; raises with their output otherwise."""
    if peer.command is None:
        return Pair(peer, app_port)
    client, server = free_ports(2)
    ports = Ports(client, server, app_port)
    files, needed = (_own_files if peer.configure else _xds_files)(
        children, directory, peer, workload, ports, pins
    )
    pair = Pair(peer, client)
    before = time.monotonic()
    for role, cpus in (("client", pins.client), ("server", pins.server)):
        argv = peer.command(files[role])
        pair.sidecars[role] = children.start(f"{peer.name}-{role}", argv, cpus=cpus, env=ENVIRONMENT)
    needed += pair.sidecars.values()
    wait_until(f"{peer.title} listens", lambda: listening(client) and listening(server), needed)
    pair.start_s = time.monotonic() - before
    pair.idle = pair.memory()
    wait_until(f"{peer.title} answers", lambda: answers(client, workload.host), needed)
    return pair


def empty_log(child: Child) -> None:
    """Forgets the access log written so far: a run writes some 100 MB of it."""
    os.truncate(child.output, 0)
