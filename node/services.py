"""Keeps the ClusterIP rules of the mesh's network true to Services and their endpoints.

Writes only when the rules differ from those in place, each time as one transaction. Runs in the mesh's network namespace, where nobody
else writes rules.
"""

from __future__ import annotations

import asyncio
import logging

from node.cache import Cache, key_of
from node.processes import CommandFailed, Processes
from node.service_rules import restore_text, service_ports

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


class ServiceRules:
    """Runs until cancelled."""

    def __init__(self, processes: Processes, services: Cache, endpoints: Cache) -> None:
        self._processes = processes
        self._services = services
        self._endpoints = endpoints
        self._wake = asyncio.Event()
        self._written = ""
        for cache in (services, endpoints):
            cache.listen(lambda _: self._wake.set())

    def __repr__(self) -> str:
        return f"<ServiceRules {self._written.count('-A ')} rules>"

    async def run(self) -> None:
        await self._services.synced.wait()
        await self._endpoints.synced.wait()
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write()

    async def _write(self) -> None:
        endpoints = {key_of(obj): obj for obj in self._endpoints}
        text = restore_text(service_ports(self._services, endpoints))
        if text == self._written:
            return
        try:
            await self._processes.check(["iptables-restore"], text)
            self._written = text
        except CommandFailed as error:
            log.error("service rules: %s", error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
