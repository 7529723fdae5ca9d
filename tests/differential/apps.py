"""The apps behind the sidecars: each plays its scenario's script and keeps what it saw, connection by connection."""

from __future__ import annotations

import asyncio
import socket

from bench.ports import free_ports
from tests.differential.scenario import App
from tests.differential.wire import Dialogue, Observed, Request, Wire


class RunningApp:
    """One app on a port of its own."""

    def __init__(self, script: App) -> None:
        self._script = script
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._requests = 0
        self.connections: list[list[Observed]] = []

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        number = len(self.connections)
        once = not self._script.forever
        seen: list[Observed] = []
        self.connections.append(seen)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire = Wire(reader, writer)
        try:
            while await self._turn(number, seen, wire) and not once:
                pass
            await wire.reader.read()  # an app closes when its peer does, unless its script said so
        except (OSError, asyncio.CancelledError):
            pass  # `stop` cancels what still waits, and asyncio's server would report that as a failure
        finally:
            writer.close()
            self._under_way.discard(task)

    async def _turn(self, number: int, seen: list[Observed], wire: Wire) -> bool:
        """One run of the steps for this connection, or for the next request."""
        scripts = self._script.connections
        if not self._script.by_request:
            return await Dialogue(scripts[min(number, len(scripts) - 1)], seen).run(wire)
        if not await Dialogue((Request(),), seen).run(wire):
            return False
        self._requests += 1
        return await Dialogue(scripts[min(self._requests, len(scripts)) - 1], seen).run(wire)

    def seen(self) -> list[list[Observed]]:
        """What each connection saw; that nothing more came is no observation, nor how a pooled connection ended."""
        if not self._script.forever:
            return [[one for one in seen if "timeout" not in one] for seen in self.connections]
        return [[one for one in seen if "line" in one] for seen in self.connections]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


def refusing_port() -> int:
    """A port where nothing listens."""
    return free_ports(1)[0]
