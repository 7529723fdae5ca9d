"""How a connection lives: keep-alive, pipelining, 100-continue, refusals, drain."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from demo_apps.http_client import Connection
from demo_apps.http_server import Handler, Request, Response, Server

Serve = Callable[[Handler], int]


def answer(request: Request) -> Response:
    return Response(request.body or request.target.encode())


def talk(port: int, data: bytes) -> bytes:
    """Sends bytes, half-closes, and reads until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while piece := sock.recv(65536):
            received += piece
    return received


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    got = talk(serve(answer), b"".join(b"GET /n%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in range(5)))
    assert re.findall(rb"/n\d", got) == [b"/n%d" % n for n in range(5)]


@pytest.mark.parametrize(
    ("request_bytes", "connection"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"keep-alive"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"close"),
        (b"GET / HTTP/1.0\r\n\r\n", b"close"),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", b"keep-alive"),
    ],
)
def test_who_keeps_the_connection(serve: Serve, request_bytes: bytes, connection: bytes) -> None:
    assert b"connection: " + connection in talk(serve(answer), request_bytes)


def test_expect_continue_is_answered_before_the_body_is_read(serve: Serve) -> None:
    with socket.create_connection(("127.0.0.1", serve(answer)), timeout=5) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert sock.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"ok")
        assert sock.recv(1000).endswith(b"\r\n\r\nok")


def test_streams_and_trailers_are_chunked(serve: Serve) -> None:
    port = serve(lambda _: Response(iter([b"one", b"", b"two"]), trailers=[("x-end", "yes")]))
    with Connection("127.0.0.1", port, timeout=5) as connection:
        got = connection.request("GET", "/", [])
        assert (got.body, got.trailers) == (b"onetwo", [("x-end", "yes")])
        assert connection.request("GET", "/", []).body == b"onetwo"  # and the connection is still good


def test_head_has_the_length_and_no_body(serve: Serve) -> None:
    got = talk(serve(answer), b"HEAD /four HTTP/1.1\r\n\r\n")
    assert b"content-length: 5" in got
    assert got.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_bytes", [b"nonsense\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nbad\r\n\r\n"]
)
def test_what_is_not_http_gets_400_and_a_close(serve: Serve, request_bytes: bytes) -> None:
    assert talk(serve(answer), request_bytes).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_close_waits_for_the_answer_under_way() -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(_: Request) -> Response:
        entered.set()
        release.wait(5)
        return Response(b"done")

    server = Server(slow, 0, "127.0.0.1")
    serving = threading.Thread(target=server.serve)
    serving.start()
    with Connection("127.0.0.1", server.port, timeout=5) as connection:
        connection.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        entered.wait(5)
        closing = threading.Thread(target=server.close, args=(5.0,))
        closing.start()
        serving.join(5)
        release.set()
        got = b""
        while piece := connection.sock.recv(1000):
            got += piece
        closing.join(5)
    assert got.endswith(b"done")
    assert b"connection: close" in got


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_app_with_status_0(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "demo_apps.details", "0"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
    ) as app:
        assert app.stdout is not None
        assert app.stdout.readline().startswith(b"listening")
        app.send_signal(how)
        assert app.wait(10) == 0
