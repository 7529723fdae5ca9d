"""Carries connections from a listening socket of the host to an address inside the mesh.

The socket was made outside and handed in, so the host's side needs no link, no route and no rule. Bytes pass both ways
unchanged; each side's end of stream is passed on.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

BUFFER = 64 * 1024

Target = Callable[[], tuple[str, int] | None]


class PublishedPort:
    """One published port; `target` says where to, at the moment of each connection, or None when there is nowhere."""

    def __init__(self, listener: socket.socket, target: Target) -> None:
        self._listener = listener
        self._target = target
        self._server: asyncio.Server | None = None
        # Held here, because a connection whose both ends wait is otherwise referenced by nothing but itself.
        self._connections: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<PublishedPort {len(self._connections)} connections>"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accepted, sock=self._listener, limit=BUFFER)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to its end; an end that is not in order closes both sides hard."""
        target = self._target()
        try:
            if target is None:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(*target, limit=BUFFER)
            try:
                await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
                far_writer.close()
                writer.close()
            finally:
                if not far_writer.is_closing():
                    far_writer.transport.abort()
        except OSError as error:
            log.debug("connection to %s: %s", target, error)
        finally:
            if not writer.is_closing():
                writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while block := await reader.read(BUFFER):
        writer.write(block)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
