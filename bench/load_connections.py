"""New plaintext connections through a proxy, one for each request.

    python -m bench.load_connections '{"port": …, "host": …, "connections": 8, "seconds": 3}'

Writes one JSON line when measuring starts and one with the result, as `bench.load` does. New mutual TLS connections, and many that stay idle,
are `bench.load_tls`.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from bench.body_app import WrongBody


@dataclass(frozen=True)
class Plan:
    """What to open; seconds."""

    port: int
    host: str
    connections: int = 8
    warmup: float = 0.3
    seconds: float = 3.0

    @property
    def request(self) -> bytes:
        return f"GET / HTTP/1.1\r\nhost: {self.host}\r\nuser-agent: bench\r\n\r\n".encode()


def exchange(plan: Plan) -> None:
    """One request and its answer on a connection of their own. Raises WrongBody, OSError."""
    with socket.create_connection(("127.0.0.1", plan.port), timeout=20) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(plan.request)
        answer = sock.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise WrongBody(repr(answer[:200]))
        while b"\r\n\r\nok" not in answer:
            answer += sock.recv(4096)


class Lanes:
    """As many at once as the plan says, each with a thread."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._end = False
        self.requests = 0
        self.error = ""
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._lane, daemon=True) for _ in range(plan.connections)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._end = True
        for thread in self._threads:
            thread.join(30)

    def _lane(self) -> None:
        try:
            while not self._end:
                exchange(self._plan)
                with self._lock:
                    self.requests += 1
        except (WrongBody, OSError) as error:
            self.error = repr(error)


def run(plan: Plan) -> dict[str, Any]:
    """New connections for `seconds`; `errors` is 1 when one failed."""
    lanes = Lanes(plan)
    lanes.start()
    time.sleep(plan.warmup)
    _say({"event": "measuring"})
    before, start = lanes.requests, time.monotonic()
    time.sleep(plan.seconds)
    requests, seconds = lanes.requests - before, time.monotonic() - start
    if not lanes.error:
        # Told before the lanes end, so that the CPU counted is of these seconds.
        _say({"event": "done", "errors": 0, "requests": requests, "seconds": seconds})
    lanes.end()
    return {"errors": int(bool(lanes.error)), "error": lanes.error}


def _say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    result = run(Plan(**json.loads(sys.argv[1])))
    if result["errors"]:
        _say({"event": "done", **result})
