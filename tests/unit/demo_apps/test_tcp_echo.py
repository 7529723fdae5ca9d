"""Lines come back with the prefix; with `first` the server speaks before it is spoken to."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from demo_apps.tcp_echo import TcpEcho


@pytest.fixture
def server() -> Iterator[TcpEcho]:
    echo = TcpEcho([0, 0], "hello", "ready")
    echo.start()
    yield echo
    echo.close()


def test_every_port_greets_and_echoes(server: TcpEcho) -> None:
    for port in server.ports:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock, sock.makefile("rb") as reader:
            assert reader.readline() == b"ready\n"
            sock.sendall(b"world\nag")
            assert reader.readline() == b"hello world\n"
            sock.sendall(b"ain\n")
            assert reader.readline() == b"hello again\n"
