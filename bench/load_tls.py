"""Mutual TLS connections to a server sidecar, as a client sidecar makes them: new ones one after the other, or many that are held.

    python -m bench.load_tls '{"port": …, "host": …, "certificate": …, "key": …, "root": …, "resume": true, "seconds": 2}'
    python -m bench.load_tls '{…, "hold": 10000, "seconds": 2}'

Each connection asks once, and its answer is checked. Without `hold` it is then closed and the next begun; with `resume` it offers the session of
the one before it, and `resumed` counts those the server took. With `hold` it stays: measuring begins when all are open. Times are
nanoseconds of the monotonic clock; a latency counts from before the TCP connection to the end of the answer.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.load import WrongAnswer, percentile
from bench.upstream import payload

now = time.perf_counter_ns
_ALPN = ["istio-http/1.1", "istio", "http/1.1"]
_PATIENCE = 10.0  # s


@dataclass(frozen=True)
class Plan:
    """Files in PEM. `connections` is how many are made at the same time; seconds, bytes."""

    port: int
    host: str
    certificate: str
    key: str
    root: str
    connections: int = 8
    resume: bool = False
    hold: int = 0
    warmup: float = 0.3
    seconds: float = 2.0
    body_bytes: int = 1024

    @property
    def request(self) -> bytes:
        return f"GET / HTTP/1.1\r\nhost: {self.host}\r\nuser-agent: bench\r\n\r\n".encode()

    def context(self) -> ssl.SSLContext:
        """A mesh client's: it shows its certificate and knows its server by the mesh's root alone, since names are SPIFFE URIs."""
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        found.check_hostname = False
        found.load_verify_locations(self.root)
        found.load_cert_chain(self.certificate, self.key)
        found.set_alpn_protocols(_ALPN)
        return found


class Lane:
    """One connection from its beginning to the end of its answer; `step` is called whenever its socket is ready."""

    def __init__(self, plan: Plan, context: ssl.SSLContext, session: ssl.SSLSession | None) -> None:
        self._plan = plan
        self.began = now()
        raw = socket.socket()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setblocking(False)
        raw.connect_ex(("127.0.0.1", plan.port))
        self.sock = context.wrap_socket(raw, do_handshake_on_connect=False, session=session)
        self.fd = self.sock.fileno()
        self.received = b""
        self._asked = False

    def step(self) -> bool:
        """Goes as far as it can; whether the answer is complete. Raises WrongAnswer, OSError."""
        try:
            if not self._asked:
                self.sock.do_handshake()
                self.sock.send(self._plan.request)
                self._asked = True
            while True:
                data = self.sock.recv(65536)
                if not data:
                    raise WrongAnswer("connection closed by the proxy")
                self.received += data
                if self._complete():
                    return True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False

    def _complete(self) -> bool:
        head, mark, body = self.received.partition(b"\r\n\r\n")
        if not mark or len(body) < self._plan.body_bytes:
            return False
        if not head.startswith(b"HTTP/1.1 200") or body != payload(self._plan.body_bytes):
            raise WrongAnswer(repr(self.received[:400]))
        return True


class Run:
    """Connections of one plan; those that are held are in `held`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._context = plan.context()
        self._session: ssl.SSLSession | None = None
        self.latencies = array("q")
        self.resumed = 0
        self.held: list[ssl.SSLSocket] = []

    def close(self) -> None:
        for sock in self.held:
            sock.close()

    def go(self, more: Callable[[int], bool]) -> float:
        """Makes connections while `more(begun)` says so, then lets those under way end; how long that took, in s."""
        lanes: dict[int, Lane] = {}
        start = now()
        try:
            with select.epoll() as poll:
                self._make(lanes, poll, more)
        finally:
            for lane in lanes.values():
                lane.sock.close()
        return (now() - start) / 1e9

    def _make(self, lanes: dict[int, Lane], poll: select.epoll, more: Callable[[int], bool]) -> None:
        begun = 0
        while True:
            while len(lanes) < self.plan.connections and more(begun):
                lane = Lane(self.plan, self._context, self._session if self.plan.resume else None)
                lanes[lane.fd] = lane
                poll.register(lane.fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
                begun += 1
            if not lanes:
                return
            events = poll.poll(_PATIENCE)
            if not events:
                raise WrongAnswer(f"nothing within {_PATIENCE:g} s")
            for fd, _ in events:
                self._step(lanes, fd, poll)

    def _step(self, lanes: dict[int, Lane], fd: int, poll: select.epoll) -> None:
        lane = lanes[fd]
        if lane.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise WrongAnswer("the connection was refused or reset")
        if not lane.step():
            return
        self.latencies.append(now() - lane.began)
        self.resumed += bool(lane.sock.session_reused)
        self._session = lane.sock.session
        poll.unregister(fd)
        del lanes[fd]
        if self.plan.hold:
            self.held.append(lane.sock)
        else:
            lane.sock.close()


def churn(run: Run) -> dict[str, Any]:
    """New connections, one after the other in each of `connections` places, for `seconds`."""
    plan = run.plan

    def until(seconds: float) -> Callable[[int], bool]:
        end = now() + int(seconds * 1e9)
        return lambda _: now() < end

    run.go(until(plan.warmup))
    warmed = len(run.latencies)
    del run.latencies[:]
    run.resumed = 0
    print(json.dumps({"event": "measuring"}), flush=True)
    seconds = run.go(until(plan.seconds))
    ordered = array("q", sorted(run.latencies))
    return {
        "requests": len(ordered),
        "warmup_requests": warmed,
        "resumed": run.resumed,
        "seconds": seconds,
        "requests_per_second": len(ordered) / seconds,
        "p50_us": percentile(ordered, 0.50),
        "p90_us": percentile(ordered, 0.90),
        "p99_us": percentile(ordered, 0.99),
    }


def hold(run: Run) -> dict[str, Any]:
    """Opens all, then leaves them alone for `seconds`."""
    run.go(lambda begun: begun < run.plan.hold)
    print(json.dumps({"event": "measuring"}), flush=True)
    time.sleep(run.plan.seconds)
    gone = sum(_closed(sock) for sock in run.held)
    if gone:
        raise WrongAnswer(f"{gone} of {len(run.held)} idle connections were closed")
    return {"seconds": run.plan.seconds, "connections_held": len(run.held)}


def _closed(sock: ssl.SSLSocket) -> bool:
    try:
        return sock.recv(1) == b""
    except (ssl.SSLWantReadError, BlockingIOError):
        return False


def main(plan: Plan) -> None:
    run = Run(plan)
    try:
        found = {"event": "done", "errors": 0, **(hold(run) if plan.hold else churn(run))}
    except (WrongAnswer, OSError) as error:
        found = {"event": "done", "errors": 1, "error": str(error)}
    print(json.dumps(found), flush=True)
    if plan.hold:
        time.sleep(_PATIENCE)  # whoever reads the line above looks at the proxy's memory, then ends us
    run.close()


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
