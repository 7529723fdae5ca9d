"""Connecting over real sockets: one callback, never from inside `connect`, none after `cancel`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from proxy.deadlines import Deadlines
from proxy.net.connect import SocketConnecting, SocketConnector, _keep_alive
from proxy.upstream.connector import ConnectSettings, Keepalive
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.transport import NO_OPTIONS, RAW


class Outcome:
    """What a connector reported."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.happened = asyncio.Event()

    def report(self, what: Any) -> None:
        self.found.append(what)
        self.happened.set()


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    loop = asyncio.get_running_loop()
    found = Deadlines(loop.call_later, loop.time)
    yield found
    found.close()


Connect = Callable[..., SocketConnecting]


@pytest.fixture
async def connect(deadlines: Deadlines) -> Connect:
    connector = SocketConnector(asyncio.get_running_loop(), deadlines)

    def start(address: tuple[str, int], outcome: Outcome, timeout: float = 5.0) -> SocketConnecting:
        settings = ConnectSettings(timeout)
        return connector.connect(address, RAW, NO_OPTIONS, settings, outcome.report, outcome.report)

    return start


async def test_a_connection_is_reported_once_and_later(connect: Connect, deadlines: Deadlines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = Outcome()
        connect(server.getsockname(), outcome)
        assert not outcome.found
        await outcome.happened.wait()
        (sock,) = outcome.found
        assert sock.getpeername() == server.getsockname()
        sock.close()
    assert "armed=0" in repr(deadlines)


async def test_nothing_is_reported_after_cancel(connect: Connect, deadlines: Deadlines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = Outcome()
        connect(server.getsockname(), outcome).cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not outcome.found
    assert "armed=0" in repr(deadlines)


async def test_nobody_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    outcome = Outcome()
    connect(address, outcome)
    assert not outcome.found
    await outcome.happened.wait()
    (failure,) = outcome.found
    assert isinstance(failure, UpstreamReset)
    assert failure.reason is ResetReason.REMOTE_CONNECTION_FAILURE
    assert failure.transport == "delayed connect error: Connection refused"


async def test_nobody_accepts(connect: Connect) -> None:
    """A full backlog: the kernel drops what comes, and the timeout ends the wait."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        outcome = Outcome()
        connect(server.getsockname(), outcome, timeout=0.05)
        await outcome.happened.wait()
        for one in full:
            one.close()
    assert outcome.found[0].reason is ResetReason.CONNECTION_TIMEOUT


def test_keepalive_probes_are_set_on_the_socket() -> None:
    options = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
    with socket.socket() as sock:
        _keep_alive(sock, Keepalive(3, 60, 7))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [3, 60, 7]
    with socket.socket() as sock:
        usual = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        _keep_alive(sock, Keepalive())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == usual
        with pytest.raises(OSError, match="Invalid argument"):
            _keep_alive(sock, Keepalive(2**32 - 1, 60, 7))
