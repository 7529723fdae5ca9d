"""uvloop's readers when the peer resets: what it sent before is read, and the reset seen, as on asyncio's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.net.tls_connection import connection_on
from proxy.net.tls_socket import Established
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.net.tls_pairs import with_pythons

pytest.importorskip("uvloop")
from proxy.net.event_loop import Loop

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [Loop, asyncio.new_event_loop]


@contextlib.contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Over TCP, which knows resets: the peer, and our end, which does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setblocking(False)
    with peer, ours:
        yield peer, ours


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Seen:
    """Reads `size` bytes each time it is called, until the end or an error."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, size: int = 4) -> None:
        self.loop, self.sock, self.size = loop, sock, size
        self.reads: list[bytes | str] = []
        self.over = loop.create_future()

    def read(self, *mark: str) -> None:
        self.reads.extend(mark)
        try:
            data = self.sock.recv(self.size)
        except OSError as error:
            data = b""
            self.reads.append(type(error).__name__)
        if data:
            self.reads.append(data)
        else:
            self.loop.remove_reader(self.sock.fileno())
            self.over.set_result(None)


def run(loop: Callable[[], asyncio.AbstractEventLoop], main: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("sent", [b"", b"abcd", b"abcdefgh", b"abcdefghijklmnop"])
def test_what_was_sent_before_a_reset_is_read_and_the_reset_seen(
    sent: bytes, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def main() -> None:
        running = asyncio.get_running_loop()
        with connected() as (peer, ours):
            seen = Seen(running, ours)
            peer.sendall(sent)
            reset(peer)
            running.add_reader(ours.fileno(), seen.read, "called")
            await seen.over
        pieces = [sent[at : at + 4] for at in range(0, len(sent), 4)]
        assert [one for one in seen.reads if one != "called"] == [*pieces, "ConnectionResetError"]
        assert seen.reads.count("called") == len(pieces) + 1

    run(loop, main)


def test_a_reader_that_was_taken_away_is_not_put_back() -> None:
    async def main() -> None:
        running = asyncio.get_running_loop()
        calls: list[int] = []
        with connected() as (peer, ours):
            fd = ours.fileno()
            peer.sendall(b"abcdefgh")
            reset(peer)

            def removes() -> None:
                calls.append(fd)
                running.remove_reader(fd)

            running.add_reader(fd, removes)
            while not calls:
                await asyncio.sleep(0)
            for _ in range(10):
                await asyncio.sleep(0)
        assert calls == [fd]
        assert running._kept.keys().isdisjoint({fd})  # type: ignore[attr-defined]

    run(Loop, main)


def test_a_reader_removed_before_its_turn_leaves_the_descriptor_to_the_next() -> None:
    """The descriptor that was let go is closed in the same turn, and another connection gets its number."""

    async def main() -> None:
        running = asyncio.get_running_loop()
        calls: list[str] = []
        with connected() as (peer, ours), connected() as (other_peer, other):
            fd = ours.fileno()
            peer.sendall(b"abcdefgh")
            reset(peer)
            done = running.create_future()

            def first() -> None:
                calls.append("first")
                running.call_soon(replace)  # before what puts it back

            def replace() -> None:
                running.remove_reader(fd)
                ours.close()
                os.dup2(other.fileno(), fd)
                running.add_reader(fd, second)
                other_peer.sendall(b"x")

            def second() -> None:
                calls.append("second")
                running.remove_reader(fd)
                done.set_result(None)

            running.add_reader(fd, first)
            await done
            os.close(fd)
        assert calls == ["first", "second"]

    run(Loop, main)


def test_a_loop_that_is_closed_puts_nothing_back() -> None:
    with connected() as (peer, ours):
        loop = Loop()
        calls: list[int] = []
        peer.sendall(b"abcdefgh")
        reset(peer)
        loop.add_reader(ours.fileno(), calls.append, 1)
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        del loop
        gc.collect()


class Owner:
    """What a connection told."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end = asyncio.get_running_loop().create_future()

    def on_data(self, data: bytes) -> None:
        self.data += data

    def on_burst(self, pieces: list[bytes]) -> None:
        self.data += b"".join(pieces)

    def on_eof(self) -> None:
        self.end.set_result("eof")

    def on_error(self, error: OSError) -> None:
        self.end.set_result(type(error).__name__)

    def on_drain(self) -> None: ...


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_connection_reset_in_the_middle_of_a_message_ends(
    kind: str, loop: Callable[[], asyncio.AbstractEventLoop], mesh_ca: MeshCa, tmp_path: Path
) -> None:
    """The soak's stuck request: head and half a body arrive together with the reset."""

    async def main() -> None:
        running = asyncio.get_running_loop()
        with connected() as (peer, ours):
            end: Established = ours
            if kind == "tls":
                end, peer = with_pythons(mesh_ca, ours, peer)
            owner = Owner()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else the reset may overtake
            peer.sendall(b"POST / HTTP/1.1\r\ncontent-length: 100\r\n\r\n")
            peer.sendall(b"half of it")
            reset(peer)
            connection_on(running, end, owner).start()
            assert await owner.end == "ConnectionResetError"
        assert owner.data.endswith(b"\r\n\r\nhalf of it")

    run(loop, main)
