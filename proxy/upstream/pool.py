"""HTTP/1.1 connections to one host with one transport: who may use which, and who waits.

One request per connection at a time. A request takes the connection that became idle last (its state is warmest),
else it waits, first come first served, for one that is connected or released; one connection is opened per waiting request,
as far as the cluster's limit goes. When a connection cannot be made, every waiting request fails with it, and its owner
decides what to do. A connection that is `draining` ends with its request.
Knows no sockets and no HTTP: connections are opened by a Connector and wrapped by `wrap`.
Invariant: every taken circuit-breaker unit is given back exactly once.
Reference: Envoy source/common/conn_pool/conn_pool_base.cc.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.upstream.connector import Connecting
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.transport import TlsOptions

if TYPE_CHECKING:
    from proxy.net.tls_socket import Established
    from proxy.upstream.cluster import Cluster
    from proxy.upstream.host import Host
    from proxy.upstream.transport import Transport

_OPENED_AT_ONCE = 3  # Envoy's bound on connections made for one event


class PooledConnection:
    """A connection a pool keeps. It reports the end of each request, and its own."""

    __slots__ = ("draining", "requests")

    requests: int
    """How many requests it has carried, the current one included."""
    draining: bool
    """It takes no further request. Set by the pool."""

    def close(self) -> None:
        """Close; the pool has forgotten it already."""
        raise NotImplementedError


class Waiter:
    """A request that waits for a connection."""

    __slots__ = ()

    def on_pool_ready(self, connection: PooledConnection) -> None:
        raise NotImplementedError

    def on_pool_failure(self, failure: UpstreamReset) -> None:
        raise NotImplementedError


Wrap = Callable[["Established", "ConnectionPool"], PooledConnection]


class ConnectionPool:
    """The pool of one (host, transport, options)."""

    def __init__(
        self, cluster: Cluster, host: Host, transport: Transport, options: TlsOptions, wrap: Wrap
    ) -> None:
        self.cluster = cluster
        self.host = host
        self.transport = transport
        self.options = options
        self._wrap = wrap
        self._idle: list[PooledConnection] = []
        self._busy: set[PooledConnection] = set()
        self._connecting: set[_Opening] = set()
        self._waiting: deque[Waiter] = deque()
        self._draining = False

    def acquire(self, waiter: Waiter) -> PooledConnection | None:
        """A connection now, or None and a later call of the waiter. Raises UpstreamReset on overflow."""
        breaker, stats = self.cluster.breaker, self.cluster.stats
        if self._idle:
            requests = breaker.requests
            if requests.count >= requests.limit or (requests.shared is not None and not requests.allows()):
                stats.upstream_rq_active_overflow.value += 1
                raise UpstreamReset(ResetReason.OVERFLOW)
            connection = self._idle.pop()
            self._attach(connection)
            return connection
        if not breaker.pending.allows():
            stats.upstream_rq_pending_overflow.value += 1
            raise UpstreamReset(ResetReason.OVERFLOW, at_host=False)
        breaker.pending.take()
        stats.upstream_rq_pending_total.value += 1
        stats.upstream_rq_pending_active.value += 1
        self._waiting.append(waiter)
        self._open_if_needed()
        return None

    def cancel(self, waiter: Waiter) -> None:
        """The waiter does not want a connection any more. A connection being made for it is kept for others."""
        try:
            self._waiting.remove(waiter)
        except ValueError:
            return
        self.cluster.stats.upstream_rq_cancelled.value += 1
        self._stop_waiting()

    # Connections report.

    def release(self, connection: PooledConnection) -> None:
        """The request on a reusable connection is over."""
        self._detach(connection)
        if connection.draining:
            self._forget_connection()
            connection.close()
            self._open_if_needed()
        elif self._waiting:
            self._make_ready(connection)
        else:
            self._idle.append(connection)

    def discard(self, connection: PooledConnection, *, remote: bool = False, active: bool = True) -> None:
        """The connection cannot be reused: the peer ended it (`remote`) or we do; `active`: with its request unfinished."""
        self._detach(connection)
        self._forget_connection(remote=remote, active=active)
        connection.close()
        self._open_if_needed()

    def on_idle_closed(self, connection: PooledConnection, *, remote: bool) -> None:
        """An idle connection ended: by the peer, or for its idle timeout."""
        if connection in self._idle:
            self._idle.remove(connection)
            self._forget_connection(remote=remote)

    def on_too_old(self, connection: PooledConnection) -> None:
        """The connection has lasted its maximum duration."""
        if not connection.draining:
            self.cluster.stats.upstream_cx_max_duration_reached.value += 1
            self._retire(connection)

    # Draining.

    def drain(self) -> None:
        """The pool itself is to go. Waiting requests are still served."""
        self._draining = True
        self.drain_connections()

    def drain_connections(self) -> None:
        """Close what is idle, and what is busy after its request; new requests get new connections."""
        for connection in (*self._idle, *self._busy):
            self._retire(connection)

    def _retire(self, connection: PooledConnection) -> None:
        connection.draining = True
        if connection in self._idle:
            self._idle.remove(connection)
            self._forget_connection()
            connection.close()

    @property
    def empty(self) -> bool:
        return not (self._idle or self._busy or self._connecting or self._waiting)

    @property
    def waiting(self) -> int:
        """Requests without a connection."""
        return len(self._waiting)

    # A waiter gets a connection. These two run for every request, so the breaker's take and give_back are written out.

    def _attach(self, connection: PooledConnection) -> None:
        cluster, host = self.cluster, self.host
        requests = cluster.breaker.requests
        if requests.shared is not None:
            requests.take()
        else:
            requests.count += 1
            if requests.count >= requests.limit:
                requests.open.value = 1
            if requests.remaining is not None:
                requests.remaining.value = requests.limit - requests.count
        stats = cluster.stats
        stats.upstream_rq_total.value += 1
        stats.upstream_rq_active.value += 1
        host.rq_total += 1
        host.rq_active += 1
        connection.requests += 1
        if connection.requests == cluster.max_requests_per_connection:
            stats.upstream_cx_max_requests.value += 1
            connection.draining = True
        self._busy.add(connection)

    def _detach(self, connection: PooledConnection) -> None:
        cluster = self.cluster
        requests = cluster.breaker.requests
        if requests.shared is not None:
            requests.give_back()
        else:
            requests.count -= 1
            if requests.open.value and requests.count < requests.limit:
                requests.open.value = 0
            if requests.remaining is not None:
                requests.remaining.value = requests.limit - requests.count
        cluster.stats.upstream_rq_active.value -= 1
        self.host.rq_active -= 1
        self._busy.discard(connection)

    def _stop_waiting(self) -> None:
        self.cluster.breaker.pending.give_back()
        self.cluster.stats.upstream_rq_pending_active.value -= 1

    def _make_ready(self, connection: PooledConnection) -> None:
        """A connection is free: it goes to who has waited longest. Those over the limit of requests fail meanwhile."""
        self._idle.append(connection)
        requests = self.cluster.breaker.requests
        while self._waiting and self._idle:
            waiter = self._waiting.popleft()
            self._stop_waiting()
            if requests.allows():
                free = self._idle.pop()
                self._attach(free)
                waiter.on_pool_ready(free)
            else:
                self.cluster.stats.upstream_rq_active_overflow.value += 1
                waiter.on_pool_failure(UpstreamReset(ResetReason.OVERFLOW))
        self._open_if_needed()

    # Connections come and go.

    def _open_if_needed(self) -> None:
        for _ in range(_OPENED_AT_ONCE):
            if len(self._waiting) <= len(self._connecting):
                return
            if self.cluster.breaker.connections.allows():
                self._open()
                continue
            self.cluster.stats.upstream_cx_overflow.value += 1
            # A pool without any connection may always open one, or its requests would wait for ever.
            if not (self._busy or self._connecting or self._idle):
                self._open()
            return

    def _open(self) -> None:
        cluster, stats = self.cluster, self.cluster.stats
        cluster.breaker.connections.take()
        stats.upstream_cx_total.value += 1
        stats.upstream_cx_http1_total.value += 1
        stats.upstream_cx_active.value += 1
        self.host.cx_total += 1
        self.host.cx_active += 1
        opening = _Opening(self)
        self._connecting.add(opening)
        opening.handle = cluster.connector.connect(
            self.host.address,
            self.transport,
            self.options,
            cluster.connect_settings,
            opening.on_connected,
            opening.on_failed,
        )

    def _forget_connection(self, *, remote: bool = False, active: bool = False) -> None:
        self.cluster.breaker.connections.give_back()
        self.cluster.stats.count_connection_end(remote=remote, active=active)
        self.host.cx_active -= 1

    def on_connected(self, opening: _Opening, end: Established) -> None:
        self._connecting.discard(opening)
        connection = self._wrap(end, self)
        connection.draining = self._draining
        if self._waiting:
            self._make_ready(connection)
        else:
            self._idle.append(connection)
        if self._draining:
            self._retire(connection)  # if nobody waited for it, or who did was over the limit

    def on_failed(self, opening: _Opening, failure: UpstreamReset) -> None:
        self._connecting.discard(opening)
        stats = self.cluster.stats
        stats.upstream_cx_connect_fail.value += 1
        if failure.reason is ResetReason.CONNECTION_TIMEOUT:
            stats.upstream_cx_connect_timeout.value += 1
        self.host.cx_connect_fail += 1
        self._forget_connection(remote=failure.reason is ResetReason.REMOTE_CONNECTION_FAILURE)
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            self._stop_waiting()
            stats.upstream_rq_pending_failure_eject.value += 1
            waiter.on_pool_failure(failure)

    def close(self) -> None:
        """Give everything up, for the end of the process and of tests."""
        for opening in list(self._connecting):
            if opening.handle is not None:
                opening.handle.cancel()
            self._forget_connection()
        self._connecting.clear()
        self.drain()

    def __repr__(self) -> str:
        return (
            f"<ConnectionPool {self.host.name} idle={len(self._idle)} busy={len(self._busy)}"
            f" connecting={len(self._connecting)} waiting={len(self._waiting)}>"
        )


class _Opening:
    """A connection being made for a pool."""

    __slots__ = ("handle", "pool")

    def __init__(self, pool: ConnectionPool) -> None:
        self.pool = pool
        self.handle: Connecting | None = None

    def on_connected(self, end: Established) -> None:
        self.pool.on_connected(self, end)

    def on_failed(self, failure: UpstreamReset) -> None:
        self.pool.on_failed(self, failure)
