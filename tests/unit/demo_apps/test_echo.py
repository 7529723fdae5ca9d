"""The echo reports what it received, and misbehaves when asked to."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from demo_apps import echo
from demo_apps.http_client import Connection
from demo_apps.http_message import MessageError, chunk, last_chunk
from demo_apps.http_server import Handler

Serve = Callable[[Handler], int]


@pytest.fixture
def port(serve: Serve) -> int:
    return serve(echo.handle)


def test_it_reports_headers_in_order_and_case_body_and_trailers(port: int) -> None:
    body = chunk(b"on") + chunk(b"e") + last_chunk([("X-Sum", "3")])
    with Connection("127.0.0.1", port, timeout=5) as connection:
        got = connection.request(
            "POST", "/a?b=c", [("hOst", "h"), ("B", "1"), ("A", "2"), ("Transfer-Encoding", "chunked")], body
        )
        local = connection.sock.getsockname()
    report = json.loads(got.body)
    assert report["headers"] == [["hOst", "h"], ["B", "1"], ["A", "2"], ["Transfer-Encoding", "chunked"]]
    assert (report["method"], report["path"], report["version"]) == ("POST", "/a?b=c", "HTTP/1.1")
    assert (report["body"], report["trailers"]) == ("one", [["X-Sum", "3"]])
    assert report["peer"] == f"127.0.0.1:{local[1]}"
    assert report["local"] == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("target", "status", "size"),
    [
        ("/status/503", 503, None),
        ("/status/x", 400, None),
        ("/delay/0", 200, None),
        ("/bytes/1000", 200, 1000),
        ("/bytes/1000?chunked=300", 200, 1000),
    ],
)
def test_answers_on_demand(port: int, target: str, status: int, size: int | None) -> None:
    with Connection("127.0.0.1", port, timeout=5) as connection:
        got = connection.request("GET", target, [])
    assert got.status == status
    assert size is None or len(got.body) == size
    assert ("chunked" in got.header("transfer-encoding")) == ("chunked" in target)


def test_headers_and_trailers_of_the_answer(port: int) -> None:
    with Connection("127.0.0.1", port, timeout=5) as connection:
        assert connection.request("GET", "/response-headers?x-a=1", []).header("x-a") == "1"
        assert connection.request("GET", "/trailers?x-t=1", []).trailers == [("x-t", "1")]


def test_raw_is_the_request_as_received(port: int) -> None:
    with Connection("127.0.0.1", port, timeout=5) as connection:
        got = connection.request("PUT", "/raw", [("X-Odd", "  spaced")], b"hi")
    assert got.body == b"PUT /raw HTTP/1.1\r\nX-Odd:   spaced\r\ncontent-length: 2\r\n\r\nhi"


def test_send_writes_the_body_as_the_whole_answer(port: int) -> None:
    with Connection("127.0.0.1", port, timeout=5) as connection:
        got = connection.request("POST", "/send", [], b"HTTP/1.1 299 Own\r\nA: b\r\n\r\nuntil close")
    assert (got.status, got.headers, got.body) == (299, [("A", "b")], b"until close")


def test_close_and_reset(port: int) -> None:
    with (
        Connection("127.0.0.1", port, timeout=5) as connection,
        pytest.raises(MessageError, match="empty reply"),
    ):
        connection.request("GET", "/close", [])
    with Connection("127.0.0.1", port, timeout=5) as connection, pytest.raises(ConnectionResetError):
        connection.request("GET", "/reset", [])


def test_an_upgrade_mirrors_bytes(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        assert b"101 Switching Protocols" in sock.recv(1000)
        sock.sendall(b"\x00frames")
        assert sock.recv(1000) == b"\x00frames"
