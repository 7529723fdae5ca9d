"""A connection over real sockets, plain and TLS, and over a fake one for what the kernel does not do on demand."""

from __future__ import annotations

import asyncio
import socket
import weakref

import pytest

from proxy.net.connection import HIGH_WATER, Connection
from proxy.net.tls_connection import connection_on
from proxy.net.tls_socket import Established
from tests.unit.proxy.in_memory import FakeLoop, FakeSocket
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.net.tls_pairs import pair, tls_pair, with_pythons


class Recorder:
    """An owner that remembers, and lets a test wait for what it remembers."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.eof = asyncio.Event()
        self.ends = 0
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
        self.ends += 1
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


def connected() -> tuple[socket.socket, socket.socket]:
    """A pair that can be reset."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        here = socket.create_connection(server.getsockname())
        return here, server.accept()[0]


def ends(kind: str, ca: MeshCa) -> tuple[Established, Established]:
    return pair() if kind == "plain" else tls_pair(ca)


@pytest.mark.parametrize("size", [1, 16384, 16385, 200_000, 3_000_000])
@pytest.mark.parametrize("kind", ["plain", "tls"])
async def test_bytes_arrive_whole_and_in_order(kind: str, size: int, mesh_ca: MeshCa) -> None:
    loop = asyncio.get_running_loop()
    left, right = ends(kind, mesh_ca)
    sender, receiver = Recorder(), Recorder()
    a, b = connection_on(loop, left, sender), connection_on(loop, right, receiver)
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
async def test_a_long_message_passes_in_pieces(kind: str, mesh_ca: MeshCa) -> None:
    loop = asyncio.get_running_loop()
    left, right = ends(kind, mesh_ca)
    sender, receiver = Recorder(), Recorder()
    a, b = connection_on(loop, left, sender), connection_on(loop, right, receiver)
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
async def test_an_end_behind_a_burst_is_told_though_reading_was_paused(kind: str, mesh_ca: MeshCa) -> None:
    loop = asyncio.get_running_loop()
    left, right = ends(kind, mesh_ca)
    sender, receiver = Recorder(), Recorder()
    a, b = connection_on(loop, left, sender), connection_on(loop, right, receiver)
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


@pytest.mark.parametrize("kind", ["plain", "tls"])
@pytest.mark.parametrize("size", [0, 10, 40_000])
@pytest.mark.parametrize("paused", [False, True])
async def test_an_end_is_told_once_however_often_reading_is_resumed(
    kind: str, size: int, paused: bool, mesh_ca: MeshCa
) -> None:
    """`paused` while it came: then it is told later, behind what came before it."""
    loop = asyncio.get_running_loop()
    left, right = ends(kind, mesh_ca)
    receiver = Recorder()
    a, b = connection_on(loop, left, Recorder()), connection_on(loop, right, receiver)
    b.start()
    if paused:
        b.pause_reading()
    a.write(b"x" * size)
    a.finish_writing()
    if paused:
        assert await turns(receiver) == 0
        b.resume_reading()
    await asyncio.wait_for(receiver.eof.wait(), 10)
    assert len(receiver.data) == size
    for _ in range(3):
        b.resume_reading()
        b.pause_reading()
        b.resume_reading()
        assert await turns(receiver) == 1
    a.close()
    b.close()


async def turns(recorder: Recorder) -> int:
    """What is due is done; how often an end was told."""
    for _ in range(5):
        await asyncio.sleep(0)
    return recorder.ends


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
async def test_an_unannounced_tls_end_after_ours_is_an_end(reset: bool, mesh_ca: MeshCa) -> None:
    left, right = with_pythons(mesh_ca, *connected())
    owner = Recorder()
    connection = connection_on(asyncio.get_running_loop(), left, owner)
    connection.start()
    connection.finish_writing()
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
