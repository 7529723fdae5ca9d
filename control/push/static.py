"""An xDS server for a fixed set of resources per node id: for benchmarks and tests, through the same handlers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from control.compile.resource import Resource, resource
from control.push.connection import Connection
from control.push.discovery import Discovery, application, runner
from control.push.proxy import BadNode, Proxy
from control.push.snapshot import Snapshot, snapshot

Message = Mapping[str, Any]


def static_snapshot(messages: Iterable[Message]) -> Snapshot:
    """A snapshot of resources that carry their `@type`."""
    found: dict[str, dict[str, Resource]] = {}
    for message in messages:
        made = resource(dict(message))
        found.setdefault(message["@type"], {})[made.name] = made
    return snapshot(found)


class StaticXds:
    """`set` what a node is to have, any time; `start` and `stop` it. `port` is where it serves, on 127.0.0.1."""

    def __init__(self, hold_seconds: float = 30.0) -> None:
        self._connections: dict[str, Connection] = {}
        self._runner = runner(application(Discovery(self, hold_seconds)))
        self.port = 0

    def set(self, node_id: str, messages: Iterable[Message]) -> None:
        made = static_snapshot(messages)
        if node_id in self._connections:
            self._connections[node_id].replace(made)
            return
        proxy = Proxy(node_id, "sidecar", "", node_id, "", {}, "", True, {})
        now = time.time()
        self._connections[node_id] = Connection(proxy, made, now, now)

    async def connect(self, node: object, request: web.Request) -> Connection:
        identity = node.get("id") if isinstance(node, dict) else None
        if identity not in self._connections:
            raise BadNode(f"no resources for node {identity!r}")
        return self._connections[str(identity)]

    def settled(self, connection: Connection) -> None:
        """Nothing is forgotten here."""

    def connection(self, node_id: str) -> Connection:
        return self._connections[node_id]

    async def start(self, port: int = 0) -> int:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self.port

    async def stop(self) -> None:
        await self._runner.cleanup()
