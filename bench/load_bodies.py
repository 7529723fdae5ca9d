"""Bodies through a proxy: one message after another on each of a few connections, every byte compared.

    python -m bench.load_bodies '{"port": …, "host": …, "direction": "down", "size": 65536, "chunked": false, "seconds": 3}'

`direction` is `down` (GET, the answer has the body) or `up` (POST). The app behind the proxy is `bench.body_app`. Writes one JSON
line when measuring starts and one with the result, as `bench.load` does; the figure to compare is `bytes` per CPU second of the proxy.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Generator
from dataclasses import dataclass

from bench.body_app import Reader, WrongBody, send_body
from bench.lanes import Lanes, connect, measure

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


def requests(plan: Plan) -> Generator[None]:
    """One after another over one connection."""
    with connect(plan.port) as sock:
        reader = Reader(sock)
        while True:
            exchange(sock, reader, plan)
            yield


def main(plan: Plan) -> None:
    measure(Lanes(plan.connections, lambda: requests(plan)), plan.warmup, plan.seconds, plan.size)


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
