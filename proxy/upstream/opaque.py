"""One opaque connection to a host, from the wait for it to its end: what it takes of the cluster's limits, and what is counted.

To Envoy it is a request that has a connection to itself: it waits in the queue while the connection is made, and counts as an
active request until its end, though only connections and the queue are limited for it. Knows no sockets and no client.
Invariant: every taken circuit-breaker unit is given back exactly once, by `_failed` or by `end`.
Reference: Envoy source/common/tcp/conn_pool.cc, source/common/conn_pool/conn_pool_base.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proxy.deadlines import Deadline, Deadlines
from proxy.upstream.connector import Connecting
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.host import Host
from proxy.upstream.transport import NO_OPTIONS

if TYPE_CHECKING:
    from proxy.net.tls_socket import Established
    from proxy.upstream.cluster import Cluster


class OpaqueConnection:
    """Exactly one of the callbacks runs after `open`, unless `end` comes first."""

    def __init__(
        self,
        cluster: Cluster,
        host: Host,
        deadlines: Deadlines,
        on_connected: Callable[[Established], None],
        on_failed: Callable[[UpstreamReset], None],
    ) -> None:
        self.cluster = cluster
        self.host = host
        self._deadlines = deadlines
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._connecting: Connecting | None = None
        self._active = False
        self._lifetime: Deadline | None = None

    def open(self) -> None:
        """Begin to connect. Raises UpstreamReset where the queue is full."""
        cluster, host = self.cluster, self.host
        breaker, stats = cluster.breaker, cluster.stats
        if not breaker.pending.allows():
            stats.upstream_rq_pending_overflow.value += 1
            raise UpstreamReset(ResetReason.OVERFLOW, at_host=False)
        breaker.pending.take()
        breaker.connections.take()
        stats.upstream_rq_pending_total.value += 1
        stats.upstream_rq_pending_active.value += 1
        stats.upstream_cx_total.value += 1
        stats.upstream_cx_active.value += 1
        host.cx_total += 1
        host.cx_active += 1
        self._connecting = cluster.connector.connect(
            host.address,
            host.transport,
            NO_OPTIONS,
            cluster.connect_settings,
            self._connected,
            self._failed,
        )

    def _connected(self, end: Established) -> None:
        self._stop_waiting()
        self._active = True
        cluster, host = self.cluster, self.host
        cluster.breaker.requests.take()
        cluster.stats.upstream_rq_total.value += 1
        cluster.stats.upstream_rq_active.value += 1
        host.rq_total += 1
        host.rq_active += 1
        if cluster.max_connection_duration:
            self._lifetime = self._deadlines.after(cluster.max_connection_duration, self._too_old)
        if host.monitor is not None:
            host.monitor.on_tcp_connected()
        self._on_connected(end)

    def _failed(self, failure: UpstreamReset) -> None:
        self._stop_waiting()
        stats, host = self.cluster.stats, self.host
        timed_out = failure.reason is ResetReason.CONNECTION_TIMEOUT
        stats.upstream_rq_pending_failure_eject.value += 1
        stats.upstream_cx_connect_fail.value += 1
        if timed_out:
            stats.upstream_cx_connect_timeout.value += 1
        host.cx_connect_fail += 1
        self._gone(remote=failure.reason is ResetReason.REMOTE_CONNECTION_FAILURE)
        if host.monitor is not None:
            if timed_out:
                host.monitor.on_timeout()
            else:
                host.monitor.on_failure(failure.reason)
        self._on_failed(failure)

    def _too_old(self) -> None:
        """It would take no further request, and there is none to come: only counted."""
        self._lifetime = None
        self.cluster.stats.upstream_cx_max_duration_reached.value += 1

    def end(self, *, remote: bool) -> None:
        """The connection is over, or nobody wants it any more. Harmless after a failure and when repeated."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._stop_waiting()
            self.cluster.stats.upstream_rq_cancelled.value += 1
            self._gone(remote=False)
        elif self._active:
            self._active = False
            if self._lifetime is not None:
                self._deadlines.disarm(self._lifetime)
            self.cluster.breaker.requests.give_back()
            self.cluster.stats.upstream_rq_active.value -= 1
            self.host.rq_active -= 1
            self._gone(remote=remote, active=True)

    def _stop_waiting(self) -> None:
        self._connecting = None
        self.cluster.breaker.pending.give_back()
        self.cluster.stats.upstream_rq_pending_active.value -= 1

    def _gone(self, *, remote: bool, active: bool = False) -> None:
        self.cluster.breaker.connections.give_back()
        self.cluster.stats.count_connection_end(remote=remote, active=active)
        self.host.cx_active -= 1

    def __repr__(self) -> str:
        state = "connecting" if self._connecting is not None else "active" if self._active else "over"
        return f"<OpaqueConnection {self.host.name} {state}>"
