"""One static configuration through real Envoy and through our sidecar, with the same upstream addresses for both.

So what depends on an address (which host a key belongs to) must come out the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_ports

ENVOY = shutil.which("envoy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")

Json = dict[str, Any]
Answer = tuple[int, dict[str, list[str]], str]  # status, headers, the upstream's name
START_S = 20.0


class Upstreams:
    """`count` servers on 127.0.0.1, alike but for their ports; each answers with its port. `async with` them."""

    def __init__(self, count: int) -> None:
        self.ports = sorted(free_ports(count))
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Upstreams:
        for port in self.ports:
            self._servers.append(await asyncio.start_server(partial(self._serve, port), "127.0.0.1", port))
        return self

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        body = str(port).encode()
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                status = b"503 X" if b"x-fail: yes" in head else b"200 OK"
                writer.write(b"HTTP/1.1 %s\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            writer.close()
        self._tasks.discard(task)

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)


def bootstrap(listener: int, tcp: int, admin: int, clusters: list[Json], routes: list[Json]) -> Json:
    """One HTTP listener with these routes in front of these clusters, and an opaque one in front of the first, by source."""
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": clusters[0]["name"],
        "hash_policy": [{"source_ip": {}}],
    }
    hcm = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}

    opaque = {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}]}

    def address(port: int) -> Json:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    return {
        "admin": {"address": address(admin)},
        "node": {"id": "lb", "cluster": "lb", "locality": {"region": "r", "zone": "d"}},
        "static_resources": {
            "listeners": [
                {"name": "in", "address": address(listener), "filter_chains": [chain]},
                {"name": "tcp", "address": address(tcp), "filter_chains": [opaque]},
            ],
            "clusters": clusters,
        },
    }


class Sidecar:
    """A running process; `ask` sends requests one after another on one connection."""

    def __init__(
        self, name: str, command: list[str], directory: Path, clusters: list[Json], routes: list[Json]
    ):
        self.name = name
        self.port, self.tcp_port, self.admin = free_ports(3)
        file = directory / f"{name}-{self.port}.json"
        file.write_text(json.dumps(bootstrap(self.port, self.tcp_port, self.admin, clusters, routes)))
        self._log = directory / f"{name}-{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, str(file)], stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": "."}
            )

    def wait(self) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            try:
                if self.page("/ready").startswith("LIVE"):
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{self.name} did not start:\n{self._log.read_text()[-3000:]}")

    def page(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def stats(self, prefix: str) -> dict[str, int]:
        lines = self.page(f"/stats?filter=^{prefix}").splitlines()
        found = dict(line.split(": ", 1) for line in lines if ": " in line)
        return {name.removeprefix(prefix): int(value) for name, value in found.items() if value.isdigit()}

    async def ask(
        self, requests: list[str], source: str = "127.0.0.1", *, opaque: bool = False
    ) -> list[Answer]:
        """Each request is its head, without the empty line."""
        port = self.tcp_port if opaque else self.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        answers = []
        for request in requests:
            writer.write(request.encode() + b"\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers: dict[str, list[str]] = {}
            for line in head[1:-2]:
                name, _, value = line.partition(": ")
                headers.setdefault(name.lower(), []).append(value)
            body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
            answers.append((int(head[0].split()[1]), headers, body.decode()))
        writer.close()
        await writer.wait_closed()
        return answers

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


Pair = tuple[Sidecar, Sidecar]  # Envoy's, ours


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Callable[[list[Json], list[Json]], Pair]]:
    """Both sidecars with these clusters and routes."""
    started: list[Sidecar] = []

    def start(clusters: list[Json], routes: list[Json]) -> Pair:
        if ENVOY is None:
            pytest.skip("no envoy binary: install the dev extra")
        envoy = Sidecar(
            "envoy",
            [
                ENVOY,
                "--concurrency",
                "1",
                "--base-id-path",
                str(tmp_path / "id"),
                "--use-dynamic-base-id",
                "-c",
            ],
            tmp_path,
            clusters,
            routes,
        )
        started.append(envoy)
        ours = Sidecar("ours", [sys.executable, "-m", "proxy", "-c"], tmp_path, clusters, routes)
        started.append(ours)
        for one in started:
            one.wait()
        return envoy, ours

    yield start
    for one in started:
        one.stop()
