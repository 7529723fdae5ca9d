"""What a request costs our own code, without sockets and kernel: `python -m bench.in_process [--policies]`.

The sidecar's data path over sockets that only hand out and take bytes, configured as in `bench.compiled`, in this one process:
nearly free of noise, so that a change of one part in a hundred shows. What it leaves out (system calls, TLS, the event loop)
`make bench` measures. The figure is the least CPU time of many rounds: nothing makes code faster than it is.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec

from bench.bootstrap import bootstrap
from bench.compiled import HOST, PLAIN, Mesh, client_snapshot, server_snapshot
from bench.load import Plan
from bench.pki import Authority, spiffe_id
from bench.sidecars import CLIENT_NODE, SERVER_NODE
from bench.upstream import answer
from bench.workloads import policies
from bench.xds_server import TYPE_URLS
from bench.xds_server import Snapshot as Compiled
from proxy.config.snapshot import Snapshot, build
from proxy.data_plane import DataPlane, Services
from proxy.http.filters.peer_metadata import PeerMetadataParts
from proxy.net.downstream import DownstreamFacts
from proxy.observability import peer_struct
from proxy.observability.access_log import AccessLogs
from proxy.observability.istio_metrics import IstioMetrics
from proxy.observability.stats import StatsStore
from proxy.observability.workload import workload_of_node
from proxy.tls.peer import PeerIdentity

REQUESTS = 250  # of one round
ROLES = ("client", "server")
_LISTENER_PORT, _UPSTREAM_PORT = 20001, 20002


class Loop:
    """Time passes, nothing else happens by itself; `readers` by descriptor."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.soon: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def call_soon(self, callback: Callable[..., object], *args: object) -> None:
        self.soon.append((callback, args))

    def call_later(self, _: float, __: Callable[[], None]) -> Loop:
        return self

    def cancel(self) -> None:
        """A timer's; none ever fires."""

    def run(self) -> None:
        while self.soon:
            callback, args = self.soon.pop()
            callback(*args)


class Wire:
    """A socket whose peer says the same each time it is read."""

    def __init__(self, descriptor: int, says: bytes) -> None:
        self.descriptor, self.says, self.sent = descriptor, says, b""

    def fileno(self) -> int:
        return self.descriptor

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 40000 + self.descriptor

    def recv(self, _: int) -> bytes:
        return self.says

    def recv_into(self, buffer: bytearray) -> int:
        buffer[: len(self.says)] = self.says
        return len(self.says)

    def send(self, data: bytes) -> int:
        self.sent = data
        return len(data)

    def close(self) -> None:
        """Nothing to release."""


class Connector:
    """Connects at once, to an upstream that always says `answer`."""

    def __init__(self, loop: Loop, answer: bytes) -> None:
        self.loop, self.answer = loop, answer
        self.wires: list[Wire] = []

    def connect(self, *given: Any) -> Connector:
        wire = Wire(1000 + len(self.wires), self.answer)
        self.wires.append(wire)
        self.loop.call_soon(given[4], wire)  # on_connected
        return self

    def cancel(self) -> None:
        """See `Connecting`; it is over by then."""


def _snapshot(compiled: Compiled) -> Snapshot:
    raw = {
        url: {one.get("name") or one["cluster_name"]: msgspec.Raw(json.dumps(one).encode()) for one in compiled[kind]}
        for kind, url in TYPE_URLS.items()
        if kind in compiled
    }  # fmt: skip
    return build("1", raw, Snapshot())


class Sidecar:
    """One sidecar of the pair, with one connection on either side. `exchange` passes a request and its answer."""

    def __init__(self, role: str, request: bytes, answer: bytes, *, telemetry: bool, mesh: Mesh) -> None:
        client = role == "client"
        make = client_snapshot if client else server_snapshot
        compiled = make(_LISTENER_PORT, _UPSTREAM_PORT, not telemetry, Authority(), mesh)
        for listener in compiled["listeners"]:
            listener["bind_to_port"] = False
        self._loop = Loop()
        self._connector = Connector(self._loop, answer)
        plane = DataPlane(
            cast(asyncio.AbstractEventLoop, self._loop),
            _services(client),
            connector=cast(Any, self._connector),
        )
        plane.apply(_snapshot(compiled))
        self._down = Wire(999, request)
        (runtime,) = plane.listeners.listeners.values()
        chain = next(chain for chain in runtime.chains if client or (chain.tls and _is_http(chain)))
        chain.serve(cast(socket.socket, self._down), _facts(client))
        self._loop.readers[999]()  # the first request opens the connection upstream
        self._loop.run()
        self._read_request, self._read_answer = self._loop.readers[999], self._loop.readers[1000]
        self._read_answer()
        self._loop.run()
        self.plane = plane

    @property
    def passed(self) -> tuple[bytes, bytes]:
        """The last request as it was sent on, and the last answer."""
        return self._connector.wires[0].sent, self._down.sent

    def cost(self, requests: int = REQUESTS) -> float:
        """CPU time of one request in µs, over so many."""
        read_request, read_answer = self._read_request, self._read_answer
        before = time.process_time()
        end_turn = self._loop.run
        for _ in range(requests):
            read_request()
            end_turn()
            read_answer()
            end_turn()
        return (time.process_time() - before) / requests * 1e6


def _is_http(chain: Any) -> bool:
    return hasattr(chain.network_filter, "settings")


def _services(client: bool) -> Services:
    stats = StatsStore()
    metadata = bootstrap(CLIENT_NODE if client else SERVER_NODE, 0, 0)["node"]["metadata"]
    own = spiffe_id("default", "client" if client else "app")
    metrics = IstioMetrics(stats, workload_of_node(metadata), lambda: own)
    node = (CLIENT_NODE if client else SERVER_NODE).encode()
    return Services(
        stats=stats,
        access_loggers=AccessLogs(stats).loggers,
        istio_http_stats=metrics.http_logger,
        peer_metadata=PeerMetadataParts(node, peer_struct.encode(metadata), peer_struct.decode),
    )


def _facts(client: bool) -> DownstreamFacts:
    local, remote = f"127.0.0.1:{_LISTENER_PORT}", "127.0.0.1:50000"
    if client:
        return DownstreamFacts(local, remote)
    peer = PeerIdentity((spiffe_id("default", "client"),), (), "", "ab" * 32)
    sni = f"outbound_.9080_._.{HOST}"
    return DownstreamFacts(
        local, remote, tls=True, sni=sni, peer=peer, local_uri_san=spiffe_id("default", "app")
    )


def pair(*, telemetry: bool, mesh: Mesh = PLAIN) -> dict[str, Sidecar]:
    """Both sidecars; the server's gets what the client's sends."""
    request, answered = Plan(0, HOST).request, answer(1024)
    client = Sidecar("client", request, answered, telemetry=telemetry, mesh=mesh)
    sent_on, _ = client.passed
    server = Sidecar("server", sent_on, answered, telemetry=telemetry, mesh=mesh)
    client = Sidecar("client", request, server.passed[1], telemetry=telemetry, mesh=mesh)
    return {"client": client, "server": server}


def measure(sidecars: dict[str, Sidecar], rounds: int) -> dict[str, float]:
    """µs per request, by role. What the access log writes goes nowhere meanwhile."""
    shown = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        gc.collect()
        gc.freeze()
        costs = [{role: one.cost() for role, one in sidecars.items()} for _ in range(rounds)]
    finally:
        os.dup2(shown, 1)
        os.close(shown)
        os.close(nowhere)
    return {role: min(cost[role] for cost in costs) for role in sidecars}


def show_policies(rounds: int) -> None:
    """What each policy adds to a request, measured in turns with the plain one."""
    meshes = {
        "plain": PLAIN,
        **{name: mesh for name, mesh in policies.MESHES.items() if "mirror" not in mesh.manifests},
    }
    sidecars = {
        f"{name} {role}": one
        for name, mesh in meshes.items()
        for role, one in pair(telemetry=False, mesh=mesh).items()
    }
    found = measure(sidecars, rounds)
    for name in meshes:
        added = ", ".join(
            f"{role} {found[f'{name} {role}']:6.2f} µs ({found[f'{name} {role}'] - found[f'plain {role}']:+.2f})"
            for role in ROLES
        )
        print(f"{name:16}{added}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.in_process", description=__doc__)
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--show", action="store_true", help="show what is sent on, too")
    parser.add_argument(
        "--policies", action="store_true", help="what armed policies add, which let the request pass"
    )
    options = parser.parse_args()
    if options.policies:
        show_policies(options.rounds)
        return
    for telemetry in (False, True):
        sidecars = pair(telemetry=telemetry)
        found = measure(sidecars, options.rounds)
        figures = ", ".join(f"{role} {cost:.2f} µs" for role, cost in found.items())
        print(f"{'with telemetry' if telemetry else 'plain':16}{figures}")
        if options.show:
            for one in sidecars.values():
                print(*(data[:2000].decode("latin-1") for data in one.passed), sep="\n")


if __name__ == "__main__":
    main()
