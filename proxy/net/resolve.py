"""Keeps the hosts of STRICT_DNS clusters up to date: resolves their names, again and again.

All addresses of all names are the cluster's hosts. A failed look-up keeps the last answer. Shell: uses the loop's resolver,
which runs getaddrinfo in a thread. Reference: Envoy source/extensions/clusters/strict_dns; dns_refresh_rate 5 s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from proxy.observability import logging
from proxy.upstream.cluster import Cluster
from proxy.upstream.connector import Address
from proxy.upstream.host import Host

log = logging.logger("upstream")

_FAMILIES = {"V4_ONLY": socket.AF_INET, "V6_ONLY": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Named:
    """One endpoint by name; `make` gives the host for an address it resolved to."""

    name: str
    port: int
    make: Callable[[Address], Host]


class Resolver:
    """One task per cluster; a cluster that is tracked again forgets what it was tracked for before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def track(self, cluster: Cluster, names: list[Named], refresh: float, family: str) -> None:
        """Resolve now and every `refresh` s."""
        self.forget(cluster.name)
        self._tasks[cluster.name] = self._loop.create_task(self._run(cluster, names, refresh, family))

    def forget(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    def keep_only(self, names: set[str]) -> None:
        """Forget every cluster that is not named."""
        for name in self._tasks.keys() - names:
            self.forget(name)

    async def _run(self, cluster: Cluster, names: list[Named], refresh: float, family: str) -> None:
        known: dict[str, list[Address]] = {}
        while True:
            for named in names:
                found = await self._look_up(named, family)
                if found:
                    known[named.name] = found
            cluster.set_hosts(
                named.make((address, named.port))
                for named in names
                for address, _ in known.get(named.name, ())
            )
            await asyncio.sleep(refresh)

    async def _look_up(self, named: Named, family: str) -> list[Address]:
        """Addresses in a stable order; with AUTO, IPv6 only if there is no IPv4."""
        try:
            answers = await self._loop.getaddrinfo(
                named.name,
                named.port,
                family=_FAMILIES.get(family, socket.AF_UNSPEC),
                type=socket.SOCK_STREAM,
            )
        except OSError as error:
            log.warning("cannot resolve %s: %s", named.name, error)
            return []
        v4 = sorted({(str(a[0]), named.port) for f, _, _, _, a in answers if f == socket.AF_INET})
        v6 = sorted({(str(a[0]), named.port) for f, _, _, _, a in answers if f == socket.AF_INET6})
        return [*v4, *v6] if family == "ALL" else v4 or v6

    def close(self) -> None:
        self.keep_only(set())
