"""What is read without a parser, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proxy.http.codec.h1_lines import read_response, remembered, request_of
from proxy.http.codec.interface import Response


@pytest.fixture(autouse=True)
def _unremembered() -> Iterator[None]:
    remembered.clear()
    yield
    remembered.clear()


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([b"GET /a HTTP/1.1", *lines])


def test_a_line_that_came_before_is_not_read_again() -> None:
    first, second = (request_of(head(b"Host: a", b"X-Other:  b ")) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.headers == second.headers == [(b"host", b"a"), (b"x-other", b"b")]
    assert first.headers[0] is second.headers[0]
    assert first.headers is not second.headers
    assert second.fields == dict(second.headers)


def test_nothing_of_a_caller_is_kept() -> None:
    own = [
        b"authorization: Bearer t",
        b"cookie: s=1",
        b"x-api-key: k",
        b"x-request-id: 1",
        b"traceparent: 00-1-2-01",
        b"x-forwarded-for: 10.0.0.1",
    ]
    assert request_of(head(b"accept: */*", *own)) is not None
    assert list(remembered) == [b"accept: */*"]


def test_what_is_kept_has_bounds() -> None:
    for number in range(2000):
        assert request_of(head(b"user-agent: %d" % number)) is not None
    assert 0 < len(remembered) <= 512
    remembered.clear()
    assert request_of(head(b"user-agent: " + b"a" * 512)) is not None
    assert not remembered


@pytest.mark.parametrize(
    "line",
    [
        b"connection: close, te",
        b"connection:close",
        b"Connection: Close",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked\t",
        b"upgrade: ws",
        b"x: \xe9",
        b"x : y",
        b"x:",
        b" x: y",
        b"x",
    ],
)
def test_a_parser_judges_what_is_out_of_the_ordinary(line: bytes) -> None:
    for _ in range(2):
        assert request_of(head(b"host: a", line)) is None
    assert list(remembered) == [b"host: a"]


def test_a_request_may_end_its_connection() -> None:
    for line, kept in (
        (b"Connection: close", False),
        (b"connection: Keep-Alive", True),
        (b"accept: */*", True),
    ):
        request = request_of(head(line, b"content-length: 1"))
        assert request is not None
        assert (request.keep_alive, request.framed) == (kept, True)


def test_a_parser_reads_chunked_requests() -> None:
    assert request_of(head(b"Transfer-Encoding: chunked")) is None


def test_the_head_of_a_response() -> None:
    response = Response()
    assert read_response(b"HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Length: 3", response) == 404
    assert response.headers == [(b"server", b"x"), (b"content-length", b"3")]
    assert read_response(b"HTTP/1.1 204 No Content\r\nconnection: close", response) == 204
    assert read_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", response) == 200
    for coding in (
        b"transfer-encoding: chunked\t",
        b"transfer-encoding:chunked",
        b"transfer-encoding: gzip, chunked",
    ):
        assert read_response(b"HTTP/1.1 200 OK\r\n" + coding, Response()) == 0
    assert read_response(b"HTTP/1.1 404 Nothing here\r\nServer: x", Response()) == 0
