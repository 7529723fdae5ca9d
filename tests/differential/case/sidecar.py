"""One running sidecar of either implementation: its bootstrap, whether it has what it was offered, its admin pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import quote

import aiohttp

from bench.children import Child
from bench.xds_shapes import REST, address
from control.push.connection import Connection
from control.push.snapshot import digest
from tests.differential.case.model import Json

READY_S = 30.0


class Refused(Exception):
    """A sidecar did not take its configuration; the text is the sidecar's."""


def bootstrap(node: str, admin_port: int, xds_port: int, locality: str = "") -> Json:
    """As `bench.bootstrap`, with room for a subscription for each of many clusters."""
    endpoint = {"endpoint": {"address": address("127.0.0.1", xds_port)}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 100_000)
    region, zone, subzone = [*locality.split("/"), "", "", ""][:3]
    where = {"region": region, "zone": zone, "sub_zone": subzone}
    identity = {"id": node, "cluster": "client.default", "metadata": {"NAMESPACE": "default"}}
    return {
        "node": identity | ({"locality": where} if locality else {}),
        "admin": {"address": address("127.0.0.1", admin_port)},
        "dynamic_resources": {"lds_config": REST, "cds_config": REST},
        "static_resources": {
            "clusters": [
                {
                    "name": "xds-rest",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "circuit_breakers": {"thresholds": [limits]},
                    "load_assignment": {
                        "cluster_name": "xds-rest",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ]
        },
    }


class Sidecar:
    """One running sidecar of a group."""

    def __init__(
        self, node: str, child: Child, admin: int, connection: Callable[[], Connection | None]
    ) -> None:
        self.node, self.child, self.admin = node, child, admin
        self._connection = connection

    def has_all(self) -> bool:
        """Whether everything offered was accepted; raises Refused."""
        connection = self._connection()
        if connection is None or not connection.exchanges:
            return False
        for (url, names), exchange in connection.exchanges.items():
            known = connection.snapshot.select(url, names)
            if names and not known:
                continue  # a subscription to what is no more
            wanted = digest(known) if url else connection.snapshot.version
            if exchange.refused == wanted:
                raise Refused(f"{exchange.error}\n{self.child.tail()}")
            if exchange.acked != wanted:
                return False
        return True

    async def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.admin}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def stats(self, named: str = "") -> dict[str, int]:
        """Counters and gauges that were ever written, and whose names have something that matches `named`."""
        found = {}
        chosen = f"&filter={quote(named)}" if named else ""
        for kind in ("Counters", "Gauges"):
            for line in (await self.get(f"/stats?usedonly&type={kind}{chosen}")).splitlines():
                name, _, value = line.rpartition(": ")
                if value.isdigit():
                    found[name] = int(value)
        return found

    async def settled(self) -> None:
        """Until everything offered was accepted; raises Refused, ChildDied."""
        end = time.monotonic() + READY_S
        while not self.has_all():
            self.child.check()
            if time.monotonic() > end:
                raise Refused(f"{self.child.name} did not take all it was offered:\n{self.child.tail()}")
            await asyncio.sleep(0.02)

    async def accepts(self, ip: str, port: int) -> None:
        """Until it takes connections there; raises Refused, ChildDied."""
        end = time.monotonic() + READY_S
        while True:
            try:
                _, writer = await asyncio.open_connection(ip, port)
            except OSError:
                self.child.check()
                if time.monotonic() > end:
                    raise Refused(f"{self.child.name} does not listen:\n{self.child.tail()}") from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def warmed(self) -> None:
        """Until accepted clusters are in use: Envoy accepts them before it knows their endpoints."""
        name = "cluster_manager.warming_clusters"
        await asyncio.sleep(0.25)
        while (await self.get(f"/stats?filter=^{name}$")).strip() not in ("", f"{name}: 0"):
            await asyncio.sleep(0.05)

    def complaints(self) -> list[str]:
        """What it wrote beside its access log, if there is a traceback in it."""
        lines = self.child.output.read_text(errors="replace").splitlines()
        other = [line for line in lines if not line.startswith("LOG\t")]
        return other if any("Traceback" in line for line in other) else []
