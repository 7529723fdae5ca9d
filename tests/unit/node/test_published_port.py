"""A published port carries bytes both ways, ends of stream included, and refuses when there is nowhere to go."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from node.published_port import PublishedPort


@pytest.fixture
async def shouting() -> AsyncIterator[tuple[str, int]]:
    """A server that reads to the end, then answers in capitals."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()


async def test_bytes_and_ends_pass(shouting: tuple[str, int]) -> None:
    port = PublishedPort(listener := socket.create_server(("127.0.0.1", 0)), lambda: shouting)
    await port.start()

    async def call() -> bytes:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"abc" * 100_000)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    try:
        assert await asyncio.gather(*(call() for _ in range(3))) == [b"ABC" * 100_000] * 3
    finally:
        await port.close()


async def is_ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the other side ends the connection without a byte, in whatever way."""
    try:
        return await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionError:
        return True
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("target", [None, ("127.0.0.1", 1)])
async def test_nowhere_to_go_closes(target: tuple[str, int] | None) -> None:
    port = PublishedPort(listener := socket.create_server(("127.0.0.1", 0)), lambda: target)
    await port.start()
    assert await is_ended(*await asyncio.open_connection(*listener.getsockname()))
    await port.close()


async def test_closing_ends_connections(shouting: tuple[str, int]) -> None:
    port = PublishedPort(listener := socket.create_server(("127.0.0.1", 0)), lambda: shouting)
    await port.start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"half")
    async with asyncio.timeout(5):
        while "1 connections" not in repr(port):
            await asyncio.sleep(0.001)
    await port.close()
    assert await is_ended(reader, writer)
