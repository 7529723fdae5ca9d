"""Streams to servers that are asyncio's, with Python's own TLS."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from proxy.net.connection import BURST
from proxy.net.stream import Stream, open_stream
from proxy.tls.openssl import TlsError
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa, load_pair

LIMIT = 1024
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A line, back in capitals, and the end."""
    writer.write((await reader.readline()).upper())
    writer.close()


@asynccontextmanager
async def server(
    serve: Serve, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, host, 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


def pythons(ca: MeshCa, *names: str, ips: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, *ca.issue(dns=names, ips=ips))
    return context


def trusting(ca: MeshCa) -> SslContext:
    context = SslContext(server=False)
    context.verify_peer(ca.root_pem, required=True)
    return context


async def said(stream: Stream, line: bytes) -> bytes:
    stream.write(line)
    try:
        return await stream.reader.read()
    finally:
        stream.close()


async def test_what_is_written_and_read() -> None:
    async with server(shout) as port:
        assert await said(await open_stream("127.0.0.1", port, limit=LIMIT), b"hello\n") == b"HELLO\n"


async def test_the_certificate_must_have_the_name(mesh_ca: MeshCa) -> None:
    sni: list[str | None] = []
    context = pythons(mesh_ca, "localhost")
    context.sni_callback = lambda _socket, name, _context: sni.append(name)
    async with server(shout, context) as port:
        stream = await open_stream("localhost", port, trusting(mesh_ca), limit=LIMIT)
        assert await said(stream, b"hello\n") == b"HELLO\n"
        with pytest.raises(TlsError, match=r"expected SANs: \[127.0.0.1\], certificate SANs: \[localhost\]"):
            await open_stream("127.0.0.1", port, trusting(mesh_ca), limit=LIMIT)
        # Who trusts anybody asks for no name.
        stream = await open_stream("127.0.0.1", port, SslContext(server=False), limit=LIMIT)
        assert await said(stream, b"hello\n") == b"HELLO\n"
    assert sni == ["localhost", None, None]


async def test_an_address_is_in_the_certificate_as_one(mesh_ca: MeshCa) -> None:
    """And no pattern of names stands for it."""
    async with server(shout, pythons(mesh_ca, ips=("127.0.0.1",))) as port:
        stream = await open_stream("127.0.0.1", port, trusting(mesh_ca), limit=LIMIT)
        assert await said(stream, b"hello\n") == b"HELLO\n"
    for name in ("127.0.0.1", "*.0.0.1"):
        async with server(shout, pythons(mesh_ca, name)) as port:
            with pytest.raises(TlsError, match=r"expected SANs: \[127.0.0.1\]"):
                await open_stream("127.0.0.1", port, trusting(mesh_ca), limit=LIMIT)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
@pytest.mark.parametrize("host", ["::1", "0:0:0:0:0:0:0:1"])
async def test_an_address_of_ipv6_however_it_is_written(mesh_ca: MeshCa, host: str) -> None:
    async with server(shout, pythons(mesh_ca, ips=("::1",)), "::1") as port:
        stream = await open_stream(host, port, trusting(mesh_ca), limit=LIMIT)
        assert await said(stream, b"hello\n") == b"HELLO\n"


async def test_a_name_that_ends_with_the_root(mesh_ca: MeshCa, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its dot is for the resolver; neither certificates nor SNI have it."""
    sni: list[str | None] = []
    context = pythons(mesh_ca, "control.example")
    context.sni_callback = lambda _socket, name, _context: sni.append(name)
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo
    asked: list[object] = []

    async def resolved(host: object, port: object, **how: object) -> object:
        asked.append(host)
        return await resolve("127.0.0.1", port, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "getaddrinfo", resolved)
    async with server(shout, context) as port:
        stream = await open_stream("control.example.", port, trusting(mesh_ca), limit=LIMIT)
        assert await said(stream, b"hello\n") == b"HELLO\n"
    assert (asked[-1], sni) == ("control.example.", ["control.example"])


async def test_the_certificate_must_be_of_a_root(mesh_ca: MeshCa) -> None:
    async with server(shout, pythons(MeshCa(), "localhost")) as port:
        with pytest.raises(TlsError, match=r"^CERTIFICATE_VERIFY_FAILED: certificate signature failure$"):
            await open_stream("localhost", port, trusting(mesh_ca), limit=LIMIT)


async def test_a_long_answer(mesh_ca: MeshCa) -> None:
    text = b"abcdefgh" * 500_000

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        await writer.drain()
        writer.close()

    for tls in (None, pythons(mesh_ca, "localhost")):
        async with server(talk, tls) as port:
            stream = await open_stream("localhost", port, trusting(mesh_ca) if tls else None, limit=LIMIT)
            assert await said(stream, b"") == text


async def test_a_reset_is_told_by_the_reader() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *bytes(7)])
        )
        writer.transport.abort()

    async with server(reset) as port:
        stream = await open_stream("127.0.0.1", port, limit=LIMIT)
        with pytest.raises(ConnectionResetError):
            await said(stream, b"hello\n")


async def nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("serve", [nothing, shout], ids=["ends", "waits"])
async def test_no_handshake(mesh_ca: MeshCa, serve: Serve) -> None:
    """Nothing is left open, whether the server ends the connection or we no longer wait: that would be a warning."""
    async with server(serve) as port:
        with pytest.raises((OSError, TimeoutError)):
            async with asyncio.timeout(0.1):
                await open_stream("localhost", port, trusting(mesh_ca), limit=LIMIT)
        gc.collect()


async def test_nobody_there() -> None:
    async with server(shout) as port:
        pass
    with pytest.raises(ConnectionRefusedError):
        await open_stream("localhost", port, limit=LIMIT)
    with pytest.raises(OSError, match=r"not known|No address|resolution"):
        await open_stream("nobody.invalid", port, limit=LIMIT)


async def test_the_address_it_comes_from() -> None:
    async def peer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        writer.close()

    async with server(peer) as port:
        stream = await open_stream("127.0.0.1", port, source_address="127.0.0.6", limit=LIMIT)
        assert await said(stream, b"") == b"127.0.0.6"


@pytest.mark.parametrize("tls", [False, True])
async def test_one_who_talks_without_end_has_to_wait(mesh_ca: MeshCa, tls: bool) -> None:
    """Of what nobody reads no more is held than twice the limit and a burst."""
    gone = asyncio.Event()

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        writer.close()
        gone.set()

    async with server(talk, pythons(mesh_ca, "localhost") if tls else None) as port:
        stream = await open_stream("localhost", port, trusting(mesh_ca) if tls else None, limit=LIMIT)
        async with asyncio.timeout(10):
            while stream._connection.reading:
                await asyncio.sleep(0)
        assert len(stream.reader._buffer) < 2 * LIMIT + 2 * BURST  # type: ignore[attr-defined]
        assert not stream.at_rest
        assert await stream.reader.readexactly(5_000_000) == b"x" * 5_000_000
        stream.close()
        await gone.wait()


async def test_rest_is_when_nothing_was_said_that_is_not_read() -> None:
    async with server(shout) as port:
        stream = await open_stream("127.0.0.1", port, limit=LIMIT)
        assert stream.at_rest
        stream.write(b"hello\n")
        assert await stream.reader.readexactly(3) == b"HEL"
        assert not stream.at_rest
        assert await stream.reader.read() == b"LO\n"
        assert not stream.at_rest, "it has ended"
        stream.close()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def test_whoever_gives_up_while_it_connects_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        address = listening.getsockname()
        waiting = [socket.socket() for _ in range(4)]  # more than the kernel keeps: the next is not answered
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        opening = asyncio.create_task(open_stream(*address, limit=LIMIT))
        before = descriptors()
        async with asyncio.timeout(10):
            while not descriptors() - before:
                await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert descriptors() == before
        for one in waiting:
            one.close()


@pytest.mark.parametrize("rounds", range(6))
async def test_whoever_gives_up_in_a_handshake_leaves_nothing_open(mesh_ca: MeshCa, rounds: int) -> None:
    async with server(shout, pythons(mesh_ca, "localhost")) as port:
        warm = await open_stream("localhost", port, trusting(mesh_ca), limit=LIMIT)
        assert await said(warm, b"hello\n") == b"HELLO\n"
        before = descriptors()
        opening = asyncio.create_task(open_stream("127.0.0.1", port, SslContext(server=False), limit=LIMIT))
        for _ in range(rounds * 2):
            await asyncio.sleep(0)
        opening.cancel()
        with suppress(asyncio.CancelledError):
            (await opening).close()
        async with asyncio.timeout(10):
            while descriptors() - before:
                await asyncio.sleep(0.001)  # the server's end of it
