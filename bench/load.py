"""The load generator: one process, raw non-blocking sockets on epoll, request bytes made in advance.

    python -m bench.load '{"port": …, "connections": 32, "seconds": 5, "warmup": 1, "rate": 0, …}'

Two modes. Closed loop (`rate` 0): each connection sends its next request when its answer is complete; this finds
the most a path can carry. Open loop (`rate` > 0): requests are due at fixed times whether or not earlier ones were
answered, and latency counts from the time a request was *due*, so a stall is charged to every request it delayed
(no coordinated omission; the method of wrk2).

Every answer is checked: status 200, the announced length, the body byte for byte. It writes one JSON line when
measuring starts and one with the result; times are nanoseconds of the monotonic clock.
"""

from __future__ import annotations

import collections
import json
import select
import socket
import sys
import time
from array import array
from dataclasses import dataclass
from typing import Any

from bench.upstream import payload

now = time.perf_counter_ns


@dataclass(frozen=True)
class Plan:
    """What to send: all times in seconds, `rate` in requests/s over all connections (0: closed loop)."""

    port: int
    host: str
    path: str = "/"
    connections: int = 32
    seconds: float = 5.0
    warmup: float = 1.0
    rate: float = 0.0
    body_bytes: int = 1024

    @property
    def request(self) -> bytes:
        return f"GET {self.path} HTTP/1.1\r\nhost: {self.host}\r\nuser-agent: bench\r\naccept: */*\r\n\r\n".encode()


class WrongAnswer(Exception):
    """An answer that is not the expected one; the run has failed."""


class Lane:
    """One connection: its socket, the bytes of an unfinished answer, and when its request was due."""

    __slots__ = ("due", "fd", "partial", "sock")

    def __init__(self, plan: Plan) -> None:
        self.sock = socket.create_connection(("127.0.0.1", plan.port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.fd = self.sock.fileno()
        self.partial = b""
        self.due = 0


def checker(plan: Plan) -> Any:
    """A function (lane, data) -> whether its answer is complete; raises WrongAnswer."""
    body = payload(plan.body_bytes)
    length = b"content-length: %d\r\n" % plan.body_bytes
    body_bytes = plan.body_bytes

    def complete(lane: Lane, data: bytes) -> bool:
        if lane.partial:
            data = lane.partial + data
            lane.partial = b""
        head = data.find(b"\r\n\r\n") + 4
        if head == 3 or len(data) - head < body_bytes:
            lane.partial = data
            return False
        if not data.startswith(b"HTTP/1.1 200") or length not in data[:head].lower() or data[head:] != body:
            raise WrongAnswer(repr(data[:400]))
        return True

    return complete


class Run:
    """One measurement over `plan.connections` lanes; `latencies` holds those that ended while measuring."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lanes = [Lane(plan) for _ in range(plan.connections)]
        self.by_fd = {lane.fd: lane for lane in self.lanes}
        self.latencies = array("q")
        self.poll = select.epoll()
        for lane in self.lanes:
            self.poll.register(lane.fd, select.EPOLLIN)
        self.complete = checker(plan)

    def close(self) -> None:
        self.poll.close()
        for lane in self.lanes:
            lane.sock.close()

    def receive(self, lane: Lane) -> bool:
        data = lane.sock.recv(65536)
        if not data:
            raise WrongAnswer("connection closed by the proxy")
        return bool(self.complete(lane, data))

    def closed_loop(self, seconds: float) -> float:
        """Runs for `seconds`, then lets the answers under way arrive; returns the measured duration in s."""
        request, by_fd, poll, latencies = self.plan.request, self.by_fd, self.poll, self.latencies
        start = now()
        end = start + int(seconds * 1e9)
        for lane in self.lanes:
            lane.due = now()
            lane.sock.send(request)
        busy = len(self.lanes)
        last = start
        while busy:
            events = poll.poll(10)
            if not events:
                raise WrongAnswer("no answer within 10 s")
            for fd, _ in events:
                lane = by_fd[fd]
                if not self.receive(lane):
                    continue
                last = now()
                latencies.append(last - lane.due)
                if last < end:
                    lane.due = last
                    lane.sock.send(request)
                else:
                    busy -= 1
        return (last - start) / 1e9

    def open_loop(self, seconds: float) -> float:
        """Requests due every 1/rate s go to a free lane, or wait for one with their due time kept."""
        request, by_fd, poll, latencies = self.plan.request, self.by_fd, self.poll, self.latencies
        interval = int(1e9 / self.plan.rate)
        free = collections.deque(self.lanes)
        waiting: collections.deque[int] = collections.deque()
        total = int(seconds * self.plan.rate)
        start = now()
        issued = answered = 0
        last = start
        while answered < total:
            moment = now()
            while issued < total and start + issued * interval <= moment:
                waiting.append(start + issued * interval)
                issued += 1
            while waiting and free:
                lane = free.popleft()
                lane.due = waiting.popleft()
                lane.sock.send(request)
            # select() waits with microseconds, epoll_wait with milliseconds, which would be read as latency.
            pause = max(0.0, (start + issued * interval - now()) / 1e9) if issued < total else 10.0
            ready, _, _ = select.select([poll.fileno()], [], [], min(pause, 10.0))
            if not ready:
                if issued == total:
                    raise WrongAnswer("no answer within 10 s")
                continue
            for fd, _ in poll.poll(0):
                lane = by_fd[fd]
                if self.receive(lane):
                    last = now()
                    latencies.append(last - lane.due)
                    answered += 1
                    free.append(lane)
        return (last - start) / 1e9


def percentile(ordered: array[int], share: float) -> float:
    """The value in microseconds below which `share` of the latencies lie (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 if ordered else 0.0


def measure(plan: Plan) -> dict[str, Any]:
    """Warm-up, then the measurement; `errors` is 0 or 1 since the first wrong answer ends the run."""
    run = Run(plan)
    go = run.open_loop if plan.rate else run.closed_loop
    try:
        go(plan.warmup)
        warmed = len(run.latencies)
        del run.latencies[:]
        print(json.dumps({"event": "measuring"}), flush=True)
        seconds = go(plan.seconds)
    except (WrongAnswer, OSError) as error:
        return {"event": "done", "errors": 1, "error": str(error)}
    finally:
        run.close()
    ordered = array("q", sorted(run.latencies))
    return {
        "event": "done",
        "errors": 0,
        "requests": len(ordered),
        "warmup_requests": warmed,
        "seconds": seconds,
        "requests_per_second": len(ordered) / seconds,
        "p50_us": percentile(ordered, 0.50),
        "p90_us": percentile(ordered, 0.90),
        "p99_us": percentile(ordered, 0.99),
        "p999_us": percentile(ordered, 0.999),
        "max_us": percentile(ordered, 1.0),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Plan(**json.loads(sys.argv[1])))), flush=True)
