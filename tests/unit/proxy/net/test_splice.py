"""Opaque plaintext through pipes: every byte, both ends, slow and broken peers, and no pipe left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from proxy.data_plane import DataPlane, Services
from proxy.net import splice
from proxy.net.splice import Pipes, SplicedConnection
from tests.unit.proxy.in_memory import address, snapshot, static_cluster
from tests.unit.proxy.net.test_connection import Recorder
from tests.unit.proxy.net.test_mesh_hop import tcp_proxy

pytestmark = pytest.mark.skipif(not hasattr(os, "splice"), reason="no splice here")


@dataclass
class Through:
    """A client and an app with the proxy between them; `infos` are the log records."""

    client: socket.socket
    app: socket.socket
    infos: list[Any]


@asynccontextmanager
async def through() -> AsyncIterator[Through]:
    loop = asyncio.get_running_loop()
    infos: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        listener = {
            "name": "in",
            "address": address("127.0.0.1", 0),
            "filter_chains": [{"name": "tcp", "filters": [tcp_proxy("app")]}],
        }
        plane = DataPlane(loop, Services(access_loggers=lambda _: [infos.append]))
        clusters = [static_cluster("app", server.getsockname())]
        assert plane.apply(snapshot(clusters=clusters, listeners=[listener])) == []
        client = socket.create_connection(plane.listeners.bound_address("in"))
        client.setblocking(False)
        app, _ = await asyncio.wait_for(loop.sock_accept(server), 10)
        try:
            yield Through(client, app, infos)
        finally:
            client.close()
            app.close()
            plane.close()


async def until(condition: Any) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(poll(), 10)


async def everything(sock: socket.socket) -> bytes:
    loop, data = asyncio.get_running_loop(), bytearray()
    while part := await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 10):
        data += part
    return bytes(data)


@pytest.mark.parametrize("size", [1, 70_000, 5_000_000])
async def test_both_ways_at_once_with_half_closes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    up, down = os.urandom(size), os.urandom(size)
    moved: list[int] = []
    real = os.splice

    def counted(*args: Any, **named: Any) -> int:
        moved.append(real(*args, **named))
        return moved[-1]

    monkeypatch.setattr(splice, "_splice", counted)

    async def send(sock: socket.socket, data: bytes) -> None:
        await loop.sock_sendall(sock, data)
        sock.shutdown(socket.SHUT_WR)

    async with through() as ends:
        _, _, taken, given = await asyncio.gather(
            send(ends.client, up), send(ends.app, down), everything(ends.app), everything(ends.client)
        )
        assert taken == up
        assert given == down
        await until(lambda: ends.infos)
        assert sum(moved) == 4 * size, "each byte into a pipe and out of it, none past it"
        info = ends.infos[0]
        assert (info.bytes_received, info.bytes_sent, info.response_flags) == (size, size, 0)
    assert splice._pipes.lent == 0


async def test_a_reader_that_does_not_read_stops_the_sender() -> None:
    loop = asyncio.get_running_loop()
    data = os.urandom(30_000_000)
    async with through() as ends:
        sending = asyncio.ensure_future(loop.sock_sendall(ends.client, data))
        await until(lambda: splice._pipes.lent == 1)
        assert not sending.done()
        received = bytearray()
        while len(received) < len(data):
            received += await asyncio.wait_for(loop.sock_recv(ends.app, 1 << 20), 10)
        await asyncio.wait_for(sending, 10)
        assert received == data
        await until(lambda: splice._pipes.lent == 0)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_reset_is_passed_on_and_frees_the_pipe(waits: bool) -> None:
    loop = asyncio.get_running_loop()
    async with through() as ends:
        if waits:
            sending = asyncio.ensure_future(loop.sock_sendall(ends.client, bytes(30_000_000)))
            await until(lambda: splice._pipes.lent == 1)
        ends.app.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends.app.close()
        if waits:
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(sending, 10)
        else:
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(loop.sock_recv(ends.client, 10), 10)
        await until(lambda: ends.infos)
    assert splice._pipes.lent == 0


async def test_without_a_pipe_the_bytes_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(splice._pipes, "_most", 0)
    async with through() as ends:
        await loop.sock_sendall(ends.client, b"x" * 200_000)
        ends.client.shutdown(socket.SHUT_WR)
        assert await everything(ends.app) == b"x" * 200_000


async def test_where_the_kernel_refuses_the_bytes_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(splice, "_splice", refuse)
    async with through() as ends:
        await loop.sock_sendall(ends.app, b"hello")
        assert await asyncio.wait_for(loop.sock_recv(ends.client, 10), 10) == b"hello"
    assert splice._pipes.lent == 0


async def test_what_was_kept_is_not_overtaken() -> None:
    loop = asyncio.get_running_loop()
    (a, b), (c, d) = socket.socketpair(), socket.socketpair()
    for sock in (a, b, c, d):
        sock.setblocking(False)
    source, target = SplicedConnection(loop, b, Recorder()), SplicedConnection(loop, c, Recorder())
    kept = b"kept" * 500_000
    target.write(kept)
    assert target.unsent
    source.splice_to(target, lambda: None)
    source.owner = target_writer = Recorder()
    target_writer.on_data = target.write  # type: ignore[method-assign]
    a.send(b"after")
    source.start()
    data = bytearray()
    while len(data) < len(kept) + 5:
        data += await asyncio.wait_for(loop.sock_recv(d, 1 << 20), 10)
    assert data == kept + b"after"
    for one in (source, target):
        one.close()
    a.close()
    d.close()


def test_pipes_are_few_and_come_back_empty() -> None:
    pipes = Pipes(most=3)
    lent = [pipes.lend() for _ in range(4)]
    assert [pipe is not None for pipe in lent] == [True, True, True, False]
    first = lent[0]
    assert first is not None
    pipes.give_back(first, empty=True)
    assert pipes.lend() == first
    pipes.give_back(first, empty=False)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first[0])
    for pipe in lent[1:3]:
        assert pipe is not None
        pipes.give_back(pipe, empty=True)
    pipes.close()
    assert pipes.lent == 0


def test_only_plaintext_is_spliced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        assert splice.can_splice(sock)
        monkeypatch.setattr(splice, "_splice", None)
        assert not splice.can_splice(sock)
