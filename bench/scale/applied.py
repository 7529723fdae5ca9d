"""When a real sidecar has applied a change, as it says itself.

Its admin is asked for the version of the resource, in both kinds alike. Our sidecar also acknowledges what it has applied in its next poll, at
once, so the control plane's `/debug/syncz` tells; Envoy's REST client waits `refresh_delay` before it polls again.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from bench.scale.plane import Plane
from bench.scale.sidecars import Sidecar
from node.namespaces import NEWNET, setns

_STATES = ("cluster_status", "listener_status", "route_status", "endpoint_status")
_EVERY = 0.004  # s
_PATIENCE = 120.0  # s
_FIELDS = {
    "clusters": ("dynamic_active_clusters", "cluster", "name"),
    "routes": ("dynamic_route_configs", "route_config", "name"),
    "endpoints": ("dynamic_endpoint_configs", "endpoint_config", "cluster_name"),
}


async def statuses(session: aiohttp.ClientSession, plane: Plane) -> dict[str, dict[str, Any]]:
    """What the control plane says of each connected proxy, by `pod.namespace`."""
    async with session.get(f"http://127.0.0.1:{plane.ports['monitoring']}/debug/syncz") as answer:
        return {one["proxy"]: one for one in await answer.json()}


def is_synced(status: dict[str, Any]) -> bool:
    return all(status.get(state) == "SYNCED" for state in _STATES)


async def synced(
    session: aiohttp.ClientSession, plane: Plane, sidecars: list[Sidecar], before: dict[str, str]
) -> dict[int, float]:
    """The moment (monotonic) each sidecar had acknowledged something else than `before`, by pid."""
    left = {f"{one.pod.name}.{one.pod.namespace}": one for one in sidecars}
    found: dict[int, float] = {}
    end = time.monotonic() + _PATIENCE
    while left:
        if time.monotonic() > end:
            raise TimeoutError(f"not synced: {sorted(left)}")
        known = await statuses(session, plane)
        for name in list(left):
            status = known.get(name)
            if status and is_synced(status) and status["version"] != before.get(name):
                found[left.pop(name).child.pid] = time.monotonic()
        await asyncio.sleep(_EVERY)
    return found


class Page:
    """The version of one resource on a sidecar's admin, over a kept connection made in its namespace."""

    def __init__(self, sidecar: Sidecar, kind: str, name: str) -> None:
        field, inner, key = _FIELDS[kind]
        query = f"resource={field}&name_regex=^{re.escape(name)}$"
        query += "&include_eds" if kind == "endpoints" else f"&mask=version_info,{inner}.{key}"
        self._path = "/config_dump?" + quote(query, safe="=&^$,")
        self._connection = http.client.HTTPConnection("127.0.0.1", 15000, timeout=30)
        self._connection.sock = _socket_in(sidecar.child.pid)

    def content(self) -> Any:
        """What it shows, read: Envoy prints maps in any order."""
        self._connection.request("GET", self._path)
        return json.loads(self._connection.getresponse().read())

    async def changed(self, before: Any, every_s: float) -> float:
        """The moment (monotonic) the page differs from `before`."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if await asyncio.to_thread(self.content) != before:
                return time.monotonic()
            await asyncio.sleep(every_s)
        raise TimeoutError(f"{self._path}: unchanged")

    def close(self) -> None:
        self._connection.close()


def _socket_in(pid: int) -> socket.socket:
    """A connection to 127.0.0.1:15000 in the network namespace of a process. Only the thread that makes it goes there."""

    def connect() -> socket.socket:
        with Path(f"/proc/{pid}/ns/net").open() as namespace:
            setns(namespace.fileno(), NEWNET)
        return socket.create_connection(("127.0.0.1", 15000), timeout=30)

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(connect).result()
