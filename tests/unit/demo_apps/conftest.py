"""Servers of the demo apps on a free port, stopped when the test ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from demo_apps.http_server import Handler, Server


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], int]]:
    """Starts a server with a handler; gives its port."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(handler: Handler) -> int:
        server = Server(handler, 0, "127.0.0.1")
        thread = threading.Thread(target=server.serve)
        thread.start()
        running.append((server, thread))
        return server.port

    yield start
    for server, thread in running:
        server.close()
        thread.join()
