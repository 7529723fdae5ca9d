"""The little HTTP server: keep-alive, limits, and whatever bytes come in."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.admin.http_server import Handler, HttpServer, Request, Response
from proxy.xds.http_client import HttpClient


async def echo(request: Request) -> Response:
    if request.path == "/raise":
        raise RuntimeError("page")
    if request.path == "/large":
        return Response("x" * 5000)
    if request.path == "/empty":
        return Response(status=503)
    return Response(
        f"{request.method} {request.path} {request.query} {request.body.decode()} {request.local}"
    )


@asynccontextmanager
async def serving(handler: Handler = echo) -> AsyncIterator[tuple[str, int]]:
    server = HttpServer(handler, "envoy", (("cache-control", "no-cache"),))
    try:
        yield await server.start("127.0.0.1", 0)
    finally:
        await server.close()


async def talk(address: tuple[str, int], sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    writer.write_eof()
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_keep_alive_and_query() -> None:
    async with serving() as address:
        client = HttpClient(*address)
        for _ in range(2):
            answer = await client.request("POST", "/a%20b?x=1&y", b"body", within=5)
            assert answer.body == b"POST /a b {'x': '1', 'y': ''} body True"
            assert answer.headers["server"] == "envoy"
            assert answer.headers["cache-control"] == "no-cache"
        client.close()


async def test_head_sends_no_body() -> None:
    async with serving() as address:
        got = await talk(address, b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n")
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"content-length: 15" in head
    assert body == b""


async def test_gzip_on_request() -> None:
    async with serving() as address:
        got = await talk(
            address, b"GET /large HTTP/1.1\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
        )
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"content-encoding: gzip" in head
    assert gzip.decompress(body) == b"x" * 5000


async def test_a_page_that_raises_answers_500_and_the_connection_goes_on() -> None:
    async with serving() as address:
        got = await talk(address, b"GET /raise HTTP/1.1\r\n\r\nGET /empty HTTP/1.1\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 500 ")
    assert b"HTTP/1.1 503 Service Unavailable\r\n" in got


BAD = [
    (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET http://x/ HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET / HTTP/3\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", b"HTTP/1.1 400 "),
    (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b"HTTP/1.1 400 "),
    (b"GET / HTTP/1.1\r\nx: " + b"y" * 70000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
    (b"GET / HT", b""),
    (b"", b""),
    (b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nab", b""),
]


@pytest.mark.parametrize(("sent", "start"), BAD)
async def test_malformed(sent: bytes, start: bytes) -> None:
    async with serving() as address:
        got = await talk(address, sent)
        assert got.startswith(start)
        assert (await talk(address, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_leave_the_server_serving(sent: bytes) -> None:
    async def run() -> None:
        async with serving() as address:
            await talk(address, sent)
            assert (await talk(address, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    asyncio.run(run())
