"""A connection over real sockets, plain and TLS, and over a fake one for what the kernel does not do on demand."""

from __future__ import annotations

import asyncio
import socket
import ssl
import weakref
from typing import Any

import pytest

from proxy.net.connection import HIGH_WATER, Connection
from tests.unit.proxy.in_memory import FakeLoop, FakeSocket
from tests.unit.proxy.mesh_ca import MeshCa


class Recorder:
    """An owner that remembers, and lets a test wait for what it remembers."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.eof = asyncio.Event()
        self.error: OSError | None = None
        self.drains = 0
        self.bursts = 0
        self.changed = asyncio.Event()

    def on_data(self, data: bytes) -> None:
        self.data += data
        self.changed.set()

    def on_burst(self, pieces: list[bytes]) -> None:
        assert len(pieces) > 1
        self.bursts += 1
        self.on_data(b"".join(pieces))

    def on_eof(self) -> None:
        self.eof.set()
        self.changed.set()

    def on_error(self, error: OSError) -> None:
        self.error = error
        self.changed.set()

    def on_drain(self) -> None:
        self.drains += 1

    async def until(self, size: int) -> None:
        while len(self.data) < size:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)


def pair() -> tuple[socket.socket, socket.socket]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


def connected() -> tuple[socket.socket, socket.socket]:
    """A pair that can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        return here, server.accept()[0]


async def tls_pair(
    ca: MeshCa, tmp_path: Any, between: tuple[socket.socket, socket.socket] | None = None
) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    chain, key = ca.issue("spiffe://cluster.local/ns/a/sa/b")
    file = tmp_path / "pair.pem"
    file.write_text(key + chain)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.create_default_context(cadata=ca.root_pem)
    client.check_hostname = False
    left, right = between or socket.socketpair()
    loop = asyncio.get_running_loop()
    wrapped = loop.run_in_executor(None, lambda: server.wrap_socket(left, server_side=True))
    other = await loop.run_in_executor(None, lambda: client.wrap_socket(right, server_hostname=None))
    first = await wrapped
    first.setblocking(False)
    other.setblocking(False)
    return first, other


@pytest.mark.parametrize("size", [1, 16384, 16385, 200_000, 3_000_000])
@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_bytes_arrive_whole_and_in_order(kind: str, size: int, mesh_ca: MeshCa, tmp_path: Any) -> None:
    loop = asyncio.get_running_loop()
    left, right = pair() if kind == "plain" else await tls_pair(mesh_ca, tmp_path)
    sender, receiver = Recorder(), Recorder()
    a, b = Connection(loop, left, sender), Connection(loop, right, receiver)
    a.start()
    b.start()
    data = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
    data = data[:size]
    for at in range(0, size, 70_000):
        a.write(data[at : at + 70_000])
    a.finish_writing()
    await receiver.until(size)
    await asyncio.wait_for(receiver.eof.wait(), 10)
    assert receiver.data == data
    assert (a.bytes_out, b.bytes_in) == (size, size)
    b.write(b"and back")
    await sender.until(8)
    assert sender.data == b"and back", "a half-closed connection still carries the other direction"
    a.close()
    b.close()


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_a_long_message_passes_in_pieces(kind: str, mesh_ca: MeshCa, tmp_path: Any) -> None:
    loop = asyncio.get_running_loop()
    left, right = pair() if kind == "plain" else await tls_pair(mesh_ca, tmp_path)
    sender, receiver = Recorder(), Recorder()
    a, b = Connection(loop, left, sender), Connection(loop, right, receiver)
    a.start()
    pieces = [b"head", b"", *(bytes([n % 251]) * (n * 97 + 1) for n in range(300)), b"end"]
    wanted = b"".join(pieces)
    a.write_pieces(pieces)
    a.write(b"more")
    assert a.congested
    b.start()
    await receiver.until(len(wanted) + 4)
    assert receiver.data == wanted + b"more"
    assert receiver.bursts
    assert (a.bytes_out, b.bytes_in) == (len(wanted) + 4, len(wanted) + 4)
    while a.congested:
        await asyncio.sleep(0)
    assert (a.unsent, sender.drains) == (0, 1)
    a.close()
    b.close()


@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_an_end_behind_a_burst_is_told_though_reading_was_paused(
    kind: str, mesh_ca: MeshCa, tmp_path: Any
) -> None:
    loop = asyncio.get_running_loop()
    left, right = pair() if kind == "plain" else await tls_pair(mesh_ca, tmp_path)
    sender, receiver = Recorder(), Recorder()
    a, b = Connection(loop, left, sender), Connection(loop, right, receiver)
    for _ in range(3):
        a.write(b"x" * 16 * 1024)
    a.finish_writing()
    b.start()

    def pause(pieces: list[bytes]) -> None:
        receiver.data += b"".join(pieces)
        b.pause_reading()
        loop.call_soon(loop.call_soon, b.resume_reading)

    receiver.on_burst = receiver.on_data = pause  # type: ignore[method-assign, assignment]
    await asyncio.wait_for(receiver.eof.wait(), 10)
    a.close()
    b.close()


async def test_a_reset_is_an_error_once() -> None:
    loop = asyncio.get_running_loop()
    server = socket.create_server(("127.0.0.1", 0))
    peer = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    accepted.setblocking(False)
    owner = Recorder()
    connection = Connection(loop, accepted, owner)
    connection.start()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    while owner.error is None:
        owner.changed.clear()
        await asyncio.wait_for(owner.changed.wait(), 10)
    assert isinstance(owner.error, ConnectionResetError)
    assert connection.closed
    connection.close()
    server.close()


def test_congestion_begins_above_the_high_watermark_and_ends_when_all_is_sent() -> None:
    loop, owner = FakeLoop(), Recorder()
    sock = FakeSocket(loop)
    connection = Connection(loop, sock, owner)  # type: ignore[arg-type]
    sock.capacity = 10
    connection.write(b"x" * 100)
    assert (connection.unsent, connection.congested) == (90, False)
    connection.write(b"y" * HIGH_WATER)
    assert connection.congested
    sock.capacity = 50
    loop.writers[sock.fd]()
    assert (owner.drains, connection.congested) == (0, True)
    sock.drain()
    assert (owner.drains, connection.congested, connection.unsent) == (1, False, 0)
    assert sock.take() == b"x" * 100 + b"y" * HIGH_WATER
    assert sock.fd not in loop.writers


def test_after_close_nothing_happens() -> None:
    loop, owner = FakeLoop(), Recorder()
    sock = FakeSocket(loop)
    connection = Connection(loop, sock, owner)  # type: ignore[arg-type]
    connection.start()
    sock.capacity = 0
    connection.write(b"lost")
    connection.close()
    connection.close()
    connection.write(b"ignored")
    assert sock.closed
    assert not loop.readers
    assert not loop.writers


@pytest.mark.parametrize("how", ["close", "fail"])
def test_a_closed_connection_lets_go_of_its_owner(how: str) -> None:
    loop, owner = FakeLoop(), Recorder()
    connection = Connection(loop, FakeSocket(loop), owner)  # type: ignore[arg-type]
    connection.start()
    error = OSError("broken")
    if how == "close":
        connection.close()
    else:
        connection._fail(error)
    assert owner.error is (error if how == "fail" else None)
    kept = weakref.ref(owner)
    del owner
    assert kept() is None


class AskedSocket(FakeSocket):
    """Remembers how much was asked for by reads that make their own bytes."""

    def __init__(self, loop: FakeLoop) -> None:
        super().__init__(loop)
        self.asked: list[int] = []

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.asked.append(size)
        return super().recv(size, flags)

    def recv_into(self, buffer: bytearray) -> int:
        data = super().recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def test_what_little_arrives_was_never_larger() -> None:
    """A read for 64 KiB that is cut to what came leaves a hole that others settle in: memory that nobody gets back."""
    loop, owner = FakeLoop(), Recorder()
    sock = AskedSocket(loop)
    Connection(loop, sock, owner).start()  # type: ignore[arg-type]
    sent = (b"GET / HTTP/1.1\r\n\r\n", b"x" * 5000, b"y")
    for data in sent:
        sock.receive(data)
    assert owner.data == b"".join(sent)
    assert sock.asked == []


@pytest.mark.parametrize("size", [65536, 100_000])
async def test_a_reset_behind_a_burst_is_not_an_end(size: int) -> None:
    """Else an opaque connection that broke would be passed on as one that ended."""
    peer, accepted = connected()
    accepted.setblocking(False)
    peer.sendall(b"x" * size)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    owner = Recorder()
    connection = Connection(asyncio.get_running_loop(), accepted, owner)
    connection.start()
    while owner.error is None:
        owner.changed.clear()
        await asyncio.wait_for(owner.changed.wait(), 10)
    assert isinstance(owner.error, ConnectionResetError)
    assert (len(owner.data), owner.eof.is_set()) == (size, False)


@pytest.mark.parametrize("reset", [False, True])
async def test_an_unannounced_tls_end_after_ours_is_an_end(
    reset: bool, mesh_ca: MeshCa, tmp_path: Any
) -> None:
    left, right = await tls_pair(mesh_ca, tmp_path, connected())
    owner = Recorder()
    connection = Connection(asyncio.get_running_loop(), left, owner)
    connection.start()
    connection.finish_writing()
    right.setblocking(True)
    assert right.recv(10) == b""
    right.send(b"x" * 40_000)
    if reset:
        right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    right.close()
    while owner.error is None and not owner.eof.is_set():
        owner.changed.clear()
        await asyncio.wait_for(owner.changed.wait(), 10)
    assert (isinstance(owner.error, ConnectionResetError), owner.eof.is_set()) == (reset, not reset)
    assert reset or len(owner.data) == 40_000
    connection.close()
