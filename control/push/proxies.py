"""The connected proxies: each compiled when it first asks and again with every new context.

A proxy is there while a request of it is held or the last one ended less than 10 s ago. Who may ask is `authorize`'s decision;
what happens to a pod the registry does not know is `registrar`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from aiohttp import web

from control.compile.compiler import compile_parts
from control.push.connection import Connection
from control.push.context import PushContext
from control.push.proxy import Proxy, parse_node
from control.push.snapshot import Snapshot

FORGET_SECONDS = 10.0
SLICE_SECONDS = 0.01  # everything else waits no longer than this and one proxy more
AT_ONCE = 100  # proxies that are answered in one turn of the loop, which takes another 15 ms
_TURNS = 4  # of the loop in a pause: a request to the API takes several

log = logging.getLogger(__name__)

Authorize = Callable[[web.Request, Proxy], None]


class Proxies:
    """`control.push.discovery.Source` over a changing `PushContext`."""

    def __init__(
        self,
        context: PushContext,
        authorize: Authorize,
        arrived: Callable[[Proxy], Awaitable[None]],
        left: Callable[[Proxy], None],
        forget_seconds: float = FORGET_SECONDS,
    ) -> None:
        """`arrived` is awaited before a proxy's first answer, `left` is called when it is forgotten."""
        self._context = context
        self._authorize = authorize
        self._arrived, self._left = arrived, left
        self._forget_seconds = forget_seconds
        self._connections: dict[str, Connection] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def context(self) -> PushContext:
        return self._context

    def __iter__(self) -> Iterator[Connection]:
        return iter(sorted(self._connections.values(), key=lambda c: (c.proxy.namespace, c.proxy.name)))

    def __len__(self) -> int:
        return len(self._connections)

    def find(self, name: str) -> Connection | None:
        """By node id, `pod.namespace`, or `pod` where that is unique."""
        for connection in self._connections.values():
            proxy = connection.proxy
            if name in (proxy.id, f"{proxy.name}.{proxy.namespace}"):
                return connection
        same = [c for c in self._connections.values() if c.proxy.name == name]
        return same[0] if len(same) == 1 else None

    async def connect(self, node: object, request: web.Request) -> Connection:
        proxy = parse_node(node)
        self._authorize(request, proxy)
        timer = self._timers.pop(proxy.id, None)
        if timer is not None:
            timer.cancel()
        if proxy.id not in self._connections:
            await self._arrived(proxy)
        # Envoy asks for several types at once, so another request may have been first meanwhile.
        known = self._connections.get(proxy.id)
        if known is not None and known.proxy.vanilla == proxy.vanilla:
            return known
        now = time.time()
        made = Connection(proxy, self._compile(proxy), now, now)
        self._connections[proxy.id] = made
        log.info("connected: %r", proxy)
        return made

    def settled(self, connection: Connection) -> None:
        if connection.polls or self._connections.get(connection.proxy.id) is not connection:
            return
        identity = connection.proxy.id
        previous = self._timers.pop(identity, None)
        if previous is not None:
            previous.cancel()
        loop = asyncio.get_running_loop()
        self._timers[identity] = loop.call_later(self._forget_seconds, self._forget, connection)

    def _forget(self, connection: Connection) -> None:
        self._timers.pop(connection.proxy.id, None)
        if connection.polls or self._connections.get(connection.proxy.id) is not connection:
            return
        del self._connections[connection.proxy.id]
        log.info("disconnected: %r", connection.proxy)
        self._left(connection.proxy)

    def _compile(self, proxy: Proxy) -> Snapshot:
        """The labels of a pod the registry knows count, not those its proxy claims."""
        workload = self._context.by_name.get((proxy.namespace, proxy.name))
        if workload is not None:
            proxy = replace(proxy, labels=workload.labels)
        return Snapshot(compile_parts(self._context, proxy))

    async def use(self, context: PushContext) -> int:
        """Compile every proxy anew, then tell them, with pauses in between; returns how many have something new.

        Told only then, so that what the first of them answer does not delay the last. A proxy has all of one context or all of another;
        whoever connects in a pause has the new one. One call after the other has ended.
        """
        self._context = context
        compiled, paused = [], time.monotonic()
        for connection in list(self._connections.values()):
            if time.monotonic() - paused >= SLICE_SECONDS:
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
                paused = time.monotonic()
            compiled.append((connection, self._compile(connection.proxy)))
        context.kept.pushed()
        changed = 0
        for connection, snapshot in compiled:
            if connection.replace(snapshot):
                changed += 1
                if changed % AT_ONCE == 0:
                    await asyncio.sleep(0)  # they are answered
        return changed

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
