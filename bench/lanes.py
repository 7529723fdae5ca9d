"""What generators with blocking sockets share: a thread for each of a few connections, and what is told of the requests they carried."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from bench.body_app import WrongBody

Lane = Callable[[], Generator[None]]
"""Makes one request after another, and says so after each. Raises WrongBody, OSError, EOFError, ValueError."""


class Lanes:
    """So many at once, each with a thread; `requests` are those that ended."""

    def __init__(self, count: int, lane: Lane) -> None:
        self._lane = lane
        self._end = False
        self.requests = 0
        self.error = ""
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._go, daemon=True) for _ in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Lets the requests under way end."""
        self._end = True
        for thread in self._threads:
            thread.join(30)

    def _go(self) -> None:
        try:
            with closing(self._lane()) as requests:
                for _ in requests:
                    with self._lock:
                        self.requests += 1
                    if self._end:
                        return
        except (WrongBody, OSError, EOFError, ValueError) as error:
            self.error = repr(error)


def connect(port: int) -> socket.socket:
    """A blocking connection to the proxy."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def measure(lanes: Lanes, warmup: float, seconds: float, size: int = 0) -> None:
    """Warm-up, then the measurement, told as `bench.load` does; `errors` is 1 when an answer was wrong. `size` is of a request's body."""
    lanes.start()
    time.sleep(warmup)
    _say({"event": "measuring"})
    before, start = lanes.requests, time.monotonic()
    time.sleep(seconds)
    requests, passed = lanes.requests - before, time.monotonic() - start
    result = {"event": "done", "errors": 0, "requests": requests, "seconds": passed}
    if size:
        result |= {"bytes": requests * size, "bytes_per_second": requests * size / passed}
    if not lanes.error:
        # Told before the lanes end, so that the CPU counted is of these seconds.
        _say(result)
    lanes.end()
    if lanes.error:
        _say({"event": "done", "errors": 1, "error": lanes.error})


def _say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)
