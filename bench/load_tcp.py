"""Opaque TCP through a proxy: bytes as fast as they go, one way or both, every byte compared.

    python -m bench.load_tcp '{"port": …, "direction": "up", "seconds": 3}'
    python -m bench.load_tcp app PORT

The second is the app behind the proxy. The first byte of a connection says what it does with it: `U` takes bytes and compares them,
`D` sends without end, `E` sends back what comes. Writes one JSON line when measuring starts and one with the result, as
`bench.load` does; the figure to compare is `bytes` per CPU second of the proxy.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.body_app import BLOCK, WrongBody, pattern

_KINDS = {"up": b"U", "down": b"D", "both": b"E"}


@dataclass(frozen=True)
class Plan:
    """What to send; seconds. `host` is nobody's: other loads have one."""

    port: int
    host: str = ""
    direction: str = "up"
    connections: int = 2
    warmup: float = 0.3
    seconds: float = 3.0


def pour(sock: socket.socket, going: Callable[[], bool]) -> None:
    """Sends `pattern` again and again."""
    block = pattern[:BLOCK]
    while going():
        sock.sendall(block)


def drink(sock: socket.socket, took: Callable[[int], None]) -> None:
    """Takes `pattern` until its end. Raises WrongBody."""
    buffer = bytearray(BLOCK)
    view, at = memoryview(buffer), 0
    while size := sock.recv_into(buffer):
        offset = at % BLOCK
        if view[:size] != pattern[offset : offset + size]:
            raise WrongBody(f"the bytes differ within {size} from {at}")
        at += size
        took(size)


class Lanes:
    """The connections, each with a thread for a direction; `bytes` are those that arrived here, or that the kernel took."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._going = True
        self.bytes = 0
        self.error = ""
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._socks: list[socket.socket] = []

    def start(self) -> None:
        for _ in range(self._plan.connections):
            sock = socket.create_connection(("127.0.0.1", self._plan.port), timeout=20)
            sock.sendall(_KINDS[self._plan.direction])
            self._socks.append(sock)
            if self._plan.direction != "down":
                self._run(self._send, sock)
            if self._plan.direction != "up":
                self._run(self._receive, sock)

    def _run(self, what: Callable[[socket.socket], None], sock: socket.socket) -> None:
        thread = threading.Thread(target=what, args=(sock,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _count(self, size: int) -> None:
        with self._lock:
            self.bytes += size

    def _more(self) -> bool:
        if self._plan.direction == "up":
            self._count(BLOCK)
        return self._going

    def _send(self, sock: socket.socket) -> None:
        try:
            pour(sock, self._more)
        except OSError as error:
            self._failed(error)

    def _receive(self, sock: socket.socket) -> None:
        try:
            drink(sock, self._count)
        except (OSError, WrongBody) as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._going:
            self.error = repr(error)

    def end(self) -> None:
        self._going = False
        for sock in self._socks:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in self._socks:
            sock.close()


def run(plan: Plan) -> dict[str, Any]:
    """Warm-up, then the measurement; `errors` is 1 when bytes were wrong."""
    lanes = Lanes(plan)
    lanes.start()
    time.sleep(plan.warmup)
    print(json.dumps({"event": "measuring"}), flush=True)
    before, start = lanes.bytes, time.monotonic()
    time.sleep(plan.seconds)
    moved, seconds = lanes.bytes - before, time.monotonic() - start
    result: dict[str, Any] = {"event": "done", "errors": 0, "requests": plan.connections, "seconds": seconds}
    result |= {"bytes": moved, "bytes_per_second": moved / seconds}
    if lanes.error:
        result = {"event": "done", "errors": 1, "error": lanes.error}
    print(json.dumps(result), flush=True)
    lanes.end()
    return result


def _serve(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError):
        kind = sock.recv(1)
        if kind == b"U":
            drink(sock, lambda _: None)
        elif kind == b"D":
            pour(sock, lambda: True)
        elif kind == b"E":
            while data := sock.recv(BLOCK):
                sock.sendall(data)


def serve(port: int) -> None:
    """The app, until the process is ended."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    if sys.argv[1] == "app":
        with contextlib.suppress(KeyboardInterrupt):
            serve(int(sys.argv[2]))
    else:
        run(Plan(**json.loads(sys.argv[1])))
