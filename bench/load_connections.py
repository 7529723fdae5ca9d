"""New plaintext connections through a proxy, one for each request.

    python -m bench.load_connections '{"port": …, "host": …, "connections": 8, "seconds": 3}'

Writes one JSON line when measuring starts and one with the result, as `bench.load` does. New mutual TLS connections, and many that stay idle,
are `bench.load_tls`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from dataclasses import dataclass

from bench.body_app import WrongBody
from bench.lanes import Lanes, connect, measure


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


def requests(plan: Plan) -> Generator[None]:
    """One after another, each on a connection of its own."""
    while True:
        with connect(plan.port) as sock:
            sock.sendall(plan.request)
            answer = sock.recv(4096)
            if not answer.startswith(b"HTTP/1.1 200 "):
                raise WrongBody(repr(answer[:200]))
            while b"\r\n\r\nok" not in answer:
                answer += sock.recv(4096)
        yield


def main(plan: Plan) -> None:
    measure(Lanes(plan.connections, lambda: requests(plan)), plan.warmup, plan.seconds)


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
