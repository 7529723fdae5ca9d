"""New connections through a proxy, one for each request, or many that stay idle.

    python -m bench.load_connections '{"port": …, "host": …, "connections": 8, "seconds": 3}'
    python -m bench.load_connections '{"port": …, "host": …, "connections": 10000, "idle": true, "chain": …, "key": …, "root": …}'

With `chain`, `key` and `root` (files) the connections are mutual TLS, else plaintext; `resumes` offers the session that the same
lane got last. Writes one JSON line when measuring starts and one with the result, as `bench.load` does. `idle`: opens them all, one
request on each, says so in the first line, and holds them for `seconds`: what the proxy's memory and CPU are then is the figure.
"""

from __future__ import annotations

import json
import socket
import ssl
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
    idle: bool = False
    chain: str = ""
    key: str = ""
    root: str = ""
    resumes: bool = False

    @property
    def request(self) -> bytes:
        return f"GET / HTTP/1.1\r\nhost: {self.host}\r\nuser-agent: bench\r\n\r\n".encode()

    @property
    def context(self) -> ssl.SSLContext | None:
        """For mutual TLS, offering what Istio's sidecars offer for HTTP."""
        if not self.chain:
            return None
        context = ssl.create_default_context(cafile=self.root)
        context.check_hostname = False
        context.load_cert_chain(self.chain, self.key)
        context.set_alpn_protocols(["istio-http/1.1", "istio", "http/1.1"])
        return context


class Lane:
    """Opens connections one after another; remembers the TLS session of the last."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._context = plan, plan.context
        self._session: ssl.SSLSession | None = None

    def open(self) -> socket.socket:
        """A connection that has carried one request. Raises WrongBody, OSError."""
        sock = socket.create_connection(("127.0.0.1", self._plan.port), timeout=20)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            sock = self._context.wrap_socket(sock, session=self._session)
        sock.sendall(self._plan.request)
        answer = sock.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise WrongBody(repr(answer[:200]))
        while b"\r\n\r\nok" not in answer:
            answer += sock.recv(4096)
        if self._plan.resumes and isinstance(sock, ssl.SSLSocket):
            self._session = sock.session  # TLS 1.3: it came with the answer
        return sock


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
        lane = Lane(self._plan)
        try:
            while not self._end:
                lane.open().close()
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


def hold(plan: Plan) -> dict[str, Any]:
    """Opens all connections, then does nothing for `seconds`."""
    lane, held = Lane(plan), []
    try:
        for _ in range(plan.connections):
            held.append(lane.open())
        _say({"event": "measuring", "connections": len(held)})
        time.sleep(plan.seconds)
        _say({"event": "done", "errors": 0, "requests": len(held), "seconds": plan.seconds})
        return {"errors": 0, "error": ""}
    except (WrongBody, OSError) as error:
        return {"errors": 1, "error": f"after {len(held)} connections: {error!r}"}
    finally:
        for sock in held:
            sock.close()


def _say(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    wanted = Plan(**json.loads(sys.argv[1]))
    result = hold(wanted) if wanted.idle else run(wanted)
    if result["errors"]:
        _say({"event": "done", **result})
