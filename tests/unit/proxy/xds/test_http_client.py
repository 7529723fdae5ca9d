"""The HTTP client against a server that says exactly what the test wrote."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.xds.http_client import HttpClient, HttpError


@asynccontextmanager
async def speaking(*answers: bytes | None, seen: list[bytes] | None = None) -> AsyncIterator[tuple[str, int]]:
    """Each connection gets one answer per request from the list; None closes the connection instead."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while left:
                request = await reader.readuntil(b"\r\n\r\n")
                if seen is not None:
                    seen.append(request)
                answer = left.pop(0)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()


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
]


@pytest.mark.parametrize(("answer", "expected"), BODIES)
async def test_bodies(answer: bytes, expected: tuple[int, bytes]) -> None:
    async with speaking(answer) as address:
        client = HttpClient(*address)
        got = await client.request("GET", "/", within=5)
        client.close()
    assert (got.status, got.body) == expected


WRONG = [
    (b"nonsense\r\n\r\n", "not an HTTP response"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "closed before the response was complete"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n", "body too large"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "invalid literal"),
    (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70000, "limit"),
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
