"""Streams to servers that are asyncio's, with Python's own TLS."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

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
async def server(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


def pythons(ca: MeshCa, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, *ca.issue(dns=names))
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
