"""The data path without sockets: connections whose bytes a test hands in and takes out.

A loop that only remembers, sockets that only record, and a connector that connects at once. Nothing waits and nothing
sleeps, so a dialogue is a sequence of calls.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from proxy.config import decode
from proxy.config.snapshot import Snapshot, build
from proxy.data_plane import DataPlane, Services
from proxy.net.downstream import DownstreamFacts
from proxy.net.outbox import Outbox
from proxy.upstream.failure import UpstreamReset

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


class FakeHandle:
    """What call_soon, call_later and call_at return."""

    def __init__(self, loop: FakeLoop, when: float, callback: Callable[..., object], args: tuple[Any, ...]):
        self.loop, self.when, self.callback, self.args = loop, when, callback, args

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class FakeLoop:
    """Time stands until `advance`; readers and writers are remembered by descriptor."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[FakeHandle] = []
        self.readers: dict[int, Callable[[], None]] = {}
        self.writers: dict[int, Callable[[], None]] = {}
        self._turn = FakeHandle(self, self.now, lambda: None, ())

    def time(self) -> float:
        return self.now

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> None:
        self.readers.pop(fd, None)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self.writers[fd] = callback

    def remove_writer(self, fd: int) -> None:
        self.writers.pop(fd, None)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any) -> FakeHandle:
        handle = FakeHandle(self, when, callback, args)
        self.timers.append(handle)
        return handle

    def call_soon(self, callback: Callable[..., object], *args: Any) -> FakeHandle:
        if isinstance(getattr(callback, "__self__", None), Outbox):
            callback(*args)  # every write is a turn of its own here
            return self._turn
        return self.call_at(self.now, callback, *args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> FakeHandle:
        return self.call_at(self.now + delay, callback, *args)

    def advance(self, seconds: float) -> None:
        """Let time pass; due timers fire in order."""
        until = self.now + seconds
        while due := sorted((t for t in self.timers if t.when <= until), key=lambda t: t.when):
            timer = due[0]
            self.timers.remove(timer)
            self.now = max(self.now, timer.when)
            timer.callback(*timer.args)
        self.now = until


class FakeSocket:
    """`sent` collects what was written; `receive` and `receive_eof` are what the peer does."""

    _next_fd = 1000

    def __init__(self, loop: FakeLoop, address: tuple[str, int] = ("10.0.0.5", 40000)) -> None:
        FakeSocket._next_fd += 1
        self.fd = FakeSocket._next_fd
        self.loop = loop
        self.address = address
        self.sent = bytearray()
        self.capacity: int | None = None  # bytes the kernel still takes; None: all
        self.incoming: list[bytes | OSError] = []
        self.closed = False
        self.was_reset = False
        self.write_ended = False

    def fileno(self) -> int:
        return -1 if self.closed else self.fd

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def recv(self, size: int, flags: int = 0) -> bytes:
        if not self.incoming:
            raise BlockingIOError
        data = self.incoming.pop(0)
        if isinstance(data, OSError):
            raise data
        assert len(data) <= size
        return data

    def recv_into(self, buffer: bytearray) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview) -> int:
        if self.capacity is None:
            self.sent += data
            return len(data)
        if not self.capacity:
            raise BlockingIOError
        taken = min(self.capacity, len(data))
        self.sent += data[:taken]
        self.capacity -= taken
        return taken

    def sendmsg(self, pieces: list[bytes | memoryview]) -> int:
        return self.send(b"".join(pieces))

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.was_reset = True

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.write_ended = True

    def close(self) -> None:
        self.closed = True

    # The peer.

    def receive(self, data: bytes) -> None:
        """The peer sends; nothing happens if the proxy does not read."""
        self.incoming.append(data)
        self.readable()

    def receive_eof(self) -> None:
        self.receive(b"")

    def receive_error(self) -> None:
        self.incoming.append(ConnectionResetError(104, "Connection reset by peer"))
        self.readable()

    def readable(self) -> None:
        """Deliver what waits, as far as the proxy reads."""
        while self.incoming and self.fd in self.loop.readers:
            self.loop.readers[self.fd]()

    def drain(self) -> None:
        """The kernel takes everything again."""
        self.capacity = None
        if self.fd in self.loop.writers:
            self.loop.writers[self.fd]()
        self.readable()

    def take(self) -> bytes:
        """What was sent since the last call."""
        data = bytes(self.sent)
        self.sent.clear()
        return data


class FakeHangups:
    """Watches sockets that nobody reads; `end` is what their peers do."""

    def __init__(self) -> None:
        self.watched: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, told: Callable[[], None]) -> None:
        assert fd not in self.watched
        self.watched[fd] = told

    def forget(self, fd: int) -> None:
        self.watched.pop(fd, None)

    def end(self, sock: FakeSocket) -> None:
        """The peer ends; whoever reads finds it, the others are told."""
        sock.receive_eof()
        if sock.fd in self.watched:
            self.watched.pop(sock.fd)()
        sock.receive_eof()  # an end is there each time it is looked for

    def close(self) -> None:
        self.watched.clear()


class FakeConnecting:
    """A connection attempt a test decides about; by default it succeeds at once."""

    def __init__(self, connector: FakeConnector, address: tuple[str, int], **given: Any) -> None:
        self.connector = connector
        self.address = address
        self.given = given
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def succeed(self) -> FakeSocket:
        sock = FakeSocket(self.connector.loop)
        self.connector.sockets.append(sock)
        self.given["on_connected"](sock)
        return sock

    def fail(self, failure: UpstreamReset) -> None:
        self.given["on_failed"](failure)


class FakeConnector:
    """See `Connector`. With `automatic`, attempts succeed as soon as the loop runs its timers."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.automatic = True
        self.attempts: list[FakeConnecting] = []
        self.sockets: list[FakeSocket] = []

    def connect(
        self,
        address: tuple[str, int],
        transport: Any,
        options: Any,
        settings: Any,
        on_connected: Any,
        on_failed: Any,
    ) -> FakeConnecting:
        attempt = FakeConnecting(
            self, address, transport=transport, options=options, settings=settings,
            on_connected=on_connected, on_failed=on_failed,
        )  # fmt: skip
        self.attempts.append(attempt)
        if self.automatic:
            self.loop.call_soon(attempt.succeed)
        return attempt


def snapshot(
    *,
    clusters: list[dict[str, Any]],
    listeners: list[dict[str, Any]],
    routes: list[dict[str, Any]] = (),  # type: ignore[assignment]
    endpoints: list[dict[str, Any]] = (),  # type: ignore[assignment]
    previous: Snapshot | None = None,
    version: str = "1",
) -> Snapshot:
    """Decode resources given as JSON objects without `@type`."""
    raw: dict[str, dict[str, msgspec.Raw]] = {}
    for url, resources in (
        (decode.CLUSTER, clusters), (decode.LISTENER, listeners), (decode.ROUTE, routes), (decode.ENDPOINT, endpoints),
    ):  # fmt: skip
        raw[url] = {
            one.get("name") or one["cluster_name"]: msgspec.Raw(json.dumps({"@type": url, **one}).encode())
            for one in resources
        }
    return build(version, raw, previous or Snapshot())


def address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def static_cluster(name: str, *hosts: tuple[str, int], **fields: Any) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": address(*host)}} for host in hosts]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "type": "STATIC", "load_assignment": assignment, **fields}


def connection_manager(
    routes: list[dict[str, Any]], *, vhost: dict[str, Any] | None = None, **fields: Any
) -> dict[str, Any]:
    """An HTTP connection manager with one virtual host `*`."""
    virtual_host = {"name": "v", "domains": ["*"], "routes": routes, **(vhost or {})}
    return {
        "name": "hcm",
        "typed_config": {
            "@type": HCM,
            "stat_prefix": "test",
            "normalize_path": True,
            "stream_idle_timeout": "0s",
            "route_config": {"name": "r", "virtual_hosts": [virtual_host]},
            "http_filters": [ROUTER],
            **fields,
        },
    }  # fmt: skip


def listener(filter_: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "name": "l",
        "address": address("127.0.0.1", 0),
        "bind_to_port": False,
        "filter_chains": [{"name": "c", "filters": [filter_]}],
        **fields,
    }


class Mesh:
    """A DataPlane over fakes. `client()` opens a downstream connection to the first filter chain of a listener."""

    def __init__(self, first: Snapshot, services: Services | None = None) -> None:
        self.loop = FakeLoop()
        self.connector = FakeConnector(self.loop)
        self.infos: list[Any] = []
        self.services = services or Services()
        self.plane = DataPlane(self.loop, self.services, connector=self.connector, now=self.loop.time)  # type: ignore[arg-type]
        self.hangups = FakeHangups()
        self.plane.hangups = self.hangups  # type: ignore[assignment]
        self.plane.apply(first)

    def client(self, listener_name: str = "l", *, chain: int = 0, **facts: Any) -> FakeSocket:
        sock = FakeSocket(self.loop, ("10.0.0.1", 80))
        known = DownstreamFacts("10.0.0.1:80", "10.0.0.9:50000", **facts)
        self.plane.listeners.listeners[listener_name].chains[chain].serve(sock, known)  # type: ignore[arg-type]
        return sock

    def run(self, seconds: float = 0.0) -> None:
        """Let the loop do what is due."""
        self.loop.advance(seconds)

    @property
    def upstream(self) -> FakeSocket:
        """The latest upstream connection."""
        return self.connector.sockets[-1]

    def stat(self, name: str) -> int:
        for kind in (self.services.stats.counters(), self.services.stats.gauges()):
            for one in kind:
                if one.name == name:
                    return one.value
        raise KeyError(name)
