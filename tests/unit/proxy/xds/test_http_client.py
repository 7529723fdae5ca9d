"""The HTTP client against a server that says exactly what the test wrote."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.tls.ssl_context import SslContext
from proxy.xds import http_client
from proxy.xds.http_client import HttpClient, HttpError
from tests.unit.proxy.mesh_ca import MeshCa, load_pair

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
END = b"<END>"  # behind an answer: then the connection


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, int]]:
    """Until each connection has ended; clients close theirs before."""
    running: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        running.discard(task)

    server = await asyncio.start_server(connection, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        while running:
            await asyncio.sleep(0)


def speaking(
    *answers: bytes | None, seen: list[bytes] | None = None
) -> AbstractAsyncContextManager[tuple[str, int]]:
    """Each connection gets one answer per request from the list; None closes the connection instead."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            request = await reader.readuntil(b"\r\n\r\n")
            if seen is not None:
                seen.append(request)
            answer = left.pop(0)
            if answer is None:
                break
            writer.write(answer.removesuffix(END))
            await writer.drain()
            if answer.endswith(END):
                break

    return serving(serve)


def member(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)


def packed(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body


BODIES = [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", (200, b"ok")),
    (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x\r\no\r\n1\r\nk\r\n0\r\nt: 1\r\n\r\n",
        (200, b"ok"),
    ),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", (304, b"")),
    (packed(member(b"o") + member(b"") + member(b"k")), (200, b"ok")),
    (b"HTTP/1.1 503 No\r\n\r\nwhy", (503, b"why")),
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        (200, b"ok"),
    ),
]


@pytest.mark.parametrize(("answer", "expected"), BODIES)
async def test_bodies(answer: bytes, expected: tuple[int, bytes]) -> None:
    async with speaking(answer) as address:
        client = HttpClient(*address)
        got = await client.request("GET", "/", within=5)
        client.close()
    assert (got.status, got.body) == expected


async def test_a_body_that_lasts_until_the_end_is_all_that_comes() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(20):
            writer.write(b"part " * 10_000)
            await writer.drain()

    async with serving(serve) as address:
        assert (await HttpClient(*address).request("GET", "/", within=5)).body == b"part " * 200_000


CUT = [
    b"content-length: 30\r\n\r\n" + b"x" * 20,
    b"content-length: 999999999999\r\n\r\n" + b"x" * 20,
    b"transfer-encoding: chunked\r\n\r\n14\r\n" + b"x" * 20,
    b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20,
    b"content-encoding: gzip\r\n\r\n" + b"x" * 20,
]


@pytest.mark.parametrize("answer", CUT)
async def test_no_more_of_a_body_is_read_than_is_wanted(answer: bytes) -> None:
    """A server that goes on for ever is left."""
    async with speaking(b"HTTP/1.1 200 OK\r\n" + answer, ok()) as address:
        client = HttpClient(*address)
        got = await client.request("GET", "/", within=5, most=10)
        assert (got.status, len(got.body)) == (200, 10)
        assert (await client.request("GET", "/", within=5)).body == b"", "on a connection of its own"
        client.close()


@pytest.mark.parametrize("text", [b"x" * 9, b"x" * 10, b"x" * 11, b"x" * 1_000_000])
@pytest.mark.parametrize("times", [1, 3])
async def test_no_more_is_unpacked_than_is_wanted(text: bytes, times: int) -> None:
    """A few KB may be gzip of many MB."""
    answer = packed(member(text) * times)
    async with speaking(answer) as address:
        client = HttpClient(*address)
        got = await client.request("GET", "/", within=5, most=10_000)
        assert got.body == (text * times)[:10_000]
        client.close()


def ok(*more: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "content-length: 0", *more, "", ""]).encode()


WRONG = [
    (b"nonsense\r\n\r\n", "not an HTTP response"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "closed before the response was complete"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n", "body too large"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70000, "limit"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", "longer than it says"),
    (packed(b"no"), "not gzip|ends too early"),
    (packed(member(b"ok")[:-4]), "ends too early"),
    (None, "closed before"),
]


@pytest.mark.parametrize(("answer", "text"), WRONG)
async def test_what_is_not_a_response_is_one_line(answer: bytes | None, text: str) -> None:
    async with speaking(answer) as address:
        with pytest.raises(HttpError, match=text) as caught:
            await HttpClient(*address).request("GET", "/", within=5)
    assert "\n" not in str(caught.value)


async def test_a_kept_connection_that_ended_is_opened_anew() -> None:
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    async with speaking(ok, None, ok) as address:
        client = HttpClient(*address)
        assert (await client.request("GET", "/", within=5)).status == 200
        assert (await client.request("GET", "/", within=5)).status == 200
        client.close()


@pytest.mark.parametrize("unasked", [b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n", b"x"])
async def test_what_was_said_unasked_is_no_answer(unasked: bytes) -> None:
    """As a server says that ends an idle connection; it is not what the next request is answered."""
    async with speaking(ok() + unasked, ok("x: second")) as address:
        client = HttpClient(*address)
        assert (await client.request("GET", "/", within=5)).status == 200
        assert (await client.request("GET", "/", within=5)).headers["x"] == "second"
        client.close()


async def test_what_was_answered_in_part_is_not_asked_again() -> None:
    seen: list[bytes] = []
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    async with speaking(ok(), head + END, ok(), seen=seen) as address:
        client = HttpClient(*address)
        await client.request("GET", "/", within=5)
        with pytest.raises(HttpError, match="closed before the response was complete"):
            await client.request("GET", "/", within=5)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (ok(), 1),
        (ok("connection: keep-alive"), 1),
        (ok("connection: Close"), 2),
        (ok("connection: x, close"), 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 2),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", 1),
    ],
)
async def test_which_connections_are_kept(answer: bytes, connections: int) -> None:
    peers = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)

    async with serving(serve) as address:
        client = HttpClient(*address)
        for _ in range(2):
            assert (await client.request("GET", "/", within=5)).status == 200
        client.close()
    assert len(peers) == connections


async def test_an_address_of_ipv6_is_in_brackets() -> None:
    client = HttpClient("::1", 15012)
    assert str(client) == "[::1]:15012"
    assert b"\r\nHost: [::1]:15012\r\n" in client._head("GET", "/", b"", ())


@pytest.mark.parametrize("broken", ["path", "token", "header"])
async def test_a_head_of_several_lines_in_one_is_not_sent(broken: str) -> None:
    text = "x\r\nEvil: yes"
    client = HttpClient("127.0.0.1", 1, token=lambda: text if broken == "token" else None)
    headers = [("A", text)] if broken == "header" else []
    with pytest.raises(HttpError, match="a line break in the head") as refused:
        await client.request("GET", text if broken == "path" else "/", within=5, headers=headers)
    assert "Evil" not in str(refused.value)


class _Counting:
    """A `zlib.decompressobj` that notes what it is given: what follows a member is copied at its end."""

    given = 0

    def __init__(self, bits: int) -> None:
        self._own = zlib.decompressobj(bits)

    def decompress(self, data: bytes, most: int) -> bytes:
        _Counting.given += len(data)
        return self._own.decompress(data, most)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


async def test_twice_as_many_members_of_gzip_are_twice_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not four times: 6 MB of empty ones took half a minute."""
    counting = SimpleNamespace(decompressobj=_Counting, MAX_WBITS=zlib.MAX_WBITS, error=zlib.error)
    monkeypatch.setattr(http_client, "zlib", counting)
    work = []
    for count in (20_000, 40_000):
        _Counting.given = 0
        async with speaking(packed(member(b"") * count + member(b"ok"))) as address:
            client = HttpClient(*address)
            assert (await client.request("GET", "/", within=30)).body == b"ok"
            client.close()
        work.append(_Counting.given)
    assert work[1] < 2.1 * work[0]


@pytest.mark.parametrize("framing", ["content-length: 10", "transfer-encoding: chunked"])
async def test_a_tls_connection_cut_within_a_body(mesh_ca: MeshCa, framing: str) -> None:
    """Without close_notify, as one would who cannot forge any: no short answer is taken for a whole one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, *mesh_ca.issue(dns=("localhost",)))
    roots = SslContext(server=False)
    roots.verify_peer(mesh_ca.root_pem, required=True)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n4\r\nabcd\r\n".encode())
        await writer.drain()
        writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
        writer.transport.abort()

    async with serving(serve, context) as (_, port):
        client = HttpClient("localhost", port, tls=lambda: roots)
        with pytest.raises(HttpError, match="closed before the response was complete"):
            await client.request("GET", "/", within=5)


async def test_token_and_host_and_headers() -> None:
    seen: list[bytes] = []
    tokens: list[str | None] = ["one", None]
    next_token: Callable[[], str | None] = lambda: tokens.pop(0)  # noqa: E731
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    async with speaking(ok, ok, seen=seen) as address:
        client = HttpClient(*address, token=next_token)
        await client.request("GET", "/a", within=5)
        await client.request("GET", "/b", within=5, headers=[("Host", "other"), ("X", "1")])
        client.close()
    assert f"Host: 127.0.0.1:{address[1]}\r\nAuthorization: Bearer one\r\n".encode() in seen[0]
    assert seen[1] == b"GET /b HTTP/1.1\r\nHost: other\r\nX: 1\r\n\r\n"


async def test_nobody_there_and_no_answer() -> None:
    async with speaking() as address:
        pass
    with pytest.raises(HttpError, match="Connect"):
        await HttpClient(*address).request("GET", "/", within=5)
    forever = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forever.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    with pytest.raises(HttpError, match=r"no answer within 0\.05 s"):
        await HttpClient(*server.sockets[0].getsockname()[:2]).request("GET", "/", within=0.05)
    forever.set()
    server.close()
