"""Bodies through a proxy: one message after another on each of a few connections, every byte compared.

    python -m bench.load_bodies '{"port": …, "host": …, "direction": "down", "size": 65536, "chunked": false, "seconds": 3}'

`direction` is `down` (GET, the answer has the body) or `up` (POST). The app behind the proxy is `bench.body_app`. Writes one JSON
line when measuring starts and one with the result, as `bench.load` does; the figure to compare is `bytes` per CPU second of the proxy.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from bench.body_app import Reader, WrongBody, send_body

_CHUNK = 16 * 1024


@dataclass(frozen=True)
class Plan:
    """What to send; seconds and bytes."""

    port: int
    host: str
    direction: str = "down"
    size: int = 64 * 1024
    chunked: bool = False
    connections: int = 4
    warmup: float = 0.3
    seconds: float = 3.0

    @property
    def head(self) -> bytes:
        """The request's head."""
        common = f"host: {self.host}\r\nuser-agent: bench\r\n"
        if self.direction == "down":
            return (
                f"GET /{'chunked' if self.chunked else 'bytes'}/{self.size} HTTP/1.1\r\n{common}\r\n".encode()
            )
        framing = "transfer-encoding: chunked" if self.chunked else f"content-length: {self.size}"
        return f"POST / HTTP/1.1\r\n{common}{framing}\r\n\r\n".encode()


def exchange(sock: socket.socket, reader: Reader, plan: Plan) -> None:
    """One request and its answer. Raises WrongBody."""
    sock.sendall(plan.head)
    if plan.direction == "up":
        send_body(sock, plan.size, _CHUNK if plan.chunked else 0)
    first, fields = reader.head()
    if first.split(b" ")[1] != b"200":
        raise WrongBody(first.decode("latin-1"))
    if plan.direction == "down":
        if (size := reader.body(fields)) != plan.size:
            raise WrongBody(f"{size} bytes for {plan.size}")
    elif (text := reader.text(fields)) != b"%d" % plan.size:
        raise WrongBody(f"the app took {text!r} bytes of {plan.size}")


class Lanes:
    """The connections, each with a thread; `requests` are those that ended."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._end = float("inf")
        self.requests = 0
        self._lock = threading.Lock()
        self.error = ""
        self._threads = [threading.Thread(target=self._lane, daemon=True) for _ in range(plan.connections)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Lets the requests under way end."""
        self._end = 0.0
        for thread in self._threads:
            thread.join(30)

    def _lane(self) -> None:
        plan = self._plan
        try:
            with socket.create_connection(("127.0.0.1", plan.port), timeout=20) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                reader = Reader(sock)
                while time.monotonic() < self._end:
                    exchange(sock, reader, plan)
                    with self._lock:
                        self.requests += 1
        except (WrongBody, OSError, EOFError, ValueError) as error:
            self.error = repr(error)


def run(plan: Plan) -> dict[str, Any]:
    """Warm-up, then the measurement; `errors` is 1 when an answer was wrong."""
    lanes = Lanes(plan)
    lanes.start()
    time.sleep(plan.warmup)
    print(json.dumps({"event": "measuring"}), flush=True)
    before, start = lanes.requests, time.monotonic()
    time.sleep(plan.seconds)
    requests, seconds = lanes.requests - before, time.monotonic() - start
    result: dict[str, Any] = {"event": "done", "errors": 0, "requests": requests, "seconds": seconds}
    result |= {"bytes": requests * plan.size, "bytes_per_second": requests * plan.size / seconds}
    if not lanes.error:
        # Told before the lanes end, so that the CPU counted is of these seconds.
        print(json.dumps(result), flush=True)
    lanes.end()
    return {"event": "done", "errors": 1, "error": lanes.error} if lanes.error else result


if __name__ == "__main__":
    found = run(Plan(**json.loads(sys.argv[1])))
    if found["errors"]:
        print(json.dumps(found), flush=True)
